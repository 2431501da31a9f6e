//! A runtime in memory, for tests.
//!
//! Owns what was asked of it, in order. Its agents are names alone: a test that wants one to speak connects it itself.

use std::{collections::HashMap, path::PathBuf};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{InstanceState, Known, LeftBehind, Making, Progress, Runtime, RuntimeError};
use crate::{domain::CodespaceName, protocol::bootstrap::Bootstrap};

/// Keeps what it was told.
#[derive(Default)]
pub struct FakeRuntime {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    makes_containers: bool,
    instances: HashMap<CodespaceName, Instance>,
    calls: Vec<String>,
    failure: Option<fn() -> RuntimeError>,
    hidden: bool,
    /// How many more times it cannot be asked what is left.
    away: u32,
    left_behind: Vec<LeftBehind>,
    tidied: u32,
    fetched_ahead: bool,
}

#[derive(Default)]
struct Instance {
    running: Option<Bootstrap>,
}

impl FakeRuntime {
    /// What was asked of it, for instance `start amber-x 2`.
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().calls.clone()
    }

    /// The orders of a running agent.
    pub fn bootstrap(&self, name: &CodespaceName) -> Option<Bootstrap> {
        self.state.lock().instances.get(name).and_then(|instance| instance.running.clone())
    }

    /// Ends an agent as if it had crashed.
    pub fn crash(&self, name: &CodespaceName) {
        if let Some(instance) = self.state.lock().instances.get_mut(name) {
            instance.running = None;
        }
    }

    /// Whether it makes containers from now on.
    pub fn make_containers(&self, makes: bool) {
        self.state.lock().makes_containers = makes;
    }

    /// Lets nobody know from now on how an agent is, or anybody again.
    pub fn hide(&self, hidden: bool) {
        self.state.lock().hidden = hidden;
    }

    /// Has it keep something of a codespace that is no more, and be away so many times that it is asked.
    pub fn leave_behind(&self, left: LeftBehind, away: u32) {
        let mut state = self.state.lock();
        state.left_behind.push(left);
        (state.away, state.tidied, state.fetched_ahead) = (away, 0, false);
    }

    /// How often it was asked to tidy, and whether to fetch ahead.
    pub fn looked_after(&self) -> (u32, bool) {
        let state = self.state.lock();
        (state.tidied, state.fetched_ahead)
    }

    /// Lets every start fail from now on, or work again.
    pub fn fail_starts(&self, failure: Option<fn() -> RuntimeError>) {
        self.state.lock().failure = failure;
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn kind(&self) -> &'static str {
        "fake"
    }

    async fn create(&self, name: &CodespaceName, _: &Progress) -> Result<(), RuntimeError> {
        let mut state = self.state.lock();
        state.calls.push(format!("create {name}"));
        state.instances.entry(name.clone()).or_default();
        Ok(())
    }

    fn makes_containers(&self) -> bool {
        self.state.lock().makes_containers
    }

    async fn configure(&self, name: &CodespaceName, _: &mut Bootstrap, making: Making, _: &Progress) -> Result<(), RuntimeError> {
        self.state.lock().calls.push(format!("configure {name} {making:?}"));
        Ok(())
    }

    async fn start(&self, name: &CodespaceName, bootstrap: Bootstrap) -> Result<(), RuntimeError> {
        let mut state = self.state.lock();
        state.calls.push(format!("start {name} {}", bootstrap.generation));
        if let Some(failure) = state.failure {
            return Err(failure());
        }
        state.instances.entry(name.clone()).or_default().running = Some(bootstrap);
        Ok(())
    }

    async fn stop(&self, name: &CodespaceName) -> Result<(), RuntimeError> {
        let mut state = self.state.lock();
        state.calls.push(format!("stop {name}"));
        if let Some(instance) = state.instances.get_mut(name) {
            instance.running = None;
        }
        Ok(())
    }

    async fn delete(&self, name: &CodespaceName) -> Result<(), RuntimeError> {
        let mut state = self.state.lock();
        state.calls.push(format!("delete {name}"));
        state.instances.remove(name);
        Ok(())
    }

    async fn state(&self, name: &CodespaceName) -> Result<InstanceState, RuntimeError> {
        let state = self.state.lock();
        if state.hidden {
            return Err(RuntimeError::Failed("out of reach".into()));
        }
        Ok(match state.instances.get(name) {
            None => InstanceState::Absent,
            Some(Instance { running: None }) => InstanceState::Stopped,
            Some(Instance { running: Some(_) }) => InstanceState::Running,
        })
    }

    fn direct_address(&self, _: &CodespaceName) -> Option<PathBuf> {
        None
    }

    async fn agent_log(&self, _: &CodespaceName) -> Result<String, RuntimeError> {
        Ok(String::new())
    }

    async fn tidy(&self, _: &Known<'_>) -> Result<(), RuntimeError> {
        let mut state = self.state.lock();
        state.tidied += 1;
        match state.away.checked_sub(1) {
            Some(away) => {
                state.away = away;
                Err(RuntimeError::Failed("away".into()))
            }
            None => Ok(()),
        }
    }

    async fn left_behind(&self, is_known: &Known<'_>) -> Result<Vec<LeftBehind>, RuntimeError> {
        let state = self.state.lock();
        let is_left = |left: &&LeftBehind| !left.codespace.parse().is_ok_and(|name| is_known(&name));
        Ok(state.left_behind.iter().filter(is_left).cloned().collect())
    }

    async fn fetch_ahead(&self) -> Result<(), RuntimeError> {
        self.state.lock().fetched_ahead = true;
        Ok(())
    }
}
