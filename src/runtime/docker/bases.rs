//! Which images a Dockerfile builds upon, and what of it leaves the build's fence. Pure.
//!
//! An engine takes the beginning of an image's id for its name, and what was built for other codespaces is among its
//! images: whatever could be such a beginning is refused. Names from a registry pass, and so do stages of the same file.
//! Engines differ in how they read a file: it must pass in each reading, and what is not plainly understood is refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::is_image_name;

/// What quotes in one way or another.
const QUOTES: [char; 4] = ['"', '\'', '\\', '`'];

/// The images that a Dockerfile names.
#[derive(Debug, Default)]
pub struct Named {
    /// Those that are built upon.
    pub bases: BTreeSet<String>,
    /// Those that only files are taken from.
    sources: BTreeSet<String>,
}

impl Named {
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.bases.iter().chain(&self.sources).map(String::as_str)
    }
}

/// The images that are named; an error in words where one is named by its id, or in a way that cannot be told.
pub fn check(dockerfile: &str, arguments: &BTreeMap<String, String>) -> Result<Named, String> {
    let text = dockerfile.strip_prefix('\u{feff}').unwrap_or(dockerfile);
    if text.replace("\r\n", "\n").chars().any(is_odd) {
        return Err("the Dockerfile has control characters, or blanks that are none in ASCII: take them out".into());
    }
    let mut named = Named::default();
    for reading in Reading::all(text) {
        let mut reader = Reader {
            arguments,
            known: BTreeMap::new(),
            stages: Vec::new(),
            named: &mut named,
        };
        for line in reading.lines(text) {
            reader.instruction(&line)?;
        }
    }
    Ok(named)
}

/// Whether what an image does to those who build upon it may be done here: instructions as it holds them.
pub fn check_triggers(image: &str, triggers: &[String]) -> Result<(), String> {
    let none = BTreeMap::new();
    let refused = triggers
        .iter()
        .find_map(|trigger| check(&format!("FROM scratch\n{trigger}\n"), &none).err());
    refused.map_or(Ok(()), |why| {
        Err(format!("the image {image} has an ONBUILD that is refused: {why}"))
    })
}

/// The Dockerfile with a line put after each `FROM`, as engines of today read it. What comes of it is to be checked as any other.
pub fn after_each_from(dockerfile: &str, line: &str) -> String {
    let mut directives = dockerfile.lines().map(str::trim).take_while(|line| line.starts_with('#'));
    let is_other = directives.any(|line| line[1..].replace([' ', '\t'], "").eq_ignore_ascii_case("escape=`"));
    let reading = Reading {
        escape: if is_other { '`' } else { '\\' },
        doubled: false,
        indented: true,
    };
    let mut all = String::with_capacity(dockerfile.len() + 4 * line.len());
    let (mut goes_on, mut is_from) = (false, false);
    for text in dockerfile.trim_start_matches('\u{feff}').split_inclusive('\n') {
        all.push_str(text);
        let text = text.trim_end_matches(['\n', '\r']);
        let blank = text.trim_start();
        if blank.is_empty() || blank.starts_with('#') {
            continue;
        }
        if !goes_on {
            is_from = blank
                .split_whitespace()
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case("FROM"));
        }
        goes_on = reading.cut(text).1;
        if is_from && !goes_on {
            all.push_str(if all.ends_with('\n') { "" } else { "\n" });
            all.push_str(line);
        }
    }
    all
}

fn is_odd(c: char) -> bool {
    let is_plain = matches!(c, '\t' | '\n' | ' ');
    !is_plain && (c.is_control() || c.is_whitespace() || c == '\u{feff}')
}

/// What was read of a file so far.
struct Reader<'a> {
    arguments: &'a BTreeMap<String, String>,
    /// Those above the first `FROM`, which alone hold in a `FROM`.
    known: BTreeMap<String, String>,
    /// By name, the present one last; an empty name for none.
    stages: Vec<String>,
    named: &'a mut Named,
}

