//! What may stand for a git repository and for a place in one.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// Longest URL or path in bytes.
const MAX_BYTES: usize = 2048;
/// Longest name of a directory, so that a terminal's prompt has room.
const MAX_DIRECTORY: usize = 100;
/// Longest reference in bytes; git's own limit is a file name's 255.
const MAX_REFERENCE_BYTES: usize = 250;

/// Where a repository is cloned from: a URL of `https`, `http` or `ssh`, git's short form `user@host:path`, a `file` URL
/// or an absolute path. Never a transport helper (`ext::`), an option, or anything with a password in it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RepositorySource {
    text: String,
    kind: RepositoryKind,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RepositoryKind {
    Http,
    Ssh,
    /// `file://` and an absolute path.
    File,
    /// An absolute path.
    Path,
}

/// A branch, a tag, a full reference or a commit; never an option or a revision expression.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Reference(String);

impl RepositorySource {
    /// The URL or path, as git takes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn kind(&self) -> RepositoryKind {
        self.kind
    }

    /// Whether it names something on the gateway's or agent's own disk, which only admins may.
    pub fn is_local(&self) -> bool {
        self.local_path().is_some()
    }

    /// The path on disk, if it names one.
    pub fn local_path(&self) -> Option<&str> {
        match self.kind {
            RepositoryKind::Path => Some(&self.text),
            RepositoryKind::File => self.text.strip_prefix("file://"),
            RepositoryKind::Http | RepositoryKind::Ssh => None,
        }
    }

    /// The last word of the path without `.git`, for people: `portico` of `https://host/team/portico.git`.
    pub fn short_name(&self) -> &str {
        let path = self.text.trim_end_matches('/');
        let last = path.rsplit(['/', ':']).next().unwrap_or(path);
        last.strip_suffix(".git").filter(|name| !name.is_empty()).unwrap_or(last)
    }
}

impl RepositorySource {
    /// Which repository it is, however it is written: scheme and host as everybody writes them, no usual port, no `.git` and
    /// no `/` at the end, git's short form as `ssh`, a path as `file`. The user of a web server is left out: what is there is
    /// the same for all.
    pub fn canon(&self) -> String {
        let Some(path) = self.local_path() else {
            let (scheme, authority, path) = self.parts();
            let (user, host) = authority
                .rsplit_once('@')
                .map_or((None, authority), |(user, host)| (Some(user), host));
            let host = host.to_ascii_lowercase();
            let usual = [("https", ":443"), ("http", ":80"), ("ssh", ":22")];
            let usual = usual.iter().find(|(of, _)| *of == scheme).map_or("", |(_, port)| *port);
            let host = host.strip_suffix(usual).unwrap_or(&host);
            let user = user.filter(|_| self.kind == RepositoryKind::Ssh).map(|user| format!("{user}@"));
            return format!("{scheme}://{}{host}/{}", user.unwrap_or_default(), bare(path));
        };
        format!("file:///{}", bare(path))
    }

    /// The same, unless the user of a web server stands in it, who could as well be a token.
    pub fn without_user(self) -> Result<Self, RepositoryError> {
        match self.kind {
            RepositoryKind::Http if self.parts().1.contains('@') => Err(RepositoryError::User),
            _ => Ok(self),
        }
    }

    /// Scheme, authority and path of what is elsewhere.
    fn parts(&self) -> (&str, &str, &str) {
        match self.text.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                (scheme, authority, path)
            }
            None => {
                let (authority, path) = self.text.split_once(':').unwrap_or((self.text.as_str(), ""));
                ("ssh", authority, path)
            }
        }
    }

    /// The short name as the name of a directory: letters, digits, `.`, `_` and `-` alone.
    pub fn directory_name(&self) -> String {
        let plain = |char: char| {
            if char.is_ascii_alphanumeric() || "._-".contains(char) {
                char
            } else {
                '-'
            }
        };
        let name: String = self.short_name().chars().map(plain).take(MAX_DIRECTORY).collect();
        let says_something = name.chars().any(|char| char.is_ascii_alphanumeric());
        if says_something { name } else { "workspace".into() }
    }
}

impl FromStr for RepositorySource {
    type Err = RepositoryError;

    fn from_str(text: &str) -> Result<Self, RepositoryError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(RepositoryError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(RepositoryError::TooLong);
        }
        if text.starts_with('-') || text.chars().any(char::is_control) {
            return Err(RepositoryError::Shape);
        }
        let kind = kind_of(text)?;
        if kind != RepositoryKind::Path && text.contains(char::is_whitespace) {
            return Err(RepositoryError::Shape);
        }
        let text = if text.len() > 1 { text.trim_end_matches('/') } else { text };
        Ok(Self { text: text.into(), kind })
    }
}

