//! Tests of [`super`] over real sockets.

use std::os::unix::fs::PermissionsExt;

use tokio::net::UnixListener;

use super::*;
use crate::{agent::report::Reporter, domain::Port};

/// An inside whose API is an echo, and whose editor is where the test says.
#[derive(Default)]
pub(in crate::agent) struct TestInside {
    editor: Option<PathBuf>,
}

impl Inside for TestInside {
    fn editor(&self) -> Result<PathBuf, Refusal> {
        self.editor.clone().ok_or(Refusal::EditorAbsent)
    }

    fn serve(&self, connection: Connection) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let (mut reader, mut writer) = tokio::io::split(connection);
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        })
    }
}

fn streams(editor: Option<PathBuf>) -> Streams {
    Streams::new(Ports::new(None, Reporter::new()), Arc::new(TestInside { editor }))
}

/// Opens a stream and gives its status.
async fn open(streams: &Streams, request: [u8; OPEN_BYTES]) -> (u8, UnixStream) {
    let (mut near, far) = UnixStream::pair().expect("a pair");
    let (serving, permit) = (streams.clone(), streams.permit().expect("there is room"));
    tokio::spawn(async move { serving.serve(far.into(), permit).await });
    near.write_all(&request).await.expect("it is open");
    let status = near.read_u8().await.expect("it is answered");
    (status, near)
}

#[tokio::test]
async fn each_way_ends_on_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("editor.sock");
    let listener = UnixListener::bind(&path).expect("the directory is ours");
    let streams = streams(Some(path));
    for gateway_first in [true, false] {
        let (status, mut gateway) = open(&streams, Endpoint::Editor.encode()).await;
        assert_eq!(status, OPENED);
        let (mut editor, _) = listener.accept().await.expect("it was dialled");
        let (first, second) = if gateway_first {
            (&mut gateway, &mut editor)
        } else {
            (&mut editor, &mut gateway)
        };
        let mut said = String::new();
        first.write_all(b"question").await.expect("it is open");
        first.shutdown().await.expect("it is open");
        second.read_to_string(&mut said).await.expect("the end is passed on");
        second.write_all(b"answer").await.expect("the other way goes on");
        second.shutdown().await.expect("it is open");
        first.read_to_string(&mut said).await.expect("the end is passed on");
        assert_eq!(said, "questionanswer");
    }
}

#[tokio::test]
async fn refusals_say_why() {
    let absent = streams(None);
    let restarting = streams(Some("/nowhere/editor.sock".into()));
    let port = Port::new(2375).expect("a port");
    for (streams, request, refusal) in [
        (&absent, Endpoint::Editor.encode(), Refusal::EditorAbsent),
        (&restarting, Endpoint::Editor.encode(), Refusal::EditorStarting),
        (&absent, Endpoint::Port(port).encode(), Refusal::NothingListens),
        (&absent, [9, 9, 9, 9], Refusal::Unsupported),
    ] {
        let (status, mut stream) = open(streams, request).await;
        assert_eq!(Refusal::from_status(status), refusal);
        assert_eq!(stream.read(&mut [0]).await.expect("it ends"), 0);
    }
}

#[tokio::test]
async fn a_dialled_stream_needs_the_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("agent.sock");
    let key = DirectKey::random();
    let _older = DirectListener::bind(&path, DirectKey::random()).expect("the directory is ours");
    let listener = DirectListener::bind(&path, key.clone()).expect("an older agent's socket is no hindrance");
    assert_eq!(std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    let running = tokio::spawn(listener.run(streams(None)));

    let mut wrong = UnixStream::connect(&path).await.expect("it listens");
    wrong
        .write_all(&[&[0; 32][..], &Endpoint::Agent.encode()].concat())
        .await
        .expect("it is open");
    assert!(!matches!(wrong.read(&mut [0]).await, Ok(1..)), "no status for a stranger");

    let mut right = UnixStream::connect(&path).await.expect("it listens");
    let key: Vec<u8> = key
        .hex()
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("hex"), 16).expect("hex"))
        .collect();
    right
        .write_all(&[&key[..], &Endpoint::Agent.encode()].concat())
        .await
        .expect("it is open");
    assert_eq!(right.read_u8().await.expect("it is answered"), OPENED);
    running.abort();
}