impl Reader<'_> {
    fn instruction(&mut self, line: &str) -> Result<(), String> {
        // What is put off until somebody builds upon this image counts as well.
        let mut words = line.split_whitespace().skip_while(|word| word.eq_ignore_ascii_case("ONBUILD"));
        let name = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        let flags = words.iter().take_while(|word| word.starts_with("--")).count();
        let (flags, words) = words.split_at(flags);
        if !name.is_ascii() || flags.iter().any(|flag| flag.contains(QUOTES)) || words.iter().any(|word| is_here(word)) {
            let line: String = line.chars().take(80).collect();
            return Err(format!("{line}: quotes in flags and here-documents are not understood here"));
        }
        match name.to_ascii_uppercase().as_str() {
            "ARG" if self.stages.is_empty() => return self.argument(words),
            "FROM" => return self.from(words),
            "ADD" => add(words)?,
            _ => {}
        }
        flags.iter().filter_map(|flag| origin(flag)).try_for_each(|from| self.copied(from))
    }

    fn argument(&mut self, words: &[&str]) -> Result<(), String> {
        for word in words {
            let (name, default) = word.split_once('=').unwrap_or((word, ""));
            let default = ['"', '\'']
                .iter()
                .find_map(|quote| default.strip_prefix(*quote)?.strip_suffix(*quote))
                .unwrap_or(default);
            if !is_variable(name) || default.contains(QUOTES) {
                return Err(format!("ARG {word} cannot be told: give it a plain name and a plain default"));
            }
            let value = self.arguments.get(name).map_or(default, String::as_str);
            self.known.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }

    fn from(&mut self, words: &[&str]) -> Result<(), String> {
        let written = words.first().copied().unwrap_or_default();
        let name = expand(&unquoted(written), &self.known)
            .ok_or_else(|| format!("the image {written} cannot be told from the Dockerfile: give its ARG a plain default"))?;
        if !self.stages.contains(&name.to_ascii_lowercase()) {
            image(&name)?;
            self.named.bases.extend((name != "scratch").then_some(name));
        }
        let stage = words.get(1).filter(|word| word.eq_ignore_ascii_case("AS")).and(words.get(2));
        self.stages.push(stage.map(|stage| stage.to_ascii_lowercase()).unwrap_or_default());
        Ok(())
    }

    /// `--from`: a stage that is finished, by name or number, or an image.
    fn copied(&mut self, from: &str) -> Result<(), String> {
        let finished = &self.stages[..self.stages.len().saturating_sub(1)];
        let is_stage = finished.contains(&from.to_ascii_lowercase()) || from.parse::<usize>().is_ok_and(|at| at < finished.len());
        if is_stage && !from.is_empty() {
            return Ok(());
        }
        image(from)?;
        self.named.sources.insert(from.to_owned());
        Ok(())
    }
}

/// The image of `--from=IMAGE`, and of `--mount=type=bind,from=IMAGE`.
fn origin(flag: &str) -> Option<&str> {
    let (key, value) = flag.split_once('=')?;
    match key.to_ascii_lowercase().as_str() {
        "--from" => Some(value),
        "--mount" => {
            let mut parts = value.split(',').filter_map(|part| part.split_once('='));
            parts.find(|(key, _)| key.eq_ignore_ascii_case("from")).map(|(_, value)| value)
        }
        _ => None,
    }
}

/// What the engine would fetch by itself, outside of the fence, is refused, and so is what could come to be that.
fn add(words: &[&str]) -> Result<(), String> {
    let text = words.join(" ").to_ascii_lowercase().replace(['"', '\''], "");
    if text.contains(['$', '\\', '`']) || ["://", "git@", "github.com/"].iter().any(|part| text.contains(part)) {
        return Err("ADD of a URL, or of what could be one, is refused: the engine would fetch it outside of the build's network. Use COPY, or RUN with curl".into());
    }
    Ok(())
}

/// Whether a here-document begins with a word: its lines would be taken for instructions.
fn is_here(word: &str) -> bool {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.starts_with("<<") && !rest.starts_with("<<<")
}

