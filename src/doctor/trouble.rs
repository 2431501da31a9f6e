//! What can be wrong between the gateway and an app, and the words for it: for the owner, never for a stranger.

use super::Speech;
use crate::domain::{Port, Protocol};

/// What is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// Nobody listens on the port.
    NothingListens,
    /// Somebody listens, on an address that is not loopback.
    NotOnLoopback,
    /// The app did not take the connection in time.
    TooSlow,
    /// The codespace had no connection to give.
    Unreachable,
    /// The port is set to plain HTTP and the app speaks TLS.
    SpeaksTls,
    /// The port is set to TLS, or to HTTP/2, and the app speaks plain HTTP/1.1.
    SpeaksHttp,
    /// The port is set to something else and the app speaks HTTP/2 without TLS.
    SpeaksHttp2,
    /// The app speaks TLS and no handshake comes of it.
    TlsFailed,
    /// What listens speaks something else, by the name.
    NotHttp(&'static str),
    /// What listens answered with bytes that are no HTTP.
    WrongAnswer,
    /// The answer says in two ways where it ends.
    AmbiguousLength,
    /// The head of the answer is longer than the gateway reads.
    HeadTooLarge,
    /// The app closed or reset the connection before it answered.
    BrokeOff,
    /// Informational answers without an end.
    Chatter,
    /// A switch of protocols that nobody asked for.
    Switched,
    /// No WebSocket where one was asked for.
    NoWebSocket,
    /// A handshake that does not answer the client's.
    BadHandshake,
}

