//! A TCP port inside a codespace.

use std::{fmt, num::NonZeroU16, str::FromStr};

use thiserror::Error;

/// A TCP port, 1 to 65535, written in decimal without a leading zero or sign.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Port(NonZeroU16);

impl Port {
    /// Makes a port of a number; none for 0.
    pub fn new(number: u16) -> Option<Self> {
        NonZeroU16::new(number).map(Self)
    }

    /// The number, 1 to 65535.
    pub fn number(self) -> u16 {
        self.0.get()
    }
}

impl FromStr for Port {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let plain = !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        if !plain {
            return Err(PortError);
        }
        text.parse().ok().and_then(Self::new).ok_or(PortError)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is no port.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a port is a number from 1 to 65535, without leading zeros")]
pub struct PortError;

/// What an app speaks on its port.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1 without TLS.
    #[default]
    Http,
    /// TLS, and in it HTTP/2 where the app offers it.
    Https,
    /// HTTP/2 without TLS and without asking first (RFC 9113 §3.3), as gRPC servers speak it.
    Http2,
}

impl Protocol {
    /// The words that may be set on a port; the last two mean the same.
    pub const WORDS: [&str; 4] = ["http", "https", "h2c", "grpc"];

    /// What a word that was set means.
    pub fn of(word: &str) -> Self {
        match word {
            "https" => Self::Https,
            "h2c" | "grpc" => Self::Http2,
            _ => Self::Http,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for text in ["1", "80", "3000", "65535"] {
            assert_eq!(text.parse::<Port>().map(|port| port.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "0", "080", "65536", "+80", "-1", "8o", " 80", "99999", "100000", "\u{0663}000"] {
            assert_eq!(text.parse::<Port>(), Err(PortError), "{text:?}");
        }
    }
}
