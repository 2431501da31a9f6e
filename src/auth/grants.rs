//! Grants of share links: the cookie that says "this browser opened that link", on the host of one port alone.
//!
//! A grant names a link and nobody. It carries no power of its own: it is good for what its link opens, while the link
//! does. One cookie for each link, so that two links to one port do not take each other's place.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, header::COOKIE};
use memchr::memmem::Finder;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use time::OffsetDateTime;

use super::{
    Auth, Client,
    attempts::Attempt,
    cookies::{numbered_cookies, set_cookie},
    hop::host_text,
    signing::Purpose,
};
use crate::{
    domain::{ShareId, UserId},
    route::Route,
};

/// Begins the names of these cookies; eight characters of the link's own follow.
const GRANT_COOKIE_PREFIX: &str = "__Host-portico_grant_";
const VERSION: &str = "1";
/// How long a grant of a link without an end lasts, and the longest that any does.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many grants of one request are read.
const MAX_GRANTS: usize = 8;
/// Fewest characters of a link's password: guesses are slowed down to a few in a minute.
const MIN_PASSWORD: usize = 6;
const MAX_PASSWORD_BYTES: usize = 1024;

/// Why a link's password does not do.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SharePasswordError {
    #[error("a link's password has at least {MIN_PASSWORD} characters")]
    TooShort,
    #[error("a link's password has at most {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
    #[error("the password is wrong")]
    Wrong,
    #[error("there were too many attempts. Try again in {} seconds", retry_after.as_secs().max(1))]
    TooMany { retry_after: Duration },
    #[error("too many passwords are being checked. Try again in a moment")]
    Busy,
}

impl Auth {
    /// The `Set-Cookie` by which a browser shows on one host that it opened a link.
    pub fn grant_cookie(&self, share: &ShareId, host: &Route, ends: Option<OffsetDateTime>, now: OffsetDateTime) -> String {
        let lasts = ends.map_or(LONGEST, |ends| Duration::try_from(ends - now).unwrap_or_default().min(LONGEST));
        let until = (now + lasts).unix_timestamp().to_string();
        let signature = self.inner.key.sign(Purpose::Grant, &[&host_text(host), &share.0, &until]);
        let value = format!("{VERSION}.{share}.{until}.{}", URL_SAFE_NO_PAD.encode(signature));
        set_cookie(&cookie_name(share), &value, lasts.as_secs().max(1))
    }

    /// The `Set-Cookie` that takes a grant away.
    pub fn clear_grant_cookie(share: &ShareId) -> String {
        set_cookie(&cookie_name(share), "", 0)
    }

    /// The links that a request to a host shows grants of. Whether they still open anything is not asked here.
    pub fn shown_grants(&self, headers: &HeaderMap, host: &Route, now: OffsetDateTime) -> Vec<ShareId> {
        if !mentions_grants(headers) {
            return Vec::new();
        }
        let found = numbered_cookies(headers, GRANT_COOKIE_PREFIX);
        let once = |name: &str| found.iter().filter(|(other, _)| other == name).count() == 1;
        let shown = found
            .iter()
            .filter(|(name, _)| once(name))
            .filter_map(|(_, value)| self.read_grant(value, host, now));
        shown.take(MAX_GRANTS).collect()
    }

