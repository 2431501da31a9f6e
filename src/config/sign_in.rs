//! How people sign in: `password_sign_in`, `[provider.NAME]` and `[trusted_header]`.

use std::{collections::HashMap, io::Read as _};

use http::HeaderName;

use super::keys::{SESSION, SESSION_ALLOWED, duration, put};
use crate::{
    auth::{HeaderOptions, OutsideOptions, ProviderKind, ProviderOptions, Rules, Secret, SignOut, SignUp},
    domain::Networks,
    outbound::Outbound,
};

/// Begins the variables of providers: `PORTICO_PROVIDER_GOOGLE_CLIENT_SECRET`.
pub(super) const VARIABLE_PREFIX: &str = "PORTICO_PROVIDER_";
/// Most providers; each is a button.
const MAX_PROVIDERS: usize = 30;
const MAX_SECRET_BYTES: u64 = 64 * 1024;
const GITHUB: &str = "https://github.com";

/// The ways to sign in, as written.
#[derive(Clone, Debug, PartialEq)]
pub struct SignIn {
    /// Whether names and passwords sign in.
    pub passwords: bool,
    pub providers: Vec<ProviderOptions>,
    pub header: TrustedHeader,
}

/// `[trusted_header]`, as written; off without `user`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrustedHeader {
    pub user: Option<HeaderName>,
    pub email: Option<HeaderName>,
    pub groups: Option<HeaderName>,
    pub proxies: Networks,
    pub rules: Rules,
}

/// A value as the file or a variable holds it.
#[derive(Clone, Debug)]
pub(super) enum Written {
    Text(String),
    /// An array; its items may hold commas, as the names of groups in a directory do.
    List(Vec<String>),
}

/// One key of a provider.
pub(super) struct ProviderKey {
    pub(super) name: &'static str,
    pub(super) allowed: &'static str,
    pub(super) set: fn(&mut ProviderOptions, &Written) -> Option<()>,
}

/// All keys of a provider, in the order of the sample file.
pub(super) const PROVIDER_KEYS: &[ProviderKey] = &[
    ProviderKey {
        name: "kind",
        allowed: "oidc or github",
        set: |provider, written| {
            provider.kind = match written.text()? {
                "oidc" => ProviderKind::OpenIdConnect,
                "github" => ProviderKind::GitHub,
                _ => return None,
            };
            Some(())
        },
    },
    ProviderKey {
        name: "label",
        allowed: "what its button says, up to 60 characters",
        set: |provider, written| put(&mut provider.label, written.short(60)),
    },
    ProviderKey {
        name: "issuer",
        allowed: "the provider's https address",
        set: |provider, written| put(&mut provider.issuer, written.short(2000)),
    },
    ProviderKey {
        name: "client_id",
        allowed: "what the provider calls this gateway",
        set: |provider, written| put(&mut provider.client_id, written.short(500)),
    },
    ProviderKey {
        name: "client_secret",
        allowed: "the secret that the provider gave",
        set: |provider, written| {
            let text = written.text()?;
            provider.client_secret = (!text.is_empty()).then(|| Secret::new(text));
            Some(())
        },
    },
    ProviderKey {
        name: "client_secret_file",
        allowed: "the path of a file that holds the secret and that this user can read",
        set: |provider, written| {
            provider.client_secret = Some(secret_in(written.text()?)?);
            Some(())
        },
    },
    ProviderKey {
        name: "scopes",
        allowed: "a list of scopes",
        set: |provider, written| put(&mut provider.scopes, Some(written.list())),
    },
    ProviderKey {
        name: "groups_claim",
        allowed: "the name of the claim that lists a person's groups, or nothing",
        set: |provider, written| {
            let text = written.text()?;
            provider.groups_claim = (!text.is_empty()).then(|| text.to_owned());
            Some(())
        },
    },
    ProviderKey {
        name: "organisations",
        allowed: "a list of groups",
        set: |provider, written| put(&mut provider.rules.organisations, Some(written.list())),
    },
    ProviderKey {
        name: "allowed_domains",
        allowed: "a list of domains of e-mail addresses, for instance example.com",
        set: |provider, written| put(&mut provider.rules.allowed_domains, domains(&written.list())),
    },
    ProviderKey {
        name: "allowed_groups",
        allowed: "a list of groups",
        set: |provider, written| put(&mut provider.rules.allowed_groups, Some(written.list())),
    },
    ProviderKey {
        name: "sign_up",
        allowed: SIGN_UP_ALLOWED,
        set: |provider, written| put(&mut provider.rules.sign_up, Some(sign_up(&written.list()))),
    },
    ProviderKey {
        name: "max_session",
        allowed: SESSION_ALLOWED,
        set: |provider, written| put(&mut provider.rules.max_session, Some(Some(duration(written.text()?, SESSION)?))),
    },
    ProviderKey {
        name: "sign_out",
        allowed: "here, offer or there",
        set: |provider, written| {
            provider.sign_out = match written.text()? {
                "here" => SignOut::Here,
                "offer" => SignOut::Offer,
                "there" => SignOut::There,
                _ => return None,
            };
            Some(())
        },
    },
    ProviderKey {
        name: "own_ways",
        allowed: "true or false",
        set: |provider, written| put(&mut provider.rules.own_ways, written.text()?.parse().ok()),
    },
    ProviderKey {
        name: "admin_groups",
        allowed: "a list of groups",
        set: |provider, written| put(&mut provider.rules.admin_groups, Some(written.list())),
    },
];

