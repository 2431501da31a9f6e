//! A codespace that does not run: who starts it by coming, and what everybody is told meanwhile (RESUME-1 to RESUME-3).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{
    Body, Edge,
    failure::{Failure, Reason},
    hop::{parameter, read_form, redirect},
    upgrade::{WEBSOCKET, check_handshake},
    upload::Upload,
    visit::{Permitted, Visit},
};
use crate::{
    audit::Actor,
    codespace::{CodespaceError, Snapshot},
    domain::{Credential, ReturnTo},
    policy::{Manner, Ownership, Presented, Waking, may_start, waking},
};

/// "Try again later" (RFC 6455, IANA's registry of close codes), with words for whoever reads them.
const CLOSE_TRY_AGAIN: &[u8] = b"\x88\x1e\x03\xf5The codespace is not running";
/// How long a client may take to take its leave.
const LEAVE: Duration = Duration::from_secs(5);

/// What a visit found that came to a codespace which does not run.
#[derive(Debug)]
pub struct Asleep {
    pub snapshot: Arc<Snapshot>,
    /// Whether whoever asks may start it at all.
    pub may_start: bool,
}

impl Edge {
    /// Answers a visit whose codespace does not run or is out of reach; starts it where such a visit does.
    pub(super) async fn asleep(&self, permitted: Box<Permitted>, request: Request<Upload>) -> Result<Response<Body>, Failure> {
        let manner = match permitted.visit.manner {
            Manner::Own | Manner::Led if self.came_for_it(&permitted.visit) => Manner::Own,
            // What led here may have been another site's page, although our own sign-in brought the browser the last step.
            Manner::Own if self.just_signed_in(&permitted.visit) => Manner::Led,
            manner => manner,
        };
        let asleep = self.wake(&permitted, manner).await?;
        if !permitted.wants_upgrade() {
            return Err(permitted.visit.fail(Reason::Asleep(asleep)));
        }
        self.close_socket(&permitted, request)
    }

    /// `POST /.portico/wake`: the button on our page. Only a page of this very host can have posted it, and none by itself.
    pub(super) async fn wake_button(&self, visit: Visit, request: Request<Upload>) -> Result<Response<Body>, Failure> {
        let field = |name| request.headers().get(name).map(HeaderValue::as_bytes);
        let own = visit.from.as_ref() == Some(&visit.route) && matches!(field("sec-fetch-site"), None | Some(b"same-origin"));
        let pressed =
            matches!(field("sec-fetch-mode"), None | Some(b"navigate")) && matches!(field("sec-fetch-dest"), None | Some(b"document"));
        if !own || !pressed {
            return Err(visit.fail(Reason::ForeignPost));
        }
        // As the visit was whose answer has the button; what limits the bodies of an app's requests limits none of ours.
        let permitted = Box::new(visit).authorize(self, self.clock.now())?.within_limits_but_body(self)?;
        let form = read_form(&permitted.visit, request).await?;
        let next = parameter(Some(&form), "next").and_then(|next| ReturnTo::parse(&next));
        let asleep = self.wake(&permitted, Manner::Button).await?;
        if !asleep.may_start {
            return Err(permitted.visit.fail(Reason::Asleep(asleep)));
        }
        let next = next.unwrap_or_else(ReturnTo::root);
        Ok(redirect(&format!("{}{}", permitted.visit.origin, next.as_str())))
    }

    /// Starts the codespace if such a visit does.
    async fn wake(&self, permitted: &Permitted, manner: Manner) -> Result<Asleep, Failure> {
        let snapshot = permitted.codespace.snapshot();
        let record = &snapshot.record;
        let ownership = Ownership {
            name: record.name.clone(),
            owner: record.owner.clone(),
        };
        let may_start = may_start(
            permitted.permit.subject(),
            &ownership,
            snapshot.woken_by(permitted.visit.route.port()),
        );
        if waking(may_start, record.phase, manner) == Waking::Start {
            let (actor, how) = (actor(permitted), words(manner));
            match self.codespaces.wake(&permitted.codespace, &actor, how).await {
                Ok(()) => {}
                Err(CodespaceError::TooManyStarts { limit, seconds }) => {
                    return Err(permitted.visit.fail(Reason::TooManyStarts { limit, seconds }));
                }
                Err(error) => tracing::warn!(codespace = %record.name, %error, "a visit did not start it"),
            }
        }
        Ok(Asleep {
            snapshot: permitted.codespace.snapshot(),
            may_start,
        })
    }

