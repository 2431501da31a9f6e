//! Machines of people's own, which register themselves and come and go as they please.
//!
//! Owns nothing: there is no storage to make and no process to start. Refuses to stop what is somebody else's.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{InstanceState, Progress, Runtime, RuntimeError};
use crate::{domain::CodespaceName, protocol::bootstrap::Bootstrap};

/// Its name in the API and in the store.
pub const EXTERNAL: &str = "external";

/// The machines of people.
#[derive(Clone, Copy, Debug)]
pub struct ExternalRuntime;

fn refuse<T>() -> Result<T, RuntimeError> {
    let why = "it is a machine of its owner's, where alone it is started and stopped";
    Err(RuntimeError::Failed(why.into()))
}

#[async_trait]
impl Runtime for ExternalRuntime {
    fn kind(&self) -> &'static str {
        EXTERNAL
    }

    async fn create(&self, _: &CodespaceName, _: &Progress) -> Result<(), RuntimeError> {
        refuse()
    }

    async fn start(&self, _: &CodespaceName, _: Bootstrap) -> Result<(), RuntimeError> {
        refuse()
    }

    async fn stop(&self, _: &CodespaceName) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn delete(&self, _: &CodespaceName) -> Result<(), RuntimeError> {
        Ok(())
    }

    /// Away is not gone: whether its agent runs is nobody's to know.
    async fn state(&self, _: &CodespaceName) -> Result<InstanceState, RuntimeError> {
        Ok(InstanceState::Running)
    }

    fn direct_address(&self, _: &CodespaceName) -> Option<PathBuf> {
        None
    }

    async fn agent_log(&self, _: &CodespaceName) -> Result<String, RuntimeError> {
        Ok("The agent's log is on the machine itself, where `portico agent join` was started.\n".into())
    }
}
