//! WebSockets to apps and editors: bytes, after the upstream's 101 and never before (decision 7, SMUG-5).

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::{either::Either, sync::CancellationToken};

use super::{
    Body, Edge,
    body::Manner,
    context::Exchange,
    diagnosis::Ear,
    failure::{Failure, Reason},
    heard::Heard,
    lease::Lease,
    logged,
    proxy::{Target, rebuilt},
    upload::Upload,
    visit::{Awake, Visit},
};
use crate::{
    codespace::{Activity, Attention, Counted, OpenSocket, SocketOf},
    doctor::Trouble,
    forward::{response, trailers::Trailers},
    inspect::Recorded,
    policy::Subject,
    relay::{self, Pipe, Relayed, WriteTimeout},
    tunnel::AgentStream,
};

pub(super) const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

impl Edge {
    pub(super) async fn upgrade(&self, awake: Awake, mut request: Request<Upload>) -> Result<Response<Body>, Failure> {
        let visit = &awake.permitted.visit;
        let snapshot = &awake.permitted.snapshot;
        let client_upgrade = hyper::upgrade::on(&mut request);
        let (head, _) = request.into_parts();
        let accept = check_handshake(&head, visit)?;
        let counted = self.count_socket(&awake)?;
        let target = Target::of(visit, snapshot);
        let mut recorded = logged::begin(self, &awake, target.log.as_ref(), &head);
        let fields = target.head(self, visit, &head, Some(&WEBSOCKET));
        let upstream_request = rebuilt(fields, &head, visit, None, recorded.as_ref());
        let answered = tokio::select! {
            biased;
            answered = self.inner.upstreams.send(target.key.clone(), upstream_request) => answered,
            () = awake.fallen_later(self) => return Err(visit.fail(Reason::Revoked)),
        };
        let (mut answer, upstream) = match answered {
            Ok(answered) => answered,
            Err(error) => {
                logged::fail(recorded, &error);
                return Err(Box::pin(self.diagnose(&awake.permitted, &target, error)).await);
            }
        };
        if let Some(recorded) = &recorded {
            recorded.answered(answer.status().as_u16(), answer.headers());
        }
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            if answer.status().is_success() {
                return Err(visit.fail(awake.permitted.broken(Trouble::NoWebSocket)));
            }
            if response::check_framing(answer.headers()).is_err() {
                return Err(visit.fail(awake.permitted.broken(Trouble::AmbiguousLength)));
            }
            let manner = Manner {
                trailers: Trailers::Drop,
                ear: Ear::for_refusal(self, &awake.permitted, &target, answer.status(), answer.headers()),
                recorded,
                attention: None,
            };
            let narrowed = response::filter(answer.headers_mut(), target.world, target.translation(self, visit));
            visit.exchange.narrowed(narrowed);
            let (parts, incoming) = answer.into_parts();
            return Ok(Response::from_parts(
                parts,
                Body::upstream(incoming, (self.clone(), awake), upstream, manner),
            ));
        }
        if !answers(answer.headers(), &accept) {
            return Err(visit.fail(awake.permitted.broken(Trouble::BadHandshake)));
        }
        if let Some(recorded) = &mut recorded {
            recorded.upgraded();
        }
        let upstream_upgrade = hyper::upgrade::on(&mut answer);
        let mut headers = std::mem::take(answer.headers_mut());
        let narrowed = response::filter_switch(&mut headers, target.world, target.translation(self, visit));
        visit.exchange.narrowed(narrowed);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, WEBSOCKET);
        let attention = awake.permitted.attention(target.key.endpoint);
        let joined = join(
            client_upgrade,
            upstream_upgrade,
            awake.lease(self),
            (Arc::clone(&visit.exchange), recorded),
            attention,
            self.drain.clone(),
            visit.peer.patience.write,
        );
        self.tasks.spawn(async move {
            let _counted = counted;
            joined.await;
        });
        let mut switching = Response::new(Body::empty());
        *switching.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *switching.headers_mut() = headers;
        Ok(switching)
    }

    /// Counts the socket that is about to be opened (WS-5).
    fn count_socket(&self, awake: &Awake) -> Result<OpenSocket, Failure> {
        let visit = &awake.permitted.visit;
        let of = match awake.permitted.permit.subject() {
            Subject::Owner(identity) => SocketOf::Owner(identity.user.clone()),
            Subject::Guest(identity) => SocketOf::Guest(identity.user.clone()),
            Subject::Link(_) | Subject::Anyone => SocketOf::Stranger(visit.exchange.client()),
        };
        let counted = self.codespaces.open_socket(&visit.name, of);
        counted.map_err(|error| visit.fail(Reason::TooManySockets(error)))
    }
}

