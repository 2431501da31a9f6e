//! `.dockerignore`: which files of a build's context stay out of it. Pure.

use regex::{Regex, RegexBuilder};

/// Most patterns that are heeded: each is tried on each path of a context.
const MAX_PATTERNS: usize = 100;
/// Longest pattern in bytes.
const MAX_PATTERN: usize = 256;
/// Largest compiled pattern in bytes, and what its matching may keep besides.
const MAX_PATTERN_SIZE: usize = 64 * 1024;

/// The patterns of a file; the last that matches a path decides.
#[derive(Debug, Default)]
pub struct Ignored(Vec<(Regex, bool)>);

impl Ignored {
    /// Reads a file: a pattern a line, `#` begins a comment, `!` takes back. What is no pattern is passed over.
    pub fn read(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let patterns = lines
            .take(MAX_PATTERNS)
            .filter(|line| line.len() <= MAX_PATTERN)
            .filter_map(|line| {
                let (pattern, is_kept) = line.strip_prefix('!').map_or((line, false), |rest| (rest.trim(), true));
                Some((compile(&clean(pattern)?)?, is_kept))
            });
        Self(patterns.collect())
    }

    /// Whether a path below the context, with `/` between its parts, is left out. What matches a directory matches all in it.
    pub fn leaves_out(&self, path: &str) -> bool {
        let mut out = false;
        for (pattern, is_kept) in &self.0 {
            if out == *is_kept && matches(pattern, path) {
                out = !is_kept;
            }
        }
        out
    }
}

fn matches(pattern: &Regex, path: &str) -> bool {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.into_iter().any(|end| pattern.is_match(&path[..end]))
}

/// Without what means nothing: a leading slash, `.` and `..` where they can be solved.
fn clean(pattern: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// As Go's `filepath.Match` has it, with `**` for any number of directories.
fn compile(pattern: &str) -> Option<Regex> {
    let mut text = String::from("^");
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.next_if_eq(&'*').is_some() => {
                // `**/` also stands for no directory at all.
                text.push_str(if rest.next_if_eq(&'/').is_some() { "(.*/)?" } else { ".*" });
            }
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '[' => {
                text.push('[');
                text.push_str(if rest.next_if_eq(&'^').is_some() { "^" } else { "" });
                loop {
                    match rest.next()? {
                        ']' => break text.push(']'),
                        '\\' => text.push_str(&regex::escape(&rest.next()?.to_string())),
                        '-' => text.push('-'),
                        other => text.push_str(&regex::escape(&other.to_string())),
                    }
                }
            }
            '\\' => text.push_str(&regex::escape(&rest.next()?.to_string())),
            other => text.push_str(&regex::escape(&other.to_string())),
        }
    }
    text.push('$');
    RegexBuilder::new(&text)
        .size_limit(MAX_PATTERN_SIZE)
        .dfa_size_limit(MAX_PATTERN_SIZE)
        .dot_matches_new_line(true)
        .build()
        .ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn which_files_stay_out() {
        let check = |patterns: &str, out: &[&str], stay: &[&str]| {
            let ignored = Ignored::read(patterns);
            out.iter()
                .for_each(|path| assert!(ignored.leaves_out(path), "{patterns:?} leaves out {path}"));
            stay.iter()
                .for_each(|path| assert!(!ignored.leaves_out(path), "{patterns:?} keeps {path}"));
        };
        check("", &[], &["a", "a/b"]);
        check(
            "# all\nnode_modules\n",
            &["node_modules", "node_modules/x/y"],
            &["src/node_modules", "node_modules2"],
        );
        check("**/node_modules", &["node_modules/x", "a/b/node_modules/c"], &["a/modules"]);
        check("*.log\n!keep.log", &["a.log"], &["keep.log", "dir/a.log"]);
        check("**/*.log", &["a.log", "dir/deep/a.log"], &["a.log2"]);
        check("*\n!src\n!Cargo.toml", &["x", "target/debug"], &["src/main.rs", "Cargo.toml"]);
        check("/secret\n./also/", &["secret", "also/x"], &["a/secret"]);
        check("docs/*\n!docs/README.md", &["docs/a", "docs/b/c"], &["docs/README.md", "docs"]);
        check("file?.[ab]", &["file1.a"], &["file12.a", "file1.c"]);
        check("a[^0-9]", &["ax"], &["a1"]);
        check("[", &[], &["["]);
        check(&format!("{}b\nc", "a\n".repeat(99)), &["a", "b"], &["c"]);
        let long = "x".repeat(MAX_PATTERN + 1);
        check(&long, &[], &[&long]);
        check("\\#odd", &["#odd"], &[]);
    }

    proptest! {
        #[test]
        fn any_file_is_read(text in "(\\PC|\\*\\*?|/|!|\\[|\\]|\\\\|\n){0,80}", path in "[a-z./]{0,20}") {
            Ignored::read(&text).leaves_out(&path);
        }
    }
}
