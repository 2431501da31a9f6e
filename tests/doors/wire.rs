//! Requests as bytes, and what comes back.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use super::gateway::gateway;

/// How long an answer may be in coming, and how long an open connection is listened to.
const PATIENCE: Duration = Duration::from_secs(5);
const LISTEN: Duration = Duration::from_millis(400);

/// What came back on a connection.
#[derive(Debug)]
pub struct Reply {
    /// All of it, bytes beyond ASCII replaced.
    pub text: String,
    /// Whether the gateway closed the connection.
    pub closed: bool,
}

impl Reply {
    /// The status codes of all responses, in order.
    pub fn statuses(&self) -> Vec<u16> {
        let starts = self.text.match_indices("HTTP/1.").map(|(at, start)| at + start.len() + 2);
        starts.filter_map(|at| self.text.get(at..at + 3)?.parse().ok()).collect()
    }

    /// The first status code; 0 if there was none.
    pub fn status(&self) -> u16 {
        self.statuses().first().copied().unwrap_or(0)
    }

    pub fn head(&self) -> &str {
        self.text.split("\r\n\r\n").next().unwrap_or_default()
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// All values of a field of the first response.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.head().lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.body()).unwrap_or_default()
    }

    /// How many requests an app got, by the stamp that it puts before each answer.
    pub fn stamps(&self, stamp: &str) -> usize {
        self.text.matches(&format!("{stamp}\n")).count()
    }
}

/// A request to be sent on a connection of its own.
#[derive(Clone, Debug)]
pub struct Call {
    method: &'static str,
    path: String,
    host: String,
    fields: Vec<(String, String)>,
    body: String,
    at: Option<SocketAddr>,
}

impl Call {
    pub fn new(method: &'static str, host: String, path: &str) -> Self {
        Self {
            method,
            path: path.into(),
            host,
            fields: Vec::new(),
            body: String::new(),
            at: None,
        }
    }

    pub fn get(host: String, path: &str) -> Self {
        Self::new("GET", host, path)
    }

    pub fn post(host: String, path: &str) -> Self {
        Self::new("POST", host, path)
    }

    pub fn field(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    pub fn fields(self, fields: &[(&str, &str)]) -> Self {
        fields.iter().fold(self, |call, (name, value)| call.field(name, *value))
    }

    pub fn token(self, token: &str) -> Self {
        self.field("X-Portico-Token", token)
    }

    pub fn cookie(self, cookie: &str) -> Self {
        self.field("Cookie", cookie)
    }

    pub fn json(self, body: &serde_json::Value) -> Self {
        self.field("Content-Type", "application/json").body(body.to_string())
    }

    pub fn body(mut self, body: String) -> Self {
        self.body = body;
        self
    }

    /// Asks to become a WebSocket.
    pub fn socket(self) -> Self {
        self.fields(&[
            ("Upgrade", "websocket"),
            ("Connection", "upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ])
    }

    /// Sends it to an address instead of the shared gateway's.
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.at = Some(address);
        self
    }

    pub fn send(&self) -> Reply {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.path, self.host);
        for (name, value) in &self.fields {
            text += &format!("{name}: {value}\r\n");
        }
        if !self.fields.iter().any(|(name, _)| name == "Connection") {
            text += "Connection: close\r\n";
        }
        if !self.body.is_empty() || self.method != "GET" {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        exchange(
            self.at.unwrap_or_else(|| gateway().address),
            format!("{text}\r\n{}", self.body).as_bytes(),
        )
    }
}

/// Sends bytes to the shared gateway.
pub fn raw(bytes: &[u8]) -> Reply {
    exchange(gateway().address, bytes)
}

fn exchange(address: SocketAddr, bytes: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    // What is refused early may not be read to its end.
    drop(stream.write_all(bytes));
    let (mut got, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let closed = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break true,
            Ok(count) => {
                got.extend_from_slice(&buffer[..count]);
                stream.set_read_timeout(Some(LISTEN)).expect("set");
            }
            Err(error) => break error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    };
    drop(stream.shutdown(Shutdown::Both));
    Reply {
        text: String::from_utf8_lossy(&got).into_owned(),
        closed,
    }
}
