//! Small pieces written as one.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;

/// Up to so many bytes are copied together: the kernel takes longer to gather them.
const SMALL: usize = 2048;

/// Writes as [`AsyncWrite::poll_write_vectored`] does; a head and a short body become one plain write.
pub fn poll_write_pieces<W: AsyncWrite + ?Sized>(io: Pin<&mut W>, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    if let [piece] = pieces {
        return io.poll_write(cx, piece);
    }
    let mut whole = [0; SMALL];
    let mut filled = 0;
    for piece in pieces {
        let Some(room) = whole.get_mut(filled..filled + piece.len()) else {
            return io.poll_write_vectored(cx, pieces);
        };
        room.copy_from_slice(piece);
        filled += piece.len();
    }
    io.poll_write(cx, &whole[..filled])
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn pieces_arrive_in_order_whatever_their_sizes() {
        for sizes in [
            &[][..],
            &[5],
            &[0, 7, 0],
            &[100, 200],
            &[SMALL, 1],
            &[SMALL - 1, 1],
            &[3 * SMALL, 10],
        ] {
            let sent: Vec<Vec<u8>> = sizes.iter().zip(1..).map(|(size, byte)| vec![byte; *size]).collect();
            let (mut here, mut there) = duplex(1 << 16);
            let pieces: Vec<IoSlice<'_>> = sent.iter().map(|piece| IoSlice::new(piece)).collect();
            let written = std::future::poll_fn(|cx| poll_write_pieces(Pin::new(&mut here), cx, &pieces)).await;
            drop(here);
            let mut came = Vec::new();
            there.read_to_end(&mut came).await.expect("read");
            assert_eq!(came, sent.concat()[..written.expect("written")], "{sizes:?}");
            assert_eq!(came.is_empty(), sent.concat().is_empty(), "{sizes:?}");
        }
    }
}