    /// Whether the visitor's sign-in at this host ended a moment ago, so that its page may have led here for another site.
    fn just_signed_in(&self, visit: &Visit) -> bool {
        self.session_of(visit)
            .is_some_and(|session| session.arrived_lately(&visit.route, self.clock.now()))
    }

    /// Whether the sign-in that led here began with the person's own step.
    fn came_for_it(&self, visit: &Visit) -> bool {
        self.session_of(visit)
            .is_some_and(|session| session.take_intent(&visit.route, self.clock.now()))
    }

    fn session_of(&self, visit: &Visit) -> Option<Arc<crate::auth::LoginSession>> {
        let Presented::Valid(identity) = &visit.who else { return None };
        match &identity.credential {
            Credential::Cookie(session) => self.auth.login_session(session),
            Credential::Token(_) | Credential::Operator => None,
        }
    }

    /// Accepts a WebSocket and closes it with 1013: a handshake that fails tells a page nothing, this that it may try again.
    fn close_socket(&self, permitted: &Permitted, mut request: Request<Upload>) -> Result<Response<Body>, Failure> {
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, _) = request.into_parts();
        let accept = check_handshake(&head, &permitted.visit)?;
        let mut switching = Response::new(Body::empty());
        *switching.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = switching.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, WEBSOCKET);
        if let Ok(accept) = HeaderValue::from_str(&accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(protocol) = first_protocol(&head.headers) {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        permitted.visit.exchange.note("codespace does not run: closed with 1013");
        self.tasks.spawn(take_leave(upgrade));
        Ok(switching)
    }
}

impl Permitted {
    fn wants_upgrade(&self) -> bool {
        self.visit.kind == super::client::Kind::WebSocket
    }
}

/// Closes, and lets the client read it before the connection goes.
async fn take_leave(upgrade: OnUpgrade) {
    let leaving = async {
        let mut socket: TokioIo<Upgraded> = TokioIo::new(upgrade.await.ok()?);
        socket.write_all(CLOSE_TRY_AGAIN).await.ok()?;
        socket.flush().await.ok()?;
        let mut rest = [0; 1024];
        // Its own close, and whatever it sent before it saw ours.
        while socket.read(&mut rest).await.ok()? > 0 && rest[0] & 0x0f != 8 {}
        socket.shutdown().await.ok()
    };
    drop(timeout(LEAVE, leaving).await);
}

/// The first subprotocol that is offered: without one of theirs, browsers fail the handshake.
fn first_protocol(headers: &http::HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.as_bytes();
    let first = offered.split(|byte| *byte == b',').next()?.trim_ascii();
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(first))
        .ok()
        .filter(|first| !first.is_empty())
}

fn actor(permitted: &Permitted) -> Actor {
    let visit = &permitted.visit;
    let identity = permitted.permit.subject().identity();
    Actor {
        name: identity.map_or_else(String::new, |identity| identity.name.to_string()),
        address: Some(visit.exchange.client().to_string()),
        request_id: Some(visit.exchange.id().to_owned()),
    }
}

/// How it came about, for the audit log.
fn words(manner: Manner) -> &'static str {
    match manner {
        Manner::Own | Manner::Led => "by a visit",
        Manner::Button => "by the button on its page",
        Manner::Token => "by a request with a token",
        Manner::Background => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_subprotocol_is_echoed() {
        let of = |offered: &'static str| {
            let headers = [(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offered))];
            first_protocol(&headers.into_iter().collect())
        };
        assert_eq!(of("vite-hmr, b"), Some(HeaderValue::from_static("vite-hmr")));
        assert_eq!(of(" a ,b"), Some(HeaderValue::from_static("a")));
        assert_eq!((of(""), of(",b")), (None, None));
        assert_eq!(first_protocol(&http::HeaderMap::new()), None);
    }

    #[test]
    fn the_close_frame_is_one() {
        assert_eq!(usize::from(CLOSE_TRY_AGAIN[1]), CLOSE_TRY_AGAIN.len() - 2);
        assert_eq!(u16::from_be_bytes([CLOSE_TRY_AGAIN[2], CLOSE_TRY_AGAIN[3]]), 1013);
    }
}
