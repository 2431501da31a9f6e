//! The form of one record: as `tracing` writes its own, in text or JSON, without its price.
//!
//! Whatever a client can choose is escaped and bounded here, whoever wrote it (LOG-2).

use std::{
    io::Write as _,
    net::IpAddr,
    time::{Duration, Instant},
};

use time::{OffsetDateTime, macros::format_description};

use super::ACCESS_LOG_TARGET;
use crate::route::Route;

/// The longest text of a field, in bytes before it is escaped (LOG-2).
const MAX_FIELD: usize = 2048;

/// How records look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    Text,
    /// Text for a terminal.
    Colours,
    Json,
}

/// What is told of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub id: &'a str,
    pub client: IpAddr,
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    /// None while nobody knows.
    pub to: Option<&'a Route>,
    pub account: &'a str,
    pub status: u16,
    pub sent: u64,
    pub received: u64,
    pub cut_short: bool,
    pub note: &'a str,
    pub took: Duration,
}

/// A second of the day in text, for as long as it lasts.
pub struct Stamp {
    began: Instant,
    /// Without the fraction.
    text: Vec<u8>,
}

/// The record that is written at the end of a page.
pub struct Line<'p> {
    page: &'p mut Vec<u8>,
    form: Form,
}

/// The name of a field in each form, with what stands around it.
struct Name([&'static str; 3]);

macro_rules! name {
    ($name:literal) => {
        Name([
            concat!(" ", $name, "="),
            concat!(" \x1b[3m", $name, "\x1b[0m\x1b[2m=\x1b[0m"),
            concat!(",\"", $name, "\":"),
        ])
    };
}

impl Record<'_> {
    pub(super) fn write(&self, line: &mut Line<'_>, stamp: &Stamp, now: Instant) {
        line.begin(stamp, now);
        line.text(&name!("id"), self.id);
        line.address(&name!("client"), self.client);
        line.text(&name!("method"), self.method);
        line.text(&name!("host"), self.host);
        line.text(&name!("path"), self.path);
        line.route(&name!("to"), self.to);
        line.text(&name!("account"), self.account);
        line.number(&name!("status"), self.status.into());
        line.number(&name!("sent"), self.sent);
        line.number(&name!("received"), self.received);
        line.flag(&name!("cut_short"), self.cut_short);
        line.text(&name!("note"), self.note);
        line.number(&name!("micros"), u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX));
        line.end();
    }
}

impl Stamp {
    /// The second in which `wall` is, which is what a clock shows at `now`.
    pub(super) fn new(wall: OffsetDateTime, now: Instant) -> Self {
        let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].");
        let passed = Duration::from_nanos(wall.nanosecond().into());
        Self {
            began: now.checked_sub(passed).unwrap_or(now),
            // Nothing in it can fail.
            text: wall.format(form).unwrap_or_default().into_bytes(),
        }
    }

    /// Whether it is still that second.
    pub(super) fn holds(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) < Duration::from_secs(1)
    }
}

impl<'p> Line<'p> {
    pub(super) fn new(page: &'p mut Vec<u8>, form: Form) -> Self {
        Self { page, form }
    }

    fn begin(&mut self, stamp: &Stamp, now: Instant) {
        self.push(match self.form {
            Form::Text => "",
            Form::Colours => "\x1b[2m",
            Form::Json => "{\"timestamp\":\"",
        });
        self.page.extend_from_slice(&stamp.text);
        let micros = now.saturating_duration_since(stamp.began).subsec_micros();
        let digits = [100_000, 10_000, 1_000, 100, 10, 1].map(|unit| b'0' + u8::try_from(micros / unit % 10).unwrap_or_default());
        self.page.extend_from_slice(&digits);
        let (before, target, after) = match self.form {
            Form::Text => ("Z  INFO ", ACCESS_LOG_TARGET, ":"),
            Form::Colours => ("Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2m", ACCESS_LOG_TARGET, "\x1b[0m\x1b[2m:\x1b[0m"),
            Form::Json => ("Z\",\"level\":\"INFO\"", "", ""),
        };
        for part in [before, target, after] {
            self.push(part);
        }
    }

    fn end(&mut self) {
        if self.form == Form::Json {
            self.push(",\"target\":\"");
            self.push(ACCESS_LOG_TARGET);
            self.push("\"}");
        }
        self.page.push(b'\n');
    }

    fn text(&mut self, name: &Name, value: &str) {
        self.name(name);
        self.page.push(b'"');
        self.escaped(value);
        self.page.push(b'"');
    }

    fn number(&mut self, name: &Name, value: u64) {
        self.name(name);
        self.digits(value);
    }

    fn flag(&mut self, name: &Name, value: bool) {
        self.name(name);
        self.push(if value { "true" } else { "false" });
    }

    fn address(&mut self, name: &Name, address: IpAddr) {
        self.name(name);
        let quote = if self.form == Form::Json { "\"" } else { "" };
        self.push(quote);
        match address {
            IpAddr::V4(address) => {
                for (index, octet) in address.octets().into_iter().enumerate() {
                    if index > 0 {
                        self.page.push(b'.');
                    }
                    self.digits(octet.into());
                }
            }
            // Writing to memory does not fail.
            IpAddr::V6(address) => drop(write!(self.page, "{address}")),
        }
        self.push(quote);
    }

    /// The names of codespaces are letters, digits and hyphens.
    fn route(&mut self, name: &Name, route: Option<&Route>) {
        self.name(name);
        self.page.push(b'"');
        match route {
            None => {}
            Some(Route::Gateway) => self.push("gateway"),
            Some(Route::Editor(codespace)) => {
                self.push("editor:");
                self.push(codespace.as_str());
            }
            Some(Route::Port(codespace, port)) => {
                self.push("port:");
                self.push(codespace.as_str());
                self.page.push(b':');
                self.digits(port.number().into());
            }
            Some(Route::NoSuchCodespace) => self.push("none"),
            Some(Route::Foreign) => self.push("foreign"),
        }
        self.page.push(b'"');
    }

    fn name(&mut self, Name(forms): &Name) {
        let [text, colours, json] = *forms;
        self.push(match self.form {
            Form::Text => text,
            Form::Colours => colours,
            Form::Json => json,
        });
    }

    fn push(&mut self, text: &str) {
        self.page.extend_from_slice(text.as_bytes());
    }

    fn digits(&mut self, mut value: u64) {
        let mut digits = [0; 20];
        let mut from = digits.len();
        loop {
            from -= 1;
            digits[from] = b'0' + u8::try_from(value % 10).unwrap_or_default();
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.page.extend_from_slice(&digits[from..]);
    }

    fn escaped(&mut self, value: &str) {
        let value = bounded(value);
        // Looks at every byte, because a loop that ends early is a slow one.
        let plain = value.bytes().fold(true, |plain, byte| plain & is_plain(byte));
        if plain {
            return self.push(value);
        }
        for char in value.chars() {
            self.escape(char);
        }
    }

    #[cold]
    fn escape(&mut self, char: char) {
        match (char, self.form) {
            ('\\' | '"', _) => {
                self.page.push(b'\\');
                self.push(char.encode_utf8(&mut [0; 4]));
            }
            ('\'', _) => self.page.push(b'\''),
            // What changes the direction of text, cannot be seen or moves a cursor is shown by its number.
            (_, Form::Json) if char.escape_debug().len() > 1 => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    drop(write!(self.page, "\\u{unit:04x}"));
                }
            }
            _ => drop(write!(self.page, "{}", char.escape_debug())),
        }
    }
}

fn is_plain(byte: u8) -> bool {
    (b' '..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// The beginning of a text that is too long.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_FIELD)]
}
