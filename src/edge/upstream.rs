//! Connections to apps: dialled through the tunnel, kept for the next request of the same codespace and port. HTTP/1.1, or
//! HTTP/2 where the app speaks it.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use foldhash::fast::RandomState as Quick;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    body::BodyError,
    chatter::{Chatter, Heads, Heeded},
    context::{Exchange, GaveUp},
    upload::{TooLarge, Upload},
};
use crate::{
    domain::{CodespaceName, Generation, Protocol},
    forward::trailers,
    inspect::Recording,
    protocol::tunnel::Endpoint,
    relay::Backlog,
    route::Scheme,
    tunnel::{
        DialError, SharedDialer, Tenure,
        tls::{self, Offer},
    },
};

/// How long an idle connection is kept: less than Node's 5 s, so that the app is rarely the first to close it.
const KEPT_FOR: Duration = Duration::from_secs(4);
/// Most idle connections to one port.
const MAX_KEPT: usize = 64;
/// Longest response head of an app in bytes, and most of a request's body that waits for it.
const MAX_HEAD_BYTES: usize = 128 * 1024;

/// How long a TLS handshake with an app may take: as long as one with a client (TO-1).
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// Bounds of HTTP/2 to an app. What a client does not read of one stream must not hold up the others of its connection.
/// Each half of a stream holds no more than what the client's half leaves of 256 KiB (LIM-3).
mod h2 {
    pub(super) const STREAMS: usize = 32;
    pub(super) const STREAM_WINDOW: u32 = 128 * 1024;
    pub(super) const CONNECTION_WINDOW: u32 = 32 * STREAM_WINDOW;
    pub(super) const SEND_BUFFER: usize = 64 * 1024;
}

/// Where a connection leads. Never shared between codespaces or between two starts of one (POOL-1).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Key {
    pub codespace: CodespaceName,
    pub generation: Generation,
    pub endpoint: Endpoint,
    /// What is spoken to the app.
    pub protocol: Protocol,
}

/// Connections to apps, of one thread of the edge: it drives them, and another that used them would have to wake it for
/// each request. Cheap to clone.
#[derive(Clone)]
pub struct Upstreams {
    pool: Arc<Pool>,
}

struct Pool {
    dialer: SharedDialer,
    tasks: TaskTracker,
    drain: CancellationToken,
    kept: Mutex<HashMap<Key, Vec<Kept>, Quick>>,
    /// Of HTTP/2, each used by many requests at once.
    shared: Mutex<HashMap<Key, Vec<Shared>, Quick>>,
}

struct Kept {
    line: Line,
    since: Instant,
}

/// A connection of HTTP/1.1 to an app.
struct Line {
    sender: http1::SendRequest<RequestBody>,
    backlog: Arc<Backlog>,
    chatter: Arc<Chatter>,
    tenure: Tenure,
}

struct Shared {
    sender: http2::SendRequest<RequestBody>,
    heads: Arc<Heads>,
    /// One more than requests are under way.
    under_way: Arc<()>,
    tenure: Tenure,
    since: Instant,
}

/// The way to an app for one request.
enum Sender {
    Http1(Line),
    Http2 {
        sender: http2::SendRequest<RequestBody>,
        heads: Arc<Heads>,
        _under_way: Arc<()>,
    },
}

