//! What the operator sets about sign-ins from outside.

use std::{fmt, time::Duration};

use http::HeaderName;

use super::fetch::Endpoint;
use crate::{domain::Networks, outbound::Outbound};

/// How people may sign in besides with links and tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Whether names and passwords do.
    pub passwords: bool,
    pub providers: Vec<ProviderOptions>,
    pub header: Option<HeaderOptions>,
    /// How providers are reached.
    pub outbound: Outbound,
}

/// A provider of identities.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderOptions {
    /// Its name in the configuration and in addresses: 1 to 30 of `a-z 0-9 -`.
    pub id: String,
    pub kind: ProviderKind,
    /// What its button says after "Continue with".
    pub label: String,
    /// Of OpenID Connect the issuer, to the letter; of GitHub its address.
    pub issuer: String,
    pub client_id: String,
    /// None for a client that the provider knows as public.
    pub client_secret: Option<Secret>,
    pub scopes: Vec<String>,
    /// The claim that lists groups.
    pub groups_claim: Option<String>,
    pub sign_out: SignOut,
    pub rules: Rules,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProviderKind {
    OpenIdConnect,
    GitHub,
}

/// Who comes in, and what becomes of their groups. A list that is empty asks for nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Domains of verified e-mail addresses.
    pub allowed_domains: Vec<String>,
    pub allowed_groups: Vec<String>,
    /// The groups that are organisations here; all of them if none is named.
    pub organisations: Vec<String>,
    pub sign_up: SignUp,
    /// Whether accounts made by coming in may have other ways in: a password, an identity elsewhere.
    pub own_ways: bool,
    /// The groups whose members administer, among the accounts made by coming in; none: nobody's role follows a group.
    pub admin_groups: Vec<String>,
    /// How long a login session lasts at most that it vouches for.
    pub max_session: Option<Duration>,
}

/// What a sign-out here does about the sign-in at the provider.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SignOut {
    /// Nothing.
    Here,
    /// Offers to go there and end it, too.
    #[default]
    Offer,
    /// Goes there, and comes back.
    There,
}

/// Who may make an account by coming in.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SignUp {
    #[default]
    Nobody,
    Everybody,
    /// These verified e-mail addresses or subjects.
    These(Vec<String>),
}

/// A reverse proxy that says in a header who somebody is.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderOptions {
    pub user: HeaderName,
    pub email: Option<HeaderName>,
    pub groups: Option<HeaderName>,
    /// From whom the headers are believed: addresses of connections, never of `X-Forwarded-For`.
    pub proxies: Networks,
    pub rules: Rules,
}

/// A secret of the configuration; `Debug` does not tell it.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Default for Options {
    fn default() -> Self {
        Self {
            passwords: true,
            providers: Vec::new(),
            header: None,
            outbound: Outbound::default(),
        }
    }
}

impl ProviderOptions {
    /// A provider of which only its name is known.
    pub fn named(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            kind: ProviderKind::OpenIdConnect,
            label: String::new(),
            issuer: String::new(),
            client_id: String::new(),
            client_secret: None,
            scopes: Vec::new(),
            groups_claim: None,
            sign_out: SignOut::default(),
            rules: Rules::default(),
        }
    }

    /// Whether it is the provider of an issuer; a slash at the end says nothing.
    pub(super) fn is_of(&self, issuer: &str) -> bool {
        self.issuer.trim_end_matches('/') == issuer.trim_end_matches('/')
    }

    /// What it would need besides; for the operator.
    pub fn lacks(&self) -> Option<String> {
        if self.client_id.is_empty() {
            return Some("lacks client_id, which the provider gave when you registered this gateway there".into());
        }
        if Endpoint::parse(&self.issuer).is_none() {
            return Some("needs an issuer that begins with https:// (http:// only on this machine)".into());
        }
        let speaks_of_groups = match self.kind {
            ProviderKind::OpenIdConnect => self.groups_claim.is_some(),
            ProviderKind::GitHub => self.scopes.iter().any(|scope| scope == "read:org"),
        };
        let asks_for_groups = [&self.rules.allowed_groups, &self.rules.organisations, &self.rules.admin_groups]
            .iter()
            .any(|groups| !groups.is_empty());
        (asks_for_groups && !speaks_of_groups).then(|| match self.kind {
            ProviderKind::OpenIdConnect => "names groups, but no groups_claim that lists them".into(),
            ProviderKind::GitHub => "names groups, which GitHub tells only with the scope read:org".into(),
        })
    }
}

impl Secret {
    /// Takes a secret.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Tells it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_3_a_secret_does_not_show() {
        let mut options = ProviderOptions::named("id");
        options.client_secret = Some(Secret::new("canary"));
        assert!(!format!("{options:?}").contains("canary"));
    }
}
