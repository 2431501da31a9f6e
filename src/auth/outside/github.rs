//! GitHub, in the cloud or a company's own: OAuth with PKCE, who somebody is by the user id, organisations as groups.

use http::Method;
use serde::Deserialize;

use super::{
    Trouble,
    fetch::{Endpoint, FetchError, Fetcher, Question},
    flow::Proofs,
    options::ProviderOptions,
    person::{Person, Stay, address, shortened},
};

/// Where github.com answers its API; a company's own server does under `/api/v3`.
const CLOUD: (&str, &str) = ("https://github.com", "https://api.github.com");
/// The most that GitHub lists on a page; somebody in more organisations than that has those of the first page.
const PAGE: &str = "100";

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
}

#[derive(Deserialize)]
struct Email {
    email: String,
    primary: bool,
    verified: bool,
}

#[derive(Deserialize)]
struct Organisation {
    login: String,
}

/// Where to send the browser.
pub(super) fn authorize_url(options: &ProviderOptions, redirect_uri: &str, state: &str, proofs: &Proofs) -> Result<String, Trouble> {
    let scopes = match options.scopes.is_empty() {
        true => "read:user user:email".to_owned(),
        false => options.scopes.join(" "),
    };
    Ok(endpoint(&site(options), "/login/oauth/authorize")?.with_query(&[
        ("client_id", &options.client_id),
        ("redirect_uri", redirect_uri),
        ("scope", &scopes),
        ("state", state),
        ("code_challenge", &proofs.challenge()),
        ("code_challenge_method", "S256"),
    ]))
}

/// Trades the code and asks who it is.
pub(super) async fn person(
    options: &ProviderOptions,
    fetcher: &Fetcher,
    redirect_uri: &str,
    code: &str,
    proofs: &Proofs,
) -> Result<Person, Trouble> {
    let token = trade(options, fetcher, redirect_uri, code, proofs).await?;
    let api = api(options);
    let user: User = ask(fetcher, &endpoint(&api, "/user")?, &token).await?;
    let email = verified_email(fetcher, &endpoint(&api, "/user/emails")?, &token).await?;
    let groups = match options.scopes.iter().any(|scope| scope == "read:org") {
        true => Some(organisations(fetcher, &endpoint(&api, &format!("/user/orgs?per_page={PAGE}"))?, &token).await?),
        false => None,
    };
    Ok(Person {
        issuer: site(options),
        // A login can be given up and taken by somebody else; the id cannot.
        subject: user.id.to_string(),
        names: vec![shortened(&user.login)],
        shown: shortened(&user.login),
        email,
        groups,
        withheld: false,
        stay: Stay::default(),
    })
}

async fn trade(options: &ProviderOptions, fetcher: &Fetcher, redirect_uri: &str, code: &str, proofs: &Proofs) -> Result<String, Trouble> {
    let endpoint = endpoint(&site(options), "/login/oauth/access_token")?;
    let secret = options.client_secret.as_ref().map_or("", |secret| secret.expose());
    let question = Question {
        method: Method::POST,
        endpoint: &endpoint,
        authorization: None,
        form: vec![
            ("client_id", &options.client_id),
            ("client_secret", secret),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", &proofs.verifier),
        ],
    };
    let answer = fetcher.ask(question).await.map_err(|error| Trouble::down(&error))?;
    let tokens: Tokens = answer.json(&endpoint).map_err(|error| Trouble::down(&error))?;
    match tokens.error.as_str() {
        "" if !tokens.access_token.is_empty() => Ok(tokens.access_token),
        // GitHub refuses with status 200.
        "bad_verification_code" => Err(Trouble::Stale),
        error => Err(Trouble::Down(format!("GitHub gave no token: {:?}", shortened(error)))),
    }
}

/// The primary address, if it is verified; without the scope for it, none.
async fn verified_email(fetcher: &Fetcher, endpoint: &Endpoint, token: &str) -> Result<Option<String>, Trouble> {
    match fetcher.get::<Vec<Email>>(endpoint, Some(format!("Bearer {token}"))).await {
        Ok(emails) => {
            let primary = emails.into_iter().find(|email| email.primary && email.verified);
            Ok(primary.and_then(|email| address(&email.email)))
        }
        Err(FetchError::Refused { .. }) => Ok(None),
        Err(error) => Err(Trouble::down(&error)),
    }
}

async fn organisations(fetcher: &Fetcher, endpoint: &Endpoint, token: &str) -> Result<Vec<String>, Trouble> {
    let organisations: Vec<Organisation> = ask(fetcher, endpoint, token).await?;
    Ok(organisations.into_iter().map(|organisation| organisation.login).collect())
}

async fn ask<T: serde::de::DeserializeOwned>(fetcher: &Fetcher, endpoint: &Endpoint, token: &str) -> Result<T, Trouble> {
    let answer = fetcher.get(endpoint, Some(format!("Bearer {token}"))).await;
    answer.map_err(|error| Trouble::down(&error))
}

/// The site without a slash at its end: also the issuer of its identities.
fn site(options: &ProviderOptions) -> String {
    options.issuer.trim_end_matches('/').to_owned()
}

fn api(options: &ProviderOptions) -> String {
    match site(options) {
        site if site == CLOUD.0 => CLOUD.1.to_owned(),
        site => format!("{site}/api/v3"),
    }
}

fn endpoint(base: &str, path: &str) -> Result<Endpoint, Trouble> {
    Endpoint::parse(&format!("{base}{path}")).ok_or_else(|| Trouble::Down("GitHub's address may not be asked".into()))
}
