//! What may be built in: the bans of deny.toml, kept without cargo-deny, which a bare machine does not have.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde::Deserialize;

#[derive(Deserialize)]
struct Deny {
    bans: Bans,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    /// `NAME`, or `NAME:<VERSION`.
    #[serde(rename = "crate")]
    spec: String,
    reason: String,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    source: Option<String>,
}

#[test]
fn nothing_banned_is_built_in() {
    let deny: Deny = read("deny.toml");
    let built = built();
    let mut found = BTreeSet::new();
    for ban in &deny.bans.deny {
        let (name, floor) = ban
            .spec
            .split_once(":<")
            .map_or((ban.spec.as_str(), None), |(name, floor)| (name, Some(floor)));
        let banned = |(package, number): &&(String, String)| package == name && floor.is_none_or(|floor| version(number) < version(floor));
        found.extend(
            built
                .iter()
                .filter(banned)
                .map(|(package, number)| format!("{package} {number}: {}", ban.reason)),
        );
    }
    assert!(found.is_empty(), "deny.toml bans what is built in: {found:#?}");
    assert!(built.len() > 50, "the tree of dependencies was not understood: {built:?}");
}

#[test]
fn everything_comes_from_the_one_registry() {
    let lock: Lock = read("Cargo.lock");
    let others = lock
        .package
        .iter()
        .filter(|package| package.source.as_ref().is_some_and(|source| !source.starts_with("registry+")));
    let others: Vec<&str> = others.map(|package| package.name.as_str()).collect();
    assert!(
        others.is_empty(),
        "a git source can change under us and cannot be mirrored: {others:?}"
    );
}

#[test]
fn versions_compare_as_numbers() {
    assert!(version("0.3.9") < version("0.3.47"));
    assert!(version("1.12.0-rc.1") <= version("1.12.0"));
    assert!(version("2.0.0+x") > version("1.99.99"));
}

/// Name and version of all that is built for this kind of machine with any feature on; Cargo.lock holds more.
fn built() -> BTreeSet<(String, String)> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args([
        "tree",
        "--locked",
        "--offline",
        "--all-features",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
    ]);
    let output = tree.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    let text = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs
        .filter_map(|(name, rest)| Some((name.to_owned(), rest.strip_prefix('v')?.split(' ').next()?.to_owned())))
        .collect()
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("it can be read");
    toml::from_str(&text).expect("it is TOML of that shape")
}

/// The three numbers of a version; what follows them is left out.
fn version(text: &str) -> Vec<u64> {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    numbers
        .split('.')
        .map(|number| number.parse().expect("a version is numbers"))
        .collect()
}
