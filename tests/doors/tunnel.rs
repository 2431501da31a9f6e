//! An agent's side of the tunnel, spoken by hand: what whoever took a codespace over can say with its credential.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket, client::IntoClientRequest as _};

use super::{
    gateway::{Gateway, Person, eventually},
    wire::Call,
};

/// How long something may be in coming: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A codespace whose orders are in hostile hands.
#[derive(Clone)]
pub struct Stolen {
    pub address: SocketAddr,
    data: PathBuf,
    pub codespace: String,
}

impl Stolen {
    pub fn new(address: SocketAddr, data: &Path, codespace: &str) -> Self {
        Self {
            address,
            data: data.to_owned(),
            codespace: codespace.to_owned(),
        }
    }

    /// Somebody's of the shared gateway, once its own agent has the credential that it keeps.
    pub fn of(gateway: &Gateway, person: &Person) -> Self {
        let stolen = Self::new(gateway.address, &gateway.data, &person.codespace);
        eventually("its credential is renewed", || {
            let told = audit(gateway, &format!("codespace={}&event=agent.renewed", person.codespace));
            (!told.is_empty()).then_some(())
        });
        stolen
    }

    pub fn orders(&self) -> PathBuf {
        self.data.join("codespaces").join(&self.codespace).join("state/bootstrap.json")
    }

    /// What was stolen; none in the moment in which it is replaced.
    pub fn credential(&self) -> Option<String> {
        let orders: Value = serde_json::from_slice(&fs::read(self.orders()).ok()?).ok()?;
        orders["credential"].as_str().map(str::to_owned)
    }

    /// Connects with a credential as far as the handshake; the status if it is refused.
    pub fn shake_hands(&self, credential: &str) -> Result<Link, u16> {
        let stream = TcpStream::connect(self.address).expect("the gateway listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let line = stream.try_clone().expect("a descriptor");
        let url = format!("ws://portico.localhost:{}/api/v1/agent/connect", self.address.port());
        let mut request = url.into_client_request().expect("a request");
        let bearer = format!("Bearer {credential}").parse().expect("a field");
        request.headers_mut().insert("authorization", bearer);
        match tungstenite::client::client(request, stream) {
            Ok((socket, _)) => Ok(Link {
                socket,
                line,
                stolen: self.clone(),
                credential: credential.to_owned(),
            }),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Connects as its agent, in place of the one that it has, and is welcomed.
    pub fn connect(&self) -> Link {
        eventually("the stolen credential connects", || {
            let mut link = self.shake_hands(&self.credential()?).ok()?;
            link.say(&hello());
            (link.hear().message()["type"] == "welcome").then_some(link)
        })
    }

    /// A request for a stream.
    pub fn call(&self, credential: &str, id: &str) -> Call {
        let host = format!("portico.localhost:{}", self.address.port());
        let call = Call::get(host, &format!("/api/v1/agent/stream?id={id}")).at(self.address);
        let call = call.fields(&[("Upgrade", "portico-stream"), ("Connection", "upgrade")]);
        call.field("Authorization", format!("Bearer {credential}"))
    }

    /// What a credential is worth, without anything being done by it: 404 while it is good.
    pub fn worth(&self, credential: &str) -> u16 {
        self.call(credential, "nobodys").send().status()
    }

    /// Opens a stream; the status if it is refused.
    pub fn stream(&self, credential: &str, id: &str) -> Result<TcpStream, u16> {
        let mut stream = TcpStream::connect(self.address).expect("the gateway listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let head = format!(
            "GET /api/v1/agent/stream?id={id} HTTP/1.1\r\nHost: portico.localhost:{}\r\nAuthorization: Bearer {credential}\r\n\
             Connection: upgrade\r\nUpgrade: portico-stream\r\n\r\n",
            self.address.port()
        );
        stream.write_all(head.as_bytes()).expect("written");
        let answer = take_head(&mut stream).expect("answered");
        match answer[9..12].parse().expect("a status") {
            101 => Ok(stream),
            status => Err(status),
        }
    }
}

/// What a fake agent says first: it listens nowhere and takes nothing that it need not.
pub fn hello() -> Value {
    json!({ "type": "hello", "version": 1, "direct_key": null, "renews": false, "personal": false })
}

/// One control connection.
pub struct Link {
    socket: WebSocket<TcpStream>,
    /// The same connection, for what is no WebSocket.
    pub line: TcpStream,
    stolen: Stolen,
    pub credential: String,
}

/// What came on a control connection.
#[derive(Debug)]
pub enum Heard {
    Message(Value),
    /// Its end, with the code if one was said.
    End(Option<u16>),
}

impl Heard {
    pub fn message(self) -> Value {
        match self {
            Self::Message(message) => message,
            Self::End(_) => Value::Null,
        }
    }
}

impl Link {
    pub fn say(&mut self, message: &Value) {
        // One that is being closed says why when it is read.
        drop(self.socket.send(Message::text(message.to_string())));
    }

    /// The next message but a ping, which is answered.
    pub fn hear(&mut self) -> Heard {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    if message["type"] != "ping" {
                        return Heard::Message(message);
                    }
                    self.say(&json!({ "type": "pong" }));
                }
                Ok(Message::Close(frame)) => return Heard::End(frame.map(|frame| frame.code.into())),
                Ok(other) => panic!("{other:?}"),
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("still open"),
                Err(_) => return Heard::End(None),
            }
        }
    }

