//! Where a repository may be fetched from.
//!
//! Owns the grammar of repository addresses; pure. Refuses helpers that run programs (`ext::`), what git would take
//! for an option, and addresses that carry a password.

use thiserror::Error;

/// Longest address in bytes.
const MAX_LENGTH: usize = 2048;

/// An address that git may be given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    url: String,
    /// What `GIT_ALLOW_PROTOCOL` is set to.
    protocols: &'static str,
}

/// Why an address is refused.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SourceError {
    #[error("the repository's address is empty, too long, or has characters that no address has")]
    Malformed,
    #[error("the repository's address must not hold a user name or password; git asks for them when they are needed")]
    Credentials,
    #[error("only an administrator may open a repository from a path on this machine")]
    Local,
    #[error("repositories can be fetched over https, http and ssh; write https://HOST/PATH or git@HOST:PATH")]
    Protocol,
}

impl Source {
    /// Parses an address; `allow_local` lets `file:` URLs and absolute paths in.
    pub fn parse(text: &str, allow_local: bool) -> Result<Self, SourceError> {
        let local = text.starts_with('/') || text.starts_with("file:");
        let odd = |c: char| c.is_control() || (!local && c.is_whitespace());
        if text.is_empty() || text.len() > MAX_LENGTH || text.starts_with('-') || text.contains(odd) {
            return Err(SourceError::Malformed);
        }
        let protocols = if local {
            Self::local(text, allow_local)?
        } else {
            Self::remote(text)?
        };
        Ok(Self {
            url: text.into(),
            protocols,
        })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The protocols that git may use for it, as `GIT_ALLOW_PROTOCOL` takes them.
    pub fn protocols(&self) -> &'static str {
        self.protocols
    }

    /// The directory of a local repository.
    pub fn local_path(&self) -> Option<&str> {
        (self.protocols == "file").then(|| self.url.strip_prefix("file://").unwrap_or(&self.url))
    }

    /// The machine it is fetched from; empty for this one.
    pub fn host(&self) -> &str {
        let authority = match self.url.split_once("://") {
            Some((_, rest)) => rest.split('/').next(),
            None if self.protocols == "file" => None,
            None => self.url.split(':').next(),
        };
        authority.unwrap_or_default().rsplit('@').next().unwrap_or_default()
    }

    fn local(text: &str, allow_local: bool) -> Result<&'static str, SourceError> {
        match text.strip_prefix("file:") {
            _ if !allow_local => Err(SourceError::Local),
            None => Ok("file"),
            Some(rest) if rest.starts_with("///") && rest.len() > 3 => Ok("file"),
            Some(_) => Err(SourceError::Malformed),
        }
    }

    fn remote(text: &str) -> Result<&'static str, SourceError> {
        let (authority, path) = match text.split_once("://") {
            Some(("https", rest)) => return web(rest).map(|()| "https"),
            Some(("http", rest)) => return web(rest).map(|()| "http:https"),
            Some(("ssh", rest)) => rest.split_once('/').ok_or(SourceError::Malformed)?,
            Some(_) => return Err(SourceError::Protocol),
            None => text.split_once(':').ok_or(SourceError::Protocol)?,
        };
        if path.starts_with(':') || authority.contains('/') {
            return Err(SourceError::Protocol);
        }
        shell(authority)?;
        if path.is_empty() || path.starts_with('-') {
            Err(SourceError::Malformed)
        } else {
            Ok("ssh")
        }
    }
}

fn web(rest: &str) -> Result<(), SourceError> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(SourceError::Credentials);
    }
    machine(authority)
}

fn shell(authority: &str) -> Result<(), SourceError> {
    let Some((user, host)) = authority.rsplit_once('@') else {
        return machine(authority);
    };
    if user.contains(':') {
        return Err(SourceError::Credentials);
    }
    let sound = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if user.is_empty() || user.starts_with('-') || !user.chars().all(sound) {
        return Err(SourceError::Malformed);
    }
    machine(host)
}

fn machine(authority: &str) -> Result<(), SourceError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    let whole = authority.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') && authority.chars().all(fits);
    if whole { Ok(()) } else { Err(SourceError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed() {
        let check = |text: &str, allow_local, expected: Result<&'static str, SourceError>| {
            assert_eq!(
                Source::parse(text, allow_local).map(|source| source.protocols()),
                expected,
                "{text:?}"
            );
        };
        for local in [false, true] {
            check("https://example.com/a/b.git", local, Ok("https"));
            check("http://localhost:3000/a", local, Ok("http:https"));
            check("ssh://git@example.com:22/a/b", local, Ok("ssh"));
            check("git@example.com:a/b.git", local, Ok("ssh"));
            check("example.com:a/b.git", local, Ok("ssh"));
            check("https://user@example.com/a", local, Err(SourceError::Credentials));
            check("https://user:word@example.com/a", local, Err(SourceError::Credentials));
            check("ssh://user:word@example.com/a", local, Err(SourceError::Credentials));
            check("ext::sh -c x", local, Err(SourceError::Malformed));
            check("ext::sh", local, Err(SourceError::Protocol));
            check("fd::17", local, Err(SourceError::Protocol));
            check("git://example.com/a", local, Err(SourceError::Protocol));
            check("example.com/a/b", local, Err(SourceError::Protocol));
            check("../a", local, Err(SourceError::Protocol));
            check("--upload-pack=x", local, Err(SourceError::Malformed));
            check("ssh://-oProxyCommand=x/a", local, Err(SourceError::Malformed));
            check("a@-oProxyCommand=x:a", local, Err(SourceError::Malformed));
            check("git@example.com:-x", local, Err(SourceError::Malformed));
            check("https://example.com/\n", local, Err(SourceError::Malformed));
            check("https:///a", local, Err(SourceError::Malformed));
            check(
                "file://host/a",
                local,
                Err(if local { SourceError::Malformed } else { SourceError::Local }),
            );
            check("", local, Err(SourceError::Malformed));
        }
        check("/srv/a b", true, Ok("file"));
        check("/srv/a", false, Err(SourceError::Local));
        check("file:///srv/a", true, Ok("file"));
        check("file:///srv/a", false, Err(SourceError::Local));
    }

    #[test]
    fn hosts_are_named() {
        let check = |text: &str, host: &str| assert_eq!(Source::parse(text, true).expect("parses").host(), host, "{text:?}");
        check("https://example.com/a", "example.com");
        check("git@example.com:a", "example.com");
        check("ssh://git@example.com/a", "example.com");
        check("/srv/a", "");
    }
}
