//! Which agent's credential is worth what, by its hash (AGT-4, AGT-6).
//!
//! Of one start, the credential that was given last is good, and those before it until it is used: an agent that sleeps
//! or is cut off in between finds its way back with whichever it kept.

use std::path::PathBuf;

use dashmap::DashMap;
use time::{Duration, OffsetDateTime};
use tokio::sync::mpsc;

use super::Inner;
use crate::{
    audit::Actor,
    auth::{self, hash_secret},
    domain::{CodespaceName, Generation, Phase, Role},
    protocol::{personal::Personal, tunnel::FromAgent},
    tunnel::{AgentCredentials, AgentEvent, Client, Verdict},
};

/// How many credentials of a codespace are known: an agent of an older start is told that it is superseded.
const KNOWN_EACH: usize = 8;
/// After a credential was used, those before it are good for so long: streams that the agent was opening at that moment.
const GRACE: Duration = Duration::seconds(30);

/// An agent that is turned away tries again and again; one event tells of all within this time.
const TELL_EVERY: Duration = Duration::minutes(10);

/// Hashes of credentials, those of older generations too while the gateway runs.
#[derive(Default)]
pub struct Credentials {
    known: DashMap<[u8; 32], Known>,
    /// The hashes of each codespace, the oldest first.
    of: DashMap<CodespaceName, Vec<[u8; 32]>>,
}

#[derive(Clone)]
struct Known {
    codespace: CodespaceName,
    generation: Generation,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Nobody has shown it yet.
    Given,
    Used,
    /// A later one is used: good until then.
    Retired(OffsetDateTime),
    /// Its start is over.
    Ended,
}

/// What a credential that is known is worth, its codespace left aside.
enum Worth {
    Good,
    /// It is shown for the first time, and others are good no more.
    First,
    /// It was good once.
    Stale,
    Ended,
}

impl Credentials {
    /// Adds a codespace's latest credential.
    pub fn add(&self, hash: [u8; 32], codespace: &CodespaceName, generation: Generation) {
        let known = Known {
            codespace: codespace.clone(),
            generation,
            state: State::Given,
        };
        self.known.insert(hash, known);
        let mut hashes = self.of.entry(codespace.clone()).or_insert_with(|| Vec::with_capacity(1));
        hashes.push(hash);
        if hashes.len() > KNOWN_EACH {
            self.known.remove(&hashes.remove(0));
        }
    }

    /// Notes that a credential is used: those of the same start before it are good for a moment more. False if there is
    /// none before it.
    pub fn used(&self, hash: &[u8; 32], now: OffsetDateTime) -> bool {
        let Some(known) = self.known.get(hash).map(|known| known.clone()) else {
            return false;
        };
        let hashes = self.of.get(&known.codespace).map(|hashes| hashes.clone()).unwrap_or_default();
        let mut replaced = false;
        for before in hashes.iter().take_while(|before| *before != hash) {
            if let Some(mut before) = self.known.get_mut(before)
                && before.generation == known.generation
                && matches!(before.state, State::Given | State::Used)
            {
                before.state = State::Retired(now + GRACE);
                replaced = true;
            }
        }
        if let Some(mut known) = self.known.get_mut(hash) {
            known.state = State::Used;
        }
        replaced
    }

    /// Notes that a codespace's start is over: what was given for it is good for no other, from the moment on in which that is
    /// ordered.
    pub fn end(&self, codespace: &CodespaceName) {
        let hashes = self.of.get(codespace).map(|hashes| hashes.clone()).unwrap_or_default();
        for hash in hashes {
            if let Some(mut known) = self.known.get_mut(&hash) {
                known.state = State::Ended;
            }
        }
    }

    /// Whether a credential was shown or kept, by the agent's own word.
    pub fn is_used(&self, hash: &[u8; 32]) -> bool {
        self.known.get(hash).is_some_and(|known| known.state == State::Used)
    }

