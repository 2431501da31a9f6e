//! The cookie of one editor or port host: a signature over host and login session, good on that host alone (COOK-3).
//!
//! It carries no power of its own: it is good while its login session lives, and its scope is its host's.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header::COOKIE};
use time::OffsetDateTime;

use super::{
    ACCESS_COOKIE, Auth, Presented, User,
    cookies::{Found, find, set_cookie},
    hop::host_text,
    signing::Purpose,
};
use crate::{
    domain::{Credential, Identity, Scope, SessionId},
    route::Route,
};

const VERSION: &str = "1";
/// How far in the future a cookie's issue may lie: the clock was set back.
const MAX_SKEW_SECONDS: i64 = 3600;

/// A host cookie whose signature was checked, with the bytes in which it came.
pub struct KnownCookie {
    /// None for cookies in several fields, which are never known again.
    line: Option<HeaderValue>,
    host: Route,
    session: SessionId,
    /// In seconds since 1970.
    issued: i64,
    /// Who it was found to be, and of which state of the account that was made.
    identity: Option<(Arc<User>, Arc<Identity>)>,
}

impl KnownCookie {
    /// Who it is, made anew when anything about the account is different.
    fn identity(&mut self, user: Arc<User>, scope: impl FnOnce() -> Scope) -> Arc<Identity> {
        if let Some((of, identity)) = &self.identity
            && Arc::ptr_eq(of, &user)
        {
            return Arc::clone(identity);
        }
        let identity = Arc::new(user.identity(Credential::Cookie(self.session.clone()), scope()));
        self.identity = Some((user, Arc::clone(&identity)));
        identity
    }
}

impl std::fmt::Debug for KnownCookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KnownCookie({:?})", self.session)
    }
}

impl Auth {
    /// The `Set-Cookie` that says on one host who someone is.
    pub fn host_cookie(&self, session: &SessionId, host: &Route, now: OffsetDateTime) -> String {
        let issued = now.unix_timestamp().to_string();
        let signature = self.inner.key.sign(Purpose::HostCookie, &[&host_text(host), &session.0, &issued]);
        let value = format!("{VERSION}.{session}.{issued}.{}", URL_SAFE_NO_PAD.encode(signature));
        set_cookie(ACCESS_COOKIE, &value, self.inner.options.session_absolute.as_secs())
    }

    /// Reads the cookie of an editor or port host. Its scope is that host: [`Scope::Workbench`] or [`Scope::Port`].
    pub fn by_host_cookie(&self, headers: &HeaderMap, host: &Route, now: OffsetDateTime) -> Presented {
        self.by_known_host_cookie(headers, host, now, &mut None)
    }

    /// The same for a connection that sends the same cookie again and again: what was found out from its bytes is kept,
    /// and everything that can change is asked anew.
    pub fn by_known_host_cookie(
        &self,
        headers: &HeaderMap,
        host: &Route,
        now: OffsetDateTime,
        known: &mut Option<KnownCookie>,
    ) -> Presented {
        let mut lines = headers.get_all(COOKIE).iter();
        let line = lines.next().filter(|_| lines.next().is_none());
        if !known
            .as_ref()
            .is_some_and(|known| known.host == *host && known.line.as_ref() == line && line.is_some())
        {
            let value = match find(headers, ACCESS_COOKIE) {
                Found::Nothing => return Presented::Nothing,
                Found::Bad => return Presented::Invalid,
                Found::One(value) => value,
            };
            let Some((session, issued)) = self.read_host_cookie(&value, host) else {
                return Presented::Invalid;
            };
            *known = Some(KnownCookie {
                // A copy: a clone would hold the whole head that it came in.
                line: line.and_then(|line| HeaderValue::from_bytes(line.as_bytes()).ok()),
                host: host.clone(),
                session,
                issued,
                identity: None,
            });
        }
        let Some(found) = known.as_mut().filter(|known| self.is_fresh(known.issued, now)) else {
            return Presented::Invalid;
        };
        let Some((session, user)) = self.alive(&found.session, now) else {
            return Presented::Invalid;
        };
        self.touch(&session, now);
        match host {
            Route::Editor(name) => Presented::Valid(found.identity(user, || Scope::Workbench(name.clone()))),
            Route::Port(name, port) => Presented::Valid(found.identity(user, || Scope::Port(name.clone(), *port))),
            Route::Gateway | Route::NoSuchCodespace | Route::Foreign => Presented::Invalid,
        }
    }

