//! What a remote repository offers, and which of it was asked for.
//!
//! Owns the reading of `git ls-remote` and the choice between branch, tag, commit and pull request; pure.

use thiserror::Error;

/// How many refs an error names.
const NAMED: usize = 5;

/// What a remote repository offers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Refs {
    /// The branch that HEAD names.
    pub default: Option<String>,
    /// Full names and object ids.
    all: Vec<(String, String)>,
}

/// What to check out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    Branch(String),
    Tag(String),
    /// A full object id.
    Commit(String),
    /// An abbreviated object id that no tip begins with.
    Abbreviated(String),
    /// The number and the full name of its ref.
    PullRequest(u64, String),
    /// There is nothing yet.
    Empty,
}

/// What was asked for is not there.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Missing {
    #[error("the repository has no branch, tag or commit {wanted}; {there}")]
    Reference { wanted: String, there: String },
    #[error("the repository has no pull request {0}")]
    PullRequest(u64),
}

impl Refs {
    /// Reads the output of `git ls-remote --symref`; names that git would not make are left out.
    pub fn read(text: &str) -> Self {
        let mut refs = Self::default();
        for line in text.lines() {
            match line.split_once('\t') {
                Some((symref, "HEAD")) if symref.starts_with("ref: refs/heads/") => {
                    refs.default = symref
                        .strip_prefix("ref: refs/heads/")
                        .filter(|name| is_sound(name))
                        .map(str::to_owned);
                }
                Some((id, name)) if is_id(id) && is_sound(name) => refs.all.push((name.into(), id.into())),
                _ => {}
            }
        }
        refs
    }

    /// Chooses what was asked for; a pull request before a reference, the default branch for neither.
    pub fn choose(&self, reference: Option<&str>, pull_request: Option<u64>) -> Result<Target, Missing> {
        if let Some(number) = pull_request {
            let names = [format!("refs/pull/{number}/head"), format!("refs/merge-requests/{number}/head")];
            let found = names.into_iter().find(|name| self.has(name));
            return found
                .map(|name| Target::PullRequest(number, name))
                .ok_or(Missing::PullRequest(number));
        }
        let Some(wanted) = reference.filter(|reference| !reference.is_empty()) else {
            return Ok(self.head());
        };
        let branch = wanted.strip_prefix("refs/heads/").unwrap_or(wanted);
        let tag = wanted.strip_prefix("refs/tags/").unwrap_or(wanted);
        if self.has(&format!("refs/heads/{branch}")) {
            return Ok(Target::Branch(branch.into()));
        }
        if self.has(&format!("refs/tags/{tag}")) {
            return Ok(Target::Tag(tag.into()));
        }
        self.commit(&wanted.to_ascii_lowercase()).ok_or_else(|| self.missing(wanted))
    }

    /// The error for a reference that is not there, naming some that are.
    pub fn missing(&self, wanted: &str) -> Missing {
        let short = |(name, _): &'_ (String, String)| {
            name.strip_prefix("refs/heads/")
                .or_else(|| name.strip_prefix("refs/tags/"))
                .map(str::to_owned)
        };
        let names: Vec<String> = self.all.iter().filter_map(short).collect();
        let more = if names.len() > NAMED { ", …" } else { "" };
        let there = match names.as_slice() {
            [] => "it is empty".to_owned(),
            names => format!("there are {}{more}", names[..names.len().min(NAMED)].join(", ")),
        };
        Missing::Reference {
            wanted: wanted.chars().filter(|c| !c.is_control()).take(200).collect(),
            there,
        }
    }

    fn commit(&self, id: &str) -> Option<Target> {
        if is_id(id) {
            return Some(Target::Commit(id.into()));
        }
        let abbreviated = (4..40).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && !self.all.is_empty();
        let tip = || {
            self.all
                .iter()
                .find(|(_, tip)| tip.starts_with(id))
                .map(|(_, tip)| Target::Commit(tip.clone()))
        };
        abbreviated.then(|| tip().unwrap_or_else(|| Target::Abbreviated(id.into())))
    }

    fn head(&self) -> Target {
        let branches = || self.all.iter().filter_map(|(name, _)| name.strip_prefix("refs/heads/"));
        let usual = |name: &&str| ["main", "master"].contains(name);
        let named = self.default.as_deref().filter(|name| self.has(&format!("refs/heads/{name}")));
        match named.or_else(|| branches().find(usual)).or_else(|| branches().next()) {
            Some(branch) => Target::Branch(branch.into()),
            None => self
                .all
                .iter()
                .find(|(name, _)| name == "HEAD")
                .map_or(Target::Empty, |(_, id)| Target::Commit(id.clone())),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.all.iter().any(|(known, _)| known == name)
    }
}

fn is_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// git-check-ref-format(1), as far as it matters on a command line; peeled tags (`^{}`) are left out by it too.
fn is_sound(name: &str) -> bool {
    let odd = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    !name.is_empty() && name.len() <= 512 && !name.starts_with('-') && !name.contains("..") && !name.contains("/-") && !name.contains(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_chosen() {
        let (a, b, upper) = ("a".repeat(40), "b".repeat(40), "C".repeat(40));
        let text = format!(
            "ref: refs/heads/trunk\tHEAD\n{a}\tHEAD\n{a}\trefs/heads/trunk\n{b}\trefs/heads/fix/one\n{a}\trefs/heads/-evil\n\
             {b}\trefs/tags/v1\n{a}\trefs/tags/v1^{{}}\n{b}\trefs/pull/7/head\n{a}\trefs/merge-requests/8/head\n"
        );
        let refs = Refs::read(&text);
        let check = |reference, pull, expected: Target| assert_eq!(refs.choose(reference, pull), Ok(expected));
        check(None, None, Target::Branch("trunk".into()));
        check(Some("fix/one"), None, Target::Branch("fix/one".into()));
        check(Some("refs/heads/fix/one"), None, Target::Branch("fix/one".into()));
        check(Some("v1"), None, Target::Tag("v1".into()));
        check(Some(&upper), None, Target::Commit("c".repeat(40)));
        check(Some("bbbb"), None, Target::Commit(b));
        check(Some("cccc"), None, Target::Abbreviated("cccc".into()));
        check(Some("trunk"), Some(7), Target::PullRequest(7, "refs/pull/7/head".into()));
        check(None, Some(8), Target::PullRequest(8, "refs/merge-requests/8/head".into()));
        assert_eq!(refs.choose(None, Some(9)), Err(Missing::PullRequest(9)));
        let missing = refs.choose(Some("-evil"), None).expect_err("is not there").to_string();
        assert_eq!(
            missing,
            "the repository has no branch, tag or commit -evil; there are trunk, fix/one, v1"
        );
        assert_eq!(Refs::read("").choose(None, None), Ok(Target::Empty));
        assert!(Refs::read("").choose(Some("main"), None).is_err());
    }
}