/// Why an app gave no response.
#[derive(Debug, Error)]
pub enum UpstreamError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the app broke the connection off or did not speak HTTP")]
    Exchange(#[source] hyper::Error),
    /// See [`Chatter`] and [`Heads`].
    #[error("the app sent only informational responses")]
    Chatter,
    #[error("TLS with the app failed")]
    Tls(#[source] std::io::Error),
}

impl Upstreams {
    pub(super) fn new(dialer: SharedDialer, tasks: TaskTracker, drain: CancellationToken) -> Self {
        let pool = Arc::new(Pool {
            dialer,
            tasks,
            drain,
            kept: Mutex::default(),
            shared: Mutex::default(),
        });
        pool.tasks.spawn(sweep(Arc::clone(&pool)));
        Self { pool }
    }

    /// Sends a request over a kept connection, or over a new one.
    pub(super) async fn send(&self, key: Key, mut request: Request<RequestBody>) -> Result<(Response<Incoming>, Return), UpstreamError> {
        let upgrade = request.body().body.is_none();
        while let Some(mut sender) = self.take(&key, upgrade) {
            match sender.send(request, &key).await {
                _ if sender.said_too_much() => return Err(UpstreamError::Chatter),
                Ok(response) => return Ok((response, self.to_return(key, sender))),
                // The app had closed it, and the request was not begun: it goes over the next one.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(UpstreamError::Exchange(error.into_error())),
                },
            }
        }
        let mut sender = Box::pin(self.connect(&key, upgrade)).await?;
        let answered = sender.send(request, &key).await;
        // A head that came together with them is no better than none.
        if sender.said_too_much() {
            return Err(UpstreamError::Chatter);
        }
        let response = answered.map_err(|error| UpstreamError::Exchange(error.into_error()))?;
        Ok((response, self.to_return(key, sender)))
    }

    /// A WebSocket comes of HTTP/1.1 alone.
    async fn connect(&self, key: &Key, upgrade: bool) -> Result<Sender, UpstreamError> {
        let mut stream = self.pool.dialer.dial(&key.codespace, key.endpoint).await?;
        let (backlog, tenure) = (stream.backlog(), stream.tenure());
        match key.protocol {
            Protocol::Http2 if !upgrade => self.handshake_2(key, stream, tenure).await,
            Protocol::Http | Protocol::Http2 => self.handshake(stream, backlog, tenure).await,
            Protocol::Https => {
                let offer = if upgrade { Offer::Http1 } else { Offer::Any };
                let shaken = tokio::time::timeout(TLS_TIMEOUT, tls::connect(stream, offer)).await;
                let (stream, http_2) = shaken
                    .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
                    .map_err(UpstreamError::Tls)?;
                match http_2 {
                    true => self.handshake_2(key, stream, tenure).await,
                    false => self.handshake(stream, backlog, tenure).await,
                }
            }
        }
    }

    async fn handshake(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        backlog: Arc<Backlog>,
        tenure: Tenure,
    ) -> Result<Sender, UpstreamError> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(UpstreamError::Exchange)?;
        let task = self.pool.tasks.spawn(async move {
            // What goes wrong is told to the exchange that waits for a response.
            drop(connection.with_upgrades().await);
        });
        let chatter = Arc::new(Chatter::of(task.abort_handle()));
        Ok(Sender::Http1(Line {
            sender,
            backlog,
            chatter,
            tenure,
        }))
    }

    async fn handshake_2(
        &self,
        key: &Key,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        tenure: Tenure,
    ) -> Result<Sender, UpstreamError> {
        let heads = Arc::<Heads>::default();
        let (sender, connection) = http2::Builder::new(Tasks(self.pool.tasks.clone()))
            .timer(TokioTimer::new())
            .initial_stream_window_size(h2::STREAM_WINDOW)
            .initial_connection_window_size(h2::CONNECTION_WINDOW)
            .max_send_buf_size(h2::SEND_BUFFER)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(Heeded::new(stream, Arc::clone(&heads))))
            .await
            .map_err(UpstreamError::Exchange)?;
        self.pool.tasks.spawn(async move { drop(connection.await) });
        let under_way = Arc::new(());
        if !self.pool.drain.is_cancelled() {
            let shared = Shared {
                sender: sender.clone(),
                heads: Arc::clone(&heads),
                under_way: Arc::clone(&under_way),
                tenure,
                since: Instant::now(),
            };
            self.pool.shared.lock().entry(key.clone()).or_default().push(shared);
        }
        Ok(Sender::Http2 {
            sender,
            heads,
            _under_way: under_way,
        })
    }

    fn take(&self, key: &Key, upgrade: bool) -> Option<Sender> {
        if key.protocol != Protocol::Http
            && !upgrade
            && let Some(shared) = self.share(key)
        {
            return Some(shared);
        }
        let mut all = self.pool.kept.lock();
        let kept = all.get_mut(key)?;
        while let Some(last) = kept.pop() {
            if last.since.elapsed() < KEPT_FOR && last.line.sender.is_ready() && !last.line.tenure.is_over() {
                return Some(Sender::Http1(last.line));
            }
        }
        None
    }

    fn share(&self, key: &Key) -> Option<Sender> {
        let mut all = self.pool.shared.lock();
        let list = all.get_mut(key)?;
        list.retain(|shared| !shared.sender.is_closed() && !shared.tenure.is_over());
        let shared = list.iter_mut().find(|shared| shared.requests() < h2::STREAMS)?;
        shared.since = Instant::now();
        Some(Sender::Http2 {
            sender: shared.sender.clone(),
            heads: Arc::clone(&shared.heads),
            _under_way: Arc::clone(&shared.under_way),
        })
    }

    fn to_return(&self, key: Key, sender: Sender) -> Return {
        Return {
            upstreams: self.clone(),
            key,
            sender,
        }
    }
}

impl Shared {
    fn requests(&self) -> usize {
        Arc::strong_count(&self.under_way) - 1
    }
}

impl Sender {
    /// Whether the app said more than anybody would before it answered; its connection is cut then.
    fn said_too_much(&self) -> bool {
        match self {
            Self::Http1(line) => line.chatter.is_too_much(),
            Self::Http2 { heads, .. } => heads.is_too_much(),
        }
    }