    fn worth(&self, hash: &[u8; 32], now: OffsetDateTime) -> Option<(Known, Worth)> {
        let known = self.known.get(hash).map(|known| known.clone())?;
        let worth = match known.state {
            State::Used => Worth::Good,
            State::Given if self.used(hash, now) => Worth::First,
            State::Given => Worth::Good,
            State::Retired(until) if now < until => Worth::Good,
            State::Retired(_) => Worth::Stale,
            State::Ended => Worth::Ended,
        };
        Some((known, worth))
    }
}

impl AgentCredentials for Inner {
    fn verify(&self, credential: &str) -> Verdict {
        if credential.is_empty() || credential.len() > 256 {
            return Verdict::Unknown;
        }
        let Some((known, worth)) = self.credentials.worth(&hash_secret(credential), self.deps.clock.now()) else {
            return Verdict::Unknown;
        };
        let (name, generation) = (known.codespace, known.generation);
        let Some(handle) = self.spaces.get(&name).map(|codespace| codespace.clone()) else {
            return Verdict::Ended;
        };
        let codespace = handle.snapshot();
        match codespace.record.phase {
            _ if codespace.record.generation != generation => return Verdict::Superseded,
            Phase::Creating | Phase::Starting | Phase::Running => {}
            Phase::Stopping | Phase::Stopped | Phase::Failed | Phase::Deleting => return Verdict::Ended,
        }
        match worth {
            Worth::Good => {}
            Worth::First => {
                // The store hears of it a moment later, or at the next renewal at the latest; until then a restart would
                // take either.
                let message = FromAgent::Renewed;
                if let Some(events) = handle.agent_events() {
                    drop(events.try_send(AgentEvent::Said { generation, message }));
                }
            }
            Worth::Stale => return Verdict::Unknown,
            Worth::Ended => return Verdict::Ended,
        }
        Verdict::Current(name, generation)
    }

    fn turned_away(&self, credential: &str, client: &Client) {
        let Some(known) = self.credentials.known.get(&hash_secret(credential)).map(|known| known.clone()) else {
            let client = auth::Client {
                address: client.address,
                request_id: client.request_id.clone(),
                ..auth::Client::default()
            };
            return self.deps.auth.note_unknown_agent(&client, self.deps.clock.now());
        };
        let why = match self.verify(credential) {
            Verdict::Current(..) => return,
            Verdict::Superseded => "it is of an earlier start",
            Verdict::Ended => "its codespace is stopped or gone",
            // Somebody has a credential that its agent gave up: a copy of it is about, or an old disk was put back.
            Verdict::Unknown => "its credential was replaced by a later one",
        };
        let actor = Actor {
            name: format!("agent:{}", known.codespace),
            address: client.address.map(|address| address.to_string()),
            request_id: client.request_id.clone(),
        };
        let audit = &self.deps.audit;
        if audit.record_once_in(TELL_EVERY, "agent.rejected", &actor, known.codespace.to_string(), why) {
            tracing::warn!(codespace = %known.codespace, why, "an agent was turned away");
        }
    }

    fn events(&self, codespace: &CodespaceName) -> Option<mpsc::Sender<AgentEvent>> {
        self.spaces.get(codespace).and_then(|codespace| codespace.agent_events())
    }

    fn personal(&self, codespace: &CodespaceName) -> Option<Personal> {
        let record = &self.spaces.get(codespace)?.snapshot().record;
        let owner = self.deps.auth.user(&record.owner).filter(|_| record.personal)?;
        let allow_local = owner.role == Role::Admin;
        Some(self.deps.belongings.for_codespace(&record.owner, &record.repository, allow_local))
    }

    fn direct_address(&self, codespace: &CodespaceName) -> Option<PathBuf> {
        let kind = self.spaces.get(codespace)?.snapshot().record.runtime.clone();
        self.runtime(&kind)?.direct_address(codespace)
    }
}