/// A setting of the port that would mend it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fix {
    /// `protocol`
    Protocol(&'static str),
    /// `host_header`
    HostHeader(&'static str),
}

impl Fix {
    /// Name and value, as the API has them.
    pub fn setting(self) -> (&'static str, &'static str) {
        match self {
            Self::Protocol(value) => ("protocol", value),
            Self::HostHeader(value) => ("host_header", value),
        }
    }
}

impl Trouble {
    /// For programs and logs.
    pub fn slug(self) -> &'static str {
        match self {
            Self::NothingListens => "nothing-listens",
            Self::NotOnLoopback => "not-on-loopback",
            Self::TooSlow => "too-slow",
            Self::Unreachable => "unreachable",
            Self::SpeaksTls => "app-speaks-tls",
            Self::SpeaksHttp => "app-speaks-http",
            Self::SpeaksHttp2 => "app-speaks-http2",
            Self::TlsFailed => "tls-failed",
            Self::NotHttp(_) => "not-http",
            Self::WrongAnswer => "wrong-answer",
            Self::AmbiguousLength => "ambiguous-length",
            Self::HeadTooLarge => "response-head-too-large",
            Self::BrokeOff => "broke-off",
            Self::Chatter => "chatter",
            Self::Switched => "switched-unasked",
            Self::NoWebSocket => "no-websocket",
            Self::BadHandshake => "bad-websocket-handshake",
        }
    }

    /// The heading of the page.
    pub fn title(self, port: Port) -> String {
        match self {
            Self::NothingListens => format!("Nothing listens on port {port}"),
            Self::NotOnLoopback => format!("Port {port} listens where the gateway cannot reach it"),
            Self::TooSlow => format!("Port {port} does not take connections"),
            Self::SpeaksTls => format!("Port {port} speaks HTTPS"),
            Self::SpeaksHttp => format!("Port {port} speaks plain HTTP"),
            Self::SpeaksHttp2 => format!("Port {port} speaks HTTP/2"),
            Self::NotHttp(name) => format!("Port {port} speaks {name}"),
            Self::HeadTooLarge => format!("Port {port} answered with too large headers"),
            Self::NoWebSocket => format!("Port {port} has no WebSocket there"),
            Self::Unreachable
            | Self::TlsFailed
            | Self::WrongAnswer
            | Self::AmbiguousLength
            | Self::BrokeOff
            | Self::Chatter
            | Self::Switched
            | Self::BadHandshake => format!("Port {port} did not answer properly"),
        }
    }

    /// What happened, in one or two sentences.
    pub fn detail(self) -> String {
        match self {
            Self::NothingListens => "The codespace is running, but no server inside it answers on this port.",
            Self::NotOnLoopback => "A server listens on this port, but only on an address of the network and not on this machine's own.",
            Self::TooSlow => "A server listens there and did not take a connection in time. It may be stopped, starting, or too busy.",
            Self::Unreachable => "The codespace could not open a connection inside. It may be out of file descriptors or memory.",
            Self::SpeaksTls => "The app expects TLS, and this port is set to plain HTTP.",
            Self::SpeaksHttp => "The app speaks HTTP/1.1 without TLS, and this port is set to something else.",
            Self::SpeaksHttp2 => "The app expects HTTP/2 without TLS, as gRPC servers do, and this port is set to something else.",
            Self::TlsFailed => "The app speaks TLS, and the handshake with it failed.",
            Self::NotHttp(name) => {
                return format!("What listens there speaks {name}. A forwarded address carries HTTP and WebSockets.");
            }
            Self::WrongAnswer => "What listens there did not answer in HTTP.",
            Self::AmbiguousLength => "Its answer gives its length in more than one way, or in a wrong one.",
            Self::HeadTooLarge => "The headers of its answer are larger than the 256 KiB that the gateway reads.",
            Self::BrokeOff => "The app closed the connection before it answered.",
            Self::Chatter => "The app sent word that it is at work, again and again, and no answer.",
            Self::Switched => "The app switched protocols without being asked.",
            Self::NoWebSocket => "The app answered a WebSocket handshake with an ordinary page: it serves no WebSocket at this address.",
            Self::BadHandshake => "The app's half of the WebSocket handshake does not answer the client's.",
        }
        .to_owned()
    }

    /// What to do.
    pub fn advice(self, port: Port) -> Vec<String> {
        let output = "The app's own output, in the terminal that runs it, usually says why.";
        let words = match self {
            Self::NothingListens => {
                return vec![format!(
                    "Start your app in a terminal and have it listen on port {port}, on any address (127.0.0.1 is fine)."
                )];
            }
            Self::NotOnLoopback => "Have the app listen on localhost, 127.0.0.1 or 0.0.0.0.",
            Self::TooSlow => "Look at the terminal that runs it: a program that is paused (Ctrl-Z) or in a debugger takes no connections.",
            Self::Unreachable => "Stop programs that you no longer need, or restart the codespace.",
            Self::SpeaksTls => "Set the port's protocol to https. The certificate may be self-signed.",
            Self::SpeaksHttp => "Set the port's protocol to http.",
            Self::SpeaksHttp2 => "Set the port's protocol to h2c.",
            Self::TlsFailed => {
                "An app that asks for a client certificate, or speaks TLS 1.1 or older, cannot be reached through the gateway."
            }
            Self::NotHttp(_) => {
                return vec![format!(
                    "portico ports forward {port}:{port}, on your own machine, brings it to localhost:{port} there, as it is."
                )];
            }
            Self::WrongAnswer => "If your app listens on several ports, open the one that serves HTTP.",
            Self::HeadTooLarge => "Usually the app sets ever more or ever larger cookies or debug headers.",
            Self::AmbiguousLength | Self::BrokeOff | Self::Chatter | Self::Switched | Self::BadHandshake => output,
            Self::NoWebSocket => "Check the path that the page opens its WebSocket at.",
        };
        vec![words.to_owned()]
    }

    /// The setting that mends it.
    pub fn fix(self) -> Option<Fix> {
        match self {
            Self::SpeaksTls => Some(Fix::Protocol("https")),
            Self::SpeaksHttp => Some(Fix::Protocol("http")),
            Self::SpeaksHttp2 => Some(Fix::Protocol("h2c")),
            _ => None,
        }
    }

    /// Whether it is over as soon as the app is mended, so that a page may look again by itself.
    pub fn may_pass(self) -> bool {
        !matches!(self, Self::HeadTooLarge | Self::NotHttp(_) | Self::NoWebSocket)
    }

    /// What is wrong with a server that speaks this on a port that is set to that.
    pub fn of_mismatch(set: Protocol, heard: Speech) -> Option<Self> {
        match (set, heard) {
            (Protocol::Http, Speech::Tls) | (Protocol::Http2, Speech::Tls) => Some(Self::SpeaksTls),
            (Protocol::Https | Protocol::Http2, Speech::Http) => Some(Self::SpeaksHttp),
            (Protocol::Http | Protocol::Https, Speech::Http2) => Some(Self::SpeaksHttp2),
            (_, Speech::Named(name)) => Some(Self::NotHttp(name)),
            (_, Speech::Unknown) => Some(Self::WrongAnswer),
            (Protocol::Http, Speech::Http) | (Protocol::Https, Speech::Tls) | (Protocol::Http2, Speech::Http2) | (_, Speech::Nothing) => {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mismatches_name_the_setting_that_mends_them() {
        #[track_caller]
        fn check(set: Protocol, heard: Speech, expected: Option<(&str, &str)>) {
            let fix = Trouble::of_mismatch(set, heard).and_then(Trouble::fix).map(Fix::setting);
            assert_eq!(fix, expected, "{set:?} {heard:?}");
        }
        check(Protocol::Http, Speech::Tls, Some(("protocol", "https")));
        check(Protocol::Http, Speech::Http, None);
        check(Protocol::Http, Speech::Http2, Some(("protocol", "h2c")));
        check(Protocol::Https, Speech::Http, Some(("protocol", "http")));
        check(Protocol::Https, Speech::Tls, None);
        check(Protocol::Http2, Speech::Http, Some(("protocol", "http")));
        check(Protocol::Http2, Speech::Tls, Some(("protocol", "https")));
        check(Protocol::Http, Speech::Named("SSH"), None);
    }
}
