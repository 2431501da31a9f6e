//! `${NAME}` and `.env`: what texts stand for, from files of the repository alone, and within one bound for a whole project.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::{budget::Budget, document::Node};
use crate::devcontainer::{file::Malformed, notice::Notices};

/// Deepest nesting of `${A:-${B}}`.
const MAX_DEPTH: usize = 8;
/// Longest text once everything is put in, in bytes.
const MAX_TEXT: usize = 64 * 1024;
/// Longest file of variables in bytes.
const MAX_FILE: usize = 256 * 1024;
/// Most lines of one.
const MAX_LINES: usize = 4096;
/// Most variables of one.
const MAX_VARIABLES: usize = 512;
/// Most names that are told of as not set, and so much of each in bytes.
const MAX_UNSET: usize = 32;
const MAX_NAME: usize = 64;
/// So much is shown of what a file says of a name that must be set, in characters.
const MAX_SAID: usize = 200;

pub type Values = BTreeMap<String, String>;

/// Names being replaced.
pub struct Replacing<'a> {
    /// The first that knows a name counts.
    pub values: [&'a Values; 2],
    /// Names that nobody knows, the first of them.
    pub unset: &'a mut BTreeSet<String>,
    pub budget: &'a mut Budget,
}

/// Tells which names were not set.
pub fn note_unset(unset: &BTreeSet<String>, notices: &mut Notices) {
    for name in unset {
        notices.note(
            format!("${{{name}}}"),
            "it is set neither in .env beside the Compose file nor given a default, and is empty: nothing is read from any \
             machine's environment",
        );
    }
}

impl<'a> Replacing<'a> {
    /// Replaces names in every text of a tree. What is wrong is said of its key: a text may hold what nobody else is to know.
    pub fn all(&mut self, node: &mut Node) -> Result<(), Malformed> {
        match node {
            Node::Null => Ok(()),
            Node::Text(text) if text.contains('$') => {
                *text = self.replace(text, 0)?;
                Ok(())
            }
            Node::Text(_) => Ok(()),
            Node::List(list) => list.iter_mut().try_for_each(|node| self.all(node)),
            Node::Map(map) => map.iter_mut().try_for_each(|(key, node)| {
                let sign = if matches!(node, Node::Map(_)) { "." } else { ": " };
                let of_key = |Malformed(why)| Malformed(format!("{}{sign}{why}", shown(key)));
                self.all(node).map_err(of_key)
            }),
        }
    }

    /// Replaces names in a text: `$NAME`, `${NAME}` with `:-`, `-`, `:?`, `?`, `:+` or `+` and another text; `$$` is `$`.
    fn replace(&mut self, text: &str, depth: usize) -> Result<String, Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed("${…} is nested too deep".into()));
        }
        let mut result = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('$') {
            self.put(&mut result, &rest[..start])?;
            rest = &rest[start + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                self.put(&mut result, "$")?;
                rest = after;
            } else if let Some(inner) = rest.strip_prefix('{') {
                let end = closing(inner).ok_or_else(|| Malformed("a ${ is without its }; write $$ for a $".into()))?;
                let meaning = self.meaning(&inner[..end], depth)?;
                self.put(&mut result, &meaning)?;
                rest = &inner[end + 1..];
            } else {
                let name = name_at(rest);
                if name.is_empty() {
                    return Err(Malformed("a $ names nothing; write $$ for a $".into()));
                }
                let meaning = self.meaning(name, depth)?;
                self.put(&mut result, &meaning)?;
                rest = &rest[name.len()..];
            }
        }
        self.put(&mut result, rest)?;
        Ok(result)
    }

    /// Adds to a text, if there is room for it.
    fn put(&mut self, result: &mut String, more: &str) -> Result<(), Malformed> {
        self.budget.bytes(more.len())?;
        if result.len() + more.len() > MAX_TEXT {
            return Err(Malformed(format!("it becomes longer than {MAX_TEXT} bytes")));
        }
        result.push_str(more);
        Ok(())
    }

    /// What is between the braces.
    fn meaning(&mut self, inner: &str, depth: usize) -> Result<Cow<'a, str>, Malformed> {
        let name = name_at(inner);
        let value = self.values.into_iter().find_map(|values| values.get(name)).map(String::as_str);
        let rest = &inner[name.len()..];
        // With a colon an empty one counts as none.
        let (value, operator) = match rest.strip_prefix(':') {
            Some(rest) => (value.filter(|value| !value.is_empty()), rest),
            None => (value, rest),
        };
        let mut characters = operator.chars();
        let (operator, other) = (characters.next(), characters.as_str());
        match (operator, value) {
            _ if name.is_empty() => Err(Malformed("a ${…} names nothing; write $$ for a $".into())),
            (None, Some(value)) if !rest.starts_with(':') => Ok(value.into()),
            (None, None) if !rest.starts_with(':') => {
                if self.unset.len() < MAX_UNSET {
                    self.unset.insert(name[..name.len().min(MAX_NAME)].to_owned());
                }
                Ok("".into())
            }
            (Some('-' | '?'), Some(value)) => Ok(value.into()),
            (Some('-'), None) | (Some('+'), Some(_)) => self.replace(other, depth + 1).map(Cow::from),
            (Some('+'), None) => Ok("".into()),
            // As it is written, so that it tells of no other's value.
            (Some('?'), None) => Err(Malformed(format!(
                "{} is not set in .env beside the Compose file: {}",
                shown(name),
                other.chars().take(MAX_SAID).collect::<String>()
            ))),
            _ => Err(Malformed(format!("the ${{…}} of {} is not understood", shown(name)))),
        }
    }

    /// A text that names what cannot be had stays as it is: a password may hold a `$`.
    fn expanded(&mut self, text: &str) -> String {
        self.replace(text, 0).unwrap_or_else(|_| text.to_owned())
    }
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

