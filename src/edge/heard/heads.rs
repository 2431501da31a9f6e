//! The heads of HTTP/1.1 in the bytes of a connection: where each begins and ends, how many fields it has, and which is the
//! first whose target holds a `#`.
//!
//! Where a head begins follows from where the body before it ends, so framing is read here as hyper reads it (RFC 9112 §2.2,
//! §6 and §7.1). Refuses nothing by itself. Knows nothing more once it lost its way, which it does at what hyper ends a
//! connection for, and not before.

use super::Tail;
use crate::forward::admission::MAX_FIELDS;

/// Reads a connection's bytes as they come, in whatever pieces.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Heads {
    at: At,
    /// How many have ended.
    ended: u64,
    /// The first whose target held a `#`: hyper cuts that off together with what follows, before anybody could see it.
    fragment: Option<u64>,
    /// Of the one that is coming: its fields, its bytes with the empty lines before it, and what follows it.
    fields: usize,
    length: usize,
    body: Body,
    /// Whether the last byte was a carriage return, whose line feed is to come.
    returned: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum At {
    /// The empty lines before a head; the second byte of one.
    #[default]
    Before,
    BeforeFeed,
    /// The method, which may hold a `#`, the target, and the version, of which so many bytes came in earlier pieces.
    Method,
    Target,
    Version(usize),
    /// A field, or the empty line that ends a head; the second byte of that.
    Field,
    EndFeed,
    /// A name of which so many bytes are those of this one; any other, as far as earlier pieces had it.
    Name(Name, usize),
    OtherName,
    /// The value of a `Content-Length`, so far; the space behind it.
    Length(Option<u64>),
    LengthOver(u64),
    /// The value of a `Transfer-Encoding`.
    Coding,
    /// A value that does not matter.
    Value,
    /// So many bytes of a body.
    Body(u64),
    /// A chunk's size, so far; the space behind it, its extensions, and the second byte of its line's end.
    Size(Option<u64>),
    SizeOver(u64),
    Extension(u64),
    SizeFeed(u64),
    /// So many bytes of a chunk, and its end.
    Chunk(u64),
    ChunkReturn,
    ChunkFeed,
    /// Where a trailer begins or the body ends, and further on.
    Trailers,
    Trailer,
    TrailerFeed,
    LastFeed,
    Lost,
}

/// The fields that say how long a body is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Name {
    ContentLength,
    TransferEncoding,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Body {
    #[default]
    None,
    Length(u64),
    Chunks,
    /// Its length is none, or the head is no head: hyper ends the connection once that is whole, and not before.
    Unknown,
}

