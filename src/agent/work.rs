//! Whether there is work in the codespace that nobody else has yet.
//!
//! Owns the question to git and the reading of its answer. Refuses to judge it.

use std::time::Duration;

use serde::Serialize;

use super::git::Git;

/// How long git may take for each question.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state of the checked-out repository.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Work {
    pub branch: Option<String>,
    pub head: Option<String>,
    pub uncommitted_files: u64,
    /// Commits on any branch that no remote has.
    pub unpushed_commits: u64,
    pub has_upstream: bool,
    /// Whether there is a repository at all.
    pub repository: bool,
}

/// Asks git.
pub async fn look(git: &Git) -> Work {
    let status = ["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal"];
    let Ok(text) = git.run(&status, Some(PATIENCE)).await else {
        return Work::default();
    };
    let mut work = read(&text);
    let mut unpushed = vec!["rev-list", "--count"];
    if work.head.is_some() {
        unpushed.push("HEAD");
    }
    unpushed.extend(["--branches", "--not", "--remotes"]);
    let count = git.run(&unpushed, Some(PATIENCE)).await.ok();
    work.unpushed_commits = count.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    work
}

/// Reads `git status --porcelain=v2 --branch -z`.
fn read(text: &str) -> Work {
    let mut work = Work {
        repository: true,
        ..Work::default()
    };
    let mut entries = text.split('\0');
    while let Some(entry) = entries.next() {
        match entry.split_once(' ') {
            Some(("#", header)) => match header.split_once(' ') {
                Some(("branch.oid", id)) if id != "(initial)" => work.head = Some(id.into()),
                Some(("branch.head", name)) if name != "(detached)" => work.branch = Some(name.into()),
                Some(("branch.upstream", _)) => work.has_upstream = true,
                _ => {}
            },
            Some((kind @ ("1" | "2" | "u" | "?"), _)) => {
                work.uncommitted_files += 1;
                // A renamed file's old name is an entry of its own.
                if kind == "2" {
                    entries.next();
                }
            }
            _ => {}
        }
    }
    work
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read() {
        let text = "# branch.oid abc\0# branch.head main\0# branch.upstream origin/main\0# branch.ab +1 -0\0\
                    1 .M N... 100644 100644 100644 a b file\x002 R. N... 100644 100644 100644 a b R100 new name\0old name\0? x\0";
        let expected = Work {
            branch: Some("main".into()),
            head: Some("abc".into()),
            uncommitted_files: 3,
            unpushed_commits: 0,
            has_upstream: true,
            repository: true,
        };
        assert_eq!(read(text), expected);
        let empty = read("# branch.oid (initial)\0# branch.head main\0");
        assert_eq!(
            empty,
            Work {
                branch: Some("main".into()),
                repository: true,
                ..Work::default()
            }
        );
    }
}
