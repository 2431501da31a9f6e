//! Secrets by their look and place in a text: tokens, credentials, what stands in an address.

use std::borrow::Cow;

use super::{ADDRESSES, Means, REMOVED, examined, is_count, is_scheme, meaning, names_secret, span};

/// Values that are random are at least so long.
const RANDOM_BYTES: usize = 20;
/// Credentials are at least so long.
const CREDENTIAL_BYTES: usize = 8;
/// How deep addresses are looked for in the queries of addresses.
const DEPTH: u8 = 3;
/// The path of a share link, before its secret.
const SHARE: &[u8] = b"/.portico/s/";

/// Where a text stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Text,
    /// In an address, where what is random is a secret.
    Address,
}

impl Place {
    /// The place that a field is.
    pub(super) fn of(name: &str) -> Self {
        if ADDRESSES.contains(&name) { Self::Address } else { Self::Text }
    }
}

/// A path and query without their secrets; none if there are none.
pub fn target(target: &str) -> Option<String> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path_without = in_text(path.as_bytes(), Place::Address).map(|path| String::from_utf8_lossy(&path).into_owned());
    let query_without = query.and_then(form);
    if path_without.is_none() && query_without.is_none() {
        return None;
    }
    let mut out = path_without.unwrap_or_else(|| path.to_owned());
    if let Some(query) = query {
        out.push('?');
        out.push_str(query_without.as_deref().unwrap_or(query));
    }
    Some(out)
}

/// Takes the secrets out of `a=b&c=d`; none if there are none.
pub(super) fn form(text: &str) -> Option<String> {
    query_values(text, DEPTH)
}

fn query_values(query: &str, depth: u8) -> Option<String> {
    let mut found = false;
    let pieces: Vec<Cow<'_, str>> = query
        .split('&')
        .map(|piece| {
            if !is_secret_pair(piece, depth) {
                return Cow::Borrowed(piece);
            }
            found = true;
            match piece.split_once('=') {
                Some((name, _)) => Cow::Owned(format!("{name}={REMOVED}")),
                None => Cow::Borrowed(REMOVED),
            }
        })
        .collect();
    found.then(|| pieces.join("&"))
}

fn is_secret_pair(piece: &str, depth: u8) -> bool {
    let Some((name, value)) = form_urlencoded::parse(piece.as_bytes()).next() else {
        return false;
    };
    // In a page, `&` is written `&amp;`.
    let name = name.strip_prefix("amp;").unwrap_or(&name);
    let has_value = piece.contains('=');
    let value: &str = if value.is_empty() && !has_value { name } else { &value };
    if value.is_empty() {
        return false;
    }
    (has_value && names_secret(name, value.as_bytes())) || is_random(value) || within(value.as_bytes(), Place::Text, depth).is_some()
}

/// Whether a value looks as if a machine had drawn it for a secret: a long run of letters and digits, or shorter ones of
/// both cases. Ids in groups, as UUIDs are, and words with dashes have none.
pub(super) fn is_random(value: &str) -> bool {
    examined(value.len());
    let is_long = value.len() >= 32 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let mut runs = value.as_bytes().split(|byte| !byte.is_ascii_alphanumeric());
    runs.any(|run| {
        let has = |is_one: fn(&u8) -> bool| run.iter().any(is_one);
        let has_digit = has(u8::is_ascii_digit);
        (run.len() >= RANDOM_BYTES && has_digit && has(u8::is_ascii_alphabetic))
            || (is_long && run.len() >= 10 && has_digit && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase))
    })
}

