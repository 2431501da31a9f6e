//! Reads that are bounded, for a reader that takes what it once got as the measure of what it may hold.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::BufMut;
use tokio::io::{AsyncRead, ReadBuf};

/// Most bytes of one read. hyper hands on what it read in one piece, makes room for twice as much once a read filled the
/// room there was, and holds two pieces more than it may write, one of them half written: one byte less than a power of two,
/// and it stays at that (LIM-3).
const MOST: usize = 32 * 1024 - 1;

/// Reads, but never more than 32 KiB at once.
pub fn poll_sip(stream: Pin<&mut impl AsyncRead>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    if buf.remaining() <= MOST {
        return stream.poll_read(cx, buf);
    }
    tokio_util::io::poll_read_buf(stream, cx, &mut buf.limit(MOST)).map_ok(drop)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn lim_3_a_read_is_of_so_much_and_no_more() {
        let (mut near, mut far) = duplex(1 << 20);
        near.write_all(&vec![7; 200_000]).await.expect("there is room");
        let mut sip = async |room: usize| {
            let mut room = vec![0; room];
            let mut buf = ReadBuf::new(&mut room);
            poll_fn(|cx| poll_sip(Pin::new(&mut far), cx, &mut buf)).await.expect("read");
            assert!(buf.filled().iter().all(|byte| *byte == 7));
            buf.filled().len()
        };
        assert_eq!(sip(1000).await, 1000);
        assert_eq!(sip(32 * 1024).await, MOST);
        let mut left = 200_000 - 1000 - MOST;
        drop(near);
        while left > 0 {
            assert_eq!(sip(1 << 20).await, left.min(MOST));
            left -= left.min(MOST);
        }
        assert_eq!(sip(1 << 20).await, 0, "the end");
    }
}
