//! The agent's socket for programs inside the codespace: they take and end leases of it, and the editor's notice that it is
//! about to stop puts that off.
//!
//! Owns the socket, and how much and how often may be asked there. Refuses everything else that the agent can do, which is
//! the gateway's to ask for: whoever gets here keeps the codespace awake, as its output would, and reaches nothing new.

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::{Method, Request, StatusCode};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use time::OffsetDateTime;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Answer, Problem, answered, json_reply, no_content, read_within};
use crate::{
    agent::{
        leases::{Leases, Wish},
        warning::{KeepError, Warning},
    },
    unix_socket,
};

/// Largest body of a request in bytes.
const MAX_BODY: usize = 4 * 1024;
/// Largest head of a request in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most requests at once.
const AT_ONCE: usize = 8;
/// Least time between two requests on average.
const EVERY: Duration = Duration::from_millis(100);
/// How far requests may run ahead of that average.
const BURST: Duration = Duration::from_secs(4);

/// Where the agent listens.
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("inside.sock")
}

/// Listens at the socket, for the codespace's user alone.
pub fn bind(state_dir: &Path) -> io::Result<UnixListener> {
    unix_socket::bind(&socket(state_dir))
}

/// Answers for ever: one request a connection.
pub async fn serve(listener: UnixListener, leases: Leases, warning: Warning) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut due = Instant::now();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        sleep_until(due.checked_sub(BURST).unwrap_or(due)).await;
        match listener.accept().await {
            Ok((stream, _)) => {
                due = due.max(Instant::now()) + EVERY;
                let (leases, warning) = (leases.clone(), warning.clone());
                tokio::spawn(async move {
                    let _ = timeout(PATIENCE, converse(stream, leases, warning)).await;
                    drop(permit);
                });
            }
            // Out of descriptors, for instance: later it may do again.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(stream: UnixStream, leases: Leases, warning: Warning) {
    // The kernel's word, and in the agent's own namespace: in another one a process knows itself by another id.
    let asker = stream.peer_cred().ok().and_then(|peer| u32::try_from(peer.pid()?).ok());
    let service = service_fn(move |request| {
        let (leases, warning) = (leases.clone(), warning.clone());
        async move { Ok::<_, Infallible>(answered(route(request, &leases, &warning, asker).await)) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).keep_alive(false).max_buf_size(MAX_HEAD);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a program's connection broke");
    }
}

async fn route(request: Request<Incoming>, leases: &Leases, warning: &Warning, asker: Option<u32>) -> Result<Answer, Problem> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (request.method(), segments.as_slice()) {
        (&Method::POST, ["leases"]) => {
            let body = read_within(MAX_BODY, request).await?;
            let wish: Wish =
                serde_json::from_slice(&body).map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
            let taken = leases.take_inside(wish, asker, OffsetDateTime::now_utc())?;
            Ok(json_reply(StatusCode::CREATED, &taken))
        }
        (&Method::DELETE, ["leases", id]) if leases.end(id) => Ok(no_content()),
        (&Method::DELETE, ["leases", _]) => Err(Problem::new(StatusCode::NOT_FOUND, "there is no such lease; it may have ended")),
        (&Method::POST, ["keep"]) => Ok(warning.keep().map(|()| no_content())?),
        _ => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "leases are taken and ended here, a stop is put off, and nothing else is to be had",
        )),
    }
}

impl From<KeepError> for Problem {
    fn from(error: KeepError) -> Self {
        Self::new(StatusCode::CONFLICT, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use http_body_util::{BodyExt as _, Full};
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::{
        agent::report::Reporter,
        protocol::tunnel::{ActivityKind, Stopping},
    };

    async fn ask(path: &Path, method: &str, target: &str, body: String) -> (u16, serde_json::Value) {
        let stream = unix_socket::connect(path).await.expect("somebody listens");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("it speaks HTTP");
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(target).header("host", "agent");
        let request = request.body(Full::<bytes::Bytes>::from(body)).expect("a request");
        let answer = sender.send_request(request).await.expect("answered");
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn leases_are_taken_and_ended_there_and_nothing_else_is_to_be_had() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = socket(directory.path());
        let listener = bind(directory.path()).expect("the directory is ours");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let reporter = Reporter::new();
        let leases = Leases::new(reporter.clone(), TaskTracker::new(), Some(3600));
        let warning = Warning::new(directory.path(), reporter.clone());
        let serving = tokio::spawn(serve(listener, leases, warning.clone()));
        let child = tokio::process::Command::new("sleep").arg("1000").kill_on_drop(true).spawn();
        let child = child.expect("sleep runs");
        let pid = child.id().expect("it runs");
        let told = reporter.watch();

        let (status, taken) = ask(
            &path,
            "POST",
            "/leases",
            format!(r#"{{"pid": {pid}, "seconds": 60, "what": "a build"}}"#),
        )
        .await;
        assert_eq!(
            (status, &taken["pid"], &taken["what"]),
            (201, &pid.into(), &"a build".into()),
            "{taken}"
        );
        let held = told.borrow().leases().to_vec();
        assert!(held.iter().any(|lease| lease.inside && lease.id == taken["id"]), "{held:?}");
        let one = format!("/leases/{}", taken["id"].as_str().expect("an id"));
        assert_eq!(ask(&path, "DELETE", &one, String::new()).await.0, 204);
        assert_eq!(ask(&path, "DELETE", &one, String::new()).await.0, 404);
        assert!(told.borrow().leases().is_empty());

        // This very process asks, which is the agent here: it holds none for itself.
        assert_eq!(ask(&path, "POST", "/leases", "{}".into()).await.0, 422);
        let long = format!(r#"{{"pid": {pid}, "seconds": 3601}}"#);
        let (status, refused) = ask(&path, "POST", "/leases", long).await;
        assert_eq!(status, 422);
        assert!(
            refused["detail"].as_str().is_some_and(|detail| detail.contains("1h at most")),
            "{refused}"
        );
        assert_eq!(ask(&path, "POST", "/keep", String::new()).await.0, 409);
        let stopping = Stopping {
            after: 1000,
            anyway: false,
        };
        warning.learn(Some(stopping), OffsetDateTime::now_utc());
        assert_eq!(ask(&path, "POST", "/keep", String::new()).await.0, 204);
        assert_eq!(reporter.happened().await, [ActivityKind::Kept]);
        for (method, target, body, expected) in [
            ("GET", "/keep", String::new(), 404),
            ("POST", "/leases", "{".to_owned(), 422),
            ("POST", "/leases", r#"{"x": 1}"#.to_owned(), 422),
            ("POST", "/leases", " ".repeat(MAX_BODY + 1), 413),
            ("GET", "/leases", String::new(), 404),
            ("GET", "/exec", String::new(), 404),
            ("POST", "/terminals", String::new(), 404),
            ("GET", "/ports/80/connect", String::new(), 404),
            ("POST", "/shutdown", String::new(), 404),
            ("GET", "/log", String::new(), 404),
        ] {
            assert_eq!(ask(&path, method, target, body).await.0, expected, "{method} {target}");
        }
        serving.abort();
    }
}
