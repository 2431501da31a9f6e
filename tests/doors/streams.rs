//! A fuzz target against the real binary, as `tenants` is, over TLS: streams of two tenants interleaved on one connection of
//! HTTP/2, requests for them in turn on one of HTTP/1.1, with tokens, with the cookies of one browser for each tenant, with
//! those of the other, and with WebSockets.
//!
//! Every byte that arrives must bear the stamp of the app that was asked and the target that it was asked for; a cookie or a
//! token of somebody else must be worth nothing.

use std::{
    collections::VecDeque,
    io,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Method, Request, Response, request::Builder};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    ext::Protocol,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    task::{JoinHandle, yield_now},
    time::timeout,
};

use super::{
    driver::fuzz,
    gateway::{BOBS, Gateway, PORT, SECURE, SIBLING, secure},
    secure::{Body, Client, nothing},
    stamped::lines,
    tenants::Choices,
};

const THREADS: usize = 4;
/// How long a stream may take: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// An app, with what its owner and their browser have for it.
struct Tenant {
    stamp: &'static str,
    host: String,
    token: &'static str,
    cookie: String,
}

/// Ada's two and bob's; each cookie is had the way that a browser gets it.
fn tenants() -> &'static [Tenant; 3] {
    static TENANTS: LazyLock<[Tenant; 3]> = LazyLock::new(|| {
        let gateway = secure();
        let tenant = |stamp, (name, person), port| {
            let editor = gateway.editor_cookie(&gateway.session(name), person);
            Tenant {
                stamp,
                host: gateway.port(person, SECURE + port),
                token: &person.token,
                cookie: gateway.port_cookie(&editor, person, SECURE + port),
            }
        };
        let (ada, bob) = (("ada", &gateway.ada), ("bob", &gateway.bob));
        [tenant("ADA", ada, PORT), tenant("SIBLING", ada, SIBLING), tenant("BOB", bob, BOBS)]
    });
    &TENANTS
}

/// Who somebody says to be, and whether it must be believed.
#[derive(Clone, Copy)]
enum Who {
    Token,
    Cookie,
    OthersToken,
    OthersCookie,
    BothCookies,
    Nobody,
}

impl Who {
    fn choose(choices: &mut Choices<'_>) -> Self {
        match choices.roll(10) {
            0..=2 => Self::Token,
            3..=5 => Self::Cookie,
            6 => Self::OthersToken,
            7 => Self::OthersCookie,
            8 => Self::BothCookies,
            _ => Self::Nobody,
        }
    }

    fn is_good(self, asked: &Tenant, other: &Tenant) -> bool {
        match self {
            Self::Token | Self::Cookie => true,
            Self::OthersToken => asked.token == other.token,
            Self::OthersCookie => asked.host == other.host,
            // Two of one name are none (COOK-2).
            Self::BothCookies | Self::Nobody => false,
        }
    }

    fn put(self, request: Builder, asked: &Tenant, other: &Tenant) -> Builder {
        let request = match self {
            Self::Token => return request.header("x-portico-token", asked.token),
            Self::OthersToken => return request.header("x-portico-token", other.token),
            Self::Nobody => return request,
            Self::Cookie => request.header("cookie", &asked.cookie),
            Self::OthersCookie => request.header("cookie", &other.cookie),
            Self::BothCookies => request.header("cookie", &asked.cookie).header("cookie", &other.cookie),
        };
        let request = request.header("sec-fetch-site", "same-origin").header("sec-fetch-mode", "cors");
        request.header("origin", format!("https://{}", asked.host))
    }
}

/// One request, as it will be made.
struct Ask {
    asked: &'static Tenant,
    other: &'static Tenant,
    who: Who,
    target: String,
    kind: &'static str,
    count: usize,
    /// The pieces of a body, or the messages of a socket.
    pieces: Option<Vec<Bytes>>,
    sized: bool,
    /// After how many pieces, or reads of the answer, the client goes.
    leaves: Option<usize>,
    /// Goes without waiting for an answer.
    hasty: bool,
}

