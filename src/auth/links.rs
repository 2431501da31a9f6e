//! One-time links: the first start's, and the one that `up` and the command line print.
//!
//! Kept in memory alone, as hashes: a restart voids them, and prints a new one where there is still no account.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use time::OffsetDateTime;

use super::{
    Auth, Client, Fresh, NewUser, PasswordError, UserError,
    secrets::{fresh_secret_string, hash_secret},
};
use crate::{
    domain::{Role, UserId, UserName},
    store::StoreError,
};

/// How long a sign-in link is good.
pub const SIGN_IN_LINK_FOR: Duration = Duration::from_secs(30 * 60);
/// Most links kept; beyond it the one that ends first gives way.
const MAX_LINKS: usize = 1000;

/// A link to be made.
#[derive(Clone, Debug)]
pub enum Link {
    /// Makes the first admin; good until there is a user.
    FirstAdmin,
    /// Signs one user in, once, within 30 minutes, and leads on to `next`.
    SignIn { user: UserId, next: String },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LinkKind {
    FirstAdmin,
    SignIn,
}

/// What using a link gave.
#[derive(Clone, Debug)]
pub struct LinkUsed {
    pub fresh: Fresh,
    pub kind: LinkKind,
    /// Where to go: a path of the gateway host or a URL of ours.
    pub next: String,
}

/// Why a link did nothing; `Display` is for people.
#[derive(Debug, Error)]
pub enum LinkError {
    #[error("this link was used already or has expired")]
    Gone,
    #[error("choose a name and a password for the first account")]
    FormNeeded,
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("too much is going on right now; try again in a moment")]
    Busy,
    #[error("the sign-in could not be kept")]
    Store(#[source] StoreError),
}

/// A link that was made.
#[derive(Clone)]
pub(super) struct Kept {
    link: Link,
    expires_at: Option<OffsetDateTime>,
}

/// A link in use: put back if it was not used up, also when the request is given up.
struct Taken {
    auth: Auth,
    hash: [u8; 32],
    kept: Option<Kept>,
}

impl Auth {
    /// Makes a link's secret, 256 bits in base64url: what stands behind `#` in `C/setup#SECRET`.
    pub fn make_link(&self, link: Link, now: OffsetDateTime) -> SecretString {
        let secret = fresh_secret_string();
        let expires_at = match link {
            Link::FirstAdmin => None,
            Link::SignIn { .. } => Some(now + SIGN_IN_LINK_FOR),
        };
        let mut links = self.inner.links.lock();
        if links.len() >= MAX_LINKS {
            let first = links.iter().filter(|(_, kept)| kept.expires_at.is_some());
            let first = first.min_by_key(|(_, kept)| kept.expires_at).map(|(hash, _)| *hash);
            first.and_then(|hash| links.remove(&hash));
        }
        links.insert(hash_secret(secret.expose_secret()), Kept { link, expires_at });
        secret
    }

    /// Tells what kind of link a secret belongs to, without using it.
    pub fn peek_link(&self, secret: &str, now: OffsetDateTime) -> Option<LinkKind> {
        let links = self.inner.links.lock();
        let kept = links.get(&hash_secret(secret)).filter(|kept| kept.is_good(now))?;
        match kept.link {
            Link::FirstAdmin if self.any_user() => None,
            Link::FirstAdmin => Some(LinkKind::FirstAdmin),
            Link::SignIn { .. } => Some(LinkKind::SignIn),
        }
    }

    /// Uses a link, once; a failure that the person can mend leaves it good.
    pub async fn use_link(
        &self,
        secret: &str,
        form: Option<(UserName, SecretString)>,
        client: Client,
        now: OffsetDateTime,
    ) -> Result<LinkUsed, LinkError> {
        let kind = self.peek_link(secret, now).ok_or(LinkError::Gone)?;
        if kind == LinkKind::FirstAdmin && form.is_none() {
            return Err(LinkError::FormNeeded);
        }
        // Taken out before anything is awaited: of two at once, one finds it gone.
        let hash = hash_secret(secret);
        let kept = self.inner.links.lock().remove(&hash).ok_or(LinkError::Gone)?;
        let mut taken = Taken {
            auth: self.clone(),
            hash,
            kept: Some(kept.clone()),
        };
        let used = self.follow(&kept.link, form, &client, now).await;
        if matches!(used, Ok(_) | Err(LinkError::Gone)) {
            taken.kept = None;
        }
        used
    }

    pub(super) fn sweep_links(&self, now: OffsetDateTime) {
        self.inner.links.lock().retain(|_, kept| kept.is_good(now));
    }