impl Heads {
    /// Reads on. Says where the first field begins that is one too many, if it does; what comes then is not read.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.at == At::Field && self.fields == MAX_FIELDS && !is_end(*byte) {
                self.returned = false;
                return Some(at);
            }
            let (of_head, ended) = (self.is_of_head(), self.ended);
            let (next, taken) = if of_head {
                self.in_head(*byte, &bytes[at..])
            } else {
                in_body(self.at, *byte, &bytes[at..])
            };
            self.length = if of_head && self.ended == ended { self.length + taken } else { 0 };
            self.at = next;
            at += taken;
        }
        if let Some(last) = bytes.last() {
            self.returned = *last == b'\r';
        }
        None
    }

    /// The number of the head that is coming, or comes next; the first is 0.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    /// The number of the first head whose target held a `#`.
    pub(super) fn fragment(&self) -> Option<u64> {
        self.fragment
    }

    /// Whether a head has begun and not ended.
    pub(super) fn is_coming(&self) -> bool {
        self.is_of_head() && !matches!(self.at, At::Before | At::BeforeFeed)
    }

    /// How much came of a head so far, in bytes; none inside of a body.
    pub(super) fn length(&self) -> Option<usize> {
        self.is_of_head().then_some(self.length)
    }

    /// What makes something readable of a head that is left out from here on, and of nothing that it was not. hyper looks
    /// for `\r\n\r\n` or `\n\n` before it reads a head that came in pieces.
    pub(super) fn ending(&self) -> &'static [u8] {
        let version = b"HTTP/1.1\r\n\r\n";
        match self.at {
            At::Method => b" / HTTP/1.1\r\n\r\n",
            At::EndFeed => b"\n\r\n\r\n",
            _ if self.returned => b"\n\r\n",
            At::Target => b"/ HTTP/1.1\r\n\r\n",
            At::Version(came) => &version[came.min(version.len() - 4)..],
            // With a letter more, lest the beginning of a name be one that means something.
            At::Name(..) | At::OtherName => b"x:\r\n\r\n",
            At::Length(None) => b"0\r\n\r\n",
            At::Coding => b", chunked\r\n\r\n",
            _ => b"\r\n\r\n",
        }
    }

    /// What the end of the head that is coming may begin with already.
    pub(super) fn tail(&self) -> Tail {
        match self.at {
            At::Field => Tail::after_a_line(),
            At::EndFeed => Tail::in_an_end(),
            _ => Tail::default(),
        }
    }

    fn is_of_head(&self) -> bool {
        use At::{Before, BeforeFeed, Coding, EndFeed, Field, Length, LengthOver, Method, Name, OtherName, Target, Value, Version};
        matches!(
            self.at,
            Before
                | BeforeFeed
                | Method
                | Target
                | Version(_)
                | Field
                | EndFeed
                | Name(..)
                | OtherName
                | Length(_)
                | LengthOver(_)
                | Coding
                | Value
        )
    }

    /// What the byte after this one belongs to, or that after as many as are told; `rest` begins with this one.
    fn in_head(&mut self, byte: u8, rest: &[u8]) -> (At, usize) {
        match (self.at, byte) {
            (At::Before, b'\r') => (At::BeforeFeed, 1),
            (At::Before | At::BeforeFeed, b'\n') => (At::Before, 1),
            (At::Before, _) => (At::Method, 0),
            (At::Method, _) => match memchr::memchr2(b' ', b'\n', rest) {
                Some(at) => (At::Target, at + usize::from(rest[at] == b' ')),
                None => (At::Method, rest.len()),
            },
            (At::Target | At::Version(_), _) => match memchr::memchr2(b'#', b'\n', rest) {
                Some(at) if rest[at] == b'#' => {
                    self.fragment.get_or_insert(self.ended);
                    (within_line(self.at, &rest[..=at]), at + 1)
                }
                Some(at) => (At::Field, at + 1),
                None => (within_line(self.at, rest), rest.len()),
            },
            (At::Field, b'\r') => (At::EndFeed, 1),
            (At::Field | At::EndFeed, b'\n') => (self.end(), 1),
            (At::Field, _) => {
                self.fields += 1;
                (Name::begun_by(byte).map_or(At::OtherName, |name| At::Name(name, 0)), 0)
            }
            (At::Name(name, known), _) => self.name(name, known, rest),
            (At::Length(None), b' ' | b'\t') => (self.at, 1),
            (At::Length(length), b'0'..=b'9') => match number(length, 10, byte) {
                Some(length) => (At::Length(Some(length)), 1),
                None => (self.no_length(), 0),
            },
            (At::Length(Some(length)) | At::LengthOver(length), b' ' | b'\t') => (At::LengthOver(length), 1),
            (At::Length(Some(length)) | At::LengthOver(length), b'\r' | b'\n') => {
                if self.body == Body::None {
                    self.body = Body::Length(length);
                }
                (At::Value, 0)
            }
            (At::Length(_) | At::LengthOver(_), _) => (self.no_length(), 0),
            // hyper ends the connection for a carriage return that stands alone, but of what comes in pieces it reads
            // nothing before it has seen an end.
            (At::BeforeFeed, _) => {
                self.body = Body::Unknown;
                (At::Method, 0)
            }
            (At::EndFeed, _) => {
                self.body = Body::Unknown;
                (At::Value, 0)
            }
            (At::OtherName | At::Coding | At::Value, _) => match memchr::memchr(b'\n', rest) {
                Some(at) => (At::Field, at + 1),
                None if self.at == At::OtherName && memchr::memchr(b':', rest).is_some() => (At::Value, rest.len()),
                None => (self.at, rest.len()),
            },
            _ => (At::Lost, 0),
        }
    }

    /// Takes note of a `Content-Length` that says none. Beside chunks nobody reads it.
    fn no_length(&mut self) -> At {
        if self.body != Body::Chunks {
            self.body = Body::Unknown;
        }
        At::Value
    }

    fn name(&mut self, name: Name, known: usize, rest: &[u8]) -> (At, usize) {
        let wanted = &name.text()[known..];
        let same = wanted
            .iter()
            .zip(rest)
            .take_while(|(wanted, byte)| wanted.eq_ignore_ascii_case(byte));
        let same = same.count();
        let next = match name {
            _ if same < wanted.len() && same == rest.len() => At::Name(name, known + same),
            _ if same < wanted.len() => At::OtherName,
            Name::ContentLength => At::Length(None),
            Name::TransferEncoding => {
                // hyper takes none but those that end in chunks.
                if self.body != Body::Unknown {
                    self.body = Body::Chunks;
                }
                At::Coding
            }
        };
        (next, same)
    }

    fn end(&mut self) -> At {
        self.ended += 1;
        self.fields = 0;
        match std::mem::take(&mut self.body) {
            Body::None | Body::Length(0) => At::Before,
            Body::Length(length) => At::Body(length),
            Body::Chunks => At::Size(None),
            Body::Unknown => At::Lost,
        }
    }
}

