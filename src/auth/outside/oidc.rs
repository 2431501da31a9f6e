//! A provider of OpenID Connect: the authorization code flow with PKCE (OpenID Connect Core §3.1, RFC 7636, RFC 9700).

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use serde::Deserialize;
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::{
    Trouble,
    discovery::{Discovery, DiscoveryError, KEEP_FOR, Metadata, SEEN_UP},
    fetch::{Fetcher, Question},
    flow::Proofs,
    id_token::{Claims, Expected, numeric_date},
    keys::{Keys, KeysError},
    logout_token::{self, Logout},
    options::{ProviderOptions, Secret},
    person::{Person, Stay, shortened},
};

/// Longest ID token that is kept to sign out with: it goes into an address, and stays in memory as long as the session.
const MAX_HINT_BYTES: usize = 4096;

/// What is asked for where the configuration names no scopes.
const SCOPES: &str = "openid profile email";

/// One provider, with what is kept of it.
#[derive(Default)]
pub(super) struct OpenIdConnect {
    discovery: Discovery,
    keys: Keys,
}

/// The answer that the browser brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code<'a> {
    pub code: &'a str,
    /// `iss`, where the provider sent it (RFC 9207).
    pub issuer: Option<&'a str>,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    id_token: String,
    #[serde(default)]
    access_token: String,
}

/// RFC 6749 §5.2.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: String,
}

impl OpenIdConnect {
    /// Where to send the browser.
    pub(super) async fn authorize_url(
        &self,
        options: &ProviderOptions,
        fetcher: &Fetcher,
        redirect_uri: &str,
        state: &str,
        proofs: &Proofs,
        now: OffsetDateTime,
    ) -> Result<String, Trouble> {
        let metadata = self.metadata(options, fetcher, SEEN_UP, now).await?;
        let scopes = scopes(options);
        Ok(metadata.authorization.with_query(&[
            ("response_type", "code"),
            ("client_id", &options.client_id),
            ("redirect_uri", redirect_uri),
            ("scope", &scopes),
            ("state", state),
            ("nonce", &proofs.nonce),
            ("code_challenge", &proofs.challenge()),
            ("code_challenge_method", "S256"),
        ]))
    }

    /// Trades the code for an ID token and reads who it is.
    pub(super) async fn person(
        &self,
        options: &ProviderOptions,
        fetcher: &Fetcher,
        redirect_uri: &str,
        code: Code<'_>,
        proofs: &Proofs,
        now: OffsetDateTime,
    ) -> Result<Person, Trouble> {
        let metadata = self.metadata(options, fetcher, KEEP_FOR, now).await?;
        // An answer of another provider, mixed up with this one's (RFC 9207 §2.4).
        let of_another = code.issuer.is_some_and(|issuer| issuer != options.issuer);
        if of_another || (metadata.names_issuer && code.issuer.is_none()) {
            return Err(Trouble::Untrustworthy("the answer names another issuer, or none".into()));
        }
        let tokens = trade(options, fetcher, &metadata, redirect_uri, code.code, proofs).await?;
        let expected = Expected {
            issuer: &options.issuer,
            client_id: &options.client_id,
            nonce: &proofs.nonce,
        };
        let verified = self.keys.verify(&tokens.id_token, expected, (fetcher, &metadata.keys), now).await;
        let mut claims = verified.map_err(|error| match error {
            KeysError::Fetch(error) => Trouble::down(&error),
            KeysError::Token(error) => Trouble::Untrustworthy(error.to_string()),
        })?;
        self.complete(options, fetcher, &metadata, &tokens.access_token, &mut claims)
            .await?;
        let stay = stay(&claims, &tokens.id_token, now)?;
        let person = Person::from_claims(&claims, &options.issuer, options.groups_claim.as_deref());
        let person = person.ok_or_else(|| Trouble::Untrustworthy("the ID token names nobody".into()))?;
        Ok(Person { stay, ..person })
    }

    /// Reads a logout token; who is signed out by it is the caller's.
    pub(super) async fn logout(
        &self,
        options: &ProviderOptions,
        fetcher: &Fetcher,
        token: &str,
        now: OffsetDateTime,
    ) -> Result<Logout, Trouble> {
        let untrustworthy = |error: &dyn std::error::Error| Trouble::Untrustworthy(error.to_string());
        // Before anybody is asked: what is no such token costs nothing.
        logout_token::look(token).map_err(|error| untrustworthy(&error))?;
        let metadata = self.metadata(options, fetcher, KEEP_FOR, now).await?;
        let claims = self.keys.signed_claims(token, (fetcher, &metadata.keys), now).await;
        let claims = claims.map_err(|error| match error {
            KeysError::Fetch(error) => Trouble::down(&error),
            KeysError::Token(error) => untrustworthy(&error),
        })?;
        logout_token::check(&claims, &options.issuer, &options.client_id, now).map_err(|error| untrustworthy(&error))
    }

