//! The runtime of codespaces whose own is no longer configured.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{InstanceState, Progress, Runtime, RuntimeError};
use crate::{domain::CodespaceName, protocol::bootstrap::Bootstrap};

/// Does nothing, and says why.
pub struct Unconfigured;

fn refuse<T>() -> Result<T, RuntimeError> {
    let why = "the runtime that it was made with is not configured here. Ask the operator to start the gateway with it";
    Err(RuntimeError::Failed(why.into()))
}

#[async_trait]
impl Runtime for Unconfigured {
    fn kind(&self) -> &'static str {
        "unconfigured"
    }

    async fn create(&self, _: &CodespaceName, _: &Progress) -> Result<(), RuntimeError> {
        refuse()
    }

    async fn start(&self, _: &CodespaceName, _: Bootstrap) -> Result<(), RuntimeError> {
        refuse()
    }

    async fn stop(&self, _: &CodespaceName) -> Result<(), RuntimeError> {
        refuse()
    }

    async fn delete(&self, _: &CodespaceName) -> Result<(), RuntimeError> {
        refuse()
    }

    async fn state(&self, _: &CodespaceName) -> Result<InstanceState, RuntimeError> {
        Ok(InstanceState::Absent)
    }

    fn direct_address(&self, _: &CodespaceName) -> Option<PathBuf> {
        None
    }

    async fn agent_log(&self, _: &CodespaceName) -> Result<String, RuntimeError> {
        refuse()
    }
}
