//! The cookie of one editor or port host: a signature over host and login session, good on that host alone (COOK-3).
//!
//! It carries no power of its own: it is good while its login session lives, and its scope is its host's.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderMap;
use time::OffsetDateTime;

use super::{
    ACCESS_COOKIE, Auth, Presented,
    cookies::{Found, find, set_cookie},
    hop::host_text,
    signing::Purpose,
};
use crate::{
    domain::{Credential, Scope, SessionId},
    route::Route,
};

const VERSION: &str = "1";
/// How far in the future a cookie's issue may lie: the clock was set back.
const MAX_SKEW_SECONDS: i64 = 3600;

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
        let value = match find(headers, ACCESS_COOKIE) {
            Found::Nothing => return Presented::Nothing,
            Found::Bad => return Presented::Invalid,
            Found::One(value) => value,
        };
        let scope = match host {
            Route::Editor(name) => Scope::Workbench(name.clone()),
            Route::Port(name, port) => Scope::Port(name.clone(), *port),
            Route::Gateway | Route::NoSuchCodespace | Route::Foreign => return Presented::Invalid,
        };
        let session = self.read_host_cookie(&value, host, now);
        match session.and_then(|session| self.alive(&session, now)) {
            Some((session, user)) => {
                self.touch(&session, now);
                Presented::Valid(user.identity(Credential::Cookie(session.id.clone()), scope))
            }
            None => Presented::Invalid,
        }
    }

    fn read_host_cookie(&self, value: &str, host: &Route, now: OffsetDateTime) -> Option<SessionId> {
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
        let age = now.unix_timestamp().checked_sub(issued.parse().ok()?)?;
        let fresh = u64::try_from(age).map_or(age >= -MAX_SKEW_SECONDS, |age| age < self.inner.options.session_absolute.as_secs());
        fresh.then(|| SessionId(session.into()))
    }
}