impl fmt::Display for RepositorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn bare(path: &str) -> &str {
    let path = path.trim_matches('/');
    path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/')
}

/// Decides what kind of source a text is, scheme by scheme; what is not known is refused.
fn kind_of(text: &str) -> Result<RepositoryKind, RepositoryError> {
    if text.starts_with('/') {
        return Ok(RepositoryKind::Path);
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return match scheme {
            "https" | "http" => authority_and_path(rest).map(|()| RepositoryKind::Http),
            "ssh" => authority_and_path(rest).map(|()| RepositoryKind::Ssh),
            "file" if rest.starts_with('/') => Ok(RepositoryKind::File),
            "file" => Err(RepositoryError::Shape),
            _ => Err(RepositoryError::Scheme),
        };
    }
    if text.contains("::") {
        return Err(RepositoryError::Scheme);
    }
    match text.split_once(':') {
        Some((host, path)) if !host.contains('/') && !path.is_empty() && !path.starts_with('-') => {
            let (user, host) = host.split_once('@').unwrap_or(("git", host));
            if user.is_empty() || user.starts_with('-') || !is_host(host) {
                return Err(RepositoryError::Shape);
            }
            Ok(RepositoryKind::Ssh)
        }
        _ if text.starts_with('.') || text.starts_with('~') => Err(RepositoryError::Relative),
        _ => Err(RepositoryError::Shape),
    }
}

/// Checks `[user@]host[:port]/path`.
fn authority_and_path(rest: &str) -> Result<(), RepositoryError> {
    let (authority, path) = rest.split_once('/').ok_or(RepositoryError::Shape)?;
    let host = match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => return Err(RepositoryError::Password),
        Some((user, _)) if user.is_empty() || user.starts_with('-') => return Err(RepositoryError::Shape),
        Some((_, host)) => host,
        None => authority,
    };
    let host = match host.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    if path.trim_matches('/').is_empty() || !is_host(host) {
        return Err(RepositoryError::Shape);
    }
    Ok(())
}

/// Whether a text can be a host: a name, an IPv4 address or a bracketed IPv6 address.
fn is_host(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner {
        Some(address) => !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)),
        None => {
            !host.is_empty() && !host.starts_with('-') && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    }
}

/// Why a text is no repository to clone from; `Display` is for the user.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RepositoryError {
    #[error("name a repository: a URL such as https://github.com/owner/project, or an absolute path")]
    Empty,
    #[error("a repository's URL has at most {MAX_BYTES} characters")]
    TooLong,
    #[error("this is no repository's URL. Use https://HOST/PATH, ssh://HOST/PATH, user@HOST:PATH or an absolute path")]
    Shape,
    #[error("repositories are cloned over https, http or ssh only")]
    Scheme,
    #[error("write the whole path of a local repository, beginning with /")]
    Relative,
    #[error("leave the password out of the repository's URL: it would be stored and shown")]
    Password,
    #[error(
        "leave the user out of the repository's URL: it could be a token, and would be shown. Keep who you are at that server under Git servers in the settings, or with: portico git-credential set"
    )]
    User,
}

