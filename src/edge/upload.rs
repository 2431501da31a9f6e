//! A request's body that must get on (TO-1).

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::{Instant, Sleep};

use super::body::BodyError;
use crate::codespace::Attention;

/// A request's body; it fails when it is waited for and stands still for too long.
pub struct Upload {
    source: Source,
    /// None for a body that may rest, such as a stream of gRPC.
    limit: Option<Duration>,
    /// Made at the first wait, then kept.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    /// Bytes that may still come; none for any number.
    room: Option<(u64, TooLarge)>,
    /// Where what passes is use of the codespace.
    attention: Option<Attention>,
}

enum Source {
    Incoming(Incoming),
    /// Of a request of our own making.
    Whole(Full<Bytes>),
}

/// A body that grew past so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the request's body has more than {0} bytes")]
pub struct TooLarge(pub u64);

/// A body that stood still.
#[derive(Clone, Copy, Debug, Error)]
#[error("the request's body stood still for too long")]
pub struct StoodStill;

impl Upload {
    pub(super) fn new(incoming: Incoming, limit: Duration) -> Self {
        Self::of(Source::Incoming(incoming), Some(limit))
    }

    /// A body that is there already.
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::of(Source::Whole(Full::new(bytes.into())), None)
    }

    fn of(source: Source, limit: Option<Duration>) -> Self {
        Self {
            source,
            limit,
            timer: None,
            waiting: false,
            room: None,
            attention: None,
        }
    }

    /// Has it fail once it has more than so many bytes.
    pub(super) fn at_most(&mut self, bytes: u64) {
        self.room = Some((bytes, TooLarge(bytes)));
    }

    /// Has what passes noticed.
    pub(super) fn attend(&mut self, attention: Option<Attention>) {
        self.attention = attention;
    }

    /// Lets it stand still for as long as its client likes.
    pub(super) fn may_rest(&mut self) {
        self.limit = None;
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = match &mut this.source {
            Source::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::from),
            Source::Whole(whole) => Pin::new(whole).poll_frame(cx).map_err(|never| match never {}),
        };
        if polled.is_ready() {
            this.waiting = false;
            if let (Some(attention), Poll::Ready(Some(Ok(frame)))) = (&mut this.attention, &polled) {
                attention.notice(frame.data_ref().map_or(0, Bytes::len));
            }
            if let (Some((room, too_large)), Poll::Ready(Some(Ok(frame)))) = (&mut this.room, &polled) {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                match room.checked_sub(bytes) {
                    Some(left) => *room = left,
                    None => return Poll::Ready(Some(Err((*too_large).into()))),
                }
            }
            return polled;
        }
        let Some(limit) = this.limit else { return Poll::Pending };
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !this.waiting {
            this.waiting = true;
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(cx).map(|()| Some(Err(StoodStill.into())))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Incoming(incoming) => incoming.is_end_stream(),
            Source::Whole(whole) => whole.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Incoming(incoming) => incoming.size_hint(),
            Source::Whole(whole) => whole.size_hint(),
        }
    }
}
