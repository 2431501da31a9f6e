//! One connection from its first byte to its last: HTTP/1.1 or HTTP/2, with every time bounded.

use std::{
    convert::Infallible,
    error::Error as _,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, StreamExt as _, future::Either, stream::FuturesUnordered};
use http::{Request, StatusCode, header};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use super::{
    Edge, Peer,
    answered::Answered,
    caller::Caller,
    context::Patience,
    flood::{Bounded, RefusedHeads},
    heard::Heard,
    lent::lend,
    listener::Options,
    pace::{Look, Pace, Times},
    streams::Streams,
    tls::{Named, Tls},
};
use crate::{
    forward::admission::{Fragment, MAX_FIELDS},
    relay::WriteTimeout,
};

/// Largest head that hyper reads; above what admission allows, so that the refusal is ours and has a page (HDR-9). hyper
/// also queues so much of an answer that its client does not read, and a piece more (LIM-3).
pub(super) const HEAD_BYTES: usize = 96 * 1024;

/// Bounds of HTTP/2 (H2-1). A stalled stream holds at most a sixteenth of the connection's window.
pub(super) mod h2 {
    use std::time::Duration;

    pub(super) const STREAMS: u32 = 128;
    /// What a client may send ahead of an app that reads slowly; of LIM-3's 256 KiB the rest is being written.
    pub(super) const STREAM_WINDOW: u32 = 192 * 1024;
    pub(super) const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;
    /// Largest list of fields. Browsers keep 180 cookies of 4 KiB for a site, and a page can have all of them sent: what
    /// is refused without being read cannot be told to take them away (HDR-10).
    pub(in crate::edge) const FIELD_BYTES: u32 = 1024 * 1024;
    pub(super) const SEND_BUFFER: usize = 128 * 1024;
    pub(super) const PING_EVERY: Duration = Duration::from_secs(20);
    pub(super) const PING_ANSWER: Duration = Duration::from_secs(10);
    pub(super) const PENDING_RESETS: usize = 20;
    pub(super) const OWN_RESETS: usize = 100;
}

/// How long a connection that was told to end may still take.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long one stays open whose client sent what nobody takes: closed at once, with bytes that nobody read, it would lose
/// the word that says why, and its client would be back the sooner.
const LINGERS: Duration = Duration::from_millis(250);

/// What a connection works with.
pub(super) struct Connection {
    pub edge: Edge,
    pub caller: Caller,
    pub options: Options,
    pub drain: CancellationToken,
    pub cut: CancellationToken,
}

