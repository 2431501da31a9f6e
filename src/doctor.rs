//! The doctor of what runs behind a port: what answers there, what is wrong with it, and how to mend that, in plain words.
//!
//! Owns the probe of a port, the recognition of what apps refuse, the words for each trouble, and a short memory of what
//! went wrong. Refuses to know: who asks, and who may be told; its callers tell a stranger nothing of it.

mod memory;
mod probe;
mod refusal;
mod speech;
mod trouble;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

pub use self::{
    memory::{Memory, Note, What},
    probe::{As, Ask, Examination, of_dial},
    refusal::{Refusal, recognise},
    speech::{Speech, of_first_bytes},
    trouble::{Fix, Trouble},
};
use crate::{domain::CodespaceName, tunnel::SharedDialer};

/// Most probes at once, of all codespaces and of one: each is a few connections to an app that is in trouble already, and
/// one that answers nothing on purpose takes all of its time.
const AT_ONCE: usize = 32;
const AT_ONCE_EACH: usize = 2;
/// How long a probe may take in all.
const PATIENCE: Duration = Duration::from_secs(6);

/// Examines ports and remembers. Cheap to clone.
#[derive(Clone)]
pub struct Doctor {
    dialer: SharedDialer,
    /// The codespaces that are looked at, once for each probe.
    busy: Arc<Mutex<Vec<CodespaceName>>>,
    memory: Memory,
}

impl Doctor {
    /// Makes one that looks through `dialer`.
    pub fn new(dialer: SharedDialer) -> Self {
        Self {
            dialer,
            busy: Arc::default(),
            memory: Memory::default(),
        }
    }

    /// What went wrong lately.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    fn take_place<'a>(&'a self, codespace: &'a CodespaceName) -> Option<Place<'a>> {
        let mut busy = self.busy.lock();
        let of_this = busy.iter().filter(|busy| *busy == codespace).count();
        if of_this >= AT_ONCE_EACH || busy.len() >= AT_ONCE {
            return None;
        }
        busy.push(codespace.clone());
        Some(Place {
            busy: &self.busy,
            codespace,
        })
    }

    /// Looks at a port; none if the doctor is busy, or learnt nothing in time. The caller has authorized the stream.
    pub async fn examine(&self, ask: &Ask<'_>) -> Option<Examination> {
        let _place = self.take_place(ask.codespace)?;
        tokio::time::timeout(PATIENCE, probe::examine(&self.dialer, ask)).await.ok()
    }
}

/// A place among the probes that run; given back however the probe ends.
struct Place<'a> {
    busy: &'a Mutex<Vec<CodespaceName>>,
    codespace: &'a CodespaceName,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut busy = self.busy.lock();
        if let Some(place) = busy.iter().position(|busy| busy == self.codespace) {
            busy.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::{
        domain::Protocol,
        protocol::tunnel::Endpoint,
        tunnel::{AgentStream, DialError, Dialer},
    };

    /// Agents that never get on.
    struct Silent;

    #[async_trait::async_trait]
    impl Dialer for Silent {
        async fn dial(&self, _: &CodespaceName, _: Endpoint) -> Result<AgentStream, DialError> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_codespace_that_answers_nothing_keeps_the_doctor_from_no_other() {
        let doctor = Doctor::new(Arc::new(Silent));
        let names: Vec<CodespaceName> = (0..20).map(|index| format!("amber-x{index}").parse().expect("a name")).collect();
        let asks: Vec<Ask<'_>> = names.iter().map(ask).collect();
        let mut probes = Vec::new();
        // Whether there is a place for one more; what has one keeps it.
        let mut begins = |ask| {
            let mut probe = Box::pin(doctor.examine(ask));
            let begun = probe.as_mut().now_or_never().is_none();
            probes.extend(begun.then_some(probe));
            begun
        };
        assert_eq!([0, 0, 0].map(|_| begins(&asks[0])), [true, true, false]);
        assert!(begins(&asks[1]), "another codespace is looked at");
        let begun = asks[2..].iter().chain(&asks[1..]).filter(|ask| begins(ask)).count();
        assert_eq!(begun, AT_ONCE - 3, "not without end");
        drop(probes);
        assert!(doctor.busy.lock().is_empty());
    }

    fn ask(codespace: &CodespaceName) -> Ask<'_> {
        Ask {
            codespace,
            port: crate::domain::Port::new(3000).expect("a port"),
            endpoint: Endpoint::Port(crate::domain::Port::new(3000).expect("a port")),
            protocol: Protocol::Http,
            target: "/",
            host: As::Localhost,
        }
    }
}