    /// Waits for its end, and gives the code.
    pub fn ends(&mut self) -> Option<u16> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Heard::End(code) = self.hear() {
                return code;
            }
            assert!(Instant::now() < until, "still open");
        }
    }

    /// The ids that it is told next.
    pub fn ids(&mut self) -> Vec<String> {
        loop {
            match self.hear() {
                Heard::Message(message) if message["type"] == "open" => {
                    let ids = message["ids"].as_array().expect("ids").iter();
                    return ids.map(|id| id.as_str().expect("text").to_owned()).collect();
                }
                Heard::Message(_) => {}
                Heard::End(code) => panic!("ended with {code:?}"),
            }
        }
    }

    /// Opens every stream that is asked for and has it conversed on, until the link ends.
    pub fn serve(mut self, converse: impl Fn(TcpStream, [u8; 4]) + Clone + Send + 'static) -> Serving {
        let line = self.line.try_clone().expect("a descriptor");
        let (said, asked) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::<Mutex<Vec<[u8; 4]>>>::default());
        let (hears, asks) = (Arc::clone(&said), Arc::clone(&asked));
        let running = thread::spawn(move || {
            loop {
                let message = match self.hear() {
                    Heard::Message(message) => message,
                    Heard::End(code) => return code,
                };
                for id in message["ids"].as_array().into_iter().flatten() {
                    let id = id.as_str().expect("text").to_owned();
                    let (stolen, credential) = (self.stolen.clone(), self.credential.clone());
                    let (converse, asks) = (converse.clone(), Arc::clone(&asks));
                    thread::spawn(move || {
                        let Ok(mut stream) = stolen.stream(&credential, &id) else { return };
                        let mut open = [0; 4];
                        if stream.read_exact(&mut open).is_ok() {
                            asks.lock().expect("whole").push(open);
                            converse(stream, open);
                        }
                    });
                }
                hears.lock().expect("whole").push(message);
            }
        });
        Serving {
            said,
            asked,
            line,
            running,
        }
    }
}

/// An agent that serves its streams on threads of its own.
pub struct Serving {
    said: Arc<Mutex<Vec<Value>>>,
    asked: Arc<Mutex<Vec<[u8; 4]>>>,
    line: TcpStream,
    running: JoinHandle<Option<u16>>,
}

impl Serving {
    /// All that it was told so far, but for pings and the welcome.
    pub fn said(&self) -> Vec<Value> {
        self.said.lock().expect("whole").clone()
    }

    /// The first bytes of each stream that was used.
    pub fn asked(&self) -> Vec<[u8; 4]> {
        self.asked.lock().expect("whole").clone()
    }

    /// Waits until the gateway ends it, and gives the code.
    pub fn ends(self) -> Option<u16> {
        self.running.join().expect("no panic")
    }

    pub fn hang_up(self) {
        drop(self.line.shutdown(Shutdown::Both));
        drop(self.running.join());
    }
}

/// The open request for a port of the codespace itself.
pub fn port(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [1, 1, high, low]
}

/// Takes a head; none if the connection ends before its end.
pub fn take_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Says that a stream is connected, and answers each request on it.
pub fn answers(mut stream: TcpStream, answer: impl Fn(&str) -> Vec<u8>) {
    if stream.write_all(&[0]).is_err() {
        return;
    }
    while let Some(head) = take_head(&mut stream) {
        if stream.write_all(&answer(&head)).is_err() {
            return;
        }
    }
}

pub fn page(text: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
    .into_bytes()
}

/// A server that nobody has any business with, at an address of this machine that is not the usual one.
pub struct Canary {
    pub address: SocketAddr,
    met: Arc<AtomicUsize>,
}

impl Canary {
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let met = Arc::new(AtomicUsize::new(0));
        let meets = Arc::clone(&met);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                meets.fetch_add(1, Relaxed);
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nCANARY"));
            }
        });
        Self { address, met }
    }

    /// How many connected.
    pub fn met(&self) -> usize {
        self.met.load(Relaxed)
    }
}

/// Events of the shared gateway's audit log, the newest first, as its admin reads them.
pub fn audit(gateway: &Gateway, query: &str) -> Vec<Value> {
    let call = Call::get(gateway.host(), &format!("/api/v1/audit?limit=1000&{query}"));
    let reply = call.field("Authorization", format!("Bearer {}", gateway.ada.token)).send();
    assert_eq!(reply.status(), 200, "{}", reply.text);
    reply.json().as_array().expect("events").clone()
}
