//! URLs of local servers in what programs print.
//!
//! Pure: fed raw terminal bytes in any pieces, remembers a bounded rest, knows nothing of terminals or ports.

/// Longest URL that is looked for in bytes; what is longer is no URL.
const MAX_URL: usize = 512;
/// The names and addresses that mean this machine.
const HOSTS: [&str; 5] = ["localhost", "127.0.0.1", "0.0.0.0", "[::1]", "[::]"];

/// A URL of a local server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrintedUrl {
    pub port: u16,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Path and query; `/` where there is none.
    pub path: String,
}

/// Finds URLs in a stream of terminal bytes, escape sequences taken out.
#[derive(Debug, Default)]
pub struct UrlDetector {
    escape: Escape,
    /// The word that is being printed: visible ASCII since the last blank.
    word: Vec<u8>,
    /// Whether the word outgrew [`MAX_URL`]: its rest is skipped.
    too_long: bool,
}

/// Where in an escape sequence the stream is (ECMA-48).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Escape {
    #[default]
    Ground,
    /// After ESC.
    Started,
    /// In `ESC [ …`, until a final byte.
    Csi,
    /// In `ESC ] …` and its like, until BEL or ST.
    Text,
    /// In the same, after ESC: perhaps ST.
    Ending,
}

/// What one byte means to the word that is being printed.
enum Seen {
    /// It belongs to the word.
    Letter,
    /// It ends the word.
    Break,
    /// It is not seen: part of an escape sequence. Colours change inside URLs.
    Nothing,
}

impl UrlDetector {
    /// Takes the next bytes and gives the URLs that ended in them.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<PrintedUrl> {
        let mut found = Vec::new();
        for &byte in bytes {
            match self.see(byte) {
                Seen::Letter => self.push(byte),
                Seen::Break => found.extend(self.finish()),
                Seen::Nothing => {}
            }
        }
        found
    }

    fn see(&mut self, byte: u8) -> Seen {
        let (next, seen) = match (self.escape, byte) {
            (Escape::Text, 0x1b) => (Escape::Ending, Seen::Nothing),
            (_, 0x1b) | (Escape::Started, 0x20..=0x2f) => (Escape::Started, Seen::Nothing),
            (Escape::Started, b'[') => (Escape::Csi, Seen::Nothing),
            (Escape::Started, b']' | b'P' | b'X' | b'^' | b'_') => (Escape::Text, Seen::Nothing),
            (Escape::Csi, 0x20..=0x3f) => (Escape::Csi, Seen::Nothing),
            (Escape::Text, 0x07) | (Escape::Csi, b'm') | (Escape::Started | Escape::Ending, _) => (Escape::Ground, Seen::Nothing),
            (Escape::Text, _) => (Escape::Text, Seen::Nothing),
            // The cursor went elsewhere.
            (Escape::Csi, _) => (Escape::Ground, Seen::Break),
            (Escape::Ground, b'"' | b'<' | b'>' | b'`' | b'\'') => (Escape::Ground, Seen::Break),
            (Escape::Ground, 0x21..=0x7e) => (Escape::Ground, Seen::Letter),
            (Escape::Ground, _) => (Escape::Ground, Seen::Break),
        };
        self.escape = next;
        seen
    }

    fn push(&mut self, byte: u8) {
        if self.word.len() < MAX_URL {
            self.word.push(byte);
        } else {
            self.too_long = true;
        }
    }

    fn finish(&mut self) -> Option<PrintedUrl> {
        let word = std::mem::take(&mut self.word);
        let too_long = std::mem::take(&mut self.too_long);
        if too_long { None } else { parse(std::str::from_utf8(&word).ok()?) }
    }
}

/// Finds the first local URL in a word; punctuation around it is not part of it.
fn parse(word: &str) -> Option<PrintedUrl> {
    ["https", "http"].into_iter().find_map(|scheme| {
        let at = word.find(&format!("{scheme}://"))?;
        let rest = &word[at + scheme.len() + 3..];
        let rest = HOSTS.iter().find_map(|host| rest.strip_prefix(host))?.strip_prefix(':')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let port = rest[..digits].parse().ok().filter(|port| *port != 0)?;
        let path = rest[digits..].trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}', '*', '|']);
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { "/".to_owned() };
        Some(PrintedUrl { port, scheme, path })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(printed: &str, expected: &[(u16, &'static str, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|&(port, scheme, path)| PrintedUrl {
                port,
                scheme,
                path: path.to_owned(),
            })
            .collect();
        assert_eq!(UrlDetector::default().feed(printed.as_bytes()), expected, "{printed:?} at once");
        let mut detector = UrlDetector::default();
        let pieces: Vec<_> = printed.as_bytes().iter().flat_map(|byte| detector.feed(&[*byte])).collect();
        assert_eq!(pieces, expected, "{printed:?} byte by byte");
    }

    #[test]
    fn what_servers_print() {
        check(
            "  \u{1b}[32m➜\u{1b}[39m  Local:   \u{1b}[36mhttp://localhost:\u{1b}[1m5173\u{1b}[22m/\u{1b}[39m\r\n",
            &[(5173, "http", "/")],
        );
        check(
            "Serving HTTP on 0.0.0.0 port 8000 (http://0.0.0.0:8000/) ...\n",
            &[(8000, "http", "/")],
        );
        check(
            "http://localhost:8888/lab?token=abc#x\n or http://127.0.0.1:8889/lab\n",
            &[(8888, "http", "/lab?token=abc"), (8889, "http", "/lab")],
        );
        check("listening on https://[::1]:8443.\n", &[(8443, "https", "/")]);
        check("url=http://[::]:9000, bye\n", &[(9000, "http", "/")]);
        check(
            "\u{1b}]8;;http://localhost:1\u{7}http://localhost:3000/a\u{1b}]8;;\u{1b}\\\n",
            &[(3000, "http", "/a")],
        );
        check("'http://localhost:3000'\u{1b}[2K", &[(3000, "http", "/")]);
    }

    #[test]
    fn what_is_none() {
        for text in [
            "http://example.com:80/",
            "http://localhost/",
            "http://localhost:0/",
            "http://localhost:70000/",
            "ftp://localhost:21/",
            "http://localhost.evil:3000/",
        ] {
            check(&format!("{text}\n"), &[]);
        }
        check(&format!("http://localhost:3000/{}\n", "a".repeat(600)), &[]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut detector = UrlDetector::default();
        detector.feed(&[b'x'; 100_000]);
        assert!(detector.word.len() <= MAX_URL);
    }
}
