//! A browser's or a program's WebSocket, handed to the agent: the handshake is checked on both sides, after it bytes pass.
//!
//! The agent is the WebSocket's end and keeps its limits; here nothing is parsed after the two 101s.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    client::conn::http1,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    Services,
    agent_calls::{dial, refusal, timed_out},
    identify::ownership,
    noticed::Noticed,
    problem::Problem,
};
use crate::{
    codespace::{Activity, Attention, Codespace, Question, Room, SocketOf},
    domain::{Access, Credential, Identity, Port},
    policy::grants,
    relay::{WriteTimeout, relay},
    tunnel::AgentStream,
};

/// How long the agent's half of the handshake may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take nothing of what it is sent.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// The same where the client is a program whose own peer may read as slowly as it likes.
const PATIENT_WRITE_STALL: Duration = Duration::from_secs(15 * 60);
/// Longest body of a refused handshake that is read.
const MAX_REFUSAL_BYTES: usize = 16 * 1024;

/// Forwards a WebSocket to a path of the agent; answers 101 only after the agent did (SMUG-5).
pub async fn forward(
    services: &Services,
    who: Identity,
    codespace: Arc<Codespace>,
    mut request: Request,
    path: &str,
    kind: Kind,
) -> Result<Response, Problem> {
    let key = check_handshake(&request)?;
    let client = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or_else(|| Problem::internal(&"the connection below cannot be upgraded"))?;
    let whose = match who.user == *codespace.owner() {
        true => SocketOf::Owner(who.user.clone()),
        false => SocketOf::Guest(who.user.clone()),
    };
    let stall = kind.write_stall(&whose);
    let counted = services.codespaces.open_socket(codespace.name(), whose)?;
    let attention = kind.attention(&codespace);
    let opening = async {
        let stream = dial(services, &codespace).await?;
        shake_hands(services, stream, path, &key).await
    };
    let agent = tokio::time::timeout(TIMEOUT, opening).await.unwrap_or_else(|_| Err(timed_out()))?;
    let drain = services.drain.clone();
    let at_drain = kind.at_drain();
    let fallen = over(services.clone(), who, codespace, kind);
    let ended = async move {
        tokio::select! {
            () = fallen => {}
            () = drain.cancelled(), if at_drain == AtDrain::End => {}
        }
    };
    services.tasks.spawn(async move {
        let _counted = counted;
        // A client that went away before its 101 is no fault of anyone's.
        if let Ok(client) = client.await {
            let client = Noticed::new(WriteTimeout::new(TokioIo::new(client), stall), attention);
            let outcome = relay(client, TokioIo::new(agent), ended).await;
            tracing::debug!(forth = outcome.forth, back = outcome.back, end = ?outcome.end, "a socket to an agent ended");
        }
    });
    Ok(switching(&key))
}

/// Checks what RFC 6455 §4.2.1 asks of a client, and gives the key (WS-6).
fn check_handshake(request: &Request) -> Result<String, Problem> {
    let headers = request.headers();
    let upgrade = has_token(headers, &header::UPGRADE, "websocket") && has_token(headers, &header::CONNECTION, "upgrade");
    if request.method() != Method::GET || !upgrade {
        return Err(Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "websocket-required",
            "This is a WebSocket",
            "Open it as one: GET with `Upgrade: websocket`.",
        )
        .header(header::UPGRADE, HeaderValue::from_static("websocket")));
    }
    if single(headers, &header::SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(
            bad_handshake("Sec-WebSocket-Version must be 13.").header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
        );
    }
    let key = single(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16));
    key.map(str::to_owned)
        .ok_or_else(|| bad_handshake("Sec-WebSocket-Key must be 16 bytes in base64."))
}

fn bad_handshake(said: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "bad-handshake",
        "The WebSocket handshake is not right",
        said,
    )
}

fn single<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| first.trim())
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case(wanted))
}

/// Does the handshake with the agent, with headers of our own alone: no cookie, no token, no `Origin`.
async fn shake_hands(services: &Services, stream: AgentStream, path: &str, key: &str) -> Result<Upgraded, Problem> {
    let broken = || Problem::agent("The connection to it broke. Try again.");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| broken())?;
    services.tasks.spawn(async move {
        // Its faults show where the answer or the bytes are awaited.
        let _ = connection.with_upgrades().await;
    });
    let request = http::Request::builder()
        .uri(path)
        .header(header::HOST, "agent")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, key)
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| Problem::internal(&error))?;
    let answer = sender.send_request(request).await.map_err(|_| broken())?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_REFUSAL_BYTES).collect().await;
        return Err(refusal(status, &body.map(http_body_util::Collected::to_bytes).unwrap_or_default()));
    }
    if single(answer.headers(), &header::SEC_WEBSOCKET_ACCEPT) != Some(&derive_accept_key(key.as_bytes())) {
        return Err(Problem::agent("It does not speak WebSocket."));
    }
    hyper::upgrade::on(answer).await.map_err(|_| broken())
}

