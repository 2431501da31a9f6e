//! WebSockets that send a message now and then and wait for it to come back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{interval_at, timeout},
};

use super::{Failure, MESSAGE, Options, PATIENCE, Stream};

/// Every socket sends `rate` messages a second and waits for each to come back.
pub async fn echo(options: &Arc<Options>) -> Result<Value, Failure> {
    let opened = options.open_all().await;
    let count = opened.sockets.len();
    let until = Instant::now() + Duration::from_secs_f64(options.seconds);
    let pause = Duration::from_secs_f64(1.0 / options.rate);
    let echoing = opened.sockets.into_iter().enumerate().map(|(index, socket)| {
        // Spread over the pause, so that no two rounds of messages come in one burst.
        let first = Instant::now() + pause.mul_f64((index + 1) as f64 / count as f64);
        tokio::spawn(send(socket, first, pause, until))
    });
    let echoing: Vec<_> = echoing.collect();
    let (mut taken, mut broken) = (Vec::new(), 0);
    for task in echoing {
        let (own, broke) = task.await?;
        taken.extend(own);
        broken += usize::from(broke);
    }
    taken.sort_unstable();
    let at = |percent| taken.get(taken.len() * percent / 100).map(Duration::as_micros);
    Ok(json!({
        "opened": count, "failed": opened.failed, "why": opened.why, "broken": broken,
        "echoes": taken.len(), "p50_us": at(50), "p99_us": at(99),
    }))
}

/// How long each echo took, and whether the socket broke.
async fn send(mut socket: Box<dyn Stream>, first: Instant, pause: Duration, until: Instant) -> (Vec<Duration>, bool) {
    let mut ticks = interval_at(first.into(), pause);
    let mut frame = vec![0x82, 0x80 | MESSAGE, 0, 0, 0, 0];
    frame.resize(6 + usize::from(MESSAGE), b'x');
    let mut back = [0; 2 + MESSAGE as usize];
    let mut taken = Vec::new();
    while Instant::now() < until {
        ticks.tick().await;
        let sent = Instant::now();
        let exchange = async {
            socket.write_all(&frame).await?;
            socket.flush().await?;
            socket.read_exact(&mut back).await
        };
        if !matches!(timeout(PATIENCE, exchange).await, Ok(Ok(_))) {
            return (taken, true);
        }
        taken.push(sent.elapsed());
    }
    (taken, false)
}
