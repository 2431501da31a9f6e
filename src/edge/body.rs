//! The one body type of the edge, and the guard that counts what passes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio_util::sync::DropGuard;

use super::{Edge, context::Exchange, diagnosis::Ear, upstream::Return, visit::Awake};
use crate::{
    codespace::Attention,
    forward::trailers::{self, Trailers},
    inspect::Recorded,
};

/// Any error of a body.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A response's body.
pub struct Body {
    kind: Kind,
    /// Held until the last byte is done, so that the access log tells the whole exchange.
    exchange: Option<Arc<Exchange>>,
}

enum Kind {
    Full(Full<Bytes>),
    Gateway(axum::body::Body),
    Upstream(Box<Streaming>),
}

/// A body that streams from an app.
struct Streaming {
    incoming: Incoming,
    /// The permit, whose fall cuts the connection: watched once the body keeps its reader waiting.
    permitted: Option<(Edge, Awake)>,
    begun: bool,
    watched: Option<DropGuard>,
    /// Puts the upstream connection back when the body came to its end.
    upstream: Option<Return>,
    trailers: Trailers,
    /// Hears the beginning of what an app refuses.
    ear: Option<Box<Ear>>,
    /// Writes down what passes, of a port whose owner keeps a log.
    recorded: Option<Recorded>,
    /// Where what passes is use of the codespace.
    attention: Option<Attention>,
}

/// What is to be done with an app's body besides passing it on.
pub(super) struct Manner {
    pub trailers: Trailers,
    pub ear: Option<Box<Ear>>,
    pub recorded: Option<Recorded>,
    pub attention: Option<Attention>,
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// Bytes that are there already.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self {
            kind: Kind::Full(Full::new(bytes.into())),
            exchange: None,
        }
    }

    /// A body of the gateway's own pages or API.
    pub fn gateway(body: axum::body::Body) -> Self {
        Self {
            kind: Kind::Gateway(body),
            exchange: None,
        }
    }

    pub(super) fn upstream(incoming: Incoming, permitted: (Edge, Awake), upstream: Return, mut manner: Manner) -> Self {
        if incoming.is_end_stream() {
            upstream.put_back();
            if let Some(recorded) = &mut manner.recorded {
                recorded.complete();
            }
            return Self::empty();
        }
        Self {
            kind: Kind::Upstream(Box::new(Streaming {
                incoming,
                permitted: Some(permitted),
                begun: false,
                watched: None,
                upstream: Some(upstream),
                trailers: manner.trailers,
                ear: manner.ear,
                recorded: manner.recorded,
                attention: manner.attention,
            })),
            exchange: None,
        }
    }

    pub(super) fn hold(&mut self, exchange: Arc<Exchange>) {
        self.exchange = Some(exchange);
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = match &mut this.kind {
            Kind::Full(full) => Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Kind::Gateway(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Kind::Upstream(streaming) => streaming.poll_frame(cx),
        };
        if let (Some(exchange), Poll::Ready(answer)) = (&this.exchange, &polled) {
            match answer {
                Some(Ok(frame)) => exchange.sent(frame.data_ref().map_or(0, Bytes::len)),
                Some(Err(_)) => exchange.cut_short(),
                None => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(full) => full.is_end_stream(),
            Kind::Gateway(body) => body.is_end_stream(),
            // Known before it is polled, so that HTTP/2 ends the stream with the last piece. Not before the upstream connection
            // went back to the pool, which polling does.
            Kind::Upstream(streaming) => streaming.upstream.is_none() && streaming.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(full) => full.size_hint(),
            Kind::Gateway(body) => body.size_hint(),
            Kind::Upstream(streaming) => streaming.incoming.size_hint(),
        }
    }
}

impl Streaming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let polled = Pin::new(&mut self.incoming).poll_frame(cx);
            // hyper does not ask again for the end of a body whose last byte it has seen.
            let over = match &polled {
                Poll::Ready(None) => true,
                Poll::Ready(Some(Ok(_))) => self.incoming.is_end_stream(),
                Poll::Ready(Some(Err(_))) | Poll::Pending => false,
            };
            // One that is always ready is watched too, from its second piece on.
            if !over
                && (polled.is_pending() || self.begun)
                && let Some((edge, awake)) = self.permitted.take()
            {
                self.watched = Some(awake.lease(&edge).watch());
            }
            self.begun = true;
            if over && let Some(upstream) = self.upstream.take() {
                upstream.put_back();
            }
            if let Some(recorded) = &mut self.recorded {
                if let Poll::Ready(Some(Ok(frame))) = &polled {
                    recorded.received(frame.data_ref().map_or(&[], Bytes::as_ref));
                }
                if over {
                    recorded.complete();
                    self.recorded = None;
                }
            }
            let Poll::Ready(Some(Ok(frame))) = polled else {
                return polled.map_err(Into::into);
            };
            let frame = match frame.into_data() {
                Ok(data) => {
                    if let Some(attention) = &mut self.attention {
                        attention.notice(data.len());
                    }
                    if let Some(ear) = self.ear.take() {
                        ear.hear(&data);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Err(frame) => frame,
            };
            let fields = frame
                .into_trailers()
                .ok()
                .and_then(|fields| trailers::of_answer(fields, self.trailers));
            if let Some(fields) = fields {
                return Poll::Ready(Some(Ok(Frame::trailers(fields))));
            }
        }
    }
}
