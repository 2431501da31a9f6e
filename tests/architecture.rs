//! The rules of the house, read off the source; each failure says why the rule is there.

#[path = "architecture/source.rs"]
mod source;

use std::collections::BTreeSet;

use regex::Regex;
use source::{Source, sources};

/// The five that decide and never do.
const PURE: &[&str] = &["domain", "route", "policy", "lifecycle", "forward"];

/// Who may read the environment besides `config`, and why.
const ENVIRONMENT_READERS: &[(&str, &str)] = &[
    (
        "cli/",
        "looks for programs on the PATH and for a display, on behalf of the person who typed the command",
    ),
    (
        "agent/environment.rs",
        "hands the machine's own variables on to what runs inside a codespace",
    ),
    (
        "runtime/process/environment.rs",
        "hands the machine's own variables on to an agent, and no secret of the service",
    ),
];

/// The longest file, in lines; nine of ten should be below 450.
const LONGEST_FILE: usize = 600;

/// Names of rooms in which anything would fit.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc"];

#[test]
fn a_module_uses_only_those_above_it() {
    let layers = layers();
    let rank = |name: &str| layers.iter().position(|layer| layer == name);
    let mut found = BTreeSet::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let Some(own) = rank(source.module()) else { continue };
        for name in source.named_modules() {
            if rank(&name).is_some_and(|other| other > own) {
                found.insert(format!("src/{} names crate::{name}", source.path));
            }
        }
    }
    none(
        found,
        "modules that use each other in circles can only be read all at once; pass in what is needed, or move it up in src/lib.rs",
    );
}

#[test]
fn the_pure_five_do_nothing() {
    let reason = "decisions are pure functions over plain data, so that each rule is a table test and cannot wait, fail or look at a clock";
    forbid(
        &in_modules(PURE),
        r"\b(tokio|hyper|hyper_util|axum|tower|sqlx|async_trait)\b|\basync\b|\.await\b",
        reason,
    );
    forbid(
        &in_modules(PURE),
        r"\b(Instant|SystemTime)::now\b|\bnow_utc\b|\bnow_local\b|\.elapsed\(\)",
        "time is an argument, so that a test can choose it",
    );
    forbid(&in_modules(PURE), r"\bstd::(fs|net::Tcp|net::Udp|process|thread|env)\b", reason);
    forbid_modules(PURE, &["store", "runtime"], reason);
    forbid(
        &in_modules(&["domain"]),
        r"\bserde\b",
        "the words of the house are not a wire format: wire, API and storage types are types of their own",
    );
}

#[test]
fn store_and_runtime_know_neither_http_nor_policy_nor_each_other() {
    let reason = "both stand behind a seam with several implementations; what they do must not depend on how a request came in";
    forbid(
        &in_modules(&["store", "runtime"]),
        r"\b(http|hyper|hyper_util|axum|http_body|http_body_util|tower_http)::",
        reason,
    );
    forbid_modules(
        &["store"],
        &["policy", "runtime", "edge", "api", "web", "auth", "codespace", "tunnel"],
        reason,
    );
    forbid_modules(
        &["runtime"],
        &["policy", "store", "edge", "api", "web", "auth", "codespace", "tunnel"],
        reason,
    );
}

#[test]
fn the_edge_reaches_store_and_runtime_only_through_services() {
    let reason = "a request is authorized from memory; the edge asks auth and codespace, which own what is stored and what runs";
    forbid_modules(&["edge"], &["store", "runtime"], reason);
    forbid_modules(
        &["api"],
        &["edge"],
        "the API is what the edge serves: if it knew the edge, neither could be read or tested alone",
    );
}

#[test]
fn the_agent_knows_nothing_of_the_gateway() {
    let reason = "the agent runs beside code that nobody trusts: what it does not know, it cannot give away";
    forbid_modules(
        &["agent"],
        &[
            "store",
            "auth",
            "edge",
            "api",
            "runtime",
            "codespace",
            "policy",
            "app",
            "config",
            "web",
        ],
        reason,
    );
}

#[test]
fn only_policy_makes_a_permit() {
    let reason = "a permit is the proof that policy was asked; whoever can make one can skip the question";
    let others: Vec<Source> = sources().into_iter().filter(|source| source.module() != "policy").collect();
    let made = Regex::new(r"(?:^|[^\w:>])(?:[\w:]+::)?Permit\s*(?:\{|\()").expect("a valid pattern");
    let named = Regex::new(r"(?:->|\b(?:for|impl|struct))\s*[\w:&']*Permit\s*\{$").expect("a valid pattern");
    let mut found = BTreeSet::new();
    for source in &others {
        for (index, line) in source.code.lines().enumerate() {
            if made.is_match(line) && !named.is_match(line.trim_end()) {
                found.insert(format!("src/{}:{}", source.path, index + 1));
            }
        }
    }
    none(found, reason);
    let open = in_modules(&["policy"]).iter().flat_map(open_permit).collect();
    none(open, "a permit with a public field can be made anywhere");
}

