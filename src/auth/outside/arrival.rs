//! Somebody whom a provider vouched for becomes somebody here: an account found, made or linked to.

use std::sync::Arc;

use time::OffsetDateTime;

use super::{
    Reason,
    options::Rules,
    person::{NotAllowed, Person},
};
use crate::{
    auth::{Auth, Client, Fresh, LinkedIdentity, User, UserError, secrets::fresh_id, sign_in::Vouching},
    domain::{Role, UserId},
    store::{SessionOrigin, StoreError},
};

impl Auth {
    /// Opens a login session for somebody, making an account where the rules allow it.
    pub(super) async fn welcome(
        &self,
        provider: &str,
        rules: &Rules,
        person: &Person,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<Fresh, Reason> {
        let outcome = self.welcome_in(provider, rules, person, client, now).await;
        match &outcome {
            Ok((fresh, user)) => {
                let by = client.actor(user.name.as_str());
                self.audit("session.created", &by, &fresh.session.id.0, provider, now).await;
            }
            Err(_) => self.audit_refusal(&person.shown, provider, client, now).await,
        }
        outcome.map(|(fresh, _)| fresh)
    }

    /// Links an identity to an account, or notes what its provider says now if it is linked already.
    pub(super) async fn link(
        &self,
        account: &UserId,
        provider: &str,
        rules: &Rules,
        person: &Person,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<(), Reason> {
        admit(person, rules)?;
        let known = self.identity(&person.issuer, &person.subject);
        let linked = known.as_ref().is_some_and(|known| known.user == *account);
        if !linked && self.user(account).is_none_or(|user| !self.may_have_own_ways(&user)) {
            return Err(Reason::Belongs);
        }
        let identity = identity(person, account, provider, rules, (known.as_deref(), now));
        self.keep_identity(identity).await.map_err(|error| match error {
            UserError::IdentityTaken => Reason::Taken {
                shown: person.shown.clone(),
            },
            error => failed(&error),
        })?;
        let name = self.user(account).map(|user| user.name.to_string()).unwrap_or_default();
        let detail = format!("{provider} {}", person.shown);
        self.audit("identity.linked", &client.actor(&name), &name, &detail, now).await;
        Ok(())
    }

    async fn welcome_in(
        &self,
        provider: &str,
        rules: &Rules,
        person: &Person,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<(Fresh, Arc<User>), Reason> {
        admit(person, rules)?;
        let user = match self.identity(&person.issuer, &person.subject) {
            Some(known) => {
                let user = self.user(&known.user).ok_or_else(|| not_allowed(person, NotAllowed::NoAccount))?;
                if user.suspended {
                    return Err(Reason::Suspended {
                        shown: person.shown.clone(),
                    });
                }
                if person.withheld {
                    tracing::warn!(user = %user.name, provider, "the provider said nothing of groups: none is a reason to let them in anywhere, and the ceilings of those before hold");
                }
                let identity = identity(person, &user.id, provider, rules, (Some(&known), now));
                self.keep_identity(identity).await.map_err(|error| failed(&error))?;
                self.follow_groups(user, rules, person, client, now).await?
            }
            None => self.sign_up(provider, rules, person, client, now).await?,
        };
        let fresh = self.open_session_by(&user, vouching(person, rules, now), client, now).await;
        let fresh = fresh.map_err(|error| failed(&error))?;
        Ok((fresh, user))
    }

    /// Gives an account of this provider's the role that its groups say. What somebody here made keeps the role that it
    /// was given here, and the last administrator stays one.
    async fn follow_groups(
        &self,
        user: Arc<User>,
        rules: &Rules,
        person: &Person,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<Arc<User>, Reason> {
        let role = person.role(rules).filter(|_| user.made_by.as_ref() == Some(&person.issuer));
        let Some(role) = role.filter(|role| *role != user.role) else {
            return Ok(user);
        };
        match self.set_role(&user.id, role, &client.actor(""), now).await {
            Ok(changed) => Ok(changed),
            Err(UserError::LastAdmin) => {
                tracing::warn!(user = %user.name, "the groups of a provider make the last administrator none: the role stays");
                Ok(user)
            }
            Err(error) => Err(failed(&error)),
        }
    }

    async fn sign_up(
        &self,
        provider: &str,
        rules: &Rules,
        person: &Person,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<Arc<User>, Reason> {
        // The first account is an administrator's, and its link is only for whoever runs the gateway.
        if !self.any_user() {
            return Err(not_allowed(person, NotAllowed::NotSetUp));
        }
        if !person.may_sign_up(rules) {
            return Err(not_allowed(person, NotAllowed::NoAccount));
        }
        let (stranger, provider, rules) = (person.clone(), provider.to_owned(), rules.clone());
        let made = self.change(move |auth| async move { auth.add_stranger(&provider, &rules, &stranger, now).await });
        let user = made.await.map_err(|error| failed(&error))?;
        self.audit(
            "user.created",
            &client.actor(user.name.as_str()),
            user.name.as_str(),
            user.role.as_str(),
            now,
        )
        .await;
        Ok(user)
    }

    /// Makes the account under the first name that is free. Of two sign-ins at once the second finds the first one's.
    async fn add_stranger(&self, provider: &str, rules: &Rules, person: &Person, now: OffsetDateTime) -> Result<Arc<User>, UserError> {
        if let Some(known) = self.identity(&person.issuer, &person.subject) {
            return self.user(&known.user).ok_or(UserError::Missing);
        }
        let free = person.account_names().filter(|name| self.user_by_name(name).is_none());
        for name in free {
            let user = User {
                id: UserId(fresh_id()),
                name,
                role: person.role(rules).unwrap_or(Role::Member),
                email: person.email.clone(),
                suspended: false,
                created_at: now,
                made_by: Some(person.issuer.clone()),
                password: None,
            };
            let identity = identity(person, &user.id, provider, rules, (None, now));
            match self.inner.store.add_user_with_identity(&user.record(), &identity).await {
                Ok(()) => {
                    let user = Arc::new(user);
                    self.keep_user(Arc::clone(&user));
                    self.note_identity(identity);
                    return Ok(user);
                }
                // Another process took the name meanwhile.
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(UserError::NameTaken)
    }
}

fn identity(
    person: &Person,
    user: &UserId,
    provider: &str,
    rules: &Rules,
    (known, now): (Option<&LinkedIdentity>, OffsetDateTime),
) -> LinkedIdentity {
    let said = match known.filter(|_| person.withheld) {
        Some(known) => known.organisations.clone(),
        None => person.organisations(rules),
    };
    LinkedIdentity {
        issuer: person.issuer.clone(),
        subject: person.subject.clone(),
        user: user.clone(),
        provider: provider.to_owned(),
        shown: person.shown.clone(),
        organisations: said,
        withheld: person.withheld,
        linked_at: known.map_or(now, |known| known.linked_at),
        used_at: now,
    }
}

/// The session ends when the provider says or when the operator does, whichever is sooner (SESS-4).
fn vouching(person: &Person, rules: &Rules, now: OffsetDateTime) -> Vouching {
    let said = person.stay.until.and_then(|until| OffsetDateTime::from_unix_timestamp(until).ok());
    let longest = rules.max_session.map(|longest| now + longest);
    Vouching {
        origin: Some(SessionOrigin {
            issuer: person.issuer.clone(),
            subject: person.subject.clone(),
            session: person.stay.session.clone(),
        }),
        until: said.into_iter().chain(longest).min(),
        id_token: person.stay.id_token.clone(),
    }
}

fn admit(person: &Person, rules: &Rules) -> Result<(), Reason> {
    person.admitted(rules).map_err(|why| not_allowed(person, why))
}

fn not_allowed(person: &Person, why: NotAllowed) -> Reason {
    Reason::NotAllowed {
        shown: person.shown.clone(),
        why,
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Reason {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let cause = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    tracing::error!(cause, "a sign-in from outside could not be kept");
    Reason::Failed
}
