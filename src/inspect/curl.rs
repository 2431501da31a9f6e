//! An exchange as a command line for `curl`, safe to paste whatever its bytes are.

use super::Entry;
use crate::forward::names;

/// Fields that `curl` writes itself, or that belong to one connection.
const LEFT_OUT: [&str; 5] = ["host", "content-length", "expect", "sec-websocket-key", "sec-websocket-extensions"];

/// Writes the command that asks for the same at the port's public address; `origin` is `https://NAME-PORT.DOMAIN`. Where a
/// secret was taken out, a placeholder stands.
pub fn command(entry: &Entry, origin: &str) -> String {
    let mut words = vec!["curl".to_owned(), "--globoff".to_owned(), "--path-as-is".to_owned()];
    let body = &entry.sent.kept;
    match (entry.method.as_str(), body.is_empty()) {
        ("GET", true) => {}
        ("HEAD", true) => words.push("--head".to_owned()),
        (method, _) => words.extend(["-X".to_owned(), quoted(method.as_bytes())]),
    }
    words.push(quoted(format!("{origin}{}", entry.target).as_bytes()));
    for field in &entry.request.fields {
        if LEFT_OUT.contains(&field.name.as_str()) || field.name.parse().is_ok_and(|name| names::is_hop_by_hop(&name)) {
            continue;
        }
        words.extend(["-H".to_owned(), quoted(&line(&field.name, &field.value))]);
    }
    words.extend(["-H".to_owned(), quoted(b"X-Portico-Token: YOUR_TOKEN")]);
    let mut input = String::new();
    if body.contains(&0) {
        // No argument can hold a zero byte.
        input = format!("printf {} | ", quoted(&octal(body)));
        words.extend(["--data-binary".to_owned(), "@-".to_owned()]);
    } else if !body.is_empty() {
        words.extend(["--data-raw".to_owned(), quoted(body)]);
    }
    format!("{input}{}", words.join(" "))
}

/// A field as `-H` takes it: an empty one ends in a semicolon.
fn line(name: &str, value: &[u8]) -> Vec<u8> {
    if value.is_empty() {
        return format!("{name};").into_bytes();
    }
    [name.as_bytes(), b": ", value].concat()
}

/// One word for a shell: in single quotes, where nothing has a meaning; with escapes where bytes are none of plain text.
fn quoted(bytes: &[u8]) -> String {
    let plain = str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.chars().any(|char| char.is_control() || !is_harmless(char)));
    if let Some(text) = plain {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut word = String::from("$'");
    for byte in bytes {
        match byte {
            b'\'' => word.push_str(r"\'"),
            b'\\' => word.push_str(r"\\"),
            b'\n' => word.push_str(r"\n"),
            b'\r' => word.push_str(r"\r"),
            b'\t' => word.push_str(r"\t"),
            b' '..=b'~' => word.push(char::from(*byte)),
            // Always three digits, so that a digit after them is not taken for one of theirs.
            byte => word.push_str(&format!("\\{byte:03o}")),
        }
    }
    word.push('\'');
    word
}

/// Letters that look like others, or turn the line around, are written as their bytes.
fn is_harmless(char: char) -> bool {
    !matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
}

/// What `printf` writes as these bytes.
fn octal(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("\\{byte:03o}").into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;
    use time::OffsetDateTime;

    use super::*;
    use crate::inspect::{Field, Head, Part, Visitor};

    fn entry(method: &str, target: &str, fields: &[(&str, &[u8])], body: &[u8]) -> Entry {
        let field = |(name, value): &(&str, &[u8])| Field {
            name: (*name).to_owned(),
            value: value.to_vec(),
            removed: false,
        };
        Entry {
            id: 1,
            at: OffsetDateTime::UNIX_EPOCH,
            trace: "t".into(),
            method: method.into(),
            target: target.into(),
            target_removed: false,
            protocol: "HTTP/1.1",
            who: Visitor::Anyone,
            client: [127, 0, 0, 1].into(),
            replay_of: None,
            request: Head {
                fields: fields.iter().map(field).collect(),
                cut: false,
            },
            sent: Part {
                kept: body.to_vec(),
                ..Part::default()
            },
            status: None,
            response: Head::default(),
            received: Part::default(),
            websocket: false,
            first_byte: None,
            took: None,
            trouble: None,
        }
    }

    /// What a shell makes of the command: the arguments of `curl`, and its input.
    fn in_a_shell(command: &str) -> (Vec<Vec<u8>>, Vec<u8>) {
        let script = format!("curl() {{ printf '%s\\0' \"$@\"; printf '\\0\\0'; [ -p /dev/stdin ] && cat; return 0; }}\n{command}");
        let output = Command::new("bash").args(["-c", &script]).output().expect("bash is installed");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        let end = output
            .stdout
            .windows(3)
            .position(|bytes| bytes == [0; 3])
            .expect("the end of the arguments");
        let arguments = output.stdout[..end].split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        (arguments, output.stdout[end + 3..].to_vec())
    }

    #[test]
    fn it_reads_well() {
        let found = command(
            &entry(
                "POST",
                "/a?b=[1]",
                &[("accept", b"*/*"), ("content-length", b"2"), ("x-empty", b"")],
                b"it's",
            ),
            "https://amber-x-3000.example",
        );
        assert_eq!(
            found,
            r"curl --globoff --path-as-is -X 'POST' 'https://amber-x-3000.example/a?b=[1]' -H 'accept: */*' -H 'x-empty;' -H 'X-Portico-Token: YOUR_TOKEN' --data-raw 'it'\''s'"
        );
        let head = command(&entry("HEAD", "/", &[("connection", b"close")], b""), "http://a");
        assert_eq!(
            head,
            "curl --globoff --path-as-is --head 'http://a/' -H 'X-Portico-Token: YOUR_TOKEN'"
        );
        assert!(!command(&entry("GET", "/", &[("x", "\u{1b}[31m\u{202e}".as_bytes())], b""), "http://a").contains(['\u{1b}', '\u{202e}']));
    }

    #[test]
    fn a_zero_byte_goes_by_standard_input() {
        let (arguments, input) = in_a_shell(&command(&entry("PUT", "/", &[], b"a\0'$(id)%s\\\xff7"), "http://a"));
        assert_eq!(arguments.last().map(Vec::as_slice), Some(&b"@-"[..]));
        assert_eq!(input, b"a\0'$(id)%s\\\xff7");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_shell_hands_over_the_very_bytes(
            target in "/[!-\"$-~]{0,40}",
            value in proptest::collection::vec(prop_oneof![1u8..=255, Just(b'\''), Just(b'$'), Just(b'`'), Just(b'\n'), Just(b'!'), Just(b'\\')], 1..60),
            body in proptest::collection::vec(prop_oneof![1u8..=255, Just(b'\''), Just(b'\\'), Just(b'0')], 1..60),
        ) {
            let made = command(&entry("POST", &target, &[("x-odd", &value)], &body), "http://a");
            let (arguments, _) = in_a_shell(&made);
            let expected: Vec<Vec<u8>> = [
                &b"--globoff"[..], b"--path-as-is", b"-X", b"POST", format!("http://a{target}").as_bytes(), b"-H",
                &[b"x-odd: ", &value[..]].concat(), b"-H", b"X-Portico-Token: YOUR_TOKEN", b"--data-raw", &body,
            ].iter().map(|word| word.to_vec()).collect();
            prop_assert_eq!(arguments, expected, "{}", made);
        }
    }
}
