//! A response's body with what its connection must know of it: that it goes on, and how far its client is.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Body, Peer, body::BodyError, pace::Going};

/// Largest piece that a stream of HTTP/2 is handed at once: its client's progress shows between pieces.
const PIECE_BYTES: usize = 32 * 1024;

pub(super) struct Answered {
    body: Body,
    /// Of HTTP/1.1: the connection is not idle until this goes.
    _going: Option<Going>,
    /// Of HTTP/2: the stream.
    stream: Option<Arc<Peer>>,
    /// What of the last frame was not handed over yet.
    rest: Bytes,
}

impl Answered {
    pub(super) fn of_connection(body: Body, going: Going) -> Self {
        Self {
            body,
            _going: Some(going),
            stream: None,
            rest: Bytes::new(),
        }
    }

    pub(super) fn of_stream(body: Body, stream: Arc<Peer>) -> Self {
        Self {
            body,
            _going: None,
            stream: Some(stream),
            rest: Bytes::new(),
        }
    }
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(stream) = &this.stream else {
            return Pin::new(&mut this.body).poll_frame(cx);
        };
        stream.untaken.taken();
        if this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        stream.untaken.handed();
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
