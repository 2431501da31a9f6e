//! Signing in from outside: providers of OpenID Connect, GitHub, and a trusted proxy's header.
//!
//! Owns the way to a provider and back, what an answer proves, and whose account that is: found by issuer and subject
//! alone (OIDC-1). A failure of any part keeps people out (FAIL-1). Refuses to know pages and routes.

mod arrival;
mod departure;
mod discovery;
mod fetch;
mod flow;
mod github;
mod header;
mod id_token;
mod keys;
mod logout_token;
mod oidc;
mod options;
mod person;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::HeaderMap;
use parking_lot::Mutex;
use time::OffsetDateTime;

use self::{fetch::Fetcher, flow::Flow, oidc::OpenIdConnect, person::Person};
use super::{Auth, Client, Fresh, Presented, User};
use crate::domain::{Credential, ReturnTo, SessionId};

pub use self::{
    departure::{BackChannelError, Elsewhere},
    flow::clear_crowded_flows,
    header::Vouched,
    options::{HeaderOptions, Options, ProviderKind, ProviderOptions, Rules, Secret, SignOut, SignUp},
    person::NotAllowed,
};

/// The ways in that the sign-in page offers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ways {
    pub passwords: bool,
    /// Whether a proxy says who people are.
    pub header: bool,
    pub providers: Vec<Way>,
}

/// A provider as its button shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Way {
    pub id: String,
    pub label: String,
}

/// The first step of a sign-in at a provider.
#[derive(Clone)]
pub struct Departure {
    /// The provider's page, with our state; not for logs.
    pub location: String,
    /// The `Set-Cookie` that ties the state to the browser.
    pub set_cookie: String,
}

/// What a provider sent back with the browser.
#[derive(Clone, Default)]
pub struct Callback {
    pub state: String,
    pub code: Option<String>,
    pub error: Option<String>,
    /// `iss` (RFC 9207).
    pub issuer: Option<String>,
}

/// A sign-in from outside that went well.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// The new login session; none where an identity was linked.
    pub fresh: Option<Fresh>,
    pub next: ReturnTo,
    pub clear_cookie: String,
}

/// A sign-in from outside that did not.
#[derive(Clone, Debug)]
pub struct OutsideError {
    pub reason: Reason,
    /// The provider's button; none if there is no such provider.
    pub way: Option<Way>,
    pub next: ReturnTo,
    pub clear_cookie: Option<String>,
}

/// Why somebody did not come in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    NoSuchProvider,
    /// The state is of no use: too old, used already, of another browser, or not ours.
    Stale,
    /// The person or the provider said no.
    Declined,
    /// The provider cannot be reached, or does not do its part.
    Down,
    /// The provider's answer proves nothing.
    Untrustworthy,
    NotAllowed {
        shown: String,
        why: NotAllowed,
    },
    Suspended {
        shown: String,
    },
    /// The identity belongs to another account.
    Taken {
        shown: String,
    },
    /// The account belongs to the provider that made it, which is its only way in.
    Belongs,
    /// The browser is not signed in any more as whoever wanted to link an identity.
    SignedOut,
    TooMany {
        retry_after: Duration,
    },
    /// A fault of ours; it has been logged.
    Failed,
}

/// What went wrong with a provider; the texts are for the log.
#[derive(Debug)]
enum Trouble {
    Down(String),
    Untrustworthy(String),
    Stale,
}

/// What is configured, and what is kept of it.
pub(super) struct Outside {
    pub(super) passwords: bool,
    header: Option<HeaderOptions>,
    providers: Vec<Provider>,
    fetcher: Fetcher,
    used: Mutex<flow::Used>,
    /// The logout tokens that were taken.
    logouts: Mutex<flow::Used>,
}

struct Provider {
    options: ProviderOptions,
    openid: OpenIdConnect,
}

impl Outside {
    pub(super) fn new(options: Options) -> Self {
        let provider = |options| Provider {
            options,
            openid: OpenIdConnect::default(),
        };
        Self {
            passwords: options.passwords,
            header: options.header,
            providers: options.providers.into_iter().map(provider).collect(),
            fetcher: Fetcher::new(options.outbound),
            used: Mutex::default(),
            logouts: Mutex::default(),
        }
    }

    /// Whether somebody with an identity of this issuer can come in.
    pub(super) fn admits(&self, issuer: &str) -> bool {
        self.rules_of(issuer).is_some()
    }

    /// The rules for people with an identity of this issuer, if they can come in.
    fn rules_of(&self, issuer: &str) -> Option<&Rules> {
        let of_provider = self.providers.iter().find(|provider| provider.options.is_of(issuer));
        let of_header = self
            .header
            .as_ref()
            .filter(|_| issuer == header::ISSUER)
            .map(|header| &header.rules);
        of_provider.map(|provider| &provider.options.rules).or(of_header)
    }