/// Whether an image may be named by that; its name as the engine reads it can be an id.
fn image(name: &str) -> Result<(), String> {
    if is_id(name) {
        return Err(format!(
            "the image {name} is named by an id, or could be: name it with a tag, as {name}:latest"
        ));
    }
    if !is_image_name(name) {
        return Err(format!("{name:?} is no name of an image that is understood here"));
    }
    Ok(())
}

/// Whether an engine could take a name for an image's id, or the beginning of one.
pub fn is_id(name: &str) -> bool {
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
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
        let value = known.get(name).filter(|value| !value.is_empty()).map(String::as_str).or(default);
        let value = value.filter(|value| is_variable(name) && !value.contains(['$', '\\']))?;
        result.push_str(value);
        rest = after;
    }
    result.push_str(rest);
    (!result.contains('\\')).then_some(result)
}

/// Names that begin with a digit are a shell's own.
fn is_variable(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn unquoted(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '"' | '\'')).collect()
}

/// How an engine puts lines together.
#[derive(Clone, Copy)]
struct Reading {
    /// The character that lets a line go on.
    escape: char,
    /// Whether two of them end a line as one does; engines of today take them for text.
    doubled: bool,
    /// Whether a comment among lines that go on may be indented; older engines take it for text.
    indented: bool,
}

impl Reading {
    /// All that an engine could take for this file. Which directives end where others begin differs too, so that whatever
    /// could be the one for the other escape counts for it.
    fn all(text: &str) -> impl Iterator<Item = Self> {
        let mut comments = text.lines().map(str::trim_start).filter(|line| line.starts_with('#'));
        let is_other = comments.any(|line| line.to_ascii_lowercase().contains("escape"));
        let escapes: &[char] = if is_other { &['\\', '`'] } else { &['\\'] };
        escapes.iter().flat_map(|escape| {
            [(false, false), (false, true), (true, false), (true, true)].map(|(doubled, indented)| Self {
                escape: *escape,
                doubled,
                indented,
            })
        })
    }

