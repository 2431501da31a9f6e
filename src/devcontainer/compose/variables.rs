//! `${NAME}` and `.env`: what texts stand for, from files of the repository alone.

use std::collections::BTreeMap;

use super::document::Node;
use crate::devcontainer::{file::Malformed, notice::Notices};

/// Deepest nesting of `${A:-${B}}`.
const MAX_DEPTH: usize = 8;
/// Longest text once everything is put in, in bytes.
const MAX_TEXT: usize = 64 * 1024;
/// Most variables of a file.
const MAX_VARIABLES: usize = 256;

type Values = BTreeMap<String, String>;

/// Replaces names in every text of a tree.
pub fn replace_all(node: &mut Node, values: &Values, notices: &mut Notices) -> Result<(), Malformed> {
    match node {
        Node::Null => {}
        Node::Text(text) => {
            let mut unset = Vec::new();
            *text = replace(text, values, &mut unset, 0)?;
            for name in unset {
                notices.note(
                    format!("${{{name}}}"),
                    "it is set neither in .env beside the Compose file nor given a default, and is empty: nothing is read from \
                     any machine's environment",
                );
            }
        }
        Node::List(list) => {
            for node in list {
                replace_all(node, values, notices)?;
            }
        }
        Node::Map(map) => {
            for node in map.values_mut() {
                replace_all(node, values, notices)?;
            }
        }
    }
    Ok(())
}

/// Replaces names in a text: `$NAME`, `${NAME}` with `:-`, `-`, `:?`, `?`, `:+` or `+` and another text; `$$` is `$`.
fn replace(text: &str, values: &Values, unset: &mut Vec<String>, depth: usize) -> Result<String, Malformed> {
    let shown = || text.chars().take(60).collect::<String>();
    if depth > MAX_DEPTH {
        return Err(Malformed(format!("{:?} is nested too deep", shown())));
    }
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        result.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = closing(inner).ok_or_else(|| Malformed(format!("{:?} has a ${{ without its }}", shown())))?;
            result.push_str(&meaning(&inner[..end], values, unset, depth)?);
            rest = &inner[end + 1..];
        } else {
            let name = name_at(rest);
            if name.is_empty() {
                return Err(Malformed(format!("{:?} has a $ that names nothing; write $$ for a $", shown())));
            }
            result.push_str(&meaning(name, values, unset, depth)?);
            rest = &rest[name.len()..];
        }
        if result.len() > MAX_TEXT {
            return Err(Malformed(format!("{:?} becomes too long", shown())));
        }
    }
    result.push_str(rest);
    Ok(result)
}

/// What is between the braces.
fn meaning(inner: &str, values: &Values, unset: &mut Vec<String>, depth: usize) -> Result<String, Malformed> {
    let name = name_at(inner);
    let value = values.get(name).map(String::as_str);
    let rest = &inner[name.len()..];
    // With a colon an empty one counts as none.
    let (value, operator) = match rest.strip_prefix(':') {
        Some(rest) => (value.filter(|value| !value.is_empty()), rest),
        None => (value, rest),
    };
    let mut characters = operator.chars();
    let (operator, other) = (characters.next(), characters.as_str());
    let mut other = || replace(other, values, unset, depth + 1);
    match (operator, value) {
        _ if name.is_empty() => Err(Malformed(format!(
            "${{{}}} names nothing",
            inner.chars().take(60).collect::<String>()
        ))),
        (None, Some(value)) if !rest.starts_with(':') => Ok(value.to_owned()),
        (None, None) if !rest.starts_with(':') => {
            unset.push(name.to_owned());
            Ok(String::new())
        }
        (Some('-' | '?'), Some(value)) => Ok(value.to_owned()),
        (Some('-'), None) | (Some('+'), Some(_)) => other(),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), None) => Err(Malformed(format!(
            "{name} is not set in .env beside the Compose file: {}",
            other()?
        ))),
        _ => Err(Malformed(format!(
            "${{{}}} is not understood",
            inner.chars().take(60).collect::<String>()
        ))),
    }
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

/// The variables of a file of `NAME=VALUE` lines. Those before a line, and `values`, may be named in it.
pub fn file(text: &str, values: &Values) -> Values {
    let mut found = Values::new();
    for line in text.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let name = name.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if name.is_empty() || name.len() > 256 || !name.chars().all(plain) || found.len() >= MAX_VARIABLES {
            continue;
        }
        let known = |found: &Values| {
            values
                .iter()
                .chain(found)
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        let value = value.trim();
        let value = match quoted(value) {
            Some(('\'', inner)) => inner.to_owned(),
            Some((_, inner)) => expanded(&unescaped(inner), &known(&found)),
            None => {
                let bare = value.split(" #").next().unwrap_or_default().trim_end();
                expanded(if bare.starts_with('#') { "" } else { bare }, &known(&found))
            }
        };
        found.insert(name.to_owned(), value);
    }
    found
}

/// A text that names what cannot be had stays as it is: a password may hold a `$`.
fn expanded(text: &str, values: &Values) -> String {
    replace(text, values, &mut Vec::new(), 0).unwrap_or_else(|_| text.to_owned())
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

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn names_are_replaced() {
        let values = values(&[("A", "one"), ("EMPTY", "")]);
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
            let mut found = Vec::new();
            let replaced = replace(text, &values, &mut found, 0);
            assert_eq!((replaced.as_deref(), found.len()), (Ok(expected), unset), "{text}");
        }
        for text in ["${A", "$", "a $ b", "${}", "${1}", "${A!x}", "${B:?it is needed}", "${B?}", "${A:}"] {
            assert!(replace(text, &values, &mut Vec::new(), 0).is_err(), "{text}");
        }
        let deep = format!("{}x{}", "${B:-".repeat(20), "}".repeat(20));
        assert!(replace(&deep, &values, &mut Vec::new(), 0).is_err());
    }

    #[test]
    fn files_of_variables() {
        let text = "# comment\nA=one\nexport B = two words # said\nC='$A'\nD=\"$A\\n\\$A\"\nE=${A}-${HOME_OF_NOBODY:-none}\nF=\nbroken\n=x\nG=pa$$ word\nH=100$\n";
        let found = file(text, &Values::new());
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

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\$|\\{|\\}|:|-|\\?|\\+|A|B|\"|'|\\\\|=|\\n|\\PC){0,60}") {
            let values = values(&[("A", "x")]);
            let _ = replace(&text, &values, &mut Vec::new(), 0);
            let _ = file(&text, &values);
        }
    }
}