fn name_at(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let name = &text[..end];
    if name.starts_with(|c: char| c.is_ascii_digit()) { "" } else { name }
}

/// Where the brace is that closes, others within it passed over.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' if text[..at].ends_with('$') => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// The variables of a file of `NAME=VALUE` lines. Those before a line, and `values`, may be named in it. More than a bound of
/// it is an error: none is left out in silence.
pub fn file(text: &str, values: &Values, budget: &mut Budget) -> Result<Values, Malformed> {
    if text.len() > MAX_FILE {
        return Err(Malformed(format!("it is longer than {MAX_FILE} bytes")));
    }
    let (mut found, mut unset) = (Values::new(), BTreeSet::new());
    for (at, line) in text.lines().enumerate() {
        if at >= MAX_LINES {
            return Err(Malformed(format!("it has more than {MAX_LINES} lines")));
        }
        let Some((name, value)) = pair(line) else { continue };
        if found.len() >= MAX_VARIABLES && !found.contains_key(name) {
            return Err(Malformed(format!("it holds more than {MAX_VARIABLES} variables")));
        }
        let mut replacing = Replacing {
            values: [&found, values],
            unset: &mut unset,
            budget: &mut *budget,
        };
        let value = match quoted(value) {
            Some(('\'', inner)) => inner.to_owned(),
            Some((_, inner)) => replacing.expanded(&unescaped(inner)),
            None => {
                let bare = value.split(" #").next().unwrap_or_default().trim_end();
                replacing.expanded(if bare.starts_with('#') { "" } else { bare })
            }
        };
        budget.bytes(name.len() + value.len())?;
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}

/// The name and what is written for it; none for a line that is none.
fn pair(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
    let name = name.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let fits = !name.is_empty() && name.len() <= 256 && name.chars().all(plain);
    fits.then_some((name, value.trim()))
}

fn quoted(value: &str) -> Option<(char, &str)> {
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = &value[1..];
    let end = inner
        .char_indices()
        .find(|(at, c)| *c == quote && (quote == '\'' || !inner[..*at].ends_with('\\')))?;
    Some((quote, &inner[..end.0]))
}

fn unescaped(text: &str) -> String {
    let mut result = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, characters.clone().next()) {
            ('\\', Some(next @ ('n' | 't' | 'r' | '"' | '\\' | '$'))) => {
                characters.next();
                match next {
                    'n' => result.push('\n'),
                    't' => result.push('\t'),
                    'r' => result.push('\r'),
                    '$' => result.push_str("$$"),
                    other => result.push(other),
                }
            }
            _ => result.push(c),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::devcontainer::compose::document::parse;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn names_are_replaced() {
        let values = values(&[("A", "one"), ("EMPTY", "")]);
        let replace = |text: &str| {
            let (mut unset, mut budget) = (BTreeSet::new(), Budget::default());
            let mut replacing = Replacing {
                values: [&values, &Values::new()],
                unset: &mut unset,
                budget: &mut budget,
            };
            let replaced = replacing.replace(text, 0);
            (replaced, unset.len())
        };
        for (text, expected, unset) in [
            ("plain", "plain", 0),
            ("$A-${A}", "one-one", 0),
            ("$$A $${A}", "$A ${A}", 0),
            ("${B:-two}${B-two}", "twotwo", 0),
            ("[${EMPTY:-two}][${EMPTY-two}]", "[two][]", 0),
            ("${A:+set}${B:+set}${EMPTY+set}", "setset", 0),
            ("${B:-${C:-${A}}}!", "one!", 0),
            ("$B${C}", "", 2),
            ("${A:?gone}", "one", 0),
        ] {
            let (replaced, found) = replace(text);
            assert_eq!((replaced.as_deref(), found), (Ok(expected), unset), "{text}");
        }
        for text in ["${A", "$", "a $ b", "${}", "${1}", "${A!x}", "${B:?it is needed}", "${B?}", "${A:}"] {
            assert!(replace(text).0.is_err(), "{text}");
        }
        let deep = format!("{}x{}", "${B:-".repeat(20), "}".repeat(20));
        assert!(replace(&deep).0.is_err());
    }

    #[test]
    fn what_is_wrong_is_said_of_its_key() {
        let check = |text: &str, expected: &str| {
            let values = values(&[("KEY", "s3cret")]);
            let (mut unset, mut budget) = (BTreeSet::new(), Budget::default());
            let mut node = parse(text, &mut Budget::default()).expect("it is YAML");
            let mut replacing = Replacing {
                values: [&values, &Values::new()],
                unset: &mut unset,
                budget: &mut budget,
            };
            let told = replacing.all(&mut node).expect_err(text).to_string();
            assert!(told.contains(expected) && !told.contains("s3cret"), "{text}: {told}");
        };
        check(
            "{db: {environment: {PASSWORD: 's3cret$'}}}",
            "db.environment.PASSWORD: a $ names nothing",
        );
        check(
            "{db: {environment: ['A=1', 'PASSWORD=s3cret${']}}",
            "db.environment: a ${ is without its }",
        );
        check("{db: {command: '${:-s3cret}'}}", "db.command: a ${…} names nothing");
        check("{db: {command: '${KEY*s3cret}'}}", "db.command: the ${…} of KEY is not understood");
        check(
            "{db: {image: '${A:?not $KEY}'}}",
            "db.image: A is not set in .env beside the Compose file: not $KEY",
        );
        let deep = format!("{}s3cret{}", "${B:-".repeat(20), "}".repeat(20));
        check(&format!("{{db: {{user: '{deep}'}}}}"), "db.user: ${…} is nested too deep");
        let long = "$KEY".repeat(20_000);
        check(&format!("{{db: {{user: '{long}'}}}}"), "db.user: it becomes longer than");
    }

    #[test]
    fn files_of_variables() {
        let text = "# comment\nA=one\nexport B = two words # said\nC='$A'\nD=\"$A\\n\\$A\"\nE=${A}-${HOME_OF_NOBODY:-none}\nF=\nbroken\n=x\nG=pa$$ word\nH=100$\n";
        let found = file(text, &Values::new(), &mut Budget::default()).expect("it is read");
        let expected = values(&[
            ("A", "one"),
            ("B", "two words"),
            ("C", "$A"),
            ("D", "one\n$A"),
            ("E", "one-none"),
            ("F", ""),
            ("G", "pa$ word"),
            ("H", "100$"),
        ]);
        assert_eq!(found, expected);
    }

    #[test]
    fn files_of_variables_are_bounded() {
        let read = |text: &str| {
            let mut budget = Budget::default();
            let read = file(text, &Values::new(), &mut budget);
            (read.map(|found| found.len()).map_err(|error| error.to_string()), budget.spent())
        };
        let doubling: String = (1..200).map(|at| format!("A{at}=$A{0}$A{0}\n", at - 1)).collect();
        let copied: String = (0..500).map(|at| format!("B{at}=$A\n")).collect();
        for (text, told) in [
            ("A=1\n".repeat(70_000), "longer than 262144 bytes"),
            ("#\n".repeat(5000), "more than 4096 lines"),
            ((0..600).map(|at| format!("A{at}=\n")).collect(), "more than 512 variables"),
            (format!("A={}\n{copied}", "x".repeat(60_000)), "says too much"),
            (format!("A0={}\n{doubling}", "x".repeat(30_000)), "says too much"),
        ] {
            let (read, spent) = read(&text);
            assert!(read.clone().is_err_and(|error| error.contains(told)), "{told}: {read:?}");
            assert!(spent <= 1 << 20, "{told}: {spent}");
        }
        // What is known is looked up where it is: another line costs what it says, and nothing that was said before.
        let line = "A=1\n".to_owned();
        let (one, many) = (read(&line), read(&line.repeat(4000)));
        assert_eq!((one.0, many.0), (Ok(1), Ok(1)));
        assert_eq!(many.1, 4000 * one.1);
        let known = values(&[("LONG", &"x".repeat(60_000))]);
        let mut budget = Budget::default();
        file(&line.repeat(4000), &known, &mut budget).expect("it is read");
        assert_eq!(budget.spent(), many.1);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\$|\\{|\\}|:|-|\\?|\\+|A|B|\"|'|\\\\|=|\\n|\\PC){0,60}") {
            let values = values(&[("A", "x")]);
            let (mut unset, mut budget) = (BTreeSet::new(), Budget::default());
            let mut replacing = Replacing { values: [&values, &values], unset: &mut unset, budget: &mut budget };
            let _ = replacing.replace(&text, 0);
            let _ = file(&text, &values, &mut budget);
        }
    }
}
