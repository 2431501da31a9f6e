//! Asks a codespace's agent whether it has work that is nowhere else.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::time::timeout;

use crate::{
    domain::{CodespaceName, Work},
    protocol::tunnel::Endpoint,
    tunnel::{Dialer, Tunnels},
};

/// Git may have to read a large tree from a cold disk.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 64 * 1024;

/// What the agent answers, as far as it matters.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    uncommitted_files: u64,
    #[serde(default)]
    unpushed_commits: u64,
}

/// Asks; none if there is no answer in time.
pub async fn ask(tunnels: &Tunnels, codespace: &CodespaceName) -> Option<Work> {
    timeout(PATIENCE, exchange(tunnels, codespace)).await.ok()?
}

async fn exchange(tunnels: &Tunnels, codespace: &CodespaceName) -> Option<Work> {
    let stream = tunnels.dial(codespace, Endpoint::Agent).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = Request::get("/work").header("host", "agent").body(Empty::<Bytes>::new()).ok()?;
    let answer = async {
        let response = sender
            .send_request(request)
            .await
            .ok()
            .filter(|response| response.status().is_success())?;
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.ok()?.to_bytes();
        let answer: Answer = serde_json::from_slice(&body).ok()?;
        Some(Work {
            uncommitted_files: answer.uncommitted_files,
            unpushed_commits: answer.unpushed_commits,
        })
    };
    tokio::pin!(answer);
    tokio::select! {
        work = &mut answer => work,
        // The connection may be done before its answer was read.
        _ = connection => answer.await,
    }
}
