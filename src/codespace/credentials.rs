//! Which agent's credential is worth what, by its hash (AGT-4, AGT-6).

use std::path::PathBuf;

use dashmap::DashMap;
use tokio::sync::mpsc;

use super::Inner;
use crate::{
    auth::hash_secret,
    domain::{CodespaceName, Generation, Phase},
    tunnel::{AgentCredentials, AgentEvent, Verdict},
};

/// How many generations of a codespace are known: an agent of an older one is told that it is superseded.
const GENERATIONS: usize = 4;

/// Hashes of credentials, those of older generations too while the gateway runs.
#[derive(Default)]
pub struct Credentials {
    known: DashMap<[u8; 32], (CodespaceName, Generation)>,
    /// The hashes of each codespace, the oldest first.
    of: DashMap<CodespaceName, Vec<[u8; 32]>>,
}

impl Credentials {
    pub fn add(&self, hash: [u8; 32], name: &CodespaceName, generation: Generation) {
        self.known.insert(hash, (name.clone(), generation));
        let mut hashes = self.of.entry(name.clone()).or_insert_with(|| Vec::with_capacity(1));
        hashes.push(hash);
        if hashes.len() > GENERATIONS {
            self.known.remove(&hashes.remove(0));
        }
    }
}

impl AgentCredentials for Inner {
    fn verify(&self, credential: &str) -> Verdict {
        if credential.is_empty() || credential.len() > 256 {
            return Verdict::Unknown;
        }
        let Some((name, generation)) = self.credentials.known.get(&hash_secret(credential)).map(|known| known.clone()) else {
            return Verdict::Unknown;
        };
        let Some(codespace) = self.spaces.get(&name).map(|codespace| codespace.snapshot()) else {
            return Verdict::Ended;
        };
        match codespace.record.phase {
            _ if codespace.record.generation != generation => Verdict::Superseded,
            Phase::Creating | Phase::Starting | Phase::Running => Verdict::Current(name, generation),
            Phase::Stopping | Phase::Stopped | Phase::Failed | Phase::Deleting => Verdict::Ended,
        }
    }

    fn events(&self, codespace: &CodespaceName) -> Option<mpsc::Sender<AgentEvent>> {
        self.spaces.get(codespace).and_then(|codespace| codespace.agent_events())
    }

    fn direct_address(&self, codespace: &CodespaceName) -> Option<PathBuf> {
        let kind = self.spaces.get(codespace)?.snapshot().record.runtime.clone();
        self.runtime(&kind)?.direct_address(codespace)
    }
}