impl Connection {
    /// Serves until the connection ends.
    pub(super) async fn run(self, stream: TcpStream, tls: Option<Tls>) {
        let _open = self.edge.metrics.connection();
        let stream = WriteTimeout::new(stream, self.options.write_timeout);
        let Some(tls) = tls else {
            return self.http_1(stream, None).await;
        };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.options.handshake_timeout, tls.accept(stream)) => shaken,
            () = self.drain.cancelled() => return,
        };
        // An error is the client's: it was too slow, or speaks no TLS of this century.
        let Ok(Ok(shaken)) = shaken else {
            return self.edge.metrics.closed("tls_handshake");
        };
        let Some((stream, settled)) = shaken else {
            return self.edge.metrics.closed("acme_challenge");
        };
        if settled.http_2 {
            Box::pin(self.http_2(stream, settled.named)).await;
        } else {
            self.http_1(stream, Some(settled.named)).await;
        }
    }

    async fn http_1(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, named: Option<Named>) {
        let pace = Pace::new(Instant::now());
        let peer = Arc::new(Peer::new(self.caller.clone(), named, self.patience(), Arc::default()));
        let service = {
            let (edge, pace, peer) = (self.edge.clone(), Arc::clone(&pace), Arc::clone(&peer));
            service_fn(move |mut request: Request<Incoming>| {
                let going = pace.begin();
                if going.fragment {
                    request.extensions_mut().insert(Fragment);
                }
                if let Some(cut) = going.cut {
                    request.extensions_mut().insert(cut);
                }
                let (answer, pace) = (edge.handle(request, &peer), Arc::clone(&pace));
                async move {
                    let response = answer.await;
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        pace.switch();
                    }
                    Ok::<_, Infallible>(response.map(|body| Answered::of_connection(body, going)))
                }
            })
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Its timer also runs while a connection is idle: ours tells the two apart.
            .header_read_timeout(None)
            .max_buf_size(HEAD_BYTES)
            // Room for more would be made anew for each head. What is beyond them is left out before hyper reads it.
            .max_headers(MAX_FIELDS)
            // A client that left must end its exchange, or a silent event stream is held for ever.
            .half_close(false)
            .serve_connection(TokioIo::new(Heard::new(stream, Arc::clone(&pace))), service)
            .with_upgrades();
        let fallen = peer.leases.fallen();
        let mut connection = std::pin::pin!(connection);
        let last = self
            .attend(connection.as_mut(), |connection| connection.graceful_shutdown(), &pace, fallen)
            .await;
        if let Last::Told = last {
            self.linger(std::future::pending()).await;
        }
    }

    async fn http_2(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, named: Named) {
        let pace = Pace::new(Instant::now());
        let streams = Streams {
            pace: Arc::clone(&pace),
            caller: self.caller.clone(),
            named: Some(named),
            patience: self.patience(),
            recall: Arc::default(),
        };
        let refused = Arc::new(RefusedHeads::default());
        let (stream, lender) = lend(stream);
        let stream = Bounded::new(stream, Arc::clone(&refused), Instant::now());
        let service = {
            // One count to keep for each request instead of one for each of what they hold.
            let shared = Arc::new((self.edge.clone(), streams.clone(), refused));
            service_fn(move |request: Request<Incoming>| {
                let shared = Arc::clone(&shared);
                async move {
                    let (edge, streams, refused) = &*shared;
                    let stream = streams.current();
                    let fields = request.headers().len();
                    let mut response = edge.handle(request, &stream).await;
                    // What ends a connection of HTTP/1.1, which nobody shares, is held against one of HTTP/2.
                    if response.headers_mut().remove(header::CONNECTION).is_some() && !streams.caller.is_proxy() {
                        refused.add(fields);
                    }
                    Ok::<_, Infallible>(response.map(|body| Answered::of_stream(body, stream)))
                }
            })
        };
        let connection = http2::Builder::new(streams)
            .timer(TokioTimer::new())
            .max_concurrent_streams(h2::STREAMS)
            .initial_stream_window_size(h2::STREAM_WINDOW)
            .initial_connection_window_size(h2::CONNECTION_WINDOW)
            .max_send_buf_size(h2::SEND_BUFFER)
            .max_header_list_size(h2::FIELD_BYTES)
            .keep_alive_interval(h2::PING_EVERY)
            .keep_alive_timeout(h2::PING_ANSWER)
            .max_pending_accept_reset_streams(h2::PENDING_RESETS)
            .max_local_error_reset_streams(h2::OWN_RESETS)
            .enable_connect_protocol()
            .serve_connection(TokioIo::new(stream), service);
        // A permit that falls ends its stream alone.
        let fallen = std::future::pending();
        let last = {
            let connection = std::pin::pin!(connection);
            self.attend(connection, |connection| connection.graceful_shutdown(), &pace, fallen)
                .await
        };
        if let Last::Told = last {
            self.linger(lender.close()).await;
        }
    }

    fn patience(&self) -> Patience {
        Patience {
            body: self.options.body_timeout,
            write: self.options.write_timeout,
        }
    }

    /// Drives a connection, tells it to end when it was idle for too long or the gateway drains, and cuts it when it
    /// does not, or when a permit has fallen on which it depends.
    async fn attend<C: Future<Output = hyper::Result<()>>>(
        &self,
        mut connection: Pin<&mut C>,
        end: impl Fn(Pin<&mut C>),
        pace: &Pace,
        fallen: impl Future<Output = ()>,
    ) -> Last {
        // Looked at when they wake by themselves, not with every byte of the connection.
        let mut alarms = FuturesUnordered::new();
        alarms.push(Either::Left(self.alarm(pace, Told::default())));
        alarms.push(Either::Right(fallen.map(|()| Alarm::Cut)));
        loop {
            tokio::select! {
                biased;
                // An error here is the client's: it went away or sent what is no HTTP.
                ended = connection.as_mut() => {
                    let told = ended.is_err_and(|error| is_word_to_client(&error));
                    return if told { Last::Told } else { Last::Gone };
                }
                alarm = alarms.next() => match alarm {
                    Some(Alarm::End(told)) => {
                        end(connection.as_mut());
                        alarms.push(Either::Left(self.alarm(pace, told)));
                    }
                    Some(Alarm::Cut) | None => return Last::Gone,
                },
            }
        }
    }

    /// Lets a client that is still there read the last that it was told, until it has closed.
    async fn linger(&self, closed: impl Future<Output = ()>) {
        tokio::select! {
            () = closed => {}
            () = tokio::time::sleep(LINGERS) => {}
            () = self.drain.cancelled() => {}
            () = self.cut.cancelled() => {}
        }
    }

    /// Waits until a connection, which was told so much, must be told more or cut.
    async fn alarm(&self, pace: &Pace, told: Told) -> Alarm {
        let times = Times {
            idle: self.options.idle_timeout,
            head: self.options.header_timeout,
        };
        let first = if told.idle { LAST_WORDS } else { times.idle.min(times.head) };
        let mut timer = std::pin::pin!(tokio::time::sleep(first));
        loop {
            tokio::select! {
                () = timer.as_mut() => match pace.look(times, Instant::now()) {
                    Look::Again(at) => timer.as_mut().reset(at.into()),
                    Look::Idle if !told.idle => return Alarm::End(Told { idle: true, ..told }),
                    Look::Idle | Look::SlowHead => return Alarm::Cut,
                },
                () = self.drain.cancelled(), if !told.drain => return Alarm::End(Told { drain: true, ..told }),
                () = self.cut.cancelled() => return Alarm::Cut,
            }
        }
    }
}

/// Whether a connection ended by what its client sent, of which it was told, and not by its going.
fn is_word_to_client(error: &hyper::Error) -> bool {
    error.source().is_some_and(|cause| !cause.is::<io::Error>())
}

/// How a connection ended.
enum Last {
    /// Its client sent what nobody takes, and was told so.
    Told,
    Gone,
}

/// Why a connection was told to end already.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    idle: bool,
    drain: bool,
}

/// What must be done about a connection.
#[derive(Clone, Copy, Debug)]
enum Alarm {
    /// Tell it to end.
    End(Told),
    Cut,
}
