//! Signing out where a sign-in came from: here when the provider says so, there when somebody signs out here.

use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;

use super::{ProviderKind, SignOut, Trouble, logout_token::Logout};
use crate::{
    auth::{Auth, Client, LoginSession, hash_secret},
    store::{SessionOrigin, StoreError},
};

/// How long a sign-out waits for a provider to say where people sign out.
const PATIENCE: Duration = Duration::from_secs(2);

/// A provider at which somebody who signed out here is signed in still.
#[derive(Clone, Eq, PartialEq)]
pub struct Elsewhere {
    /// As its button calls it.
    pub label: String,
    /// Where they sign out there; may hold their ID token, so not for logs.
    pub url: String,
    /// Whether to go there at once; otherwise it is offered.
    pub at_once: bool,
}

/// Why a provider's word that somebody signed out there was not taken.
#[derive(Debug, Error)]
pub enum BackChannelError {
    #[error("there is no such provider")]
    NoSuchProvider,
    #[error("the logout token proves nothing")]
    Untrustworthy,
    #[error("the provider's keys cannot be had")]
    Down,
    #[error("too many logout tokens that prove nothing")]
    TooMany { retry_after: Duration },
    #[error("the sessions could not be ended")]
    Store(#[from] StoreError),
}

impl std::fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elsewhere").field("label", &self.label).finish_non_exhaustive()
    }
}

impl Auth {
    /// Where whoever had this session signs out at the provider, too; none where the configuration or the provider says
    /// nothing of it (OpenID Connect RP-Initiated Logout 1.0).
    pub async fn elsewhere(&self, session: &LoginSession, now: OffsetDateTime) -> Option<Elsewhere> {
        let outside = &self.inner.outside;
        let issuer = session.origin.as_ref()?.issuer.as_str();
        let provider = outside.providers.iter().find(|provider| provider.options.is_of(issuer))?;
        let options = &provider.options;
        if options.kind != ProviderKind::OpenIdConnect || options.sign_out == SignOut::Here {
            return None;
        }
        let at_once = options.sign_out == SignOut::There;
        let back_to = at_once.then(|| format!("{}/sign-in", self.inner.options.sites.gateway()));
        let id_token = session.id_token.as_ref();
        let asking = provider
            .openid
            .end_session_url(options, &outside.fetcher, id_token, back_to.as_deref(), now);
        let url = tokio::time::timeout(PATIENCE, asking).await.ok().flatten()?;
        Some(Elsewhere {
            label: options.label.clone(),
            url,
            at_once,
        })
    }

    /// Takes a provider's word that somebody signed out there, and ends what that sign-in began here; tells how many
    /// sessions (OpenID Connect Back-Channel Logout 1.0 §2.5).
    pub async fn back_channel_logout(
        &self,
        provider: &str,
        token: &str,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<usize, BackChannelError> {
        let outside = &self.inner.outside;
        let found = outside.provider(provider);
        let found = found.filter(|provider| provider.options.kind == ProviderKind::OpenIdConnect);
        let found = found.ok_or(BackChannelError::NoSuchProvider)?;
        let counted = self.inner.attempts.lock().take_from(client.address, now);
        counted.map_err(|retry_after| BackChannelError::TooMany { retry_after })?;
        let read = found.openid.logout(&found.options, &outside.fetcher, token, now).await;
        let logout = read.map_err(|trouble| refused(provider, &trouble))?;
        self.inner.attempts.lock().give_back_from(client.address);
        let issuer = found.options.issuer.as_str();
        let name = hash_secret(&format!("{issuer}\0{}", logout.id));
        if !outside.logouts.lock().take(name, logout.until, now.unix_timestamp()) {
            tracing::warn!(provider, "a logout token was offered again");
            return Err(BackChannelError::Untrustworthy);
        }
        let ended = self.end_sessions_of(issuer, &logout, provider, client, now).await;
        if ended.is_err() {
            // The provider may say it again: they ended here, and are in the store still.
            outside.logouts.lock().give_back(&name);
        }
        Ok(ended?)
    }

    async fn end_sessions_of(
        &self,
        issuer: &str,
        logout: &Logout,
        provider: &str,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<usize, StoreError> {
        let meant = |session: &LoginSession| session.origin.as_ref().is_some_and(|origin| means(logout, issuer, origin));
        let sessions: Vec<_> = self
            .inner
            .sessions
            .iter()
            .filter(|session| meant(session))
            .map(|session| session.clone())
            .collect();
        let owed = self.inner.owed.sessions(meant);
        let ended = self.end_all(&sessions).await;
        let ended = ended.and(self.end_all(&owed).await);
        for session in &sessions {
            let owner = self.user(session.user()).map(|user| user.name.to_string()).unwrap_or_default();
            let detail = format!("{} signed out at {provider}", session.id.0);
            self.audit("session.ended", &client.actor(""), &owner, &detail, now).await;
        }
        ended.map(|()| sessions.len() + owed.len())
    }
}

/// Whether a session here came of what ended there: that very session where it is named and known, else all of the person's.
fn means(logout: &Logout, issuer: &str, origin: &SessionOrigin) -> bool {
    let person = logout.subject.as_ref().map(|subject| *subject == origin.subject);
    let session = match (&logout.session, &origin.session) {
        (Some(named), Some(known)) => Some(named == known),
        _ => None,
    };
    let says_nothing = person.is_none() && session.is_none();
    issuer == origin.issuer && !says_nothing && person.unwrap_or(true) && session.unwrap_or(true)
}

fn refused(provider: &str, trouble: &Trouble) -> BackChannelError {
    let (cause, refused) = match trouble {
        Trouble::Down(cause) => (cause.as_str(), BackChannelError::Down),
        Trouble::Untrustworthy(cause) => (cause.as_str(), BackChannelError::Untrustworthy),
        Trouble::Stale => ("", BackChannelError::Untrustworthy),
    };
    tracing::warn!(provider, cause, "a logout token was refused");
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sess_4_which_sessions_a_logout_means() {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        #[track_caller]
        fn check(logout: &Logout, origin: &SessionOrigin, expected: bool) {
            assert_eq!(means(logout, "https://id.example", origin), expected, "{logout:?} {origin:?}");
        }
        // (the token's subject and session, the session's own, whether it is meant)
        for (subject, named, own, known, expected) in [
            ("ada", "", "ada", "s1", true),
            ("ada", "", "bob", "s1", false),
            ("ada", "s1", "ada", "s1", true),
            ("ada", "s1", "ada", "s2", false),
            ("ada", "s1", "bob", "s1", false),
            ("", "s1", "ada", "s1", true),
            ("", "s1", "ada", "s2", false),
            // A provider that names its session in one place alone: better too many than too few, but only of that person.
            ("ada", "s1", "ada", "", true),
            ("", "s1", "ada", "", false),
        ] {
            let logout = Logout {
                subject: text(subject),
                session: text(named),
                id: "1".into(),
                until: 0,
            };
            let origin = SessionOrigin {
                issuer: "https://id.example".into(),
                subject: own.into(),
                session: text(known),
            };
            check(&logout, &origin, expected);
            let other = SessionOrigin {
                issuer: "https://evil.example".into(),
                ..origin
            };
            check(&logout, &other, false);
        }
    }
}