    fn read_host_cookie(&self, value: &str, host: &Route) -> Option<(SessionId, i64)> {
        let mut parts = value.split('.');
        let (version, session, issued, signature) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != VERSION || parts.next().is_some() {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !self
            .inner
            .key
            .verify(Purpose::HostCookie, &[&host_text(host), session, issued], &signature)
        {
            return None;
        }
        Some((SessionId(session.into()), issued.parse().ok()?))
    }

    /// Whether a cookie that was issued then still counts.
    fn is_fresh(&self, issued: i64, now: OffsetDateTime) -> bool {
        let Some(age) = now.unix_timestamp().checked_sub(issued) else {
            return false;
        };
        u64::try_from(age).map_or(age >= -MAX_SKEW_SECONDS, |age| age < self.inner.options.session_absolute.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fixture::{auth, auth_on, cookies, editor, name, now, port, seconds, sent_back, signed_in};
    use crate::domain::Role;

    #[tokio::test]
    async fn cook_3_a_cookie_is_good_on_its_host_alone() {
        let (auth, store) = auth().await;
        let fresh = signed_in(&auth).await;
        let hosts = [
            editor("amber"),
            port("amber", 3000),
            port("amber", 3001),
            port("beryl", 3000),
            editor("amber-3000a"),
            Route::Gateway,
        ];
        for (index, host) in hosts.iter().enumerate() {
            let set = auth.host_cookie(&fresh.session.id, host, now());
            let headers = cookies(&[sent_back(&set)]);
            for (other, asked) in hosts.iter().enumerate() {
                let valid = matches!(auth.by_host_cookie(&headers, asked, now()), Presented::Valid(_));
                assert_eq!(valid, index == other && *host != Route::Gateway, "{host:?} on {asked:?}");
            }
            // It is no cookie of the gateway host either, and is gone from there without harm.
            assert_eq!(auth.by_gateway_cookie(&headers, now()), Presented::Nothing);
        }
        let set = auth.host_cookie(&fresh.session.id, &hosts[1], now());
        let Presented::Valid(identity) = auth.by_host_cookie(&cookies(&[sent_back(&set)]), &hosts[1], now()) else {
            panic!("not valid");
        };
        assert_eq!(identity.scope, "port:amber:3000".parse().expect("a scope"));
        assert_eq!(identity.credential, Credential::Cookie(fresh.session.id.clone()));
        let set = auth.host_cookie(&fresh.session.id, &hosts[0], now());
        let Presented::Valid(identity) = auth.by_host_cookie(&cookies(&[sent_back(&set)]), &hosts[0], now()) else {
            panic!("not valid");
        };
        assert_eq!(identity.scope, Scope::Workbench(name("amber")));
        // Good after a restart, too.
        auth.settle().await;
        let again = auth_on(store, now()).await;
        assert!(matches!(
            again.by_host_cookie(&cookies(&[sent_back(&set)]), &hosts[0], now()),
            Presented::Valid(_)
        ));
    }

    #[tokio::test]
    async fn cook_3_a_cookie_lives_no_longer_than_its_session() {
        let (auth, _) = auth().await;
        let fresh = signed_in(&auth).await;
        let host = port("amber", 3000);
        let set = auth.host_cookie(&fresh.session.id, &host, now());
        let headers = cookies(&[sent_back(&set)]);
        assert_eq!(auth.by_host_cookie(&cookies(&[]), &host, now()), Presented::Nothing);
        let twice = [sent_back(&set), sent_back(&set)].join("; ");
        assert_eq!(auth.by_host_cookie(&cookies(&[&twice]), &host, now()), Presented::Invalid);
        assert_eq!(auth.by_host_cookie(&headers, &host, now() - seconds(2 * 3600)), Presented::Invalid);
        auth.sign_out(&fresh.session.id, &crate::audit::Actor::gateway(), now())
            .await
            .expect("signed out");
        assert_eq!(auth.by_host_cookie(&headers, &host, now()), Presented::Invalid);
    }

    #[tokio::test]
    async fn what_a_connection_remembers_follows_the_account() {
        let (auth, _) = auth().await;
        let fresh = signed_in(&auth).await;
        let host = port("amber", 3000);
        let headers = cookies(&[sent_back(&auth.host_cookie(&fresh.session.id, &host, now()))]);
        let mut known = None;
        let mut role = || match auth.by_known_host_cookie(&headers, &host, now(), &mut known) {
            Presented::Valid(identity) => Some(identity.role),
            Presented::Nothing | Presented::Invalid => None,
        };
        assert_eq!((role(), role()), (Some(Role::Member), Some(Role::Member)));
        let (user, by) = (fresh.session.user(), crate::audit::Actor::gateway());
        auth.set_role(user, Role::Admin, &by, now())
            .await
            .expect("promoted, which signs out");
        assert_eq!(role(), None);
    }

    #[tokio::test]
    async fn tampered_cookies_are_refused() {
        let (auth, _) = auth().await;
        let fresh = signed_in(&auth).await;
        let host = port("amber", 3000);
        let set = auth.host_cookie(&fresh.session.id, &host, now());
        let start = ACCESS_COOKIE.len() + 1;
        for index in start..sent_back(&set).len() {
            let mut bytes = sent_back(&set).as_bytes().to_vec();
            bytes[index] = if bytes[index] == b'0' { b'1' } else { b'0' };
            let line = String::from_utf8(bytes).expect("text");
            assert_eq!(auth.by_host_cookie(&cookies(&[&line]), &host, now()), Presented::Invalid, "{line}");
        }
    }
}
