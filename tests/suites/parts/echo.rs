//! Echoes messages with the WebSocket code of the agent, which ends the sockets of terminals and of `exec`: no terminal
//! and no command is an echo of messages, so this stands in their place for suites that need one.
//!
//!     suites-echo PORT

use std::{convert::Infallible, env, error::Error, net::Ipv4Addr};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use portico::agent::websocket::{self, Heard, Over, Socket};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args().nth(1).ok_or("suites-echo PORT")?.parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(connection.with_upgrades());
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let Ok((response, socket)) = websocket::accept(request, Full::default()) else {
        let mut refused = Response::new(Full::from("a WebSocket, please\n"));
        *refused.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return Ok(refused);
    };
    tokio::spawn(async move {
        if let Some(socket) = socket.await {
            let Err(Over) = echo(socket).await;
        }
    });
    Ok(response)
}

async fn echo(mut socket: Socket) -> Result<Infallible, Over> {
    loop {
        match socket.next().await? {
            Heard::Text(text) => socket.text(text).await?,
            Heard::Binary(bytes) => socket.binary(bytes).await?,
        }
    }
}
