//! The reverse way: streams that the agent opens when it is asked to.
//!
//! Owns which ids were given out and not used; an id is good once, for this link's codespace alone.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use super::{DialError, stream::Held};
use crate::protocol::tunnel::Refusal;

/// How many streams are kept opened ahead.
pub const AHEAD: usize = 2;
/// How long an agent may take to open a stream (TO-1).
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Most ids given out and not used yet.
const MAX_PENDING: usize = 1024;

/// One link's streams from the agent.
pub struct Reverse {
    state: Mutex<State>,
    /// Ids for the control connection to say.
    asks: mpsc::Sender<Vec<String>>,
}

#[derive(Default)]
struct State {
    /// Ids given out, and until when they are good.
    pending: HashMap<String, Instant>,
    ready: VecDeque<Held>,
    waiting: VecDeque<oneshot::Sender<Held>>,
}

impl Reverse {
    pub fn new(asks: mpsc::Sender<Vec<String>>) -> Self {
        Self {
            state: Mutex::default(),
            asks,
        }
    }

    /// Asks for as many streams as are kept opened ahead.
    pub fn top_up(&self) {
        let mut state = self.state.lock();
        let there = state.ready.len() + state.pending.len().saturating_sub(state.waiting.len());
        let ids = (there..AHEAD).filter_map(|_| state.give_out(Instant::now())).collect();
        drop(state);
        self.ask(ids);
    }

    /// A stream opened ahead, if there is one; another is asked for in its place.
    pub fn ready(&self) -> Option<Held> {
        let stream = self.state.lock().ready.pop_front();
        self.top_up();
        stream
    }

    /// A stream opened now.
    pub async fn fresh(&self) -> Result<Held, DialError> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut state = self.state.lock();
            let id = state.give_out(Instant::now()).ok_or(DialError::Refused(Refusal::Fault))?;
            state.waiting.push_back(sender);
            id
        };
        if !self.ask(vec![id]) {
            return Err(DialError::NotConnected);
        }
        match timeout(OPEN_TIMEOUT, receiver).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(_)) => Err(DialError::NotConnected),
            Err(_) => Err(DialError::TimedOut),
        }
    }

    /// Uses an id up; false if it was never given out, was used, or is too old.
    pub fn claim(&self, id: &str) -> bool {
        self.state.lock().pending.remove(id).is_some_and(|until| Instant::now() < until)
    }

    /// Takes a stream whose id was claimed.
    pub fn arrived(&self, mut stream: Held) {
        let mut state = self.state.lock();
        while let Some(waiting) = state.waiting.pop_front() {
            match waiting.send(stream) {
                Ok(()) => return,
                // Whoever waited gave up.
                Err(back) => stream = back,
            }
        }
        if state.ready.len() < AHEAD {
            state.ready.push_back(stream);
        }
    }

    fn ask(&self, ids: Vec<String>) -> bool {
        ids.is_empty() || self.asks.try_send(ids).is_ok()
    }
}

impl State {
    fn give_out(&mut self, now: Instant) -> Option<String> {
        self.pending.retain(|_, until| now < *until);
        self.waiting.retain(|waiting| !waiting.is_closed());
        if self.pending.len() >= MAX_PENDING {
            return None;
        }
        let id = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 18]>());
        self.pending.insert(id.clone(), now + OPEN_TIMEOUT);
        Some(id)
    }
}