fn switching(key: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// What a socket is for.
#[derive(Debug)]
pub enum Kind {
    /// Its client comes back and resumes: it ends when the gateway drains.
    Terminal,
    /// It goes on for as long as the drain lasts: what runs behind it would be lost.
    Command,
    /// The same, for whoever may open the port.
    Port(Entry),
}

/// How somebody came to a port.
#[derive(Debug)]
pub struct Entry {
    pub question: Question,
    pub port: Port,
    pub address: IpAddr,
    /// Its place where their number is limited, held until the socket ends.
    #[expect(dead_code, reason = "what counts is when it is dropped")]
    pub room: Option<Room>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum AtDrain {
    End,
    GoOn,
}

impl Kind {
    fn at_drain(&self) -> AtDrain {
        match self {
            Self::Terminal => AtDrain::End,
            Self::Command | Self::Port(_) => AtDrain::GoOn,
        }
    }

    /// Notices what passes to and from a port, where its codespace's owner said that this is use. What a terminal or a
    /// command is used for, the agent knows better.
    fn attention(&self, codespace: &Arc<Codespace>) -> Option<Attention> {
        let counts = matches!(self, Self::Port(_)) && codespace.snapshot().record.traffic_counts;
        counts.then(|| {
            codespace.touch(Activity::Traffic);
            Attention::new(Arc::clone(codespace), Activity::Traffic)
        })
    }

    fn write_stall(&self, whose: &SocketOf) -> Duration {
        match (self, whose) {
            // What a guest does not read is held for somebody else.
            (Self::Port(_), SocketOf::Owner(_)) => PATIENT_WRITE_STALL,
            _ => WRITE_STALL,
        }
    }

    /// Whether it would be allowed if it were asked for now.
    fn stands(&self, services: &Services, who: &Identity, codespace: &Codespace) -> bool {
        match self {
            Self::Terminal | Self::Command => grants(who, &ownership(codespace)).allow(Access::Work),
            Self::Port(entry) => {
                let snapshot = codespace.snapshot();
                let admitted = snapshot.admits(entry.port, entry.address);
                admitted && entry.question.ask(&snapshot, &services.auth, services.clock.now()).is_ok()
            }
        }
    }
}

/// Ready when the caller may no longer: signed out, token revoked, codespace gone or no longer theirs (SESS-3).
pub(super) async fn over(services: Services, who: Identity, codespace: Arc<Codespace>, kind: Kind) {
    let permit_falls = async {
        let mut changes = codespace.changes();
        let mut organisations = services.auth.organisation_changes();
        loop {
            if codespace.is_removed() || !kind.stands(&services, &who, &codespace) {
                return;
            }
            let changed = tokio::select! {
                changed = changes.changed() => changed,
                changed = organisations.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = permit_falls => {}
        () = credential_ends(&services, &who) => {}
    }
}

/// Ready when the credential behind an identity ends.
pub async fn credential_ends(services: &Services, who: &Identity) {
    let ended = match &who.credential {
        Credential::Cookie(session) => services.auth.login_session(session).map(|session| session.ended()),
        Credential::Token(token) => services.auth.token_ended(token),
        Credential::Operator => return std::future::pending().await,
    };
    // A credential that is gone already has ended; so has one whose account changed before anybody watched.
    if let Some(ended) = ended
        && services.auth.stands(who)
    {
        ended.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes() {
        #[track_caller]
        fn check(headers: &[(&str, &str)], expected: Result<(), u16>) {
            let mut request = Request::builder();
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Body::empty()).expect("a request");
            let found = check_handshake(&request).map(|_| ()).map_err(|problem| problem.status().as_u16());
            assert_eq!(found, expected, "{headers:?}");
        }
        let upgrade = ("upgrade", "websocket");
        let connection = ("connection", "keep-alive, Upgrade");
        let version = ("sec-websocket-version", "13");
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        check(&[upgrade, connection, version, key], Ok(()));
        check(&[upgrade, connection, version, key, key], Err(400));
        check(&[upgrade, connection, version], Err(400));
        check(&[upgrade, connection, version, ("sec-websocket-key", "c2hvcnQ=")], Err(400));
        check(
            &[upgrade, connection, version, ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ")],
            Err(400),
        );
        check(&[upgrade, connection, ("sec-websocket-version", "8"), key], Err(400));
        check(&[upgrade, version, key], Err(426));
        check(&[connection, version, key], Err(426));
        check(&[("upgrade", "h2c"), connection, version, key], Err(426));
    }
}
