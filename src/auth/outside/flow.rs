//! The state that travels to a provider and back, and the browser that it belongs to (AUTH-2, OIDC-3).
//!
//! The state is signed, and names the hash of a secret that only the browser's cookie holds; nonce and PKCE verifier
//! are derived from that secret. So nothing is kept here for strangers; what is kept is which flows were used.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    auth::{
        Auth,
        cookies::{FLOW_COOKIE_PREFIX, MAX_NONCES, clear_nonce_cookie, flow_cookie, numbered_cookies},
        secrets::{fresh_secret, hash_secret},
        signing::Purpose,
    },
    domain::{ReturnTo, SessionId},
};

/// How long somebody may be away at the provider.
pub const GOOD_FOR_SECONDS: u32 = 600;
/// Longest state that is read.
const MAX_STATE_BYTES: usize = 8 * 1024;
/// Longest place to go on to that travels along; providers do not take addresses of any length.
const MAX_NEXT_BYTES: usize = 3000;
/// Most used flows remembered; a provider's code works once in any case.
const MAX_USED: usize = 100_000;

/// One way to a provider and back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Flow {
    pub provider: String,
    pub next: ReturnTo,
    /// To link an identity: the login session that asked for it.
    pub linking: Option<SessionId>,
}

/// A flow that begins.
pub(super) struct Begun {
    pub state: String,
    pub proofs: Proofs,
    pub set_cookie: String,
}

/// A flow that came back to its browser.
pub(super) struct Returned {
    pub flow: Flow,
    pub proofs: Proofs,
    /// The `Set-Cookie` that removes the flow's cookie.
    pub clear_cookie: String,
}

/// What ties the provider's answers to this flow.
pub(super) struct Proofs {
    pub nonce: String,
    /// The PKCE verifier (RFC 7636): 43 characters of base64url.
    pub verifier: String,
}

/// The flows that were used, by the hash of their secret.
#[derive(Default)]
pub(super) struct Used {
    until: HashMap<[u8; 32], i64>,
}

#[derive(Deserialize, Serialize)]
struct Sealed {
    /// The signing key's id.
    k: String,
    p: String,
    r: String,
    /// Hash of the cookie's secret.
    c: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l: Option<String>,
    /// Expiry in Unix seconds.
    e: i64,
}

impl Proofs {
    fn of(secret: &str) -> Self {
        let derived = |label: &str| URL_SAFE_NO_PAD.encode(hash_secret(&format!("{label} {secret}")));
        Self {
            nonce: derived("nonce"),
            verifier: derived("verifier"),
        }
    }

    /// The PKCE challenge, method S256.
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(hash_secret(&self.verifier))
    }
}

