//! What a provider says of itself (OpenID Connect Discovery 1.0 §4).

use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::fetch::{Endpoint, FetchError, Fetcher};

/// How old a document may be where it is read to talk to the provider.
pub(super) const KEEP_FOR: Duration = Duration::hours(1);
/// How old where somebody is sent there: a provider that is down must be seen here, where a page can say so.
pub(super) const SEEN_UP: Duration = Duration::seconds(10);
/// So long a provider that failed is not asked again, whoever clicks its button.
const PAUSE: Duration = Duration::seconds(3);

/// Where a provider's parts are, and what it can do.
#[derive(Debug)]
pub(super) struct Metadata {
    pub authorization: Endpoint,
    pub token: Endpoint,
    pub keys: Endpoint,
    pub userinfo: Option<Endpoint>,
    /// Where people sign out (OpenID Connect RP-Initiated Logout 1.0 §2.1).
    pub end_session: Option<Endpoint>,
    /// It promises to name itself in each answer (RFC 9207 §3).
    pub names_issuer: bool,
    /// It takes the client's secret in the form alone, not as `Basic`.
    pub secret_in_form: bool,
}

/// Keeps the document of one provider.
#[derive(Default)]
pub(super) struct Discovery {
    kept: tokio::sync::Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    found: Option<(Arc<Metadata>, OffsetDateTime)>,
    failed_at: Option<OffsetDateTime>,
}

/// Why there is no document; for the log.
#[derive(Debug, Error)]
pub(super) enum DiscoveryError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the issuer has no address that may be asked")]
    Issuer,
    #[error("the provider calls itself {0:?}; the issuer in the configuration must be the same, to the letter")]
    OtherIssuer(String),
    #[error("the provider's document lacks its {0}, or names one that may not be asked")]
    Lacks(&'static str),
    #[error("the provider failed a moment ago")]
    Paused,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    #[serde(default)]
    authorization_endpoint: String,
    #[serde(default)]
    token_endpoint: String,
    #[serde(default)]
    jwks_uri: String,
    #[serde(default)]
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    end_session_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Discovery {
    /// The provider's document, asked for where the one that is kept is as old as `age`.
    pub(super) async fn metadata(
        &self,
        fetcher: &Fetcher,
        issuer: &str,
        age: Duration,
        now: OffsetDateTime,
    ) -> Result<Arc<Metadata>, DiscoveryError> {
        let mut kept = self.kept.lock().await;
        if let Some((metadata, at)) = &kept.found
            && (now - *at).abs() < age
        {
            return Ok(Arc::clone(metadata));
        }
        if kept.failed_at.is_some_and(|at| (now - at).abs() < PAUSE) {
            return Err(DiscoveryError::Paused);
        }
        match ask(fetcher, issuer).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *kept = Kept {
                    found: Some((Arc::clone(&metadata), now)),
                    failed_at: None,
                };
                Ok(metadata)
            }
            Err(error) => {
                kept.failed_at = Some(now);
                Err(error)
            }
        }
    }
}

async fn ask(fetcher: &Fetcher, issuer: &str) -> Result<Metadata, DiscoveryError> {
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let endpoint = Endpoint::parse(&address).ok_or(DiscoveryError::Issuer)?;
    read(fetcher.get(&endpoint, None).await?, issuer)
}

fn read(document: Document, issuer: &str) -> Result<Metadata, DiscoveryError> {
    // To the letter: another issuer's document must not vouch for this one (Discovery §4.3).
    if document.issuer != issuer {
        return Err(DiscoveryError::OtherIssuer(document.issuer.chars().take(200).collect()));
    }
    let endpoint = |text: &str, what| Endpoint::parse(text).ok_or(DiscoveryError::Lacks(what));
    let methods = document.token_endpoint_auth_methods_supported;
    Ok(Metadata {
        authorization: endpoint(&document.authorization_endpoint, "authorization_endpoint")?,
        token: endpoint(&document.token_endpoint, "token_endpoint")?,
        keys: endpoint(&document.jwks_uri, "jwks_uri")?,
        userinfo: document.userinfo_endpoint.as_deref().and_then(Endpoint::parse),
        end_session: document.end_session_endpoint.as_deref().and_then(Endpoint::parse),
        names_issuer: document.authorization_response_iss_parameter_supported,
        secret_in_form: methods.is_some_and(|methods| {
            let takes = |wanted: &str| methods.iter().any(|method| method == wanted);
            !takes("client_secret_basic") && takes("client_secret_post")
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oidc_3_a_document_speaks_for_its_issuer_alone() {
        let document = |changes: &[(&str, serde_json::Value)]| {
            let mut document = serde_json::json!({
                "issuer": "https://id.example",
                "authorization_endpoint": "https://id.example/auth",
                "token_endpoint": "https://id.example/token",
                "jwks_uri": "https://keys.example/jwks",
            });
            for (name, value) in changes {
                document[*name] = value.clone();
            }
            read(serde_json::from_value(document).expect("a document"), "https://id.example").map_err(|error| error.to_string())
        };
        let plain = document(&[]).expect("metadata");
        assert!(!plain.names_issuer && !plain.secret_in_form && plain.userinfo.is_none());
        let post = document(&[
            ("token_endpoint_auth_methods_supported", serde_json::json!(["client_secret_post"])),
            ("authorization_response_iss_parameter_supported", true.into()),
        ]);
        assert!(post.is_ok_and(|metadata| metadata.secret_in_form && metadata.names_issuer));
        for (name, value) in [
            ("issuer", "https://id.example/"),
            ("issuer", "https://evil.example"),
            ("token_endpoint", "http://169.254.169.254/latest"),
            ("jwks_uri", "file:///etc/passwd"),
            ("authorization_endpoint", ""),
        ] {
            assert!(document(&[(name, value.into())]).is_err(), "{name} {value}");
        }
    }
}
