//! Addresses of local servers in what programs print.
//!
//! Pure: fed raw terminal bytes in any pieces, remembers a bounded rest, knows nothing of terminals or ports.

mod visible;

use self::visible::{Seen, Visible};

/// Longest word that is looked at in bytes; what is longer is no address.
const MAX_WORD: usize = 512;
/// Most words of a line that are looked at; what comes after them is no announcement.
const MAX_WORDS: usize = 64;
/// The names and addresses that mean this machine.
const HOSTS: [&str; 7] = ["localhost", "127.0.0.1", "127.0.1.1", "0.0.0.0", "[::1]", "[::]", "::"];
/// What a URL of a server may begin with, and whether that says how it speaks.
const SCHEMES: [(&str, Option<&str>); 6] = [
    ("https://", Some("https")),
    ("http://", Some("http")),
    ("tcp://", None),
    ("ssl://", Some("https")),
    ("wss://", None),
    ("ws://", None),
];
/// Beginnings of words that make of a number a server's: "listening on port 3000", "HTTP on 0.0.0.0 port 8000".
const ANNOUNCING: [&str; 11] = [
    "listen",
    "http",
    "serving",
    "server",
    "started",
    "running",
    "bound",
    "ready",
    "available",
    "accepting",
    "exposed",
];

/// What a program said about a port of this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Printed {
    Server(PrintedUrl),
    /// A debugger waits there.
    Debugger(u16),
}

/// The address of a local server, as far as it was told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrintedUrl {
    pub port: u16,
    /// `http` or `https`, if it was said.
    pub scheme: Option<&'static str>,
    /// Path and query; `/` where there is none.
    pub path: String,
}

/// Finds addresses in a stream of terminal bytes, escape sequences taken out.
#[derive(Debug, Default)]
pub struct Detector {
    visible: Visible,
    /// The word that is being printed: visible ASCII since the last blank.
    word: Vec<u8>,
    /// Whether the word outgrew [`MAX_WORD`]: its rest is skipped.
    too_long: bool,
    line: Line,
}

/// What the words of a line before this one make of a number.
#[derive(Debug, Default)]
struct Line {
    words: usize,
    /// Somebody announces a server.
    announces: bool,
    /// It is about a debugger.
    debugs: bool,
    /// The word before was "port" or its like.
    names_port: bool,
}

impl Detector {
    /// Takes the next bytes and gives what was said in words that ended in them.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Printed> {
        let mut found = Vec::new();
        for &byte in bytes {
            match self.visible.see(byte) {
                Seen::Letter => self.push(byte),
                Seen::Blank => found.extend(self.finish()),
                Seen::LineBreak => {
                    found.extend(self.finish());
                    self.line = Line::default();
                }
                Seen::Nothing => {}
            }
        }
        found
    }

    fn push(&mut self, byte: u8) {
        if self.word.len() < MAX_WORD {
            self.word.push(byte);
        } else {
            self.too_long = true;
        }
    }

    fn finish(&mut self) -> Option<Printed> {
        let word = std::mem::take(&mut self.word);
        let too_long = std::mem::take(&mut self.too_long);
        if word.is_empty() || too_long {
            return None;
        }
        self.line.take(std::str::from_utf8(&word).ok()?)
    }
}

impl Line {
    /// Reads the next word.
    fn take(&mut self, word: &str) -> Option<Printed> {
        self.words += 1;
        if self.words > MAX_WORDS {
            return None;
        }
        let plain = word.trim_matches(|c: char| c.is_ascii_punctuation() && !matches!(c, '[' | ']' | ':' | '/' | '*'));
        let found = url(word).or_else(|| bare(plain, self.announces)).or_else(|| self.number(plain));
        self.note(plain);
        found.map(|url| {
            if self.debugs {
                Printed::Debugger(url.port)
            } else {
                Printed::Server(url)
            }
        })
    }

    /// A number after "port", where a server is announced.
    fn number(&self, word: &str) -> Option<PrintedUrl> {
        let assigned = ["port=", "port:", "Port=", "Port:"].iter().find_map(|name| word.strip_prefix(name));
        let digits = assigned.or(self.names_port.then_some(word))?;
        let port = port(digits.trim_end_matches(|c: char| !c.is_ascii_digit()))?;
        (self.announces || self.debugs).then(|| PrintedUrl::of_port(port))
    }

    fn note(&mut self, word: &str) {
        let word = word.trim_matches(|c: char| c.is_ascii_punctuation()).to_ascii_lowercase();
        self.debugs |= word.contains("debugger") || word == "dt_socket";
        self.announces |= word.contains("listen") || ANNOUNCING.iter().any(|start| word.starts_with(start));
        self.names_port = matches!(word.as_str(), "port" | "ports" | "port(s") || (self.debugs && word == "address");
    }
}

/// The first URL of a local server in a word; punctuation around it is not part of it.
fn url(word: &str) -> Option<PrintedUrl> {
    SCHEMES.iter().find_map(|(prefix, scheme)| {
        let rest = &word[word.find(prefix)? + prefix.len()..];
        let rest = HOSTS.iter().find_map(|host| rest.strip_prefix(host)?.strip_prefix(':'))?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some(PrintedUrl {
            port: port(&rest[..digits])?,
            scheme: *scheme,
            path: path(&rest[digits..]),
        })
    })
}

/// `localhost:3000`, and where a server is announced also `:3000` and `*:3000`.
fn bare(word: &str, announced: bool) -> Option<PrintedUrl> {
    let named = HOSTS.iter().find_map(|host| word.strip_prefix(host)?.strip_prefix(':'));
    let any = || ["*:", ":"].iter().find_map(|host| word.strip_prefix(host)).filter(|_| announced);
    let rest = named.or_else(any)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let after = &rest[digits..];
    // `localhost:3000:8000` maps ports, and does not say who listens.
    (after.is_empty() || after.starts_with(['/', '.', ',', ';', ')'])).then_some(())?;
    Some(PrintedUrl {
        path: path(after),
        ..PrintedUrl::of_port(port(&rest[..digits])?)
    })
}

fn port(digits: &str) -> Option<u16> {
    let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten().filter(|port| *port != 0)
}

fn path(rest: &str) -> String {
    let path = rest.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}', '*', '|']);
    let path = path.split('#').next().unwrap_or_default();
    if path.starts_with('/') { path.to_owned() } else { "/".to_owned() }
}

impl Printed {
    pub fn port(&self) -> u16 {
        match self {
            Self::Server(url) => url.port,
            Self::Debugger(port) => *port,
        }
    }
}

impl PrintedUrl {
    fn of_port(port: u16) -> Self {
        Self {
            port,
            scheme: None,
            path: "/".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
