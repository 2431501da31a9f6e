//! Many bytes: as a body, and on an upgraded connection.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, timeout},
};

use super::{Failure, Options, PATIENCE, Stream, read_head, refused, since};

/// Bytes read or written at once.
const PIECE: usize = 256 * 1024;

/// Downloads until `bytes` came or `seconds` are over, again and again where one answer is less.
pub async fn get(options: &Options) -> Result<Value, Failure> {
    let begun = Instant::now();
    let mut sink = Sink::new(options, begun);
    while !sink.full() {
        let mut stream = options.connect().await?;
        stream.write_all(options.head("GET", "Connection: close\r\n").as_bytes()).await?;
        stream.flush().await?;
        let (head, rest) = timeout(PATIENCE, read_head(&mut stream)).await??;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(refused(&head));
        }
        sink.bytes += rest.len();
        sink.drain(&mut stream).await?;
    }
    Ok(json!({ "bytes": sink.bytes, "seconds": since(begun) }))
}

/// Uploads `bytes` in one request.
pub async fn put(options: &Options) -> Result<Value, Failure> {
    let begun = Instant::now();
    let mut stream = options.connect().await?;
    let more = format!("Content-Length: {}\r\n", options.bytes);
    stream.write_all(options.head("POST", &more).as_bytes()).await?;
    send(&mut stream, options.bytes).await?;
    let (head, _) = timeout(PATIENCE, read_head(&mut stream)).await??;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(refused(&head));
    }
    Ok(json!({ "bytes": options.bytes, "seconds": since(begun) }))
}

/// Takes what the app sends on an upgraded connection until it ends it.
pub async fn down(options: &Options) -> Result<Value, Failure> {
    let begun = Instant::now();
    let mut sink = Sink::new(options, begun);
    while !sink.full() {
        let (mut stream, rest) = options.open().await?;
        sink.bytes += rest.len();
        sink.drain(&mut stream).await?;
    }
    Ok(json!({ "bytes": sink.bytes, "seconds": since(begun) }))
}

/// Sends `bytes` on an upgraded connection; the app answers when it has them all.
pub async fn up(options: &Options) -> Result<Value, Failure> {
    let begun = Instant::now();
    let (mut stream, _) = options.open().await?;
    send(&mut stream, options.bytes).await?;
    let mut answer = [0; 1];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await??;
    Ok(json!({ "bytes": options.bytes, "seconds": since(begun) }))
}

async fn send(stream: &mut Box<dyn Stream>, mut left: usize) -> Result<(), Failure> {
    let piece = vec![b'x'; PIECE];
    while left > 0 {
        let next = left.min(piece.len());
        timeout(PATIENCE, stream.write_all(&piece[..next])).await??;
        left -= next;
    }
    Ok(stream.flush().await?)
}

/// A reader that counts, and is as slow as it was told to be.
struct Sink<'a> {
    options: &'a Options,
    begun: Instant,
    bytes: usize,
    buffer: Vec<u8>,
}

impl<'a> Sink<'a> {
    fn new(options: &'a Options, begun: Instant) -> Self {
        // A slow reader reads about twenty times a second.
        let pieces = if options.pace > 0.0 { options.pace / 20.0 } else { PIECE as f64 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "kept between 1 byte and a piece"
        )]
        let size = pieces.clamp(1.0, PIECE as f64) as usize;
        Self {
            options,
            begun,
            bytes: 0,
            buffer: vec![0; size],
        }
    }

    fn full(&self) -> bool {
        self.bytes >= self.options.bytes || since(self.begun) >= self.options.seconds
    }

    async fn drain(&mut self, stream: &mut Box<dyn Stream>) -> Result<(), Failure> {
        while !self.full() {
            // Ends without a TLS close are no matter here.
            match timeout(PATIENCE, stream.read(&mut self.buffer)).await? {
                Ok(0) | Err(_) => return Ok(()),
                Ok(read) => self.bytes += read,
            }
            if self.options.pace > 0.0 {
                let due = Duration::from_secs_f64(self.bytes as f64 / self.options.pace);
                sleep(due.saturating_sub(self.begun.elapsed())).await;
            }
        }
        Ok(())
    }
}
