//! Secrets by their names in a body: members of objects, elements, and lines of settings or of a head.

use std::ops::Range;

use super::{Means, REMOVED, examined, is_count, meaning, names_secret, span};

/// Takes the values of secrets' names out of a text, whatever its grammar is; none if there are none.
pub(super) fn values(text: &[u8]) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut kept_to = 0;
    let mut quotes = Quotes::default();
    let (mut at, mut line_began) = (0, true);
    while at < text.len() {
        let secret = match text[at] {
            _ if line_began && let Some(value) = line(&text[at..]) => Some((shifted(&value, at), Vec::from(REMOVED))),
            b'<' => element(&text[at..]).map(|value| (shifted(&value, at), Vec::from(REMOVED))),
            b'"' | b'\'' => quotes.member(text, at),
            _ => None,
        };
        line_began = text[at] == b'\n';
        at += 1;
        if let Some((value, instead)) = secret {
            out.extend_from_slice(&text[kept_to..value.start]);
            out.extend_from_slice(&instead);
            (at, kept_to, line_began) = (value.end, value.end, false);
            quotes = Quotes::default();
        }
    }
    (kept_to > 0).then(|| {
        out.extend_from_slice(&text[kept_to..]);
        out
    })
}

fn shifted(range: &Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

/// Where the value stands in a line `name: value` or `NAME=value` of a secret's name, with the lines below that belong to
/// it because they stand further in.
fn line(text: &[u8]) -> Option<Range<usize>> {
    let indent = span(text, is_blank);
    let mut start = indent;
    for lead in [&b"- "[..], b"export ", b"set "] {
        if text[start..].starts_with(lead) {
            start += lead.len() + span(&text[start + lead.len()..], is_blank);
        }
    }
    let is_quote = |byte| byte == b'\'';
    start += span(&text[start..], is_quote).min(1);
    let name = &text[start..];
    let name = &name[..span(name, |byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))];
    let mut sign = start + name.len();
    sign += span(&text[sign..], is_quote).min(1);
    sign += span(&text[sign..], is_blank);
    let sign_is = text.get(sign).copied().filter(|byte| b":=".contains(byte))?;
    let name = str::from_utf8(name).ok().filter(|name| meaning(name) != Means::Nothing)?;
    let value = sign + 1 + span(&text[sign + 1..], is_blank);
    let end = value + span(&text[value..], |byte| byte != b'\n' && byte != b'\r');
    let said = &text[value..end];
    let opens = said.is_empty() || matches!(said[0], b'|' | b'>') || said == b"{" || said == b"[";
    let below = if opens && sign_is == b':' && meaning(name) != Means::MaybeSecret {
        further_in(&text[end..], indent)
    } else {
        0
    };
    let is_secret = !said.is_empty() && names_secret(name, said);
    (is_secret || below > 0).then_some(value..end + below)
}

/// How many bytes of the lines that follow stand further in.
fn further_in(text: &[u8], indent: usize) -> usize {
    let mut taken = 0;
    loop {
        let ending = span(&text[taken..], |byte| byte == b'\r' || byte == b'\n');
        let next = &text[taken + ending..];
        let blank = span(next, is_blank);
        if ending == 0 || blank <= indent || blank == next.len() {
            return taken;
        }
        taken += ending + blank + span(&next[blank..], |byte| byte != b'\n' && byte != b'\r');
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Where the text stands in an element `<name>text`. Pages have a `<code>` that is none.
fn element(text: &[u8]) -> Option<Range<usize>> {
    let name = &text[1..];
    let name = &name[..span(name, |byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))];
    if name.is_empty() || !matches!(meaning(str::from_utf8(name).ok()?), Means::Secret | Means::SecretOrCount) {
        return None;
    }
    let tag = 1 + span(&text[1..], |byte| byte != b'>' && byte != b'<');
    if text.get(tag) != Some(&b'>') || text[tag - 1] == b'/' {
        return None;
    }
    let start = tag + 1;
    let quoted = b"<![CDATA[";
    let end = if text[start..].starts_with(quoted) {
        let end = text[start..].windows(3).position(|end| end == b"]]>");
        end.map_or(text.len(), |end| start + end + 3)
    } else {
        start + span(&text[start..], |byte| byte != b'<')
    };
    let value = text[start..end].trim_ascii();
    let counts = is_count(value) && meaning(str::from_utf8(name).ok()?) == Means::SecretOrCount;
    (!value.is_empty() && !counts).then_some(start..end)
}

/// Where the latest quotes stood, of each kind: a name is what stands between two.
#[derive(Default)]
struct Quotes {
    double: Option<usize>,
    single: Option<usize>,
}

impl Quotes {
    /// The value of a secret whose name ends with the quote here, and what is to stand there.
    fn member(&mut self, text: &[u8], at: usize) -> Option<(Range<usize>, Vec<u8>)> {
        let latest = if text[at] == b'"' { &mut self.double } else { &mut self.single };
        let before = latest.replace(at)?;
        let start = value_after(text, at + 1)?;
        // In a text within a text, quotes are written `\"`.
        let mut name = &text[before + 1..at];
        while let [rest @ .., b'\\'] = name {
            name = rest;
        }
        let means = meaning(&String::from_utf8_lossy(name));
        let end = if means == Means::Nothing { None } else { value_end(text, start) }?;
        if means == Means::SecretOrCount && is_count(&text[start..end]) {
            return None;
        }
        let escapes = span(&text[start..], |byte| byte == b'\\');
        let quote = [&text[start..start + escapes], b"\""].concat();
        Some((start..end, [&quote[..], REMOVED.as_bytes(), &quote].concat()))
    }
}

/// Where the value of a name begins.
fn value_after(text: &[u8], end: usize) -> Option<usize> {
    let blank = |from: usize| span(&text[from..], |byte| byte.is_ascii_whitespace());
    let colon = end + blank(end);
    (text.get(colon) == Some(&b':')).then(|| colon + 1 + blank(colon + 1))
}

/// Where a secret's value ends; none for one that tells nothing.
fn value_end(text: &[u8], start: usize) -> Option<usize> {
    let escapes = span(&text[start..], |byte| byte == b'\\');
    match text.get(start + escapes)? {
        b'"' | b'\'' => Some(string_end(text, start + escapes, escapes)),
        b'{' | b'[' => Some(brackets_end(text, start)),
        b'0'..=b'9' | b'-' => Some(start + span(&text[start..], |byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))),
        _ => None,
    }
}

/// Where a string ends whose quote has so many backslashes before it; the end of the text if it was cut.
fn string_end(text: &[u8], start: usize, escapes: usize) -> usize {
    let mut before = 0;
    for (at, byte) in text.iter().enumerate().skip(start + 1) {
        let ends = if escapes == 0 { before % 2 == 0 } else { before <= escapes };
        examined(1);
        if *byte == text[start] && ends {
            return at + 1;
        }
        before = if *byte == b'\\' { before + 1 } else { 0 };
    }
    text.len()
}

fn brackets_end(text: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < text.len() {
        match text[at] {
            b'"' => {
                at = string_end(text, at, 0);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}
