//! Connections one after the other, each with one request.

use std::{sync::Arc, time::Instant};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Failure, Options, PATIENCE, read_head, refused, since};

/// Makes `count` connections, `at_once` at a time; with `resume` each of those goes on with its own last TLS session.
pub async fn connect(options: &Arc<Options>) -> Result<Value, Failure> {
    let begun = Instant::now();
    let mut working = Vec::new();
    for worker in 0..options.at_once {
        let own = (options.count + worker) / options.at_once;
        let (options, tls) = (Arc::clone(options), options.connector()?);
        working.push(tokio::spawn(async move { work(&options, tls.as_ref(), own).await }));
    }
    let (mut done, mut resumed, mut failed, mut why) = (0, 0, 0, String::new());
    for task in working {
        for exchanged in task.await? {
            match exchanged {
                Ok(was_resumed) => (done, resumed) = (done + 1, resumed + usize::from(was_resumed)),
                Err(error) => (failed, why) = (failed + 1, error.to_string()),
            }
        }
    }
    Ok(json!({ "done": done, "resumed": resumed, "failed": failed, "why": why, "seconds": since(begun) }))
}

async fn work(options: &Options, tls: Option<&TlsConnector>, count: usize) -> Vec<Result<bool, Failure>> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(timeout(PATIENCE, one(options, tls)).await.unwrap_or_else(|late| Err(late.into())));
    }
    all
}

async fn one(options: &Options, tls: Option<&TlsConnector>) -> Result<bool, Failure> {
    let (mut stream, resumed) = options.connect_with(tls).await?;
    stream.write_all(options.head("GET", "Connection: close\r\n").as_bytes()).await?;
    stream.flush().await?;
    let (head, mut rest) = read_head(&mut stream).await?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(refused(&head));
    }
    // Ends without a TLS close are no matter here.
    while matches!(stream.read_buf(&mut rest).await, Ok(read) if read > 0) {}
    Ok(resumed)
}
