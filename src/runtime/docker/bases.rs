//! Which images a Dockerfile builds upon. Pure.
//!
//! An engine takes the beginning of an image's id for its name, and what was built for other codespaces is among its
//! images: whatever could be such a beginning is refused. Names from a registry pass, and so do stages of the same file.

use std::collections::BTreeMap;

/// An error in words where a file names an image by its id, or in a way that cannot be told.
pub fn check(dockerfile: &str, arguments: &BTreeMap<String, String>) -> Result<(), String> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut stages: Vec<String> = Vec::new();
    for line in lines(dockerfile) {
        // What is put off until somebody builds upon this image counts as well.
        let mut words = line.split_whitespace().skip_while(|word| word.eq_ignore_ascii_case("ONBUILD"));
        let instruction = words.next().unwrap_or_default().to_ascii_uppercase();
        let words: Vec<&str> = words.collect();
        match instruction.as_str() {
            "ARG" => {
                for word in words {
                    let (name, default) = word.split_once('=').unwrap_or((word, ""));
                    let value = arguments.get(name).map_or_else(|| unquoted(default), |value| value.clone());
                    known.insert(name.to_owned(), value);
                }
            }
            "ENV" => {
                // It could give a variable another value below.
                words
                    .iter()
                    .for_each(|word| drop(known.remove(word.split('=').next().unwrap_or_default())));
            }
            "FROM" => {
                let mut left = words.iter().filter(|word| !word.starts_with("--"));
                let name = left.next().copied().unwrap_or_default();
                image(name, &known, &stages)?;
                if left.next().is_some_and(|word| word.eq_ignore_ascii_case("AS")) {
                    stages.extend(left.next().map(|stage| stage.to_ascii_lowercase()));
                } else {
                    stages.push(String::new());
                }
            }
            _ => {
                for from in words.iter().filter_map(|word| flag(word)) {
                    let number = from.parse::<usize>().ok().filter(|number| *number < stages.len());
                    if number.is_none() {
                        image(from, &known, &stages)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// The image of `--from=IMAGE`, and of `--mount=type=bind,from=IMAGE`.
fn flag(word: &str) -> Option<&str> {
    if let Some(from) = word.strip_prefix("--from=") {
        return Some(from);
    }
    word.strip_prefix("--mount=")?
        .split(',')
        .find_map(|part| part.strip_prefix("from="))
}

/// Whether an image may be named by that; its name as the engine reads it can be an id.
fn image(written: &str, known: &BTreeMap<String, String>, stages: &[String]) -> Result<(), String> {
    let name = expand(&unquoted(written), known)
        .ok_or_else(|| format!("the image {written} cannot be told from the Dockerfile: give its ARG a plain default"))?;
    let is_stage = stages.contains(&name.to_ascii_lowercase());
    if !is_stage && is_id(&name) {
        return Err(format!(
            "the image {name} is named by an id, or could be: name it with a tag, as {name}:latest"
        ));
    }
    Ok(())
}

/// Whether an engine could take a name for an image's id, or the beginning of one.
pub fn is_id(name: &str) -> bool {
    let digits = name
        .rsplit_once("sha256:")
        .map_or(name, |(before, digits)| if before.is_empty() { digits } else { name });
    digits.is_empty() || digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Puts in `$NAME`, `${NAME}` and `${NAME:-DEFAULT}`; none for what is not known or written in another way.
fn expand(text: &str, known: &BTreeMap<String, String>) -> Option<String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        result.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let (name, default, after) = if let Some(inner) = rest.strip_prefix('{') {
            let (inner, after) = inner.split_once('}')?;
            let (name, default) = inner
                .split_once(":-")
                .map_or((inner, None), |(name, default)| (name, Some(default)));
            (name, default, after)
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            (&rest[..end], None, &rest[end..])
        };
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let value = known.get(name).filter(|value| !value.is_empty()).map(String::as_str).or(default);
        let value = value.filter(|value| plain && !value.contains(['$', '\\']))?;
        result.push_str(value);
        rest = after;
    }
    result.push_str(rest);
    (!result.contains('\\')).then_some(result)
}

fn unquoted(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '"' | '\'')).collect()
}

/// The instructions, lines that go on put together, comments left out.
fn lines(dockerfile: &str) -> Vec<String> {
    let escape = escape(dockerfile);
    let mut all: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in dockerfile.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (text, more) = line.strip_suffix(escape).map_or((line, false), |text| (text, true));
        match all.last_mut().filter(|_| goes_on) {
            Some(last) => last.push_str(text),
            None => all.push(text.to_owned()),
        }
        goes_on = more;
    }
    all
}

/// The character that lets a line go on: a directive at the top may name the other.
fn escape(dockerfile: &str) -> char {
    let directives = dockerfile.lines().map(str::trim).take_while(|line| line.starts_with('#'));
    let mut set = directives.filter_map(|line| {
        let (key, value) = line.trim_start_matches('#').split_once('=')?;
        key.trim().eq_ignore_ascii_case("escape").then(|| value.trim().to_owned())
    });
    if set.next().as_deref() == Some("`") { '`' } else { '\\' }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passes(dockerfile: &str) -> bool {
        let arguments = BTreeMap::from([("BASE".to_owned(), "debian:12".to_owned()), ("BAD".to_owned(), "c0ffee".to_owned())]);
        check(dockerfile, &arguments).is_ok()
    }

    #[test]
    fn images_have_names() {
        for dockerfile in [
            "FROM debian",
            "# comment\nfrom --platform=linux/amd64 registry.example.com:5000/team/base:1 as build\nFROM build",
            "FROM rust:1 AS fe\nFROM debian:12\nCOPY --from=fe /a /b\nCOPY --from=0 /a /b\nCOPY --from=nginx:latest /a /b",
            "ARG BASE\nFROM $BASE",
            "ARG VERSION=12\nFROM debian:${VERSION}",
            "FROM debian:${NONE:-12}",
            "FROM scratch",
            "FROM debian@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "FROM \\\n  debian",
            "",
        ] {
            assert!(passes(dockerfile), "{dockerfile}: {:?}", check(dockerfile, &BTreeMap::new()));
        }
    }

    #[test]
    fn ids_and_riddles_are_refused() {
        for dockerfile in [
            "FROM c0ffee",
            "FROM a",
            "from sha256:abcdef",
            "FROM \"c0ffee\"",
            "FROM c0\\\nffee",
            "# escape=`\nFROM c0`\nffee",
            "FROM debian\nCOPY --from=beef / /stolen",
            "FROM debian\nONBUILD COPY --from=beef / /stolen",
            "FROM debian\nCOPY --from=7 / /stolen",
            "FROM debian\nRUN --mount=type=bind,from=beef,target=/x cp -r /x /stolen",
            "ARG BAD\nFROM $BAD",
            "ARG X=c0\nFROM ${X}ffee",
            "FROM ${X:-c0ffee}",
            "FROM $UNKNOWN",
            "FROM ${X:+c0ffee}",
            "ARG A=c0ffee\nARG B=$A\nFROM $B",
            "FROM debian AS fe\nFROM fea",
        ] {
            assert!(!passes(dockerfile), "{dockerfile}");
        }
    }

    proptest! {
        #[test]
        fn any_file_is_looked_at(text in "(FROM |ARG |COPY --from=|AS |\\$|\\{|\\}|:-|\\\\\n|\n|[a-f0-9]|#|\\PC){0,60}") {
            let _ = check(&text, &BTreeMap::new());
        }
    }
}