    fn read_grant(&self, value: &str, host: &Route, now: OffsetDateTime) -> Option<ShareId> {
        let mut parts = value.split('.');
        let (version, share, until, signature) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != VERSION || parts.next().is_some() {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let ours = self.inner.key.verify(Purpose::Grant, &[&host_text(host), share, until], &signature);
        let lives = until.parse::<i64>().is_ok_and(|until| now.unix_timestamp() < until);
        (ours && lives).then(|| ShareId(share.into()))
    }

    /// Hashes a link's new password; of each user, one at a time.
    pub async fn hash_share_password(&self, password: SecretString, by: &UserId) -> Result<String, SharePasswordError> {
        let text = password.expose_secret();
        if text.chars().count() < MIN_PASSWORD {
            return Err(SharePasswordError::TooShort);
        }
        if text.len() > MAX_PASSWORD_BYTES {
            return Err(SharePasswordError::TooLong);
        }
        let _only = OneEach::of(&self.inner.sharing, by).ok_or(SharePasswordError::Busy)?;
        self.inner.hasher.hash_of_link(password).await.map_err(|_| SharePasswordError::Busy)
    }

    /// Checks a link's password, within the limits of that link and of the address.
    pub async fn check_share_password(
        &self,
        share: &ShareId,
        password: SecretString,
        hash: &str,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<(), SharePasswordError> {
        let too_many = |retry_after| SharePasswordError::TooMany { retry_after };
        let attempt = Attempt::take(&self.inner.share_attempts, &share.0, client.address, now).map_err(too_many)?;
        let right = self.inner.hasher.verify_of_link(password, hash.to_owned(), attempt).await;
        if right.map_err(|_| SharePasswordError::Busy)? {
            Ok(())
        } else {
            if let Some(others) = self.inner.refusals.lock().tell(now) {
                let detail = format!("wrong password; {others} refusals more before it, by anyone");
                self.audit_later("share.refused", client.actor(""), share.to_string(), detail, now);
            }
            Err(SharePasswordError::Wrong)
        }
    }
}

/// The place of one user among those of whom there is one at a time.
struct OneEach {
    of: Arc<Mutex<HashSet<UserId>>>,
    user: UserId,
}

impl OneEach {
    fn of(all: &Arc<Mutex<HashSet<UserId>>>, user: &UserId) -> Option<Self> {
        let (of, user) = (all.clone(), user.clone());
        let is_free = of.lock().insert(user.clone());
        is_free.then_some(Self { of, user })
    }
}

impl Drop for OneEach {
    fn drop(&mut self) {
        self.of.lock().remove(&self.user);
    }
}

/// Made once: it is asked of every request.
static GRANTS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(GRANT_COOKIE_PREFIX));

/// Whether it is worth reading the cookies: nearly every request has no grant.
fn mentions_grants(headers: &HeaderMap) -> bool {
    headers.get_all(COOKIE).iter().any(|line| GRANTS.find(line.as_bytes()).is_some())
}

/// The last characters of an id are random.
fn cookie_name(share: &ShareId) -> String {
    let plain: Vec<char> = share.0.chars().filter(char::is_ascii_alphanumeric).collect();
    let suffix: String = plain[plain.len().saturating_sub(8)..].iter().collect();
    format!("{GRANT_COOKIE_PREFIX}{suffix:0<8}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fixture::{auth, auth_on, cookies, editor, now, port, seconds, secret, sent_back};

    fn share(text: &str) -> ShareId {
        ShareId(text.into())
    }

    #[tokio::test]
    async fn cook_3_a_grant_is_good_on_its_host_alone() {
        let (auth, store) = auth().await;
        let id = share("0190-aaaa-bbbb-12345678");
        let set = auth.grant_cookie(&id, &port("amber", 3000), Some(now() + seconds(60)), now());
        assert!(
            set.starts_with("__Host-portico_grant_12345678=") && set.ends_with("Max-Age=60"),
            "{set}"
        );
        let headers = cookies(&[sent_back(&set)]);
        let shown = |host: &Route, at| auth.shown_grants(&headers, host, at);
        assert_eq!(shown(&port("amber", 3000), now()), std::slice::from_ref(&id));
        for host in [port("amber", 3001), port("beryl", 3000), editor("amber"), Route::Gateway] {
            assert_eq!(shown(&host, now()), [], "{host:?}");
        }
        assert_eq!(shown(&port("amber", 3000), now() + seconds(60)), []);
        let again = auth_on(store, now()).await;
        assert_eq!(
            again.shown_grants(&headers, &port("amber", 3000), now()),
            [id],
            "restarts do not matter"
        );
    }

    #[tokio::test]
    async fn grants_are_signed_and_stand_once() {
        let (auth, _) = auth().await;
        let host = port("amber", 3000);
        let first = auth.grant_cookie(&share("first001"), &host, None, now());
        let second = auth.grant_cookie(&share("second02"), &host, None, now());
        let (first, second) = (sent_back(&first), sent_back(&second));
        let shown = |lines: &[&str]| auth.shown_grants(&cookies(lines), &host, now());
        assert_eq!(shown(&[&format!("a=b; {first}; {second}")]), [share("first001"), share("second02")]);
        assert_eq!(shown(&[&format!("{first}; {first}; {second}")]), [share("second02")]);
        let forged = first.replace("first001.", "second02.");
        assert_eq!(shown(&[&forged, "__Host-portico_grant_00000000=1.x.9999999999.AAAA"]), []);
    }

    #[tokio::test]
    async fn rate_1_passwords_of_links_are_guessed_slowly() {
        let (auth, _) = auth().await;
        let ada = UserId("ada".into());
        let (first, second) = tokio::join!(
            auth.hash_share_password(secret("open sesame"), &ada),
            auth.hash_share_password(secret("one more"), &ada)
        );
        let hash = first.expect("a hash");
        assert_eq!(second, Err(SharePasswordError::Busy), "one at a time of each");
        assert_eq!(
            auth.hash_share_password(secret("12345"), &ada).await,
            Err(SharePasswordError::TooShort)
        );
        let client = |last: u8| Client {
            address: Some([10, 0, 0, last].into()),
            ..Client::default()
        };
        let id = share("first001");
        for last in 0..10 {
            let tried = auth.check_share_password(&id, secret("wrong"), &hash, &client(last), now()).await;
            assert_eq!(tried, Err(SharePasswordError::Wrong));
        }
        let limited = auth
            .check_share_password(&id, secret("open sesame"), &hash, &client(99), now())
            .await;
        assert!(matches!(limited, Err(SharePasswordError::TooMany { .. })), "{limited:?}");
        let other = auth
            .check_share_password(&share("second02"), secret("open sesame"), &hash, &client(99), now())
            .await;
        assert_eq!(other, Ok(()));
    }
}