/// Checks the client's half of the handshake (RFC 6455 §4.2.1, WS-6) and returns the accept value that must answer it.
pub(super) fn check_handshake(head: &Parts, visit: &Visit) -> Result<String, Failure> {
    let one = |name: &header::HeaderName| {
        let mut values = head.headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())
    };
    let version = one(&header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = one(&header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).filter(|key| is_key(key));
    match key {
        Some(key) if version && head.method == http::Method::GET => Ok(derive_accept_key(key)),
        _ => Err(visit.fail(Reason::BadRequest(
            "the WebSocket handshake is not one of version 13 with a 16-byte key",
        ))),
    }
}

/// Whether a key is the base64 of 16 bytes.
fn is_key(key: &[u8]) -> bool {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    key.len() == 24 && STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

/// Whether the app's half of the handshake answers the client's.
fn answers(headers: &HeaderMap, accept: &str) -> bool {
    let upgraded = headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let accepted = headers
        .get(header::SEC_WEBSOCKET_ACCEPT)
        .is_some_and(|value| value.as_bytes() == accept.as_bytes());
    upgraded && accepted
}

/// Makes one connection of the two, for as long as both live and the permit holds.
async fn join(
    client: OnUpgrade,
    upstream: OnUpgrade,
    lease: Arc<Lease>,
    (exchange, recorded): (Arc<Exchange>, Option<Recorded>),
    attention: Option<Attention>,
    drain: CancellationToken,
    write_limit: Duration,
) {
    let Ok((client, upstream)) = tokio::try_join!(client, upstream) else {
        exchange.cut_short();
        return;
    };
    let (client, early) = client_side(client, write_limit);
    let client = Attentive {
        inner: client,
        attention,
        counted: exchange.counted().cloned(),
    };
    client.count(early.len());
    let ended = async {
        tokio::select! {
            () = lease.fallen() => exchange.note("permit fell"),
            () = drain.cancelled() => exchange.note("the gateway drains"),
        }
    };
    let outcome = relay::relay_ahead((client, early), app_side(upstream), ended).await;
    exchange.relayed(outcome.forth, outcome.back);
    if let Some(mut recorded) = recorded {
        recorded.relayed(outcome.forth, outcome.back);
        recorded.complete();
    }
    match outcome.end {
        relay::End::Finished => {}
        relay::End::Failed(_) | relay::End::Cut => exchange.cut_short(),
    }
}

/// The client's socket where it is a plain one, and what was read ahead; else whatever carries its stream.
fn client_side(client: Upgraded, write_limit: Duration) -> (impl Relayed, Bytes) {
    match client.downcast::<TokioIo<Heard<WriteTimeout<TcpStream>>>>() {
        Ok(parts) => (Either::Left(parts.io.into_inner().into_inner()), parts.read_buf),
        // A stream of HTTP/2 can stall alone; a whole connection is watched at its socket.
        Err(client) => (Either::Right(WriteTimeout::new(TokioIo::new(client), write_limit)), Bytes::new()),
    }
}

/// The agent's stream, and what was read ahead, unless TLS is spoken to the app.
fn app_side(app: Upgraded) -> (impl Relayed, Bytes) {
    match app.downcast::<TokioIo<AgentStream>>() {
        Ok(parts) => (Either::Left(parts.io.into_inner()), parts.read_buf),
        Err(app) => (Either::Right(TokioIo::new(app)), Bytes::new()),
    }
}

/// A client's side of a socket that notices when it is used: an editor's by what its user sends, a port's by what passes
/// either way.
struct Attentive<S> {
    inner: S,
    attention: Option<Attention>,
    /// What a stranger's bytes are counted by, where strangers are capped.
    counted: Option<Counted>,
}

impl<S> Attentive<S> {
    fn count(&self, bytes: usize) {
        if let Some(counted) = &self.counted {
            counted.bytes(bytes, Instant::now());
        }
    }

    fn count_done(&self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.count(*bytes);
        }
    }

    fn notice_done(&mut self, polled: &Poll<io::Result<usize>>) {
        if let (Some(attention), Poll::Ready(Ok(bytes))) = (&mut self.attention, polled)
            && attention.activity() == Activity::Traffic
        {
            attention.notice(*bytes);
        }
    }

    fn notice(&mut self, bytes: usize) {
        if let Some(attention) = &mut self.attention {
            attention.notice(bytes);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Attentive<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.notice(buf.filled().len() - before);
        self.count(buf.filled().len() - before);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Attentive<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.notice_done(&polled);
        self.count_done(&polled);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: Relayed> Relayed for Attentive<S> {
    fn splices(&self) -> bool {
        self.inner.splices()
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        let polled = self.inner.poll_fill(cx, pipe);
        self.notice(pipe.held());
        self.count_done(&polled);
        polled
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        let polled = self.inner.poll_drain(cx, pipe);
        self.notice_done(&polled);
        self.count_done(&polled);
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ws_6_keys_are_sixteen_bytes() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for bad in [
            &b""[..],
            b"short",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZSEhISE=",
            b"!!!!!!!!!!!!!!!!!!!!!!!!",
        ] {
            assert!(!is_key(bad));
        }
    }
}
