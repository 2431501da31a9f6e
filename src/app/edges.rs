//! The threads of the edge: one for each core, each with a runtime, upstream connections and timers of its own.
//!
//! A connection stays on the thread that accepted it, with everything that is done for it: nothing is passed between
//! cores and no queue is shared. The threads accept from one socket, so that the idle ones take what comes.

use std::{io, net::TcpListener, thread, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::edge::{Edge, Services, Tls, listener};

/// Where connections come in.
pub(super) struct Door {
    pub listener: TcpListener,
    pub tls: Option<Tls>,
    pub gate: listener::Gate,
    /// Ends the threads, once nothing is tracked any more.
    pub close: CancellationToken,
}

/// The threads, while they run.
#[derive(Default)]
pub(super) struct Threads(Vec<thread::JoinHandle<()>>);

/// Starts a thread for each core.
pub(super) fn start(services: Services, door: &Door) -> io::Result<Threads> {
    let count = thread::available_parallelism().map_or(1, usize::from);
    let started: io::Result<Vec<_>> = (0..count).map(|index| start_one(index, services.clone(), door)).collect();
    started.map(Threads)
}

fn start_one(index: usize, services: Services, door: &Door) -> io::Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(door.listener.try_clone()?)?
    };
    let (tls, gate, close) = (door.tls.clone(), door.gate.clone(), door.close.clone());
    thread::Builder::new().name(format!("edge-{index}")).spawn(move || {
        runtime.block_on(async {
            let (tasks, drain) = (services.tasks.clone(), services.drain.clone());
            tasks
                .track_future(listener::serve(Edge::new(services), listener, tls, gate, drain))
                .await;
            // Upgraded connections live on here until the gateway has waited long enough for them.
            close.cancelled().await;
        });
        runtime.shutdown_timeout(Duration::from_millis(100));
    })
}

impl Threads {
    /// Waits until all have ended.
    pub(super) async fn join(self) {
        // A thread that panicked has said so.
        drop(tokio::task::spawn_blocking(move || self.0.into_iter().for_each(|thread| drop(thread.join()))).await);
    }
}
