//! A provider that does what a test tells it, over real sockets: OpenID Connect and GitHub's shape of OAuth.

use std::{collections::HashMap, convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Key;

/// The provider; its tasks end with the test's runtime.
#[derive(Clone)]
pub(super) struct Provider {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

pub(super) struct State {
    /// What the next ID token is signed with.
    pub key: Key,
    /// What is published.
    pub keys: Vec<Key>,
    /// Put over the claims of the ID token.
    pub claims: Value,
    pub userinfo: Option<Value>,
    /// Put over the metadata.
    pub metadata: Value,
    /// Answers instead of what is asked for, by path.
    pub instead: HashMap<String, (StatusCode, String)>,
    /// The flow whose code is given out: nonce and PKCE challenge as the authorization request had them.
    pub flow: HashMap<String, String>,
    /// What GitHub says, by path.
    pub github: HashMap<String, Value>,
    /// How often each path was asked for.
    pub asked: HashMap<String, usize>,
}

impl Provider {
    pub async fn start(key: Key) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let state = State {
            keys: vec![key.clone()],
            key,
            claims: json!({}),
            userinfo: None,
            metadata: json!({}),
            instead: HashMap::new(),
            flow: HashMap::new(),
            github: HashMap::new(),
            asked: HashMap::new(),
        };
        let provider = Self {
            address: listener.local_addr().expect("an address"),
            state: Arc::new(Mutex::new(state)),
        };
        let serving = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let provider = serving.clone();
                let service = service_fn(move |request| {
                    let provider = provider.clone();
                    async move { Ok::<_, Infallible>(provider.answer(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        provider
    }

    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
    }

    pub fn asked(&self, path: &str) -> usize {
        self.state.lock().asked.get(path).copied().unwrap_or_default()
    }

    /// Plays the person's part at the authorization endpoint; gives the state.
    pub fn consent(&self, location: &str) -> String {
        let (_, query) = location.split_once('?').expect("a query");
        let asked: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let state = asked["state"].clone();
        self.state.lock().flow = asked;
        state
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let form: HashMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
        let path = head.uri.path().to_owned();
        let mut state = self.state.lock();
        *state.asked.entry(path.clone()).or_default() += 1;
        let (status, text) = match state.instead.get(&path) {
            Some((status, text)) => (*status, text.clone()),
            None => {
                let (status, value) = self.said(&state, &head, &path, &form);
                (status, value.to_string())
            }
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        response
    }

    fn said(&self, state: &State, head: &http::request::Parts, path: &str, form: &HashMap<String, String>) -> (StatusCode, Value) {
        let bearer = head
            .headers
            .get(header::AUTHORIZATION)
            .is_some_and(|value| value == "Bearer access-1");
        match path {
            "/.well-known/openid-configuration" => (StatusCode::OK, self.metadata(state)),
            "/jwks" => (
                StatusCode::OK,
                json!({"keys": state.keys.iter().map(Key::published).collect::<Vec<_>>()}),
            ),
            "/token" if head.method == Method::POST => self.token(state, head, form),
            "/userinfo" if bearer => match &state.userinfo {
                Some(said) => (StatusCode::OK, said.clone()),
                None => (StatusCode::FORBIDDEN, json!({})),
            },
            "/login/oauth/access_token" if head.method == Method::POST => {
                let right = form["code"] == "code-1" && form["client_secret"] == "secret & more" && proves(state, form);
                let refused = json!({"error": "bad_verification_code"});
                (StatusCode::OK, if right { json!({"access_token": "access-1"}) } else { refused })
            }
            path if path.starts_with("/api/v3/") && bearer => match state.github.get(path) {
                Some(said) => (StatusCode::OK, said.clone()),
                None => (StatusCode::NOT_FOUND, json!({"message": "Not Found"})),
            },
            _ => (StatusCode::UNAUTHORIZED, json!({})),
        }
    }

    fn metadata(&self, state: &State) -> Value {
        let issuer = self.issuer();
        let mut metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/jwks"),
            "userinfo_endpoint": format!("{issuer}/userinfo"),
        });
        merge(&mut metadata, &state.metadata);
        metadata
    }

    fn token(&self, state: &State, head: &http::request::Parts, form: &HashMap<String, String>) -> (StatusCode, Value) {
        // RFC 6749 §2.3.1: "portico:secret+%26+more".
        let authorized = head
            .headers
            .get(header::AUTHORIZATION)
            .is_some_and(|value| value == "Basic cG9ydGljbzpzZWNyZXQrJTI2K21vcmU=");
        if !authorized {
            return (StatusCode::UNAUTHORIZED, json!({"error": "invalid_client"}));
        }
        if form["code"] != "code-1" || !proves(state, form) {
            return (StatusCode::BAD_REQUEST, json!({"error": "invalid_grant"}));
        }
        let now = crate::auth::fixture::now().unix_timestamp();
        let mut claims = json!({
            "iss": self.issuer(), "aud": "portico", "sub": "sub-ada", "nonce": state.flow["nonce"], "iat": now, "exp": now + 300,
            "preferred_username": "ada", "email": "ada@example.com", "email_verified": true,
        });
        merge(&mut claims, &state.claims);
        let token = state.key.sign(&claims);
        (
            StatusCode::OK,
            json!({"access_token": "access-1", "token_type": "Bearer", "id_token": token}),
        )
    }
}

/// Whether the verifier and the redirect are those of the flow (RFC 7636 §4.6).
fn proves(state: &State, form: &HashMap<String, String>) -> bool {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let challenge = URL_SAFE_NO_PAD.encode(crate::auth::hash_secret(&form["code_verifier"]));
    let flow = &state.flow;
    flow["code_challenge_method"] == "S256" && flow["code_challenge"] == challenge && flow["redirect_uri"] == form["redirect_uri"]
}

fn merge(value: &mut Value, over: &Value) {
    for (name, changed) in over.as_object().into_iter().flatten() {
        match changed {
            Value::Null => drop(value.as_object_mut().map(|members| members.remove(name))),
            changed => value[name] = changed.clone(),
        }
    }
}
