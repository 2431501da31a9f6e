//! The way by which the API has an exchange asked for again, and the edge does it.

use std::net::IpAddr;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::Entry;
use crate::domain::{CodespaceName, Identity, Port};

/// Replays that may wait to be taken; whoever takes them refuses what is too much at once.
const WAITING: usize = 8;

/// The entry of which a request is the replay; a request extension, which no client can set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReplayOf(pub u64);

/// An exchange that is to be asked for again.
#[derive(Debug)]
pub struct Replay {
    pub codespace: CodespaceName,
    pub port: Port,
    /// In whose name; policy is asked anew.
    pub who: Identity,
    /// Where they are.
    pub client: IpAddr,
    pub entry: Entry,
    /// The trace id of the new exchange, as soon as it is in the log.
    pub reply: oneshot::Sender<Result<String, Refused>>,
}

/// Why nothing was asked.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Refused {
    #[error("the codespace does not run, or its agent is away")]
    Asleep,
    #[error("{0}")]
    Denied(String),
    #[error("too many replays are under way, or the gateway is going")]
    Busy,
    #[error("{0} replays of yours are under way, and no more are let in at once")]
    OwnersBusy(usize),
}

/// Where replays are handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Replays(mpsc::Sender<Replay>);

/// Where they are taken out.
pub type Orders = mpsc::Receiver<Replay>;

/// Makes both ends.
pub fn desk() -> (Replays, Orders) {
    let (orders, taken) = mpsc::channel(WAITING);
    (Replays(orders), taken)
}

impl Replays {
    /// Has it asked for again; returns the trace id of the new exchange.
    pub async fn replay(&self, make: impl FnOnce(oneshot::Sender<Result<String, Refused>>) -> Replay) -> Result<String, Refused> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(make(reply)).map_err(|_| Refused::Busy)?;
        answer.await.unwrap_or(Err(Refused::Busy))
    }
}