/// Whether a part of a path is a secret by its look. Names of files hold hashes that tell nothing, and many databases count
/// in 24 digits that begin with the time.
fn is_random_part(part: &str) -> bool {
    let is_file = part
        .rsplit_once('.')
        .is_some_and(|(_, kind)| (1..=8).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let is_row = part.len() == 24
        && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        && (b'4'..=b'7').contains(&part.as_bytes()[0]);
    !is_file && !is_row && is_random(part)
}

/// Takes addresses' secrets and words that are secrets by their look out of a text; none if there are none.
pub(super) fn in_text(text: &[u8], place: Place) -> Option<Vec<u8>> {
    within(text, place, DEPTH)
}

fn within(text: &[u8], place: Place, depth: u8) -> Option<Vec<u8>> {
    let depth = depth.checked_sub(1)?;
    let mut found = false;
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.first() {
        let piece = match first {
            b'?' | b'#' => query(rest, place, depth),
            b'/' => slash(rest),
            byte if is_of_word(*byte) => word(rest, place),
            _ => Piece::kept(1),
        };
        let (taken, after) = rest.split_at(piece.length);
        match piece.without {
            Some(without) => {
                found = true;
                out.extend_from_slice(&without);
            }
            None => out.extend_from_slice(taken),
        }
        rest = after;
    }
    found.then_some(out)
}

/// The beginning of a text.
struct Piece {
    length: usize,
    /// What stands for it where it held a secret.
    without: Option<Vec<u8>>,
}

impl Piece {
    fn kept(length: usize) -> Self {
        Self { length, without: None }
    }

    fn removed(length: usize, before: &[u8]) -> Self {
        let without = Some([before, REMOVED.as_bytes()].concat());
        Self { length, without }
    }

    /// How many of its bytes stay.
    fn kept_before(&self) -> usize {
        self.without.as_ref().map_or(self.length, |without| without.len() - REMOVED.len())
    }
}

/// A query or a fragment; of an address, whatever its bytes are.
fn query(text: &[u8], place: Place, depth: u8) -> Piece {
    let is_fragment = text[0] == b'#';
    let length = 1 + span(&text[1..], |byte| {
        let is_end = byte == b'#' || (is_fragment && byte == b'?');
        !is_end && (place == Place::Address || (byte.is_ascii_graphic() && !b"\"'<>`\\,".contains(&byte)))
    });
    let without = query_values(&String::from_utf8_lossy(&text[1..length]), depth);
    Piece {
        length,
        without: without.map(|query| [&text[..1], query.as_bytes()].concat()),
    }
}

/// What begins with a slash: who asks, before a host; the secret of a share link.
fn slash(text: &[u8]) -> Piece {
    if text.starts_with(SHARE) {
        let secret = span(&text[SHARE.len()..], is_of_word);
        return if secret == 0 {
            Piece::kept(SHARE.len())
        } else {
            Piece::removed(SHARE.len() + secret, SHARE)
        };
    }
    if !text.starts_with(b"//") {
        return Piece::kept(1);
    }
    let host = &text[2..];
    let host = &host[..span(host, |byte| byte.is_ascii_graphic() && !b"/?#\"'<>`\\".contains(&byte))];
    match host.iter().rposition(|byte| *byte == b'@') {
        Some(at) if at > 0 => Piece::removed(2 + at, b"//"),
        _ => Piece::kept(1),
    }
}

/// A word without spaces or slashes, with the credential after it if it is the name of a scheme.
fn word(text: &[u8], place: Place) -> Piece {
    let length = span(text, is_of_word);
    let (word, after) = text.split_at(length);
    let scheme = [&b"bearer"[..], b"basic"].into_iter().find(|scheme| ends_with_word(word, scheme));
    if let Some(scheme) = scheme {
        let blank = span(after, is_blank);
        let credential = span(&after[blank..], |byte| is_of_word(byte) || byte == b'/');
        if blank > 0 && credential >= CREDENTIAL_BYTES {
            return Piece::removed(length + blank + credential, &word[..length - scheme.len()]);
        }
    }
    let decoded = word.contains(&b'%').then(|| decoded(word));
    let decoded = decoded.as_deref().unwrap_or(word);
    if place == Place::Address && is_random_part(&String::from_utf8_lossy(decoded)) {
        return Piece::removed(length, b"");
    }
    if place == Place::Address
        && let Some(equals) = word.iter().position(|byte| *byte == b'=')
        && equals + 1 < length
        && names_secret(&String::from_utf8_lossy(&word[..equals]), &word[equals + 1..])
    {
        return Piece::removed(length, &word[..=equals]);
    }
    let named = if place == Place::Text { named(text, length) } else { None };
    let is_secret = named.as_ref().is_some_and(|named| named.without.is_some());
    match (token(word), named) {
        // A token may stand before the name as well.
        (Some(at), Some(named)) if is_secret => Piece::removed(named.length, &word[..at.min(named.kept_before())]),
        (None, Some(named)) if is_secret => named,
        (Some(at), _) => Piece::removed(length, &word[..at]),
        (None, _) if token(decoded).is_some() => Piece::removed(length, b""),
        (None, named) => named.unwrap_or(Piece::kept(length)),
    }
}

/// What a word in a line names: `token=value`, or `token: value` where the name can mean nothing else. None if it names no
/// secret.
fn named(text: &[u8], length: usize) -> Option<Piece> {
    let (word, after) = text.split_at(length);
    let mut began = 0;
    for (at, _) in word.iter().enumerate().filter(|(_, byte)| **byte == b'=') {
        let means = meaning(&String::from_utf8_lossy(&word[began..at]));
        if means != Means::Nothing {
            return Some(value(text, at + 1, means));
        }
        began = at + 1;
    }
    let colon = span(after, is_blank);
    if after.get(colon) != Some(&b':') || meaning(&String::from_utf8_lossy(&word[began..])) != Means::Secret {
        return None;
    }
    let start = length + colon + 1;
    let start = start + span(&text[start..], is_blank);
    // `session://` is an address.
    (text.get(start) != Some(&b'/')).then(|| value(text, start, Means::Secret))
}

/// The beginning of a text up to the end of a value that has a name.
fn value(text: &[u8], start: usize, means: Means) -> Piece {
    let quote = text.get(start).copied().filter(|byte| b"\"'`".contains(byte));
    let begins = start + usize::from(quote.is_some());
    let ends = |byte: u8| match quote {
        Some(quote) => byte == quote || byte == b'\n' || byte == b'\r',
        None => byte.is_ascii_whitespace() || b"\"'`<>".contains(&byte),
    };
    let mut end = begins + span(&text[begins..], |byte| !ends(byte));
    if quote.is_none() && is_scheme(&text[begins..end]) {
        let blank = span(&text[end..], is_blank);
        end += blank + span(&text[end + blank..], |byte| !ends(byte));
    }
    let value = &text[begins..end];
    let is_secret = match means {
        Means::Nothing => false,
        Means::SecretOrCount => !is_count(value),
        // In the middle of a line `code=200` and `state=open` tell nothing.
        Means::MaybeSecret => value.len() >= CREDENTIAL_BYTES && !is_count(value),
        Means::Secret => !value.is_empty(),
    };
    if is_secret {
        Piece::removed(end, &text[..begins])
    } else if value.len() < CREDENTIAL_BYTES {
        // Short enough to be looked at once more.
        Piece::kept(begins)
    } else {
        Piece::kept(end)
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Where a token of ours or a JSON Web Token begins in a word.
fn token(word: &[u8]) -> Option<usize> {
    examined(word.len());
    let mut dots = word.iter().filter(|byte| **byte == b'.').count();
    for (at, byte) in word.iter().enumerate() {
        let begins = at == 0 || !(word[at - 1].is_ascii_alphanumeric() || word[at - 1] == b'_');
        let rest = &word[at..];
        if begins && ((rest.starts_with(b"pt_") && rest.len() >= RANDOM_BYTES) || (rest.starts_with(b"eyJ") && dots >= 2)) {
            return Some(at);
        }
        dots -= usize::from(*byte == b'.');
    }
    None
}

fn ends_with_word(text: &[u8], word: &[u8]) -> bool {
    let Some(before) = text.len().checked_sub(word.len()) else {
        return false;
    };
    let begins = before == 0 || !(text[before - 1].is_ascii_alphanumeric() || text[before - 1] == b'_');
    begins && text[before..].eq_ignore_ascii_case(word)
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~+=%".contains(&byte)
}