/// What came of it: the status, whether the app's own answer came, and how.
#[derive(Debug, Hash, PartialEq)]
struct Came(u16, bool, &'static str);

impl Ask {
    fn choose(choices: &mut Choices<'_>, mark: &str) -> Self {
        const KINDS: [&str; 10] = [
            "plain", "plain", "socket", "chunked", "surplus", "held", "early", "closing", "deaf", "socket",
        ];
        let [asked, other] = [(); 2].map(|()| &tenants()[choices.roll(3)]);
        let who = Who::choose(choices);
        let kind = KINDS[choices.roll(KINDS.len())];
        // What an app says twice in one breath comes in one piece only if it is short.
        let count = 1 + choices.roll(if matches!(kind, "surplus" | "socket") { 4 } else { 400 });
        let target = format!("/stamped/{mark}/{kind}/{count}");
        let uploads = kind == "socket" || choices.roll(3) == 2;
        let pieces = uploads.then(|| {
            let pieces = (0..choices.roll(6)).map(|piece| Bytes::from(lines(asked.stamp, &target, 1 + piece * choices.roll(6))));
            pieces.collect()
        });
        Self {
            asked,
            other,
            who,
            kind,
            count,
            pieces,
            sized: choices.roll(2) == 1,
            leaves: (choices.roll(4) == 3).then(|| choices.roll(4)),
            hasty: choices.roll(12) == 11,
            target,
        }
    }

    fn is_good(&self) -> bool {
        self.who.is_good(self.asked, self.other)
    }

    async fn make(self, mut client: Client) -> (Option<Client>, Came) {
        let request = self.request(&client);
        let is_two = client.share().is_some();
        let mut answer = Box::pin(client.send(request));
        if self.hasty {
            for _ in 0..self.leaves.unwrap_or(1) {
                tokio::select! { biased; _ = &mut answer => break, () = yield_now() => {} }
            }
            return (None, Came(0, false, "hasty"));
        }
        let came = timeout(PATIENCE, &mut answer).await.expect("an answer in time");
        drop(answer);
        let came = match came {
            Ok(response) => timeout(PATIENCE, self.check(response, is_two)).await.expect("an end in time"),
            // A body that its client cuts takes its connection of HTTP/1.1 along.
            Err(error) => {
                assert!(
                    self.pieces.is_some() && self.leaves.is_some() || !is_two,
                    "{}: {error:?}",
                    self.target
                );
                Came(0, false, "cut")
            }
        };
        (Some(client), came)
    }

    fn request(&self, client: &Client) -> Request<Body> {
        let request = client.request(&self.asked.host, &self.target);
        let request = self.who.put(request, self.asked, self.other);
        if self.kind == "socket" {
            let request = request.header("sec-websocket-version", "13");
            let request = match client {
                Client::Two(_) => request.method(Method::CONNECT).extension(Protocol::from_static("websocket")),
                Client::One(_) => request
                    .header("connection", "upgrade")
                    .header("upgrade", "websocket")
                    .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            };
            return request.body(nothing()).expect("a request");
        }
        let Some(pieces) = &self.pieces else {
            return request.body(nothing()).expect("a request");
        };
        let mut request = request.method(Method::POST);
        if self.sized {
            request = request.header("content-length", pieces.iter().map(Bytes::len).sum::<usize>());
        }
        request.body(upload(pieces.clone(), self.leaves)).expect("a request")
    }

    /// What its own app answers.
    fn expected(&self) -> Vec<u8> {
        let said = self.pieces.iter().flatten().filter(|_| self.kind != "deaf");
        [lines(self.asked.stamp, &self.target, self.count), said.flatten().copied().collect()].concat()
    }

    async fn check(&self, response: Response<Incoming>, is_two: bool) -> Came {
        let status = response.status().as_u16();
        let right = format!("{} {}", self.asked.stamp, self.target);
        let stamps: Vec<_> = response.headers().get_all("x-stamp").iter().cloned().collect();
        assert!(stamps.iter().all(|stamp| *stamp == *right), "{stamps:?} came for {right}");
        let is_own = !stamps.is_empty();
        assert!(!is_own || self.is_good(), "somebody else's credential was worth {right}");
        let cookies = response.headers().get_all("set-cookie").iter();
        let own_cookie = format!("s={}{}", self.asked.stamp, self.target);
        for cookie in cookies.filter(|cookie| cookie.as_bytes().windows(9).any(|window| window == b"/stamped/")) {
            assert_eq!(*cookie, *own_cookie, "a cookie of {right}");
        }
        if is_own && self.kind == "socket" {
            assert_eq!(status, if is_two { 200 } else { 101 });
            return Came(status, true, self.converse(response).await);
        }
        let (got, end) = self.read(response).await;
        if !is_own {
            let said = String::from_utf8_lossy(&got);
            assert!(!said.contains("/stamped/"), "no answer of an app came for {right}, but: {said}");
            let wanted: &[u16] = if self.is_good() { &[502, 503] } else { &[401, 404] };
            assert!(wanted.contains(&status), "{status} for {right}: {said}");
            return Came(status, false, end);
        }
        let expected = self.expected();
        assert!(
            status == 200
                && if end == "whole" {
                    expected == got
                } else {
                    expected.starts_with(&got)
                },
            "{end} {status} for {right}: {}",
            String::from_utf8_lossy(&got)
        );
        Came(status, true, end)
    }

    /// Reads an answer to its end, or until the client has enough.
    async fn read(&self, response: Response<Incoming>) -> (Vec<u8>, &'static str) {
        let (mut body, mut got, mut reads) = (response.into_body(), Vec::new(), 0);
        loop {
            if self.leaves.is_some_and(|leaves| reads > leaves) {
                return (got, "left");
            }
            match body.frame().await {
                None => return (got, "whole"),
                Some(Err(_)) => return (got, "broken"),
                Some(Ok(frame)) => got.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            }
            reads += 1;
        }
    }

    /// Speaks with its own app: each message comes back behind the app's stamp.
    async fn converse(&self, response: Response<Incoming>) -> &'static str {
        let Ok(upgraded) = hyper::upgrade::on(response).await else {
            return "not upgraded";
        };
        let mut socket = TokioIo::new(upgraded);
        let own = lines(self.asked.stamp, &self.target, self.count);
        assert_eq!(frame(&mut socket).await, Some((0x82, own.clone())), "of {}", self.target);
        for (number, piece) in self.pieces.iter().flatten().enumerate() {
            if self.leaves == Some(number) {
                return "left";
            }
            if socket.write_all(&masked(0x82, piece)).await.is_err() {
                return "broken";
            }
            let right = [&own[..], piece].concat();
            assert_eq!(frame(&mut socket).await, Some((0x82, right)), "of {}", self.target);
        }
        let bye = [&1000_u16.to_be_bytes(), self.target.as_bytes()].concat();
        if bye.len() < 126 && socket.write_all(&masked(0x88, &bye)).await.is_ok() {
            assert_eq!(frame(&mut socket).await, Some((0x88, bye)), "of {}", self.target);
        }
        "closed"
    }
}

