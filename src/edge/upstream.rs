//! HTTP/1.1 connections to apps: dialled through the tunnel, kept for the next request of the same codespace and port.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{body::BodyError, context::Exchange, upload::Upload};
use crate::{
    domain::{CodespaceName, Generation},
    protocol::tunnel::Endpoint,
    tunnel::{DialError, SharedDialer},
};

/// How long an idle connection is kept: less than Node's 5 s, so that the app is rarely the first to close it.
const KEPT_FOR: Duration = Duration::from_secs(4);
/// Most idle connections to one port.
const MAX_KEPT: usize = 64;
/// Longest response head of an app in bytes.
const MAX_HEAD_BYTES: usize = 256 * 1024;

/// Most informational responses before the one that counts (SMUG-6).
const MAX_INFORMATIONAL: usize = 16;

/// Where a connection leads. Never shared between codespaces or between two starts of one (POOL-1).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Key {
    pub codespace: CodespaceName,
    pub generation: Generation,
    pub endpoint: Endpoint,
    /// Whether TLS is spoken to the app.
    pub tls: bool,
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
    kept: Mutex<HashMap<Key, Vec<Kept>>>,
}

struct Kept {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

/// Why an app gave no response.
#[derive(Debug, Error)]
pub enum UpstreamError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the app broke the connection off or did not speak HTTP")]
    Exchange(#[source] hyper::Error),
    /// More than [`MAX_INFORMATIONAL`] responses that are none.
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
        });
        pool.tasks.spawn(sweep(Arc::clone(&pool)));
        Self { pool }
    }

    /// Sends a request over a kept connection, or over a new one.
    pub(super) async fn send(&self, key: Key, mut request: Request<RequestBody>) -> Result<(Response<Incoming>, Return), UpstreamError> {
        let chatter = Chatter::listen(&mut request);
        tokio::select! {
            biased;
            // A head that came together with them is no better than none.
            answered = self.exchange(key, request) => if chatter.is_too_much() { Err(UpstreamError::Chatter) } else { answered },
            () = chatter.enough.notified() => Err(UpstreamError::Chatter),
        }
    }

    async fn exchange(&self, key: Key, mut request: Request<RequestBody>) -> Result<(Response<Incoming>, Return), UpstreamError> {
        while let Some(mut sender) = self.take(&key) {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, self.to_return(key, sender))),
                // The app had closed it, and the request was not begun: it goes over the next one.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(UpstreamError::Exchange(error.into_error())),
                },
            }
        }
        let mut sender = Box::pin(self.connect(&key)).await?;
        let response = sender.send_request(request).await.map_err(UpstreamError::Exchange)?;
        Ok((response, self.to_return(key, sender)))
    }

    async fn connect(&self, key: &Key) -> Result<SendRequest<RequestBody>, UpstreamError> {
        let stream = self.pool.dialer.dial(&key.codespace, key.endpoint).await?;
        if key.tls {
            let stream = super::upstream_tls::connect(stream).await.map_err(UpstreamError::Tls)?;
            return self.handshake(stream).await;
        }
        self.handshake(stream).await
    }

    async fn handshake(
        &self,
        stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    ) -> Result<SendRequest<RequestBody>, UpstreamError> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(UpstreamError::Exchange)?;
        self.pool.tasks.spawn(async move {
            // What goes wrong is told to the exchange that waits for a response.
            drop(connection.with_upgrades().await);
        });
        Ok(sender)
    }

    fn take(&self, key: &Key) -> Option<SendRequest<RequestBody>> {
        let mut all = self.pool.kept.lock();
        let kept = all.get_mut(key)?;
        while let Some(last) = kept.pop() {
            if last.since.elapsed() < KEPT_FOR && last.sender.is_ready() {
                return Some(last.sender);
            }
        }
        None
    }

    fn to_return(&self, key: Key, sender: SendRequest<RequestBody>) -> Return {
        Return {
            upstreams: self.clone(),
            key,
            sender,
        }
    }
}

/// Counts what an app says before it answers.
#[derive(Default)]
struct Chatter {
    heard: AtomicUsize,
    enough: Notify,
}

impl Chatter {
    fn listen(request: &mut Request<RequestBody>) -> Arc<Self> {
        let chatter = Arc::new(Self::default());
        let counted = Arc::clone(&chatter);
        hyper::ext::on_informational(request, move |_| {
            if counted.heard.fetch_add(1, Relaxed) == MAX_INFORMATIONAL {
                counted.enough.notify_one();
            }
        });
        chatter
    }

    fn is_too_much(&self) -> bool {
        self.heard.load(Relaxed) > MAX_INFORMATIONAL
    }
}

/// A connection that can go back once its response came to its end; dropped before that, it is closed.
pub struct Return {
    upstreams: Upstreams,
    key: Key,
    sender: SendRequest<RequestBody>,
}

impl Return {
    /// Keeps the connection for the next request, as soon as it is ready for one.
    pub fn put_back(self) {
        let Self {
            upstreams,
            key,
            mut sender,
        } = self;
        if sender.is_closed() {
            return;
        }
        if sender.is_ready() {
            return upstreams.keep(key, sender);
        }
        let tasks = upstreams.pool.tasks.clone();
        tasks.spawn(async move {
            // The request's body may still be on its way although the response has ended.
            if let Ok(Ok(())) = tokio::time::timeout(KEPT_FOR, sender.ready()).await {
                upstreams.keep(key, sender);
            }
        });
    }
}

impl Upstreams {
    fn keep(&self, key: Key, sender: SendRequest<RequestBody>) {
        if self.pool.drain.is_cancelled() {
            return;
        }
        let mut all = self.pool.kept.lock();
        let kept = all.entry(key).or_default();
        if kept.len() < MAX_KEPT {
            kept.push(Kept {
                sender,
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
            list.retain(|kept| !draining && kept.since.elapsed() < KEPT_FOR && !kept.sender.is_closed());
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
    exchange: Arc<Exchange>,
}

impl RequestBody {
    pub(super) fn new(body: Option<Upload>, exchange: Arc<Exchange>) -> Self {
        Self { body, exchange }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.exchange.received(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