impl Name {
    fn begun_by(byte: u8) -> Option<Self> {
        match byte {
            b'c' | b'C' => Some(Self::ContentLength),
            b't' | b'T' => Some(Self::TransferEncoding),
            _ => None,
        }
    }

    fn text(self) -> &'static [u8] {
        match self {
            Self::ContentLength => b"content-length:",
            Self::TransferEncoding => b"transfer-encoding:",
        }
    }
}

/// Where in a request line what comes after these bytes of it is.
fn within_line(at: At, bytes: &[u8]) -> At {
    match at {
        At::Version(came) => At::Version(came + bytes.len()),
        _ => match memchr::memchr(b' ', bytes) {
            Some(space) => At::Version(bytes.len() - space - 1),
            None => At::Target,
        },
    }
}

/// The same inside of a body.
fn in_body(at: At, byte: u8, rest: &[u8]) -> (At, usize) {
    match (at, byte) {
        (At::Body(left), _) => skip(left, rest, At::Body, At::Before),
        (At::Chunk(left), _) => skip(left, rest, At::Chunk, At::ChunkReturn),
        (At::ChunkReturn, b'\r') => (At::ChunkFeed, 1),
        (At::ChunkFeed, b'\n') => (At::Size(None), 1),
        (At::Size(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
            (number(size, 16, byte).map_or(At::Lost, |size| At::Size(Some(size))), 1)
        }
        (At::Size(Some(size)) | At::SizeOver(size), b' ' | b'\t') => (At::SizeOver(size), 1),
        (At::Size(Some(size)) | At::SizeOver(size), b';') => (At::Extension(size), 1),
        (At::Size(Some(size)) | At::SizeOver(size), b'\r') => (At::SizeFeed(size), 1),
        (At::Extension(size), _) => match memchr::memchr2(b'\r', b'\n', rest) {
            Some(at) if rest[at] == b'\r' => (At::SizeFeed(size), at + 1),
            Some(_) => (At::Lost, 0),
            None => (At::Extension(size), rest.len()),
        },
        (At::SizeFeed(0), b'\n') => (At::Trailers, 1),
        (At::SizeFeed(size), b'\n') => (At::Chunk(size), 1),
        (At::Trailers, b'\r') => (At::LastFeed, 1),
        (At::Trailers, _) => (At::Trailer, 1),
        (At::Trailer, _) => match memchr::memchr(b'\r', rest) {
            Some(at) => (At::TrailerFeed, at + 1),
            None => (At::Trailer, rest.len()),
        },
        (At::TrailerFeed, b'\n') => (At::Trailers, 1),
        (At::LastFeed, b'\n') => (At::Before, 1),
        _ => (At::Lost, rest.len()),
    }
}

fn skip(left: u64, rest: &[u8], go_on: fn(u64) -> At, then: At) -> (At, usize) {
    match usize::try_from(left) {
        Ok(left) if left <= rest.len() => (then, left),
        _ => (go_on(left - rest.len() as u64), rest.len()),
    }
}

/// A number with one more digit.
fn number(before: Option<u64>, radix: u32, digit: u8) -> Option<u64> {
    let digit = char::from(digit).to_digit(radix)?;
    before.unwrap_or(0).checked_mul(radix.into())?.checked_add(digit.into())
}

fn is_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    /// A head with so many fields, and what it is about.
    fn head(target: &str, fields: usize, more: &str, end: &str) -> String {
        let fields: String = (0..fields).map(|index| format!("X-{index}: #{end}")).collect();
        format!("GET {target} HTTP/1.1{end}{fields}{more}{end}")
    }

    #[test]
    fn path_2_a_fragment_is_seen_in_every_request_line_and_nowhere_else() {
        let plain = head("/a", 3, "", "\r\n");
        let marked = head("/a#b", 0, "", "\r\n");
        let after = |before: &str| format!("{before}{marked}");
        for (sent, expected) in [
            (after(""), Some(0)),
            (after("\r\n\r\n\n"), Some(0)),
            (after(&plain), Some(1)),
            (after(&format!("{plain}\r\n{plain}\n")), Some(2)),
            (
                after(&head("/", 0, "content-LENGTH: \t 7 \r\n", "\r\n").replace("\r\n\r\n", "\r\n\r\n#\r\n\r\n#\r")),
                Some(1),
            ),
            (
                after(&format!(
                    "{}4;x=#\r\n#\r\n#\r\n0 \r\nX: #\r\n\r\n",
                    head("/", 1, "Transfer-Encoding: chunked\n", "\n")
                )),
                Some(1),
            ),
            (
                after(&format!(
                    "{}0\r\n\r\n",
                    head("/", 1, "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n", "\r\n")
                )),
                Some(1),
            ),
            (
                after(&format!(
                    "{}0\r\n\r\n",
                    head("/", 1, "Transfer-Encoding: chunked\r\nContent-Length: x\r\n", "\r\n")
                )),
                Some(1),
            ),
            (after(&head("/", 1, "Content-Length: 500\r\n", "\r\n")), None),
            (after(&head("/", 1, "Content-Length: x\r\n", "\r\n")), None),
            (format!("#{plain}GET /"), None),
        ] {
            for cut in [1, 7, sent.len()] {
                let mut heads = Heads::default();
                for piece in sent.as_bytes().chunks(cut) {
                    assert_eq!(heads.read(piece), None);
                }
                assert_eq!(heads.fragment(), expected, "{sent:?} in pieces of {cut}");
            }
        }
    }

    #[test]
    fn a_head_is_coming_from_its_first_byte_to_its_last() {
        let mut heads = Heads::default();
        for (piece, expected) in [
            ("\r", (0, false, Some(1))),
            ("\n", (0, false, Some(2))),
            ("G", (0, true, Some(3))),
            ("ET / HTTP/1.1\r\nContent-Length: 3\r\n\r", (0, true, Some(38))),
            ("\n", (1, false, None)),
            ("abcP", (1, true, Some(1))),
        ] {
            assert_eq!(heads.read(piece.as_bytes()), None);
            assert_eq!((heads.ended(), heads.is_coming(), heads.length()), expected, "{piece:?}");
        }
    }

    /// Reads what hyper ends the connection for once it is whole: a head is coming from the byte after this many to the last.
    fn is_coming_to_its_end(sent: &str, from: usize) {
        let mut heads = Heads::default();
        for (at, byte) in sent.bytes().enumerate() {
            assert_eq!(heads.read(&[byte]), None);
            let told = (heads.is_coming(), heads.length());
            let expected = if at + 1 == sent.len() {
                (false, None)
            } else {
                (at >= from, Some(at + 1))
            };
            assert_eq!(told, expected, "{sent:?} at {at}");
        }
        // What follows is nobody's: hyper ends the connection.
        assert_eq!(heads.read(b"GET /a#b HTTP/1.1\r\n\r\n"), None);
        assert_eq!((heads.ended(), heads.fragment(), heads.is_coming()), (1, None, false));
    }

    #[test]
    fn to_1_a_head_whose_length_is_none_is_coming_to_its_end() {
        for length in ["", " ", "+3", "3, 3", "3 x", "x", "99999999999999999999", "-1"] {
            for more in ["", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"] {
                is_coming_to_its_end(&format!("POST / HTTP/1.1\r\nContent-Length:{length}\r\n{more}X: y\r\n\r\n"), 0);
            }
        }
    }

    #[test]
    fn to_1_a_head_with_a_return_that_stands_alone_is_coming_to_its_end() {
        for more in ["", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"] {
            for strays in ["\r", "\r\r", "\r\rx"] {
                let head = format!("POST / HTTP/1.1\r\n{more}X: y\r\n\r\n");
                is_coming_to_its_end(&format!("{strays}{head}"), 1);
                is_coming_to_its_end(&format!("\r\n{strays}{head}"), 3);
                is_coming_to_its_end(&format!("POST / HTTP/1.1\r\n{strays}{more}X: y\r\n\r\n"), 0);
                is_coming_to_its_end(&format!("POST / HTTP/1.1\n{more}{strays}X: y\n\n"), 0);
            }
        }
    }

    /// What streams are made of: whole requests, and what spoils them.
    pub(in crate::edge::heard) fn streams() -> impl Strategy<Value = Vec<u8>> {
        let whole = vec![
            head("/plain", 2, "", "\r\n"),
            head("/plain", 100, "", "\n"),
            head("/marked#x", 1, "", "\r\n"),
            format!("{}hello", head("/plain", 1, "Content-Length: 5\r\n", "\r\n")),
            format!(
                "{}5\r\nhello\r\n0\r\n\r\n",
                head("/plain", 1, "transfer-encoding:Chunked\r\n", "\r\n")
            ),
            format!(
                "{}A ;x\r\n0123456789\r\n00\r\nX: y\r\n\r\n",
                head("/plain", 0, "Transfer-Encoding: chunked\n", "\n")
            ),
        ];
        let parts = [
            "\r\n",
            "\n",
            "\r",
            "GET /plain HTTP/1.1\r\n",
            "POST /marked?a#b HTTP/1.1\n",
            "Content-Length: 3\r\n",
            "content-length:0 \n",
            "Content-Length:\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Lengthy: 7\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip\r\n",
            "TE: #\r\n",
            "C: d\r\n",
            "3\r\nabc\r\n",
            "0\r\n\r\n",
            "0\r\nX: y\r\n\r\n",
            "abc",
            "#",
            " ",
            "GET ",
            "x",
            ":",
        ];
        let part = prop_oneof![3 => select(whole), 1 => select(parts.map(String::from).to_vec())];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn hdr_9_and_path_2_the_verdict_on_pieces_is_that_on_the_whole(
            mut sent in streams(),
            fields in 98_usize..103,
            cuts in prop::collection::vec(prop_oneof![1_usize..4, 1_usize..2000], 1..200),
        ) {
            sent.extend(head("/more", fields, "", "\r\n").bytes());
            let mut whole = Heads::default();
            let expected = whole.read(&sent);
            let (mut pieces, mut found, mut at) = (Heads::default(), None, 0);
            for cut in cuts.iter().cycle() {
                if found.is_some() || at == sent.len() { break }
                let end = (at + cut).min(sent.len());
                found = pieces.read(&sent[at..end]).map(|within| at + within);
                at = end;
            }
            prop_assert_eq!((found, pieces), (expected, whole));
        }
    }
}