    /// The instructions, lines that go on put together as they are, comments left out.
    fn lines(self, text: &str) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut goes_on = false;
        for line in text.lines() {
            let blank = line.trim_start();
            let is_comment = if goes_on && !self.indented { line } else { blank }.starts_with('#');
            if blank.is_empty() || is_comment {
                continue;
            }
            let (text, more) = self.cut(line);
            match all.last_mut().filter(|_| goes_on) {
                Some(last) => last.push_str(text),
                None => all.push(text.trim_start().to_owned()),
            }
            goes_on = more;
        }
        all
    }

    /// A line without what lets it go on, and whether it does.
    fn cut(self, line: &str) -> (&str, bool) {
        match line.trim_end_matches([' ', '\t']).strip_suffix(self.escape) {
            Some(text) if self.doubled || !text.ends_with(self.escape) => (text, true),
            _ => (line, false),
        }
    }
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
            "\u{feff}FROM debian",
            "FROM debian\nRUN a \\\n  # why\n  && b\nCOPY . /x\nADD app.tar.gz /opt/",
            "FROM debian\r\nRUN uvx --from=beef x\r\n",
            "ARG V=12\nFROM debian:$V\nARG V\nADD [\"a b\", \"/x\"]",
        ] {
            assert!(passes(dockerfile), "{dockerfile}: {:?}", check(dockerfile, &BTreeMap::new()));
        }
    }

    #[test]
    fn what_is_named_is_told() {
        let text = "FROM rust:1 AS fe\nFROM debian\nCOPY --from=fe /a /b\nCOPY --from=nginx:1 /a /b\nRUN --mount=type=bind,from=app:2,target=/x true";
        let named = check(text, &BTreeMap::new()).expect("plain");
        assert_eq!(named.all().collect::<Vec<_>>(), ["debian", "rust:1", "app:2", "nginx:1"]);
        assert_eq!(named.bases.len(), 2);
    }

    #[test]
    fn a_line_after_each_from() {
        for (before, after) in [
            ("FROM a\nRUN b\n", "FROM a\nL\nRUN b\n"),
            ("FROM a", "FROM a\nL\n"),
            (
                "\u{feff}# x\n\nfrom a\r\nRUN from\r\nFROM b AS c",
                "# x\n\nfrom a\r\nL\nRUN from\r\nFROM b AS c\nL\n",
            ),
            ("FROM \\\n  a \\\n# why\n AS b\nRUN c", "FROM \\\n  a \\\n# why\n AS b\nL\nRUN c"),
            ("RUN a \\\n FROM b\n", "RUN a \\\n FROM b\n"),
            ("# escape=`\nFROM a`\n AS b\nRUN c", "# escape=`\nFROM a`\n AS b\nL\nRUN c"),
            ("ONBUILD FROM x\n", "ONBUILD FROM x\n"),
            ("", ""),
        ] {
            assert_eq!(after_each_from(before, "L\n"), after, "{before}");
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
            "\u{feff}FROM c0ffee",
            "FROM c0ffee\\\n AS x",
            "FROM debian\nCOPY --from=be\\\nef / /stolen",
            "FROM debian AS base\nARG X=base\nFROM $X",
            "ARG X=c0ffee\nFROM debian\nARG X=debian\nFROM $X",
            "# comment\n# escape=`\nFROM c0\\\nffee",
            "# syntax=x\n# escape=`\nFROM c0`\nffee",
            "FROM debian\nCOPY --\"from\"=beef / /stolen",
            "FROM debian\nCOPY --fr\\om=beef / /stolen",
            "FROM debian\nCOPY --from=$X / /stolen",
            "FROM debian AS beef\nCOPY --from=beef / /stolen",
            "FROM debian\nRUN --mount=type=bind,FROM=beef,target=/x true",
            "ARG 1ffee=debian\nFROM $1ffee",
            "ARG A=c0ffee X=\"a A=debian\"\nFROM $A",
            "ARG A=debian \"A=c0ffee\"\nFROM $A",
            "FROM debian\nRUN a \\\n # b\nFROM c0ffee",
            "FROM debian\nRUN a \\\\\nFROM c0ffee",
            "FROM debian\nRUN cat <<E\nFROM x \\\nE\n",
            "FROM\u{b}c0ffee",
            "FROM\u{a0}debian",
            "FROM debian\nONBU\u{130}LD COPY --from=beef / /stolen",
            "FROM ../x",
            "FROM debian?x",
        ] {
            assert!(!passes(dockerfile), "{dockerfile}");
        }
    }

    #[test]
    fn nothing_is_fetched_outside_of_the_fence() {
        for line in [
            "ADD http://169.254.169.254/ /x",
            "add --chown=1 HTTPS://example.com/x /x",
            "ONBUILD ADD http://example.com/x /x",
            "ADD [\"http://example.com/x\", \"/x\"]",
            "ADD [\"http:\\u002f/example.com/x\", \"/x\"]",
            "ADD http:'//'example.com/x /x",
            "ADD http:\\//example.com/x /x",
            "ADD http:\\\n//example.com/x /x",
            "ADD $URL /x",
            "ADD git@example.com:x.git /x",
            "ADD github.com/a/b /x",
        ] {
            assert!(!passes(&format!("FROM debian\n{line}\n")), "{line}");
            assert!(
                line.contains("ONBUILD") || check_triggers("x", &[line.to_owned()]).is_err(),
                "{line}"
            );
        }
        assert!(check_triggers("x", &["COPY --from=beef / /x".into()]).is_err());
        assert_eq!(check_triggers("x", &["RUN npm ci".into(), "COPY . /app".into()]), Ok(()));
    }

    #[test]
    fn what_is_built_upon() {
        let bases = check("ARG V=12\nFROM debian:$V AS a\nFROM a\nFROM scratch\nFROM node", &BTreeMap::new());
        assert_eq!(
            bases.map(|named| named.bases),
            Ok(BTreeSet::from(["debian:12".to_owned(), "node".to_owned()]))
        );
    }

    proptest! {
        #[test]
        fn any_file_is_looked_at(text in "(FROM |ARG |COPY --from=|AS |\\$|\\{|\\}|:-|\\\\\n|\n|[a-f0-9]|#|\\PC){0,60}") {
            let _ = check(&text, &BTreeMap::new());
        }
    }
}
