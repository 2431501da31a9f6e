//! WebSockets that only stay; at the end each must still echo.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{Semaphore, watch},
    time::{interval_at, timeout},
};

use super::{Failure, MESSAGE, Options, PATIENCE, Stream, since};

/// A message and what comes back for a ping (RFC 6455 §5.2), each the last fragment.
const BINARY: u8 = 0x82;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// Opens them and says so; when the input ends, lets each echo once and says how many could not.
pub async fn idle(options: &Arc<Options>) -> Result<Value, Failure> {
    let begun = Instant::now();
    let opened = options.open_all().await;
    let count = opened.sockets.len();
    println!(
        "{}",
        json!({ "opened": count, "failed": opened.failed, "why": opened.why, "seconds": since(begun) })
    );
    let (ending, ended) = watch::channel(false);
    let turns = Arc::new(Semaphore::new(options.at_once));
    let staying: Vec<_> = opened
        .sockets
        .into_iter()
        .enumerate()
        .map(|(index, socket)| {
            let (options, ended, turns) = (Arc::clone(options), ended.clone(), Arc::clone(&turns));
            let share = (index + 1) as f64 / count as f64;
            tokio::spawn(async move { stay(socket, &options, share, ended, &turns).await })
        })
        .collect();
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    ending.send_replace(true);
    let (mut dropped, mut pings, mut why) = (0, 0, String::new());
    for task in staying {
        let (sent, end) = task.await?;
        pings += sent;
        if let Err(error) = end {
            dropped += 1;
            why = error.to_string();
        }
    }
    Ok(json!({ "dropped": dropped, "why": why, "pings": pings }))
}

/// Pings every now and then until the end, and echoes once there; returns how many pings were answered.
async fn stay(
    mut socket: Box<dyn Stream>,
    options: &Options,
    share: f64,
    mut ended: watch::Receiver<bool>,
    turns: &Semaphore,
) -> (usize, io::Result<()>) {
    let mut pings = 0;
    if options.ping > 0.0 {
        let pause = Duration::from_secs_f64(options.ping);
        let mut ticks = interval_at((Instant::now() + pause.mul_f64(share)).into(), pause);
        loop {
            tokio::select! {
                _ = over(&mut ended) => break,
                _ = ticks.tick() => match exchange(&mut socket, PING, PONG).await {
                    Ok(()) => pings += 1,
                    Err(error) => return (pings, Err(error)),
                },
            }
        }
    } else if !over(&mut ended).await {
        return (pings, Err(io::ErrorKind::Interrupted.into()));
    }
    let _turn = turns.acquire().await;
    let end = exchange(&mut socket, BINARY, BINARY).await;
    (pings, end)
}

/// Waits for the end; false if it will never be told.
async fn over(ended: &mut watch::Receiver<bool>) -> bool {
    ended.wait_for(|ended| *ended).await.is_ok()
}

/// Sends one frame and waits for its answer.
async fn exchange(socket: &mut Box<dyn Stream>, kind: u8, wanted: u8) -> io::Result<()> {
    let mut frame = vec![kind, 0x80 | MESSAGE, 0, 0, 0, 0];
    frame.resize(6 + usize::from(MESSAGE), b'x');
    let mut back = [0; 2 + MESSAGE as usize];
    let whole = async {
        socket.write_all(&frame).await?;
        socket.flush().await?;
        socket.read_exact(&mut back).await
    };
    timeout(PATIENCE, whole).await??;
    if back[0] == wanted {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}
