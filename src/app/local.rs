//! The gateway's Unix sockets: one for agents on this machine, one for its operator's command line.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    future::Future,
};

use axum::{Router, body::Body};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{UnixListener, UnixStream},
    task::AbortHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use crate::{
    api::{ClientAddress, Door, RequestId},
    tunnel::{Client, Tunnels},
};

/// Connections to the agents' socket that said nothing yet that made them a tunnel's. Whoever is in a container may connect
/// there; who has something to say says it at once.
pub(super) const MOST_UNSAID: usize = 1024;
/// Most bytes that are read of a process's control groups, and what names a container in them: so many digits.
const MAX_GROUPS: u64 = 4096;
const CONTAINER: usize = 64;

/// Connections that speak HTTP, by who made them: the container, as the kernel tells it, or nothing where it cannot be told.
#[derive(Debug)]
struct Open<T> {
    most: usize,
    /// The oldest of each first.
    of: HashMap<String, VecDeque<T>>,
}

/// Serves HTTP/1.1 on a Unix socket until told to close; what is open then is closed. Of more than `most` connections that
/// speak HTTP, upgraded ones not among them, one is closed for each new one: the oldest of whoever has the most, so that no
/// container takes another's place.
pub(super) async fn serve<H, F>(listener: UnixListener, most: usize, handler: H, close: CancellationToken)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let connections = TaskTracker::new();
    let mut open: Open<AbortHandle> = Open::new(most);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = close.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let peer = if most == usize::MAX { String::new() } else { peer(&stream) };
                open.make_room(AbortHandle::is_finished, AbortHandle::abort);
                let spawned = connections.spawn(connection(stream, handler.clone(), close.clone()));
                open.add(peer, spawned.abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on a Unix socket for the moment");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

impl<T> Open<T> {
    fn new(most: usize) -> Self {
        Self { most, of: HashMap::new() }
    }

    /// Forgets those that are over, and then ends as many as are one too many.
    fn make_room(&mut self, is_over: impl Fn(&T) -> bool, end: impl Fn(&T)) {
        if self.count() < self.most {
            return;
        }
        self.of.retain(|_, connections| {
            connections.retain(|connection| !is_over(connection));
            !connections.is_empty()
        });
        while self.count() >= self.most {
            let greediest = self.of.values_mut().max_by_key(|connections| connections.len());
            match greediest.and_then(VecDeque::pop_front) {
                Some(oldest) => end(&oldest),
                None => return,
            }
        }
    }

    fn add(&mut self, peer: String, connection: T) {
        self.of.entry(peer).or_default().push_back(connection);
    }

    fn count(&self) -> usize {
        self.of.values().map(VecDeque::len).sum()
    }
}

/// Who connected: the control group of the process that did, while it is there to be asked.
fn peer(stream: &UnixStream) -> String {
    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).filter(|pid| *pid > 0);
    let file = pid.and_then(|pid| std::fs::File::open(format!("/proc/{pid}/cgroup")).ok());
    let mut groups = String::new();
    let read = file.map(|file| std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_GROUPS), &mut groups));
    read.map(|_| container(&groups)).unwrap_or_default()
}

/// The container's id among the control groups, or all of them.
fn container(groups: &str) -> String {
    let words = groups.split(|c: char| !c.is_ascii_hexdigit());
    let mut ids = words.filter(|word| word.len() == CONTAINER);
    ids.next().unwrap_or(groups).to_owned()
}

async fn connection<H, F>(stream: UnixStream, handler: H, close: CancellationToken)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        // An error is the other end's: it went away.
        _ended = serving => {}
        () = close.cancelled() => {}
    }
}

/// Answers agents.
pub(super) fn agents(
    tunnels: Tunnels,
) -> impl Fn(Request<Incoming>) -> std::pin::Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Clone + Send + Sync {
    move |mut request| {
        let tunnels = tunnels.clone();
        request.extensions_mut().insert(Client {
            address: None,
            request_id: Some(fresh_id()),
        });
        Box::pin(async move { tunnels.serve(request).await.map(Body::new) })
    }
}

/// Answers through a door of the API.
pub(super) fn through(
    api: Router,
    door: Door,
) -> impl Fn(Request<Incoming>) -> std::pin::Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Clone + Send + Sync {
    move |mut request| {
        let api = api.clone();
        request.extensions_mut().insert(door.clone());
        request.extensions_mut().insert(ClientAddress(None));
        request.extensions_mut().insert(RequestId(fresh_id()));
        Box::pin(async move {
            match api.oneshot(request.map(Body::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        })
    }
}

fn fresh_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn whoever_has_the_most_gives_way() {
        let mut open = Open::new(4);
        let ended = std::cell::RefCell::new(Vec::new());
        let mut come = |peer: &str, number: usize, over: &[usize]| {
            open.make_room(
                |connection| over.contains(connection),
                |connection| ended.borrow_mut().push(*connection),
            );
            open.add(peer.into(), number);
        };
        come("quiet", 0, &[]);
        for number in 1..=10 {
            come("loud", number, &[]);
        }
        come("other", 11, &[]);
        come("third", 12, &[]);
        assert_eq!(*ended.borrow(), [1, 2, 3, 4, 5, 6, 7, 8, 9], "its own, the oldest first");
        come("fourth", 13, &[0, 10]);
        come("fourth", 14, &[]);
        assert_eq!(ended.borrow().len(), 9, "what was over makes room");
        come("fifth", 15, &[]);
        assert_eq!(ended.borrow().last(), Some(&13));
    }

    #[test]
    fn containers_in_control_groups() {
        let id = "0123456789abcdef".repeat(4);
        for groups in [
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("12:pids:/docker/{id}\n11:cpu:/docker/{id}\n"),
            format!("0::/machine.slice/libpod-{id}.scope/container\n"),
        ] {
            assert_eq!(container(&groups), id, "{groups}");
        }
        for groups in ["0::/user.slice\n", "", "0::/../abcdef\n"] {
            assert_eq!(container(groups), groups);
        }
    }

    #[tokio::test]
    async fn a_peer_is_told_by_its_control_group() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        let own = std::fs::read_to_string("/proc/self/cgroup").expect("a group");
        assert_eq!(peer(&one), container(&own));
    }

    #[tokio::test]
    async fn silent_connections_give_way_to_new_ones() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).expect("bound");
        let close = CancellationToken::new();
        let answer = |_| async { Response::new(Body::from("here")) };
        let serving = tokio::spawn(serve(listener, 2, answer, close.clone()));
        let mut silent = Vec::new();
        for _ in 0..3 {
            silent.push(UnixStream::connect(&path).await.expect("connected"));
        }
        let mut byte = [0];
        assert_eq!(silent[0].read(&mut byte).await.expect("closed in order"), 0, "the oldest went");
        let mut told = UnixStream::connect(&path).await.expect("connected");
        told.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .expect("asked");
        let mut text = String::new();
        told.read_to_string(&mut text).await.expect("answered");
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("here"), "{text}");
        assert_eq!(silent[1].read(&mut byte).await.expect("closed in order"), 0, "then the next");
        let last = silent[2].try_read(&mut byte).expect_err("it is open, and silent");
        assert_eq!(last.kind(), std::io::ErrorKind::WouldBlock);
        close.cancel();
        serving.await.expect("it ended");
    }
}
