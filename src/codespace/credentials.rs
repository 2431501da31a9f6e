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

/// Hashes of credentials, those of older generations too while the gateway runs.
#[derive(Default)]
pub struct Credentials(DashMap<[u8; 32], (CodespaceName, Generation)>);

impl Credentials {
    pub fn add(&self, hash: [u8; 32], name: &CodespaceName, generation: Generation) {
        self.0.retain(|_, (other, older)| other != name || older.0 + 4 > generation.0);
        self.0.insert(hash, (name.clone(), generation));
    }
}

impl AgentCredentials for Inner {
    fn verify(&self, credential: &str) -> Verdict {
        if credential.is_empty() || credential.len() > 256 {
            return Verdict::Unknown;
        }
        let Some((name, generation)) = self.credentials.0.get(&hash_secret(credential)).map(|known| known.clone()) else {
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
        self.spaces.get(codespace).map(|codespace| codespace.agent_events())
    }

    fn direct_address(&self, codespace: &CodespaceName) -> Option<PathBuf> {
        let kind = self.spaces.get(codespace)?.snapshot().record.runtime.clone();
        self.runtime(&kind)?.direct_address(codespace)
    }
}