    async fn send(
        &mut self,
        mut request: Request<RequestBody>,
        key: &Key,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match self {
            Self::Http1(Line {
                sender, backlog, chatter, ..
            }) => {
                chatter.listen(&mut request);
                request.body_mut().behind(backlog);
                if request.version() == http::Version::HTTP_2 {
                    crate::forward::request::into_http_1(&mut request);
                }
                sender.try_send_request(request).await
            }
            // Boxed, so that what most apps do not speak makes no future larger.
            Self::Http2 { sender, heads, .. } => {
                heads.ask();
                let scheme = if key.protocol == Protocol::Https {
                    Scheme::Https
                } else {
                    Scheme::Http
                };
                crate::forward::request::into_http_2(&mut request, scheme);
                Box::pin(sender.try_send_request(request)).await
            }
        }
    }
}

/// Runs the tasks of HTTP/2 connections where they are counted.
#[derive(Clone)]
struct Tasks(TaskTracker);

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// A connection that can go back once its response came to its end; dropped before that, it is closed.
pub struct Return {
    upstreams: Upstreams,
    key: Key,
    sender: Sender,
}

impl Return {
    /// Keeps the connection for the next request, as soon as it is ready for one. One of HTTP/2 was never taken away.
    pub fn put_back(self) {
        let Self { upstreams, key, sender } = self;
        let Sender::Http1(mut line) = sender else { return };
        if line.sender.is_closed() {
            return;
        }
        if line.sender.is_ready() {
            return upstreams.keep(key, line);
        }
        let tasks = upstreams.pool.tasks.clone();
        tasks.spawn(async move {
            // The request's body may still be on its way although the response has ended.
            if let Ok(Ok(())) = tokio::time::timeout(KEPT_FOR, line.sender.ready()).await {
                upstreams.keep(key, line);
            }
        });
    }
}

impl Upstreams {
    fn keep(&self, key: Key, line: Line) {
        if self.pool.drain.is_cancelled() {
            return;
        }
        let mut all = self.pool.kept.lock();
        let kept = all.entry(key).or_default();
        if kept.len() < MAX_KEPT {
            kept.push(Kept {
                line,
                since: Instant::now(),
            });
        }
    }
}

/// Closes connections that were idle for too long, and all idle ones when the gateway drains.
async fn sweep(pool: Arc<Pool>) {
    let mut ticks = tokio::time::interval(KEPT_FOR);
    loop {
        let draining = tokio::select! {
            _ = ticks.tick() => false,
            () = pool.drain.cancelled() => true,
        };
        pool.kept.lock().retain(|_, list| {
            list.retain(|kept| !draining && kept.since.elapsed() < KEPT_FOR && !kept.line.sender.is_closed());
            !list.is_empty()
        });
        // One that is let go of ends when its last request has.
        pool.shared.lock().retain(|_, list| {
            list.retain(|shared| !draining && !shared.sender.is_closed() && (shared.requests() > 0 || shared.since.elapsed() < KEPT_FOR));
            !list.is_empty()
        });
        if draining {
            return;
        }
    }
}

/// A request's body on its way to an app, counted.
pub struct RequestBody {
    body: Option<Upload>,
    /// What of it waits to be written.
    backlog: Option<Arc<Backlog>>,
    exchange: Arc<Exchange>,
    /// Of a port whose owner keeps a log.
    recording: Option<Arc<Recording>>,
}

impl RequestBody {
    pub(super) fn new(body: Option<Upload>, exchange: Arc<Exchange>, recording: Option<Arc<Recording>>) -> Self {
        let this = Self {
            body,
            backlog: None,
            exchange,
            recording,
        };
        if this.is_end_stream() {
            this.over();
        }
        this
    }

    /// Goes over a connection that tells what it wrote; of HTTP/2, whose own bounds those are, none does.
    fn behind(&mut self, backlog: &Arc<Backlog>) {
        if self.body.is_some() {
            backlog.clear();
            self.backlog = Some(Arc::clone(backlog));
        }
    }

    fn over(&self) {
        if let Some(recording) = &self.recording {
            recording.sent_all();
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(backlog) = &self.backlog {
            ready!(backlog.poll_room(cx));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.exchange.received(bytes);
                if let Some(backlog) = &self.backlog {
                    backlog.add(bytes);
                }
                if let Some(recording) = &self.recording {
                    recording.sent(frame.data_ref().map_or(&[], Bytes::as_ref));
                    // hyper does not ask again for the end of a body of a known length.
                    if self.is_end_stream() {
                        recording.sent_all();
                    }
                }
                Poll::Ready(Some(Ok(match frame.into_trailers() {
                    Ok(fields) => Frame::trailers(trailers::of_request(fields)),
                    Err(data) => data,
                })))
            }
            Poll::Ready(Some(Err(error))) => {
                let too_large = error.downcast_ref::<TooLarge>().copied();
                self.exchange.give_up(too_large.map_or(GaveUp::Broken, GaveUp::TooLarge));
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                self.over();
                Poll::Ready(None)
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