    /// Where somebody signs out at the provider, if it says so; the provider is asked what it can do at most now and then.
    pub(super) async fn end_session_url(
        &self,
        options: &ProviderOptions,
        fetcher: &Fetcher,
        id_token: Option<&Secret>,
        back_to: Option<&str>,
        now: OffsetDateTime,
    ) -> Option<String> {
        let metadata = self.metadata(options, fetcher, KEEP_FOR, now).await.ok()?;
        let mut query = vec![("client_id", options.client_id.as_str())];
        query.extend(id_token.map(|token| ("id_token_hint", token.expose())));
        query.extend(back_to.map(|address| ("post_logout_redirect_uri", address)));
        Some(metadata.end_session.as_ref()?.with_query(&query))
    }

    async fn metadata(
        &self,
        options: &ProviderOptions,
        fetcher: &Fetcher,
        age: Duration,
        now: OffsetDateTime,
    ) -> Result<std::sync::Arc<Metadata>, Trouble> {
        let found = self.discovery.metadata(fetcher, &options.issuer, age, now).await;
        found.map_err(|error| match error {
            DiscoveryError::Fetch(error) => Trouble::down(&error),
            error => Trouble::Down(error.to_string()),
        })
    }

    /// Asks the userinfo endpoint for what the ID token leaves out; many providers say no more than `sub` in it.
    async fn complete(
        &self,
        options: &ProviderOptions,
        fetcher: &Fetcher,
        metadata: &Metadata,
        access_token: &str,
        claims: &mut Claims,
    ) -> Result<(), Trouble> {
        let groups = options.groups_claim.as_deref().and_then(|claim| claim.split('.').next());
        let mut wanted = ["email", "preferred_username"].into_iter().chain(groups);
        let (Some(endpoint), true) = (&metadata.userinfo, wanted.any(|name| !claims.contains_key(name))) else {
            return Ok(());
        };
        if access_token.is_empty() {
            return Ok(());
        }
        let bearer = Some(format!("Bearer {access_token}"));
        let more: Claims = fetcher.get(endpoint, bearer).await.map_err(|error| Trouble::down(&error))?;
        // Another's answer would lend its groups (Core §5.3.2).
        if more.get("sub").and_then(Value::as_str) != claims.get("sub").and_then(Value::as_str) {
            return Err(Trouble::Untrustworthy("the userinfo answer is about somebody else".into()));
        }
        let is_about_address = |name: &str| name == "email" || name == "email_verified";
        // An address and whether it is verified come from one place, or neither counts.
        let keep_address = claims.contains_key("email");
        for (name, value) in more {
            if !(keep_address && is_about_address(&name)) {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(())
    }
}

/// What the provider says of its own session. `session_expiry` is its end, where a provider speaks of one (OpenID Connect
/// Enterprise Extensions); `exp` is the ID token's, and no session's.
fn stay(claims: &Claims, id_token: &str, now: OffsetDateTime) -> Result<Stay, Trouble> {
    let until = match claims.get("session_expiry") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let until = numeric_date(value).filter(|until| *until > now.unix_timestamp());
            Some(until.ok_or_else(|| Trouble::Untrustworthy("the provider's own session is over".into()))?)
        }
    };
    let session = claims.get("sid").and_then(Value::as_str);
    Ok(Stay {
        session: session.filter(|session| session.len() <= logout_token::MAX_NAME).map(str::to_owned),
        until,
        id_token: (id_token.len() <= MAX_HINT_BYTES).then(|| Secret::new(id_token)),
    })
}

fn scopes(options: &ProviderOptions) -> String {
    if options.scopes.is_empty() {
        return SCOPES.to_owned();
    }
    let scopes = options.scopes.join(" ");
    match options.scopes.iter().any(|scope| scope == "openid") {
        true => scopes,
        false => format!("openid {scopes}"),
    }
}

async fn trade(
    options: &ProviderOptions,
    fetcher: &Fetcher,
    metadata: &Metadata,
    redirect_uri: &str,
    code: &str,
    proofs: &Proofs,
) -> Result<Tokens, Trouble> {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", &proofs.verifier),
    ];
    let mut authorization = None;
    match &options.client_secret {
        Some(secret) if !metadata.secret_in_form => authorization = Some(basic(&options.client_id, secret.expose())),
        secret => {
            form.push(("client_id", &options.client_id));
            form.extend(secret.as_ref().map(|secret| ("client_secret", secret.expose())));
        }
    }
    let question = Question {
        method: Method::POST,
        endpoint: &metadata.token,
        authorization,
        form,
    };
    let answer = fetcher.ask(question).await.map_err(|error| Trouble::down(&error))?;
    if answer.status.is_success() {
        return answer.json(&metadata.token).map_err(|error| Trouble::down(&error));
    }
    let refusal: Refusal = answer.json(&metadata.token).unwrap_or_default();
    Err(match refusal.error.as_str() {
        // The code was used, is too old, or is not ours.
        "invalid_grant" => Trouble::Stale,
        error => Trouble::Down(format!("the token endpoint answered {}: {:?}", answer.status, shortened(error))),
    })
}

/// Name and secret are form-encoded before they are put together (RFC 6749 §2.3.1).
fn basic(client_id: &str, secret: &str) -> String {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(client_id), encoded(secret))))
}
