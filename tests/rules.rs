//! Every security rule has its test: the table in `tests/README.md` is whole, and what it names is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rules, with a word about each, from `tests/rules.txt`.
fn rules() -> BTreeMap<String, String> {
    let text = read("tests/rules.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let rules = lines.map(|line| line.split_once(' ').unwrap_or_else(|| panic!("no word about {line}")));
    rules.map(|(id, word)| (id.to_owned(), word.trim().to_owned())).collect()
}

/// The table's rows: id, word, what shows it.
fn rows() -> Vec<(String, String, String)> {
    let text = read("tests/README.md");
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = cells.map(|cells| cells.split(" | ").map(str::trim).collect::<Vec<_>>());
    let rows =
        rows.filter(|cells| cells.len() == 3 && cells[0].contains('-') && cells[0].starts_with(|first: char| first.is_ascii_uppercase()));
    rows.map(|cells| (cells[0].into(), cells[1].into(), cells[2].into())).collect()
}

/// Whether a test of that name is in that file.
fn is_there(file: &str, test: &str) -> bool {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let Ok(text) = fs::read_to_string(path) else { return false };
    if !file.ends_with(".rs") {
        return text.contains(test);
    }
    let Some(at) = text.find(&format!("fn {test}(")) else {
        return false;
    };
    // An attribute stands right above it, or a macro makes tests of a list of names.
    let above: Vec<&str> = text[..at].lines().rev().take(4).collect();
    let listed = text.matches(test).count() > 1;
    (listed || above.iter().any(|line| line.contains("test]") || line.contains("::test(")))
        && !above.iter().any(|line| line.contains("#[ignore"))
}

#[test]
fn every_rule_has_a_row_and_every_row_a_rule() {
    let rules = rules();
    let rows = rows();
    let ids: BTreeSet<&str> = rows.iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(ids.len(), rows.len(), "a rule stands twice in tests/README.md");
    for (id, word) in &rules {
        let row = rows.iter().find(|(found, ..)| found == id);
        let (_, said, _) = row.unwrap_or_else(|| panic!("{id} has no row in tests/README.md"));
        assert_eq!(said, word, "{id}");
    }
    for id in ids {
        assert!(rules.contains_key(id), "{id} is no rule of tests/rules.txt");
    }
}

#[test]
fn every_row_names_tests_that_are_there_or_says_why_not() {
    for (id, _, shown) in rows() {
        if let Some(reason) = shown.strip_prefix("Not yet: ") {
            assert!(reason.len() > 20, "{id}: {reason}");
            continue;
        }
        let tests: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{id} names no test");
        for test in tests {
            let (file, name) = test
                .split_once(' ')
                .unwrap_or_else(|| panic!("{id}: {test} is no file with a test"));
            assert!(is_there(file, name), "{id}: {file} has no test {name}");
        }
    }
}
