//! The two requests that an agent makes: the control WebSocket and a data stream's upgrade.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::Full;
use hyper::{Request, Response, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    Client, Verdict,
    control::{self, Who},
    registry::Registry,
    stream::Held,
};
use crate::protocol::tunnel::UPGRADE;

type Answer = Response<Full<Bytes>>;

/// Answers an agent's request.
pub fn answer<B>(registry: &Arc<Registry>, mut request: Request<B>) -> Answer {
    let connect = match request.uri().path() {
        "/api/v1/agent/connect" => true,
        "/api/v1/agent/stream" => false,
        _ => return refuse(StatusCode::NOT_FOUND, "there is nothing here"),
    };
    if request.method() != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "agents connect with GET");
    }
    // No browser has business here, whatever it carries.
    if request.headers().contains_key(header::ORIGIN) {
        return refuse(StatusCode::FORBIDDEN, "only agents connect here");
    }
    let who = match identify(registry, &request) {
        Ok(identity) => identity,
        Err(answer) => return *answer,
    };
    let upgrade = hyper::upgrade::on(&mut request);
    if connect {
        control(registry, request.headers(), upgrade, who)
    } else {
        stream(registry, &request, upgrade, &who)
    }
}

fn identify<B>(registry: &Registry, request: &Request<B>) -> Result<Who, Box<Answer>> {
    let refused = |status, text| Err(Box::new(refuse(status, text)));
    let Some(credentials) = registry.credentials() else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "the gateway is starting");
    };
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credential = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let client = request.extensions().get::<Client>().cloned().unwrap_or_default();
    let (status, text) = match credentials.verify(credential) {
        Verdict::Current(codespace, generation) => {
            return Ok(Who {
                codespace,
                generation,
                credential: credential.into(),
                client,
            });
        }
        Verdict::Superseded | Verdict::Ended => (StatusCode::GONE, "this agent's time is over"),
        Verdict::Unknown => (StatusCode::UNAUTHORIZED, "this credential is not known"),
    };
    credentials.turned_away(credential, &client);
    refused(status, text)
}

fn control(registry: &Arc<Registry>, headers: &HeaderMap, upgrade: OnUpgrade, who: Who) -> Answer {
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let (Some(key), true, true) = (key, version, asks_for(headers, "websocket")) else {
        return refuse(StatusCode::BAD_REQUEST, "this is no WebSocket handshake (RFC 6455 section 4.2.1)");
    };
    let accept = derive_accept_key(key.as_bytes());
    let task = control::run(Arc::clone(registry), upgrade, who);
    registry.tasks.spawn(task);
    let mut answer = switch(HeaderValue::from_static("websocket"));
    if let Ok(accept) = accept.try_into() {
        answer.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    answer
}

/// Takes a stream that was asked for. The id is looked up in the link of the credential's own codespace alone (AGT-1).
fn stream<B>(registry: &Arc<Registry>, request: &Request<B>, upgrade: OnUpgrade, who: &Who) -> Answer {
    if !asks_for(request.headers(), UPGRADE) {
        return refuse(StatusCode::BAD_REQUEST, "this is no request for a stream");
    }
    let id = request
        .uri()
        .query()
        .and_then(|query| query.strip_prefix("id="))
        .unwrap_or_default();
    let link = registry.find(&who.codespace).filter(|link| link.generation == who.generation);
    let Some(link) = link.filter(|link| link.reverse.claim(id)) else {
        return refuse(StatusCode::NOT_FOUND, "no such stream was asked for");
    };
    let going = registry.going.clone();
    registry.tasks.spawn(async move {
        tokio::select! {
            upgraded = upgrade => match upgraded {
                Ok(upgraded) => link.reverse.arrived(Held::Upgraded(TokioIo::new(upgraded))),
                Err(error) => tracing::debug!(%error, "an agent's stream broke before it began"),
            },
            () = going.cancelled() => {}
        }
    });
    switch(HeaderValue::from_static(UPGRADE))
}

/// Whether the request wants to switch to a protocol, with `Connection: upgrade` as RFC 9110 §7.8 has it.
fn asks_for(headers: &HeaderMap, protocol: &str) -> bool {
    let holds = |name, wanted: &str| {
        let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.any(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case(wanted)))
    };
    holds(header::CONNECTION, "upgrade") && holds(header::UPGRADE, protocol)
}

fn switch(protocol: HeaderValue) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(header::UPGRADE, protocol);
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer
}

fn refuse(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