pub(super) const SIGN_UP_ALLOWED: &str = "true, false, or a list of verified e-mail addresses and subjects";

impl Default for SignIn {
    fn default() -> Self {
        Self {
            passwords: true,
            providers: Vec::new(),
            header: TrustedHeader::default(),
        }
    }
}

impl SignIn {
    /// The same as it is meant.
    pub fn meant(&self, outbound: Outbound) -> OutsideOptions {
        let header = self.header.user.clone().map(|user| HeaderOptions {
            user,
            email: self.header.email.clone(),
            groups: self.header.groups.clone(),
            proxies: self.header.proxies.clone(),
            rules: self.header.rules.clone(),
        });
        OutsideOptions {
            passwords: self.passwords,
            providers: self.providers.clone(),
            header,
            outbound,
        }
    }

    /// The provider of a name, made if it is not there; none for a name that cannot be one.
    pub(super) fn provider(&mut self, id: &str) -> Option<&mut ProviderOptions> {
        let index = match self.providers.iter().position(|provider| provider.id == id) {
            Some(index) => index,
            None if is_id(id) && self.providers.len() < MAX_PROVIDERS => {
                self.providers.push(ProviderOptions::named(id));
                self.providers.len() - 1
            }
            None => return None,
        };
        self.providers.get_mut(index)
    }

    /// Puts in what follows from the rest, once everything is read.
    pub(super) fn settle(&mut self) {
        for provider in &mut self.providers {
            if provider.kind == ProviderKind::GitHub && provider.issuer.is_empty() {
                provider.issuer = GITHUB.to_owned();
            }
            if provider.label.is_empty() {
                provider.label = match provider.kind {
                    ProviderKind::GitHub => "GitHub".to_owned(),
                    ProviderKind::OpenIdConnect => capitalised(&provider.id),
                };
            }
        }
    }

