//! The probe: what a port answers when it is asked, in a few bytes.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{Refusal, Speech, Trouble, of_first_bytes, recognise, refusal::BEGINNING};
use crate::{
    domain::{CodespaceName, Port, Protocol},
    protocol::tunnel::{Endpoint, Refusal as DialRefusal},
    tunnel::{
        AgentStream, DialError, SharedDialer,
        tls::{self, Offer},
    },
};

/// How long a server may take with its first bytes, and with a handshake.
const FIRST_BYTES: Duration = Duration::from_secs(2);
/// Most bytes of an answer that are read.
const MAX_BYTES: usize = 2 * BEGINNING;
/// What an HTTP/2 client says first: the preface and an empty frame of SETTINGS (RFC 9113 §3.4).
const HTTP_2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// What to look at, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub codespace: &'a CodespaceName,
    pub port: Port,
    /// What to dial for it.
    pub endpoint: Endpoint,
    pub protocol: Protocol,
    /// Path and query; printable ASCII without spaces.
    pub target: &'a str,
    pub host: As<'a>,
}

/// The host under which the app is asked.
#[derive(Clone, Copy, Debug)]
pub enum As<'a> {
    /// `localhost:PORT`.
    Localhost,
    /// The forwarded host, and the scheme before it.
    Forwarded { host: &'a str, scheme: &'a str },
}

/// What was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Examination {
    /// What it speaks; none if no connection came to be.
    pub speaks: Option<Speech>,
    /// The status of its answer, if it gave one in HTTP/1.
    pub status: Option<u16>,
    pub trouble: Option<Trouble>,
    pub refusal: Option<Refusal>,
}

impl Examination {
    fn no_stream(trouble: Trouble) -> Self {
        Self {
            speaks: None,
            status: None,
            trouble: Some(trouble),
            refusal: None,
        }
    }

    fn heard(speaks: Speech, set: Protocol) -> Self {
        Self {
            speaks: Some(speaks),
            status: None,
            trouble: Trouble::of_mismatch(set, speaks),
            refusal: None,
        }
    }
}

/// What it means that a stream could not be had.
pub fn of_dial(error: &DialError) -> Trouble {
    match error {
        DialError::Refused(DialRefusal::NothingListens) => Trouble::NothingListens,
        DialError::TimedOut => Trouble::TooSlow,
        DialError::Refused(_) | DialError::NotConnected | DialError::Broken(_) => Trouble::Unreachable,
    }
}

/// Asks as the port is set to be asked, and if nothing comes of that in the other ways.
pub(super) async fn examine(dialer: &SharedDialer, ask: &Ask<'_>) -> Examination {
    let dial = || dialer.dial(ask.codespace, ask.endpoint);
    let stream = match dial().await {
        Ok(stream) => stream,
        Err(error) => return Examination::no_stream(of_dial(&error)),
    };
    let first = match ask.protocol {
        Protocol::Http => plain(stream, ask).await,
        Protocol::Https => over_tls(stream, ask).await,
        Protocol::Http2 => http_2(stream, ask).await,
    };
    // It said enough, or somebody found out already.
    if first.speaks != Some(Speech::Nothing) {
        return first;
    }
    let others = [Protocol::Http, Protocol::Https, Protocol::Http2];
    for other in others.into_iter().filter(|other| *other != ask.protocol) {
        let Ok(stream) = dial().await else { return first };
        let look = match other {
            Protocol::Http => plain(stream, ask).await,
            Protocol::Https => over_tls(stream, ask).await,
            Protocol::Http2 => http_2(stream, ask).await,
        };
        if !matches!(look.speaks, None | Some(Speech::Nothing)) {
            return look;
        }
    }
    Examination {
        trouble: Some(Trouble::BrokeOff),
        ..first
    }
}

async fn plain(stream: AgentStream, ask: &Ask<'_>) -> Examination {
    let heard = converse(stream, request(ask).as_bytes()).await;
    answered(of_first_bytes(&heard), &heard, ask)
}

async fn over_tls(stream: AgentStream, ask: &Ask<'_>) -> Examination {
    match timeout(FIRST_BYTES, tls::connect(stream, Offer::Http1)).await {
        Ok(Ok((stream, _))) => {
            let heard = converse(stream, request(ask).as_bytes()).await;
            answered(Speech::Tls, &heard, ask)
        }
        // rustls names what is none of its records; an alert is TLS all the same.
        Ok(Err(error)) if is_alert(&error) => Examination {
            trouble: Some(Trouble::TlsFailed),
            ..Examination::heard(Speech::Tls, ask.protocol)
        },
        Ok(Err(_)) | Err(_) => Examination::heard(Speech::Nothing, ask.protocol),
    }
}

async fn http_2(stream: AgentStream, ask: &Ask<'_>) -> Examination {
    let heard = converse(stream, HTTP_2_PREFACE).await;
    // A server of HTTP/1.1 calls the preface a bad request: that is for the plain question to find.
    match of_first_bytes(&heard) {
        Speech::Http if ask.protocol != Protocol::Http2 => Examination::heard(Speech::Nothing, ask.protocol),
        speech => Examination::heard(speech, ask.protocol),
    }
}

fn is_alert(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(
        cause,
        Some(rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_) | rustls::Error::PeerMisbehaved(_))
    )
}

/// What an answer of HTTP/1, over TLS or not, tells.
fn answered(speaks: Speech, heard: &[u8], ask: &Ask<'_>) -> Examination {
    let mut found = Examination::heard(speaks, ask.protocol);
    let Some((status, body)) = parse(heard) else { return found };
    let path = ask.target.split('?').next().unwrap_or_default();
    found.status = Some(status);
    found.refusal = recognise(status, path, body);
    if found.refusal == Some(Refusal::TlsWanted) && speaks == Speech::Http {
        found.speaks = Some(Speech::Tls);
        found.trouble = Trouble::of_mismatch(ask.protocol, Speech::Tls);
    }
    found
}

/// Status and what there is of the body.
fn parse(heard: &[u8]) -> Option<(u16, &[u8])> {
    let status = heard.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let status = str::from_utf8(status).ok()?.parse().ok()?;
    let body = memchr::memmem::find(heard, b"\r\n\r\n").map_or(&[][..], |at| &heard[at + 4..]);
    Some((status, body))
}

fn request(ask: &Ask<'_>) -> String {
    let (host, forwarded) = match ask.host {
        As::Localhost => (format!("localhost:{}", ask.port), String::new()),
        As::Forwarded { host, scheme } => (
            host.to_owned(),
            format!("X-Forwarded-Host: {host}\r\nX-Forwarded-Proto: {scheme}\r\n"),
        ),
    };
    format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\n{forwarded}Accept: text/html,*/*;q=0.8\r\nUser-Agent: portico-doctor\r\nConnection: close\r\n\r\n",
        ask.target
    )
}

/// Says something and takes what comes at first.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, words: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    let exchange = async {
        stream.write_all(words).await?;
        stream.flush().await?;
        let mut buffer = [0; 4096];
        while heard.len() < MAX_BYTES {
            let count = stream.read(&mut buffer).await?;
            if count == 0 {
                break;
            }
            heard.extend_from_slice(&buffer[..count]);
            // A good answer needs no second look.
            if parse(&heard).is_some_and(|(status, _)| status < 400) || of_first_bytes(&heard) != Speech::Http {
                break;
            }
        }
        io::Result::Ok(())
    };
    // Whatever ended it, what was heard was heard.
    drop(timeout(FIRST_BYTES, exchange).await);
    heard
}