#[test]
fn only_forward_edits_proxied_headers() {
    let reason = "what crosses to an app and back is decided in one place, `forward`; the proxy only carries it (HDR-1 to HDR-8)";
    let edits = r"\bheaders(_mut\(\))?\s*\.\s*(insert|append|remove|entry|extend|clear|drain)\b";
    // The two fields that make a 101 are framing, which belongs to this connection and is never the app's.
    let framing = Regex::new(r"headers\.insert\(header::(CONNECTION|UPGRADE)\b").expect("a valid pattern");
    let mut proxies = sources();
    proxies.retain(|source| source.path.starts_with("edge/proxy") || source.path.starts_with("edge/upgrade"));
    for source in &mut proxies {
        source.code = framing.replace_all(&source.code, "").into_owned();
    }
    assert!(
        !proxies.is_empty(),
        "the proxy has moved: {edits} is looked for in edge/proxy and edge/upgrade"
    );
    forbid(&proxies, edits, reason);
}

#[test]
fn only_config_reads_the_environment() {
    let reason =
        "what the gateway does follows from one value, Config, which a test can make; variables read elsewhere work behind its back";
    let read = Regex::new(r"\benv::(var|vars|var_os|vars_os|set_var|remove_var)\b|\benv::\{").expect("a valid pattern");
    let excepted = |path: &str| ENVIRONMENT_READERS.iter().any(|(prefix, _)| path.starts_with(prefix));
    let others = sources()
        .into_iter()
        .filter(|source| source.module() != "config" && !excepted(&source.path) && !source.is_test());
    none(others.flat_map(|source| source.places(&read)).collect(), reason);
}

#[test]
fn files_have_honest_names_and_sizes() {
    let mut found = BTreeSet::new();
    for source in sources() {
        let stem = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        if stem == "mod" {
            found.insert(format!(
                "src/{}: foo.rs beside foo/, so that a tab and a search result say which file it is",
                source.path
            ));
        }
        if EMPTY_NAMES.contains(&stem) {
            found.insert(format!(
                "src/{}: anything would fit into a room of that name; name what it owns",
                source.path
            ));
        }
        let lines = source.text.lines().count();
        if lines > LONGEST_FILE {
            found.insert(format!(
                "src/{}: {lines} lines; a file is one concept, and above {LONGEST_FILE} lines it is several",
                source.path
            ));
        }
        if !source.text.starts_with("//!") && !source.is_test() {
            found.insert(format!("src/{}: its first line must say what it is (//!)", source.path));
        }
    }
    none(found, "a newcomer finds a file by its name and reads it in one sitting");
}

#[test]
fn every_layer_says_what_it_owns_and_refuses_to_know() {
    let layers = layers();
    let mut found = BTreeSet::new();
    for source in sources()
        .iter()
        .filter(|source| !source.path.contains('/') && layers.iter().any(|layer| layer == source.module()))
    {
        let doc: String = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        let doc = doc.to_lowercase();
        for word in ["owns", "refuses"] {
            if !doc.contains(word) {
                found.insert(format!("src/{}: its doc does not say what it {word}", source.path));
            }
        }
    }
    none(found, "a module's limits are written where the next change is made");
}

/// The modules in reading order, as `src/lib.rs` has them: one uses only those above it.
fn layers() -> Vec<String> {
    let all = sources();
    let front = all.iter().find(|source| source.path == "lib.rs").expect("there is a lib.rs");
    let declared = Regex::new(r"(?m)^(?:pub )?mod (\w+);").expect("a valid pattern");
    declared.captures_iter(&front.code).map(|found| found[1].to_owned()).collect()
}

/// The files of some modules, test files left out.
fn in_modules(modules: &[&str]) -> Vec<Source> {
    sources()
        .into_iter()
        .filter(|source| modules.contains(&source.module()) && !source.is_test())
        .collect()
}

#[track_caller]
fn forbid(files: &[Source], pattern: &str, reason: &str) {
    let pattern = Regex::new(pattern).expect("a valid pattern");
    none(files.iter().flat_map(|source| source.places(&pattern)).collect(), reason);
}

#[track_caller]
fn forbid_modules(modules: &[&str], forbidden: &[&str], reason: &str) {
    let mut found = BTreeSet::new();
    for source in in_modules(modules) {
        for name in source.named_modules().iter().filter(|name| forbidden.contains(&name.as_str())) {
            found.insert(format!("src/{} names crate::{name}", source.path));
        }
    }
    none(found, reason);
}

/// The public fields of the permit.
fn open_permit(source: &Source) -> Vec<String> {
    let pattern = Regex::new(r"(?s)struct Permit\s*(\{.*?\}|\(.*?\);)").expect("a valid pattern");
    let fields = pattern
        .captures_iter(&source.code)
        .filter(|found| Regex::new(r"\bpub\b").is_ok_and(|public| public.is_match(&found[1])));
    fields.map(|_| format!("src/{}", source.path)).collect()
}

#[track_caller]
fn none(found: BTreeSet<String>, reason: &str) {
    assert!(
        found.is_empty(),
        "{reason}:\n  {}\n",
        found.into_iter().collect::<Vec<_>>().join("\n  ")
    );
}
