//! That a browser has read the warning before a stranger's public port: a signed cookie of that host alone, and of nobody.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderMap;
use time::OffsetDateTime;

use super::{
    Auth,
    cookies::{Found, find, set_cookie},
    hop::host_text,
    signing::Purpose,
};
use crate::route::Route;

const COOKIE: &str = "__Host-portico_warned";
/// How long a browser is not warned again.
const GOOD_FOR_SECONDS: u32 = 30 * 24 * 3600;

impl Auth {
    /// The `Set-Cookie` by which a browser shows that it was warned.
    pub fn warned_cookie(&self, host: &Route, now: OffsetDateTime) -> String {
        let until = (now.unix_timestamp() + i64::from(GOOD_FOR_SECONDS)).to_string();
        let signature = self.inner.key.sign(Purpose::Warned, &[&host_text(host), &until]);
        let value = format!("{until}.{}", URL_SAFE_NO_PAD.encode(signature));
        set_cookie(COOKIE, &value, u64::from(GOOD_FOR_SECONDS))
    }

    /// Whether a request shows that its browser was warned of this host.
    pub fn was_warned(&self, headers: &HeaderMap, host: &Route, now: OffsetDateTime) -> bool {
        let Found::One(value) = find(headers, COOKIE) else { return false };
        let Some((until, signature)) = value.split_once('.') else {
            return false;
        };
        let lives = until.parse::<i64>().is_ok_and(|until| now.unix_timestamp() < until);
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        lives && self.inner.key.verify(Purpose::Warned, &[&host_text(host), until], &signature)
    }
}

#[cfg(test)]
mod tests {
    use crate::auth::fixture::{auth, cookies, now, port, seconds, sent_back};

    #[tokio::test]
    async fn cook_3_a_warning_counts_on_its_host_and_for_a_while() {
        let (auth, _) = auth().await;
        let set = auth.warned_cookie(&port("amber", 3000), now());
        let headers = cookies(&[sent_back(&set)]);
        assert!(auth.was_warned(&headers, &port("amber", 3000), now()));
        assert!(!auth.was_warned(&headers, &port("amber", 3001), now()));
        assert!(!auth.was_warned(&headers, &port("amber", 3000), now() + seconds(30 * 24 * 3600)));
        assert!(!auth.was_warned(&cookies(&["__Host-portico_warned=9999999999.AAAA"]), &port("amber", 3000), now()));
    }
}
