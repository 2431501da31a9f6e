//! Every security rule has its test, from outside: the table in `tests/README.md` is whole, and what it names is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Where tests are that know the real binary alone.
const OUTSIDE: [&str; 2] = ["tests/doors/", "tests/e2e/"];

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

/// Whether a test says by its name that it shows a rule: `HOST-2` in `host_2_and_6_…`, and `HOST-6` too.
fn is_named_by(test: &str, id: &str) -> bool {
    if test.contains(id) {
        return true;
    }
    let id = id.to_lowercase();
    let words: Vec<&str> = test.split('_').collect();
    let mut area = "";
    words.windows(2).any(|pair| {
        if pair[1].parse::<u8>().is_err() {
            return false;
        }
        if pair[0] != "and" {
            area = pair[0];
        }
        format!("{area}-{}", pair[1]) == id
    })
}

#[test]
fn names_of_tests_say_which_rules_they_show() {
    for id in ["HOST-2", "HOST-6", "DOM-1"] {
        assert!(is_named_by("host_2_and_6_and_dom_1_one_spelling", id), "{id}");
    }
    for (test, id) in [
        ("host_2_and_6_and_dom_1_one_spelling", "DOM-2"),
        ("host_2_and_6_and_dom_1_one_spelling", "DOM-6"),
        ("host_21_and_more", "HOST-2"),
        ("every_host_2", "POST-2"),
    ] {
        assert!(!is_named_by(test, id), "{test} {id}");
    }
}

#[test]
fn every_row_names_tests_that_are_there_and_one_by_its_rule() {
    for (id, _, shown) in rows() {
        let tests: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        let tests = tests.into_iter().map(|test| {
            let parts = test.split_once(' ');
            parts.unwrap_or_else(|| panic!("{id}: {test} is no file with a test"))
        });
        for (file, name) in tests.clone() {
            assert!(is_there(file, name), "{id}: {file} has no test {name}");
        }
        let from_outside = |file: &str| OUTSIDE.iter().any(|place| file.starts_with(place));
        assert!(
            tests.clone().any(|(file, name)| from_outside(file) && is_named_by(name, &id)),
            "{id} names no test from outside that is named by it"
        );
    }
}