impl Used {
    /// Notes a use; false for the second of the same flow.
    pub(super) fn take(&mut self, hash: [u8; 32], until: i64, now: i64) -> bool {
        if self.until.contains_key(&hash) {
            return false;
        }
        if self.until.len() >= MAX_USED {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() >= MAX_USED
            && let Some(oldest) = self.until.iter().min_by_key(|(_, until)| **until).map(|(hash, _)| *hash)
        {
            // Rather than refusing everybody: a provider takes its code a second time no more than we take the flow.
            self.until.remove(&oldest);
        }
        self.until.insert(hash, until);
        true
    }

    /// Forgets a use that came to nothing.
    pub(super) fn give_back(&mut self, hash: &[u8; 32]) {
        self.until.remove(hash);
    }

    pub(super) fn sweep(&mut self, now: i64) {
        self.until.retain(|_, until| *until > now);
    }
}

/// The `Set-Cookie`s that remove the flows of a browser that has begun too many to be read again.
pub fn clear_crowded_flows(headers: &HeaderMap) -> Vec<String> {
    let begun = numbered_cookies(headers, FLOW_COOKIE_PREFIX);
    let crowded = begun.len() >= MAX_NONCES / 2;
    begun.iter().filter(|_| crowded).map(|(name, _)| clear_nonce_cookie(name)).collect()
}

impl Auth {
    pub(super) fn begin_flow(&self, flow: &Flow, now: OffsetDateTime) -> Begun {
        let secret = fresh_secret();
        let sealed = Sealed {
            k: self.inner.key.id().into(),
            p: flow.provider.clone(),
            r: Some(flow.next.as_str())
                .filter(|next| next.len() <= MAX_NEXT_BYTES)
                .unwrap_or("/")
                .into(),
            c: URL_SAFE_NO_PAD.encode(hash_secret(&secret)),
            l: flow.linking.as_ref().map(|session| session.0.to_string()),
            e: now.unix_timestamp() + i64::from(GOOD_FOR_SECONDS),
        };
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&sealed).unwrap_or_default());
        let signature = URL_SAFE_NO_PAD.encode(self.inner.key.sign(Purpose::Flow, &[&payload]));
        Begun {
            state: format!("{payload}.{signature}"),
            proofs: Proofs::of(&secret),
            set_cookie: flow_cookie(&secret, GOOD_FOR_SECONDS),
        }
    }

    /// Takes a state back, once, from the browser that it was given to.
    pub(super) fn return_flow(&self, provider: &str, state: &str, headers: &HeaderMap, now: OffsetDateTime) -> Option<Returned> {
        let now = now.unix_timestamp();
        let sealed = self.open_flow(state)?;
        if sealed.p != provider || !(0..=i64::from(GOOD_FOR_SECONDS)).contains(&(sealed.e - now)) {
            return None;
        }
        let hash: [u8; 32] = URL_SAFE_NO_PAD.decode(&sealed.c).ok()?.try_into().ok()?;
        let cookies = numbered_cookies(headers, FLOW_COOKIE_PREFIX);
        let (name, secret) = cookies.into_iter().find(|(_, secret)| hash_secret(secret) == hash)?;
        if !self.inner.outside.used.lock().take(hash, sealed.e, now) {
            tracing::warn!(provider, "a sign-in's state was offered again");
            return None;
        }
        Some(Returned {
            flow: Flow {
                provider: sealed.p,
                next: ReturnTo::parse(&sealed.r).unwrap_or_else(ReturnTo::root),
                linking: sealed.l.map(|session| SessionId(session.into())),
            },
            proofs: Proofs::of(&secret),
            clear_cookie: clear_nonce_cookie(&name),
        })
    }

    /// Where a state that we signed leads, whatever else is wrong with it: for the page that offers another try.
    pub(super) fn flow_next(&self, state: &str) -> Option<ReturnTo> {
        self.open_flow(state).and_then(|sealed| ReturnTo::parse(&sealed.r))
    }

    fn open_flow(&self, state: &str) -> Option<Sealed> {
        if state.len() > MAX_STATE_BYTES {
            return None;
        }
        let (payload, signature) = state.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !self.inner.key.verify(Purpose::Flow, &[payload], &signature) {
            return None;
        }
        let sealed: Sealed = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        (sealed.k == self.inner.key.id()).then_some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fixture::{auth, cookies, now, seconds, sent_back};

    fn flow() -> Flow {
        Flow {
            provider: "id".into(),
            next: ReturnTo::parse("/new?repository=x").expect("a path"),
            linking: None,
        }
    }

    #[tokio::test]
    async fn auth_2_a_state_works_once_in_its_browser_for_ten_minutes() {
        let (auth, _) = auth().await;
        let (begun, other) = (auth.begin_flow(&flow(), now()), auth.begin_flow(&flow(), now()));
        assert!(begun.set_cookie.contains("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600"));
        let (own, foreign) = (cookies(&[sent_back(&begun.set_cookie)]), cookies(&[sent_back(&other.set_cookie)]));
        let back = |provider: &str, state: &str, cookies: &HeaderMap, after| {
            let returned = auth.return_flow(provider, state, cookies, now() + seconds(after));
            returned.map(|returned| (returned.flow, returned.proofs.nonce == begun.proofs.nonce))
        };
        assert_eq!(back("id", &begun.state, &cookies(&[]), 1), None, "without its cookie");
        assert_eq!(back("id", &begun.state, &foreign, 1), None, "in another browser");
        assert_eq!(back("other", &begun.state, &own, 1), None, "from another provider");
        assert_eq!(back("id", &begun.state, &own, 601), None, "too late");
        assert_eq!(back("id", &format!("{}x", begun.state), &own, 1), None, "changed");
        let (payload, _) = begun.state.split_once('.').expect("two parts");
        let (_, signature) = other.state.split_once('.').expect("two parts");
        assert_eq!(back("id", &format!("{payload}.{signature}"), &own, 1), None, "another's signature");
        for nonsense in ["", ".", "x.y"] {
            assert_eq!(back("id", nonsense, &own, 1), None);
        }
        assert_eq!(back("id", &begun.state, &own, 600), Some((flow(), true)));
        assert_eq!(back("id", &begun.state, &own, 600), None, "a second time");
        let both = cookies(&[&format!("{}; {}", sent_back(&begun.set_cookie), sent_back(&other.set_cookie))]);
        assert!(back("id", &other.state, &both, 1).is_some(), "tabs opened together keep theirs");
    }

    #[test]
    fn auth_2_a_flood_of_flows_refuses_nobody_and_stays_bounded() {
        let mut used = Used::default();
        let hash = |number: usize| hash_secret(&number.to_string());
        let until = |number: usize| i64::try_from(number).expect("small") + 1;
        for number in 0..MAX_USED {
            assert!(used.take(hash(number), until(number), 0));
        }
        assert!(used.take(hash(MAX_USED), until(MAX_USED), 0), "one more is not refused");
        assert_eq!(used.until.len(), MAX_USED);
        assert!(!used.take(hash(MAX_USED), until(MAX_USED), 0), "and is good once");
        assert!(!used.take(hash(MAX_USED - 1), until(MAX_USED - 1), 0), "as the others are");
        assert_eq!(used.until.len(), MAX_USED, "a replay makes nobody else's forgotten");
        assert!(!used.until.contains_key(&hash(0)), "the oldest is forgotten");
        assert!(used.take(hash(0), i64::MAX, until(MAX_USED)), "those that are over make room first");
        assert_eq!(used.until.len(), 1);
    }

    #[tokio::test]
    async fn a_browser_does_not_drown_in_flows() {
        let (auth, _) = auth().await;
        let begun: Vec<_> = (0..8).map(|_| auth.begin_flow(&flow(), now()).set_cookie).collect();
        let sent = |count: usize| cookies(&begun[..count].iter().map(|cookie| sent_back(cookie)).collect::<Vec<_>>());
        assert!(clear_crowded_flows(&sent(7)).is_empty());
        assert_eq!(clear_crowded_flows(&sent(8)).len(), 8);
    }

    #[tokio::test]
    async fn oidc_3_each_flow_has_its_own_proofs() {
        let (auth, _) = auth().await;
        let (one, other) = (auth.begin_flow(&flow(), now()), auth.begin_flow(&flow(), now()));
        assert_ne!(one.proofs.nonce, other.proofs.nonce);
        assert_ne!(one.proofs.verifier, one.proofs.nonce);
        assert!(one.proofs.verifier.len() == 43 && !one.state.contains(&one.proofs.verifier));
        // RFC 7636 appendix B.
        let known = Proofs {
            nonce: String::new(),
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into(),
        };
        assert_eq!(known.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
