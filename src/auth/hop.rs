//! The state that travels through the sign-in detour, signed (AUTH-2), and the text of a host in it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use super::{Auth, signing::Purpose};
use crate::route::Route;

const VERSION: u8 = 1;
/// How long a detour may take; a person signs in meanwhile.
const GOOD_FOR_SECONDS: i64 = 600;
/// Longest sealed text that is read.
const MAX_SEALED_BYTES: usize = 8 * 1024;
/// Longest return path (REDIR-1).
const MAX_PATH_BYTES: usize = 2 * 1024;
/// Where a port's detour passes its editor host, with the port's own sealed hop inside: that one holds a whole return path
/// in base64, and the parts beside it.
const ON_THE_WAY: &str = "/.portico/authorize?state=";
const MAX_ON_THE_WAY_BYTES: usize = 4 * 1024;

/// Where a detour began and where it returns to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hop {
    /// The editor or port host that sent the browser away.
    pub host: Route,
    /// A path with its query on that host; `/` is put in place of anything else (REDIR-1).
    pub return_to: String,
    /// SHA-256 of the nonce in the browser's cookie.
    pub nonce_hash: [u8; 32],
    /// Whether it began with the person's own step, not with another page's link.
    pub own: bool,
}

/// Why a sealed hop is no good.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum HopError {
    #[error("this sign-in was not begun here, or was changed on its way")]
    Invalid,
    #[error("this sign-in took too long; open the page again")]
    Expired,
}

#[derive(Deserialize, Serialize)]
struct Sealed {
    v: u8,
    /// The signing key's id.
    k: String,
    h: String,
    r: String,
    n: String,
    /// Expiry in Unix seconds.
    e: i64,
    #[serde(default)]
    o: bool,
}

impl Auth {
    /// Signs a hop into URL-safe text, good for 10 minutes.
    pub fn seal_hop(&self, hop: &Hop, now: OffsetDateTime) -> String {
        let sealed = Sealed {
            v: VERSION,
            k: self.inner.key.id().into(),
            h: host_text(&hop.host),
            r: return_path(&hop.return_to).into(),
            n: URL_SAFE_NO_PAD.encode(hop.nonce_hash),
            e: now.unix_timestamp() + GOOD_FOR_SECONDS,
            o: hop.own,
        };
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&sealed).unwrap_or_default());
        let signature = URL_SAFE_NO_PAD.encode(self.inner.key.sign(Purpose::Hop, &[&payload]));
        format!("{payload}.{signature}")
    }

    /// Opens a sealed hop, if we sealed it and it has not expired.
    pub fn open_hop(&self, text: &str, now: OffsetDateTime) -> Result<Hop, HopError> {
        if text.len() > MAX_SEALED_BYTES {
            return Err(HopError::Invalid);
        }
        let sealed = self.unseal(text).ok_or(HopError::Invalid)?;
        if !(0..=GOOD_FOR_SECONDS).contains(&(sealed.e - now.unix_timestamp())) {
            return Err(HopError::Expired);
        }
        read_hop(&sealed).ok_or(HopError::Invalid)
    }

    fn unseal(&self, text: &str) -> Option<Sealed> {
        let (payload, signature) = text.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !self.inner.key.verify(Purpose::Hop, &[payload], &signature) {
            return None;
        }
        let sealed: Sealed = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        (sealed.v == VERSION && sealed.k == self.inner.key.id()).then_some(sealed)
    }
}

/// The text of a host inside something signed; hosts of no codespace have none of their own and are never signed for.
pub(super) fn host_text(host: &Route) -> String {
    match host {
        Route::Editor(name) => format!("editor:{name}"),
        Route::Port(name, port) => format!("port:{name}:{port}"),
        Route::Gateway | Route::NoSuchCodespace | Route::Foreign => String::new(),
    }
}

fn read_hop(sealed: &Sealed) -> Option<Hop> {
    let mut parts = sealed.h.split(':');
    let host = match (parts.next()?, parts.next()?, parts.next()) {
        ("editor", name, None) => Route::Editor(name.parse().ok()?),
        ("port", name, Some(port)) => Route::Port(name.parse().ok()?, port.parse().ok()?),
        _ => return None,
    };
    let nonce_hash = URL_SAFE_NO_PAD.decode(&sealed.n).ok()?.try_into().ok()?;
    Some(Hop {
        host,
        return_to: return_path(&sealed.r).into(),
        nonce_hash,
        own: sealed.o,
    })
}

/// The path if it can only lead back to the same host, else `/`.
fn return_path(path: &str) -> &str {
    let bytes = path.as_bytes();
    let plain = bytes.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\' && *byte != b'#');
    let local = bytes.first() == Some(&b'/') && bytes.get(1) != Some(&b'/');
    let limit = if path.starts_with(ON_THE_WAY) {
        MAX_ON_THE_WAY_BYTES
    } else {
        MAX_PATH_BYTES
    };
    if plain && local && bytes.len() <= limit { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fixture::{auth, auth_on, editor, now, port, seconds};

    fn hop(host: Route, return_to: &str) -> Hop {
        Hop {
            host,
            return_to: return_to.into(),
            nonce_hash: [7; 32],
            own: true,
        }
    }

    #[tokio::test]
    async fn auth_2_hops_are_ours_untouched_and_in_time() {
        let (auth, store) = auth().await;
        let (other, _) = self::auth().await;
        for host in [editor("amber"), port("amber", 3000)] {
            let hop = hop(host, "/a?b=c&d=%2f");
            let sealed = auth.seal_hop(&hop, now());
            assert!(sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
            assert_eq!(auth.open_hop(&sealed, now() + seconds(600)), Ok(hop.clone()));
            assert_eq!(auth.open_hop(&sealed, now() + seconds(601)), Err(HopError::Expired));
            assert_eq!(auth.open_hop(&sealed, now() - seconds(3600)), Err(HopError::Expired));
            assert_eq!(other.open_hop(&sealed, now()), Err(HopError::Invalid));
            // The key outlives a restart.
            assert_eq!(auth_on(store.clone(), now()).await.open_hop(&sealed, now()), Ok(hop));
            for index in 0..sealed.len() {
                let mut bytes = sealed.clone().into_bytes();
                bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
                let tampered = String::from_utf8(bytes).expect("text");
                assert_eq!(auth.open_hop(&tampered, now()), Err(HopError::Invalid), "{index}");
            }
        }
        for text in ["", ".", "a.b", &"x".repeat(9000)] {
            assert_eq!(auth.open_hop(text, now()), Err(HopError::Invalid));
        }
        let nowhere = auth.seal_hop(&hop(Route::Foreign, "/"), now());
        assert_eq!(auth.open_hop(&nowhere, now()), Err(HopError::Invalid));
    }

    #[test]
    fn redir_1_return_paths_stay_on_their_host() {
        for good in [
            "/",
            "/a",
            "/a//b?next=https://evil.example/",
            "/%2f/evil.example",
            "/@evil.example",
            "/.//x",
        ] {
            assert_eq!(return_path(good), good);
        }
        let long = format!("/{}", "a".repeat(2048));
        for bad in [
            "",
            "a",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "https://evil.example",
            "https:evil.example",
            "/\t/evil.example",
            "/a\r\nset-cookie: x",
            "/ a",
            "/a\\b",
            "/\u{2025}/evil",
            "/a#b",
            "javascript:alert(1)",
            &long,
        ] {
            assert_eq!(return_path(bad), "/", "{bad:?}");
        }
    }
}