    async fn follow(
        &self,
        link: &Link,
        form: Option<(UserName, SecretString)>,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<LinkUsed, LinkError> {
        let (user, kind, next) = match link {
            Link::FirstAdmin => {
                let (name, password) = form.ok_or(LinkError::FormNeeded)?;
                let new = NewUser {
                    name,
                    role: Role::Admin,
                    password: Some(password),
                    email: None,
                };
                let by = client.actor(new.name.as_str());
                let user = self.add_user(new, true, &by, now).await.map_err(first_user_error)?;
                (user, LinkKind::FirstAdmin, "/".to_owned())
            }
            Link::SignIn { user, next } => {
                let user = self.user(user).filter(|user| !user.suspended).ok_or(LinkError::Gone)?;
                (user, LinkKind::SignIn, next.clone())
            }
        };
        let fresh = self.open_session(&user, client, now).await.map_err(LinkError::Store)?;
        let by = client.actor(user.name.as_str());
        self.audit("link.used", &by, user.name.as_str(), kind.as_str(), now).await;
        Ok(LinkUsed { fresh, kind, next })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take() {
            self.auth.inner.links.lock().insert(self.hash, kept);
        }
    }
}

impl Kept {
    fn is_good(&self, now: OffsetDateTime) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

impl LinkKind {
    /// The word for it in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FirstAdmin => "first_admin",
            Self::SignIn => "sign_in",
        }
    }
}

fn first_user_error(error: UserError) -> LinkError {
    match error {
        UserError::NameTaken
        | UserError::Missing
        | UserError::IdentityTaken
        | UserError::LastWayIn
        | UserError::Belongs
        | UserError::UnderCeiling
        | UserError::NoOwnWays => LinkError::Gone,
        UserError::Password(error) => LinkError::Password(error),
        UserError::Busy | UserError::TooManyTokens { .. } | UserError::LastAdmin => LinkError::Busy,
        UserError::Store(error) => LinkError::Store(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fixture::{auth, now, seconds, secret, user};

    fn form(name: &str, password: &str) -> Option<(UserName, SecretString)> {
        Some((name.parse().expect("an account name"), secret(password)))
    }

    #[tokio::test]
    async fn the_first_link_makes_one_admin() {
        let (auth, store) = auth().await;
        let link = auth.make_link(Link::FirstAdmin, now());
        let link = link.expose_secret();
        let much_later = now() + seconds(30 * 24 * 3600);
        assert_eq!(auth.peek_link(link, much_later), Some(LinkKind::FirstAdmin));
        let try_with = async |form| auth.use_link(link, form, Client::default(), much_later).await;
        assert!(matches!(try_with(None).await, Err(LinkError::FormNeeded)));
        assert!(matches!(
            try_with(form("ada", "short")).await,
            Err(LinkError::Password(PasswordError::TooShort))
        ));
        assert!(matches!(
            try_with(form("ada.lovelace", "Ada.Lovelace")).await,
            Err(LinkError::Password(PasswordError::IsName))
        ));
        // A browser that gives up in the middle uses nothing up.
        drop(Box::pin(try_with(form("ada", "long enough"))));
        let (first, second) = tokio::join!(try_with(form("ada", "long enough")), try_with(form("eve", "long enough")));
        assert!(first.is_ok() != second.is_ok());
        let used = first.or(second).expect("one of them");
        assert_eq!((used.kind, used.next.as_str()), (LinkKind::FirstAdmin, "/"));
        assert!(matches!(try_with(form("eve", "long enough")).await, Err(LinkError::Gone)));
        let users = store.users().await.expect("users");
        assert_eq!((users.len(), users[0].role), (1, Role::Admin));
        assert_eq!(used.fresh.session.user(), &users[0].id);
    }

    #[tokio::test]
    async fn the_first_link_is_void_once_there_is_a_user() {
        let (auth, _) = auth().await;
        let link = auth.make_link(Link::FirstAdmin, now());
        user(&auth, "ada").await;
        assert_eq!(auth.peek_link(link.expose_secret(), now()), None);
        let used = auth
            .use_link(link.expose_secret(), form("eve", "long enough"), Client::default(), now())
            .await;
        assert!(matches!(used, Err(LinkError::Gone)));
    }

    #[tokio::test]
    async fn a_sign_in_link_works_once_and_for_half_an_hour() {
        let (auth, _) = auth().await;
        let ada = user(&auth, "ada").await;
        let make = || {
            auth.make_link(
                Link::SignIn {
                    user: ada.id.clone(),
                    next: "/x".into(),
                },
                now(),
            )
        };
        let link = make();
        let try_at = async |secret: &SecretString, at| auth.use_link(secret.expose_secret(), None, Client::default(), at).await;
        assert!(matches!(try_at(&link, now() + seconds(1800)).await, Err(LinkError::Gone)));
        let used = try_at(&link, now() + seconds(1799)).await.expect("a session");
        assert_eq!((used.kind, used.next.as_str()), (LinkKind::SignIn, "/x"));
        assert!(matches!(try_at(&link, now()).await, Err(LinkError::Gone)));
        let link = make();
        auth.suspend(&ada.id, true, &crate::audit::Actor::gateway(), now())
            .await
            .expect("suspended");
        assert!(matches!(try_at(&link, now()).await, Err(LinkError::Gone)));
        assert!(auth.peek_link("nonsense", now()).is_none());
    }
}