    /// What no key shows alone; for the operator.
    pub(super) fn mistake(&self) -> Option<String> {
        if let Some((provider, lacks)) = self.providers.iter().find_map(|provider| Some((provider, provider.lacks()?))) {
            return Some(format!("[provider.{}] {lacks}", provider.id));
        }
        let mut issuers = HashMap::new();
        for provider in &self.providers {
            if let Some(other) = issuers.insert(provider.issuer.trim_end_matches('/'), &provider.id) {
                return Some(format!(
                    "[provider.{}] has the issuer of [provider.{other}]: give each issuer one provider",
                    provider.id
                ));
            }
        }
        let header = &self.header;
        if header.user.is_some() && header.proxies.is_empty() {
            return Some("[trusted_header] needs proxies: the addresses from which the header is believed".into());
        }
        if header.proxies.is_everybody() {
            return Some("[trusted_header] believes everybody: name the proxies' own addresses".into());
        }
        if header.user.is_none() && *header != TrustedHeader::default() {
            return Some("[trusted_header] needs user: the name of the header that says who somebody is".into());
        }
        if !self.passwords && self.providers.is_empty() && header.user.is_none() {
            return Some("password_sign_in = false leaves no way to sign in: set up a [provider.NAME] or [trusted_header] first".into());
        }
        None
    }
}

impl Written {
    /// The text; none of an array.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.trim()),
            Self::List(_) => None,
        }
    }

    fn short(&self, most: usize) -> Option<String> {
        let text = self.text()?;
        let good = !text.is_empty() && text.len() <= most && !text.chars().any(char::is_control);
        good.then(|| text.to_owned())
    }

    /// The items; of a text, what stands between its commas.
    fn list(&self) -> Vec<String> {
        let trimmed = |item: &str| item.trim().to_owned();
        let items: Vec<String> = match self {
            Self::Text(text) => text.split(',').map(trimmed).collect(),
            Self::List(items) => items.iter().map(|item| trimmed(item)).collect(),
        };
        items.into_iter().filter(|item| !item.is_empty()).collect()
    }
}

/// Splits a provider's variable into the name of a provider of `known` ones, or a new one, and the key.
pub(super) fn variable<'k>(name: &str, known: &[ProviderOptions]) -> Option<(String, &'k ProviderKey)> {
    let rest = name.strip_prefix(VARIABLE_PREFIX)?.to_ascii_lowercase();
    let of = |key: &'static ProviderKey| Some((rest.strip_suffix(key.name)?.strip_suffix('_')?, key));
    let (id, key) = PROVIDER_KEYS.iter().filter_map(of).max_by_key(|(_, key)| key.name.len())?;
    let found = known.iter().find(|provider| provider.id.replace('-', "_") == id);
    Some((found.map_or_else(|| id.replace('_', "-"), |provider| provider.id.clone()), key))
}

/// Reads who may make an account.
pub(super) fn sign_up(items: &[String]) -> SignUp {
    match items {
        [] => SignUp::Nobody,
        [word] if word == "true" => SignUp::Everybody,
        [word] if word == "false" => SignUp::Nobody,
        list => SignUp::These(list.to_vec()),
    }
}

/// Reads domains; an `@` in front is forgiven.
pub(super) fn domains(items: &[String]) -> Option<Vec<String>> {
    let read = |item: &String| {
        let domain = item.strip_prefix('@').unwrap_or(item).to_ascii_lowercase();
        let good = domain.contains('.') && !domain.contains(['@', '*', ' ']);
        good.then_some(domain)
    };
    items.iter().map(read).collect()
}

/// Reads the name of a header that may say who somebody is: none that has another meaning.
pub(super) fn header(text: &str) -> Option<HeaderName> {
    let name: HeaderName = text.to_ascii_lowercase().parse().ok()?;
    let taken = matches!(
        name.as_str(),
        "host"
            | "cookie"
            | "authorization"
            | "origin"
            | "referer"
            | "forwarded"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-proto"
    );
    let other = ["content-", "sec-", "x-portico-", "connection", "transfer-", "upgrade"];
    (!taken && !other.iter().any(|prefix| name.as_str().starts_with(prefix))).then_some(name)
}

fn is_id(id: &str) -> bool {
    let plain = id
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    plain && (1..=30).contains(&id.len()) && !id.starts_with('-') && !id.ends_with('-')
}

fn secret_in(path: &str) -> Option<Secret> {
    let mut text = String::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(MAX_SECRET_BYTES).read_to_string(&mut text).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| Secret::new(text))
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}
