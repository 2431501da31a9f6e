//! A response's body with what its connection must know of it: that it goes on, and how far its client is.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Body, Peer, body::BodyError, pace::Going};

/// Largest piece that a stream of HTTP/2 is handed at once: its client's progress shows between pieces.
const PIECE_BYTES: usize = 32 * 1024;

pub(super) struct Answered {
    body: Body,
    /// Of HTTP/1.1: the connection is not idle until this goes. It says what waits to be written (LIM-3).
    going: Option<Going>,
    /// Of HTTP/2: the stream.
    stream: Option<Arc<Peer>>,
    /// What of the last frame was not handed over yet.
    rest: Bytes,
}

impl Answered {
    pub(super) fn of_connection(body: Body, going: Going) -> Self {
        going.backlog().clear();
        Self {
            body,
            going: Some(going),
            stream: None,
            rest: Bytes::new(),
        }
    }

    pub(super) fn of_stream(body: Body, stream: Arc<Peer>) -> Self {
        Self {
            body,
            going: None,
            stream: Some(stream),
            rest: Bytes::new(),
        }
    }

    /// What comes next over HTTP/1.1, once so much was written of what came before.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let backlog = self.going.as_ref().map(Going::backlog);
        if let Some(backlog) = backlog {
            ready!(backlog.poll_room(cx));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Some(backlog), Poll::Ready(Some(Ok(frame)))) = (backlog, &polled) {
            backlog.add(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(stream) = &this.stream else {
            return this.poll_behind(cx);
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

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        time::{Duration, Instant},
    };

    use futures_util::{FutureExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::{
        edge::{heard::Heard, pace::Pace},
        relay::WriteTimeout,
    };

    #[tokio::test]
    async fn lim_3_of_an_answer_that_nobody_takes_little_waits() {
        let piece = Bytes::from(vec![7; 20_000]);
        let endless = stream::repeat_with(move || Ok::<_, BodyError>(Frame::data(piece.clone())));
        let pace = Pace::new(Instant::now());
        let mut answered = Answered::of_connection(Body::gateway(axum::body::Body::new(StreamBody::new(endless))), pace.begin());
        let taken = |answered: &mut Answered| {
            std::iter::from_fn(|| answered.frame().now_or_never())
                .map(|frame| frame.expect("it never ends").expect("nor fails").into_data().expect("data").len())
                .sum::<usize>()
        };
        assert_eq!(taken(&mut answered), 60_000, "48 KiB, and what began before");
        assert_eq!(taken(&mut answered), 0);

        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let mut heard = Heard::new(WriteTimeout::new(near, Duration::from_secs(60)), Arc::clone(&pace));
        let waiting = tokio::spawn(async move { poll_fn(|cx| Pin::new(&mut answered).poll_frame(cx)).await.is_some() });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        heard.write_all(&[0; 30_000]).await.expect("there is room");
        assert!(waiting.await.expect("it was woken"));
        far.read_exact(&mut [0; 30_000]).await.expect("it came");
    }
}
