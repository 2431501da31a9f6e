//! The source files as the rules see them: without comments, texts and inline tests.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

/// One file under `src/`.
pub struct Source {
    /// The path below `src/`, for instance `edge/proxy.rs`.
    pub path: String,
    /// Everything that is written in it.
    pub text: String,
    /// The code alone: comments and texts are blanked, lines keep their numbers, inline tests are cut off.
    pub code: String,
}

impl Source {
    /// The top-level module that the file belongs to; `lib` and `main` are their own.
    pub fn module(&self) -> &str {
        let end = self.path.find(['/', '.']).unwrap_or(self.path.len());
        &self.path[..end]
    }

    /// Whether the file holds tests alone.
    pub fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }

    /// The places, as `src/path:line`, where the code matches.
    pub fn places(&self, pattern: &Regex) -> Vec<String> {
        let at = |start| self.code[..start].matches('\n').count() + 1;
        pattern
            .find_iter(&self.code)
            .map(|found| format!("src/{}:{}", self.path, at(found.start())))
            .collect()
    }

    /// The modules of this crate that the code names through `crate::`, grouped imports included.
    pub fn named_modules(&self) -> BTreeSet<String> {
        static GROUP: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bcrate::\{").expect("a valid pattern"));
        static SINGLE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bcrate::([a-z_]+)").expect("a valid pattern"));
        let single = SINGLE.captures_iter(&self.code).map(|found| found[1].to_owned());
        let grouped = GROUP.find_iter(&self.code).flat_map(|found| group(&self.code[found.end()..]));
        single.chain(grouped).collect()
    }
}

/// All files under `src/`.
pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    files.iter().map(|file| read(&root, file)).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(root: &Path, file: &Path) -> Source {
    let text = fs::read_to_string(file).expect("a source file is UTF-8");
    let path = file
        .strip_prefix(root)
        .expect("it is below src")
        .to_str()
        .expect("a UTF-8 path")
        .to_owned();
    let blanked = blank(&text);
    let end = blanked.find("#[cfg(test)]\nmod tests {").unwrap_or(blanked.len());
    let code = blanked[..end].to_owned();
    Source { path, text, code }
}

/// The first names of a grouped import, given what follows its opening brace.
fn group(rest: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut names = vec![String::new()];
    for letter in rest.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            other if depth == 0 => names.last_mut().expect("there is one").push(other),
            _ => {}
        }
    }
    names
        .iter()
        .filter_map(|name| name.trim().split("::").next())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Blanks comments, texts and characters, so that a rule only meets code.
fn blank(text: &str) -> String {
    static SKIPPED: LazyLock<Regex> = LazyLock::new(|| {
        let comment = r"//[^\n]*|/\*(?s:.*?)\*/";
        let raw = r##"\bb?r#"(?s:.*?)"#|\bb?r"[^"]*""##;
        let plain = r#"b?"(?:\\(?s:.)|[^"\\])*""#;
        let character = r"b?'(?:\\[^']+|[^'\\\n])'";
        Regex::new(&format!("{comment}|{raw}|{plain}|{character}")).expect("a valid pattern")
    });
    SKIPPED
        .replace_all(text, |found: &regex::Captures<'_>| "\n".repeat(found[0].matches('\n').count()))
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left_and_lines_keep_their_numbers() {
        let text = "// crate::edge\nlet a = \"crate::edge // \\\" x\";\n/* crate::\nedge */ let c = '\"'; let d: &'a str; use crate::{api::{a, b}, auth};\nr#\"\ncrate::ops\"#;";
        let code = blank(text);
        assert_eq!(code.matches('\n').count(), text.matches('\n').count());
        assert!(!code.contains("edge") && !code.contains("ops"), "{code}");
        let source = Source {
            path: "x.rs".to_owned(),
            text: String::new(),
            code,
        };
        assert_eq!(source.named_modules().into_iter().collect::<Vec<_>>(), ["api", "auth"]);
    }
}
