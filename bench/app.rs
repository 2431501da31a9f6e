//! The app behind the proxies that nginx cannot be: WebSockets, uploads, bodies of any length, upgraded connections.
//!
//!     bench-app PORT
//!
//! | request | answer |
//! |---|---|
//! | `GET /bytes/N` | a body of N bytes |
//! | any other without an upgrade | takes the body and says how long it was |
//! | a WebSocket at `/push/N` | N raw bytes, then the end |
//! | a WebSocket at `/take/N` | takes N raw bytes, says one in return |
//! | any other WebSocket | echoes its messages |
//!
//! One thread, so that its own cost stays the same whatever stands in front of it.

use std::{convert::Infallible, env, error::Error, io, net::Ipv4Addr};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Bytes sent or taken at once.
const PIECE: usize = 256 * 1024;
static ZEROS: [u8; PIECE] = [0; PIECE];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::args().nth(1).ok_or("which port?")?.parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(connection.with_upgrades());
    }
}

/// What an upgraded connection is for.
#[derive(Clone, Copy)]
enum Use {
    Echo,
    Push(usize),
    Take(usize),
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    let number = |prefix| path.strip_prefix(prefix).and_then(|number: &str| number.parse().ok());
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        return Ok(match number("/bytes/") {
            Some(length) => give(length),
            None => take(request).await,
        });
    };
    let used = number("/push/")
        .map(Use::Push)
        .or_else(|| number("/take/").map(Use::Take))
        .unwrap_or(Use::Echo);
    let accept = derive_accept_key(key.as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        match used {
            Use::Echo => echo(upgraded).await,
            // Whoever went away early was measured for as long as they stayed.
            Use::Push(length) => drop(push(upgraded, length).await),
            Use::Take(length) => drop(swallow(upgraded, length).await),
        }
    });
    let mut response = Response::new(Full::default().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = accept.parse() {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok(response)
}

/// A body of so many bytes.
fn give(length: usize) -> Response<Body> {
    let pieces = stream::iter((0..length).step_by(PIECE).map(move |at| {
        let piece = Bytes::from_static(&ZEROS).slice(..PIECE.min(length - at));
        Ok(Frame::data(piece))
    }));
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Reads a body to its end and says how long it was.
async fn take(request: Request<Incoming>) -> Response<Body> {
    let mut body = request.into_body();
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    Response::new(Full::new(Bytes::from(format!("{bytes}\n"))).boxed_unsync())
}

async fn echo(upgraded: Upgraded) {
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_binary() || message.is_text()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn push(upgraded: Upgraded, mut left: usize) -> io::Result<()> {
    let (mut socket, _) = plain(upgraded)?;
    while left > 0 {
        let next = left.min(PIECE);
        socket.write_all(&ZEROS[..next]).await?;
        left -= next;
    }
    socket.shutdown().await
}

async fn swallow(upgraded: Upgraded, length: usize) -> io::Result<()> {
    let (mut socket, early) = plain(upgraded)?;
    let mut left = length.saturating_sub(early.len());
    let mut buffer = vec![0; PIECE];
    while left > 0 {
        let read = socket.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left = left.saturating_sub(read);
    }
    socket.write_all(b"!").await?;
    socket.shutdown().await
}

/// The socket itself, and what was read from it already.
fn plain(upgraded: Upgraded) -> io::Result<(TcpStream, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| io::ErrorKind::Other)?;
    Ok((parts.io.into_inner(), parts.read_buf))
}