/// A body that comes in pieces, others between them; it breaks off where its client goes.
fn upload(pieces: Vec<Bytes>, leaves: Option<usize>) -> Body {
    let pieces = stream::iter(pieces.into_iter().enumerate()).then(move |(number, piece)| async move {
        yield_now().await;
        if leaves == Some(number) {
            return Err(io::Error::other("the client goes"));
        }
        Ok(Frame::data(piece))
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// A client's frame with a mask of zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = super::stamped::frame(first, payload);
    let at = bytes.len() - payload.len();
    bytes[1] |= 0x80;
    bytes.splice(at..at, [0; 4]);
    bytes
}

/// Takes an app's frame.
async fn frame(socket: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let first = socket.read_u8().await.ok()?;
    let length = match socket.read_u8().await.ok()? {
        126 => usize::from(socket.read_u16().await.ok()?),
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    socket.read_exact(&mut payload).await.ok()?;
    Some((first, payload))
}

/// Makes a whole sequence on one connection; over HTTP/1.1 it is opened again where it ended.
async fn converse(gateway: &Gateway, input: &[u8], mark: &str) -> Vec<Came> {
    let mut choices = Choices(input.iter());
    let protocol = ["h2", "h2", "http/1.1"][choices.roll(3)];
    let name = &tenants()[choices.roll(3)].host;
    let mut client = Client::connect(gateway, name, protocol).await;
    let (mut open, mut came) = (VecDeque::new(), Vec::new());
    for number in 0..=choices.roll(12) {
        let ask = Ask::choose(&mut choices, &format!("{mark}-{number}"));
        if let Some(shared) = client.share() {
            open.push_back(tokio::spawn(ask.make(shared)));
            match choices.roll(4) {
                0 => came.extend(oldest(&mut open).await),
                1 => yield_now().await,
                _ => {}
            }
            continue;
        }
        let (kept, one) = ask.make(client).await;
        came.push(one);
        client = match kept {
            Some(kept) if kept.is_ready() => kept,
            _ => Client::connect(gateway, name, protocol).await,
        };
    }
    while let Some(one) = oldest(&mut open).await {
        came.push(one);
    }
    came
}

async fn oldest(open: &mut VecDeque<JoinHandle<(Option<Client>, Came)>>) -> Option<Came> {
    match open.pop_front()?.await {
        Ok((_, came)) => Some(came),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[test]
fn pool_1_no_stream_and_no_browser_sees_anothers_answer() {
    let gateway = secure();
    let [sent, own, refused, sockets] = [(); 4].map(|()| AtomicUsize::new(0));
    tenants();
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        fuzz("streams", &[], |input| {
            let mark = sent.fetch_add(1, Relaxed).to_string();
            let came = runtime.block_on(converse(gateway, input, &mark));
            let count = |of: &dyn Fn(&Came) -> bool| came.iter().filter(|one| of(one)).count();
            own.fetch_add(count(&|Came(_, is_own, _)| *is_own), Relaxed);
            refused.fetch_add(count(&|Came(status, ..)| matches!(status, 401 | 404)), Relaxed);
            sockets.fetch_add(count(&|Came(.., end)| *end == "closed"), Relaxed);
            came
        });
    };
    thread::scope(|scope| {
        for number in 0..THREADS {
            let thread = thread::Builder::new().name(format!("streams {number}"));
            thread.spawn_scoped(scope, run).expect("a thread");
        }
    });
    let [sent, own, refused, sockets] = [sent, own, refused, sockets].map(AtomicUsize::into_inner);
    eprintln!("streams: {sent} sequences, {own} answers of apps checked, {sockets} of them whole sockets, 0 foreign, {refused} refused");
    assert!(own > 0 && refused > 0 && sockets > 0, "all kinds were seen");
}