    fn provider(&self, id: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.options.id == id)
    }
}

impl Provider {
    fn way(&self) -> Way {
        Way {
            id: self.options.id.clone(),
            label: self.options.label.clone(),
        }
    }
}

impl Trouble {
    fn down(error: &(dyn std::error::Error + 'static)) -> Self {
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        Self::Down(causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
    }

    fn reason(self, provider: &str) -> Reason {
        match self {
            Self::Down(cause) => {
                tracing::warn!(provider, cause, "a provider of identities does not do its part");
                Reason::Down
            }
            Self::Untrustworthy(cause) => {
                tracing::warn!(provider, cause, "an answer of a provider of identities was refused");
                Reason::Untrustworthy
            }
            Self::Stale => Reason::Stale,
        }
    }
}

impl Auth {
    /// How people may sign in.
    pub fn ways(&self) -> Ways {
        let outside = &self.inner.outside;
        Ways {
            passwords: outside.passwords,
            header: outside.header.is_some(),
            providers: outside.providers.iter().map(Provider::way).collect(),
        }
    }

    /// Whether an account may have ways in that the provider which made it knows nothing of: a password, an identity
    /// elsewhere. Otherwise whoever is struck off there would still come in here.
    pub fn may_have_own_ways(&self, user: &User) -> bool {
        let rules = user.made_by.as_deref().and_then(|issuer| self.inner.outside.rules_of(issuer));
        rules.is_none_or(|rules| rules.own_ways)
    }

    /// Sends somebody to a provider: to sign in, or to link an identity to the account of a login session.
    pub async fn depart(
        &self,
        provider: &str,
        next: ReturnTo,
        linking: Option<SessionId>,
        now: OffsetDateTime,
    ) -> Result<Departure, OutsideError> {
        let outside = &self.inner.outside;
        let Some(found) = outside.provider(provider) else {
            return Err(OutsideError::nowhere(next));
        };
        let flow = Flow {
            provider: provider.to_owned(),
            next: next.clone(),
            linking,
        };
        let begun = self.begin_flow(&flow, now);
        let (options, redirect) = (&found.options, self.redirect_uri(provider));
        let location = match options.kind {
            ProviderKind::OpenIdConnect => {
                let asking = found
                    .openid
                    .authorize_url(options, &outside.fetcher, &redirect, &begun.state, &begun.proofs, now);
                asking.await
            }
            ProviderKind::GitHub => github::authorize_url(options, &redirect, &begun.state, &begun.proofs),
        };
        let location = location.map_err(|trouble| OutsideError {
            reason: trouble.reason(provider),
            way: Some(found.way()),
            next,
            clear_cookie: None,
        })?;
        Ok(Departure {
            location,
            set_cookie: begun.set_cookie,
        })
    }

    /// Takes somebody back from a provider. The caller ends the session that the browser had before, if any (SESS-1).
    pub async fn arrive(
        &self,
        provider: &str,
        callback: &Callback,
        headers: &HeaderMap,
        client: Client,
        now: OffsetDateTime,
    ) -> Result<Arrived, OutsideError> {
        let next = self.flow_next(&callback.state).unwrap_or_else(ReturnTo::root);
        let Some(found) = self.inner.outside.provider(provider) else {
            return Err(OutsideError::nowhere(next));
        };
        let fail = |reason, clear_cookie| OutsideError {
            reason,
            way: Some(found.way()),
            next: next.clone(),
            clear_cookie,
        };
        // Counted before the flow is taken: the table of those that were used is bounded, and nobody shall fill it.
        let counted = self.inner.attempts.lock().take_from(client.address, now);
        if let Err(retry_after) = counted {
            return Err(fail(Reason::TooMany { retry_after }, None));
        }
        let Some(returned) = self.return_flow(provider, &callback.state, headers, now) else {
            return Err(fail(Reason::Stale, None));
        };
        let clear_cookie = returned.clear_cookie.clone();
        let outcome = self.follow_back(found, callback, &returned, headers, &client, now).await;
        let fresh = outcome.map_err(|reason| fail(reason, Some(clear_cookie.clone())))?;
        Ok(Arrived {
            fresh,
            next: returned.flow.next,
            clear_cookie,
        })
    }

    /// Signs in whom a trusted proxy names.
    pub async fn sign_in_vouched(&self, vouched: &Vouched, client: &Client, now: OffsetDateTime) -> Result<Fresh, OutsideError> {
        let rules = self.inner.outside.header.as_ref().map(|header| header.rules.clone());
        let outcome = match rules {
            Some(rules) => self.welcome(header::PROVIDER, &rules, &vouched.0, client, now).await,
            None => Err(Reason::NoSuchProvider),
        };
        outcome.map_err(|reason| OutsideError {
            reason,
            way: None,
            next: ReturnTo::root(),
            clear_cookie: None,
        })
    }

    /// Reads the login session's cookie of a request to the gateway host. Where a trusted proxy names somebody else than
    /// the session's user, the session does not count: the person at the browser has changed.
    pub fn by_gateway_request(&self, headers: &HeaderMap, extensions: &http::Extensions, now: OffsetDateTime) -> Presented {
        self.unless_contradicted(self.by_gateway_cookie(headers, now), extensions)
    }

    /// The same for any host's cookie, when it was read.
    pub fn unless_contradicted(&self, presented: Presented, extensions: &http::Extensions) -> Presented {
        match (&presented, extensions.get::<Vouched>()) {
            (Presented::Valid(identity), Some(Vouched(person))) => {
                let named = self.identity(&person.issuer, &person.subject);
                let same = named.is_some_and(|named| named.user == identity.user);
                if same { presented } else { Presented::Invalid }
            }
            _ => presented,
        }
    }

    pub(super) fn sweep_flows(&self, now: OffsetDateTime) {
        self.inner.outside.used.lock().sweep(now.unix_timestamp());
        self.inner.outside.logouts.lock().sweep(now.unix_timestamp());
    }

    async fn follow_back(
        &self,
        provider: &Provider,
        callback: &Callback,
        returned: &flow::Returned,
        headers: &HeaderMap,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<Option<Fresh>, Reason> {
        let id = provider.options.id.as_str();
        if let Some(error) = &callback.error {
            return Err(declined(id, error));
        }
        let person = self.ask_who(provider, callback, &returned.proofs, now).await;
        let person = person.map_err(|trouble| trouble.reason(id))?;
        let rules = &provider.options.rules;
        let outcome = match &returned.flow.linking {
            None => self.welcome(id, rules, &person, client, now).await.map(Some),
            Some(session) => {
                let account = self.session_of_request(headers, session, now)?;
                self.link(&account, id, rules, &person, client, now).await.map(|()| None)
            }
        };
        if outcome.is_ok() {
            self.inner.attempts.lock().give_back_from(client.address);
        }
        outcome
    }

    async fn ask_who(
        &self,
        provider: &Provider,
        callback: &Callback,
        proofs: &flow::Proofs,
        now: OffsetDateTime,
    ) -> Result<Person, Trouble> {
        let code = callback.code.as_deref().filter(|code| !code.is_empty()).ok_or(Trouble::Stale)?;
        let (options, fetcher) = (&provider.options, &self.inner.outside.fetcher);
        let redirect = self.redirect_uri(&options.id);
        match options.kind {
            ProviderKind::OpenIdConnect => {
                let issuer = callback.issuer.as_deref();
                let code = oidc::Code { code, issuer };
                provider.openid.person(options, fetcher, &redirect, code, proofs, now).await
            }
            ProviderKind::GitHub => github::person(options, fetcher, &redirect, code, proofs).await,
        }
    }

    /// The account of the login session that wanted to link, if the browser still has that very session.
    fn session_of_request(&self, headers: &HeaderMap, session: &SessionId, now: OffsetDateTime) -> Result<crate::domain::UserId, Reason> {
        match self.by_gateway_cookie(headers, now) {
            Presented::Valid(identity) if identity.credential == Credential::Cookie(session.clone()) => Ok(identity.user.clone()),
            _ => Err(Reason::SignedOut),
        }
    }

    /// Where the provider sends the browser back to; registered there to the letter.
    fn redirect_uri(&self, provider: &str) -> String {
        format!("{}/sign-in/callback/{provider}", self.inner.options.sites.gateway())
    }
}

impl OutsideError {
    fn nowhere(next: ReturnTo) -> Self {
        Self {
            reason: Reason::NoSuchProvider,
            way: None,
            next,
            clear_cookie: None,
        }
    }
}

impl std::fmt::Debug for Departure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Departure")
    }
}

impl std::fmt::Debug for Callback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Callback")
    }
}

/// An error that the provider sent (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6).
fn declined(provider: &str, error: &str) -> Reason {
    let error = person::shortened(error);
    tracing::info!(provider, error, "a provider of identities said no");
    match error.as_str() {
        "server_error" | "temporarily_unavailable" => Reason::Down,
        _ => Reason::Declined,
    }
}