impl Reference {
    /// The reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Checks the rules of git-check-ref-format(1), so that no text can be an option or a revision expression.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"~^:?*[\\".contains(c);
        let whole = !text.is_empty() && text.len() <= MAX_REFERENCE_BYTES && text.chars().all(plain);
        let parts = text
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"));
        let odd = text.starts_with('-') || text.ends_with('.') || text.contains("..") || text.contains("@{") || text == "@";
        if whole && parts && !odd {
            Ok(Self(text.into()))
        } else {
            Err(ReferenceError)
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no branch, tag or commit.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("this is no branch, tag or commit. Use a name such as main, v1.2 or a commit's hash")]
pub struct ReferenceError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        #[track_caller]
        fn check(text: &str, expected: Result<(RepositoryKind, &str), RepositoryError>) {
            let source = text.parse::<RepositorySource>();
            let found = source
                .as_ref()
                .map(|source| (source.kind(), source.short_name()))
                .map_err(|error| *error);
            assert_eq!(found, expected, "{text:?}");
        }
        use RepositoryKind::{File, Http, Path, Ssh};
        check("https://github.com/owner/project", Ok((Http, "project")));
        check(" https://github.com/owner/project.git/ ", Ok((Http, "project")));
        check("http://127.0.0.1:8080/x.git", Ok((Http, "x")));
        check("https://git@[::1]:8080/x", Ok((Http, "x")));
        check("ssh://git@host:22/team/x.git", Ok((Ssh, "x")));
        check("git@github.com:owner/x.git", Ok((Ssh, "x")));
        check("host:x", Ok((Ssh, "x")));
        check("file:///srv/git/x.git", Ok((File, "x")));
        check("/srv/git/my project", Ok((Path, "my project")));
        check("", Err(RepositoryError::Empty));
        check("ext::sh -c id", Err(RepositoryError::Scheme));
        check("git://host/x", Err(RepositoryError::Scheme));
        check("ftp://host/x", Err(RepositoryError::Scheme));
        check("https://u:p@host/x", Err(RepositoryError::Password));
        check("../x", Err(RepositoryError::Relative));
        check("~/x", Err(RepositoryError::Relative));
        for bad in [
            "--upload-pack=id",
            "-oProxyCommand=id:x",
            "ssh://-oProxyCommand=id/x",
            "git@-oProxyCommand=id:x",
            "https://host",
            "https://host/",
            "https:///x",
            "https://ho st/x",
            "https://host/a b",
            "file://host/x",
            "owner/project",
            "https://host/a\nb",
        ] {
            check(bad, Err(RepositoryError::Shape));
        }
        check(&format!("https://host/{}", "a".repeat(3000)), Err(RepositoryError::TooLong));
    }

    #[test]
    fn one_repository_is_written_in_many_ways() {
        let canon = |text: &str| text.parse::<RepositorySource>().expect("a source").canon();
        for (canonical, others) in [
            (
                "https://github.com/Owner/x",
                &[
                    "https://GitHub.com/Owner/x.git",
                    "https://github.com:443/Owner/x/",
                    "https://ada@github.com/Owner/x.git/",
                ][..],
            ),
            (
                "ssh://git@github.com/o/x",
                &["git@github.com:o/x.git", "git@GITHUB.com:/o/x", "ssh://git@github.com:22/o/x.git"],
            ),
            ("http://[::1]:443/x", &["http://[::1]:443/x.git"]),
            ("file:///srv/x", &["/srv/x.git/", "file:///srv/x"]),
        ] {
            assert_eq!(canon(canonical), canonical);
            for other in others {
                assert_eq!(canon(other), canonical, "{other:?}");
            }
        }
        let different = [
            "https://github.com/owner/x",
            "http://github.com/Owner/x",
            "https://github.com:8443/Owner/x",
            "https://github.com.evil.org/Owner/x",
            "https://github.com/Owner/x.git.git",
            "https://evil.org/github.com/Owner/x",
            "ssh://git@github.com/Owner/x",
            "eve@github.com:Owner/x",
        ];
        for other in different {
            assert_ne!(canon(other), "https://github.com/Owner/x", "{other:?}");
        }
        assert_ne!(canon("eve@github.com:o/x"), canon("git@github.com:o/x"));
    }

    #[test]
    fn a_user_of_a_web_server_may_be_a_token() {
        let check = |text: &str| text.parse::<RepositorySource>().expect("a source").without_user().map(drop);
        assert_eq!(check("https://ghp_0123@github.com/o/x"), Err(RepositoryError::User));
        for good in [
            "https://github.com/o/x@y",
            "git@github.com:o/x",
            "ssh://git@github.com/o/x",
            "/srv/a@b",
        ] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn directories() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let source: RepositorySource = text.parse().expect("a source");
            assert_eq!(source.directory_name(), expected, "{text:?}");
        }
        check("https://host/team/.github", ".github");
        check("/srv/git/my project", "my-project");
        check("https://host/caf\u{e9}", "caf-");
        check("https://host/\u{e9}", "workspace");
        check("/srv/..", "workspace");
        check("/", "workspace");
        check(&format!("https://host/{}", "a".repeat(300)), &"a".repeat(100));
    }

    #[test]
    fn references() {
        for good in [
            "main",
            "feature/x-1",
            "v1.2.3",
            "refs/heads/main",
            "0123456789abcdef0123456789abcdef01234567",
            "caf\u{e9}",
        ] {
            assert_eq!(
                good.parse::<Reference>().map(|reference| reference.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "", "-x", "a b", "a..b", "a:b", "a^", "a~1", "@", "a@{1}", "/a", "a/", "a//b", ".a", "a.lock", "a\n", "a*",
        ] {
            assert_eq!(bad.parse::<Reference>(), Err(ReferenceError), "{bad:?}");
        }
    }
}
