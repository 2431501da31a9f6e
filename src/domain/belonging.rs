//! Words of what people keep for their codespaces: names of secrets, hosts of git, extensions of editors.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use thiserror::Error;

const MAX_NAME: usize = 100;
const MAX_HOST: usize = 253;
const MAX_EXTENSION: usize = 200;

/// Names that would break what runs inside, or that Portico sets itself.
const TAKEN: [&str; 18] = [
    "BASH_ENV",
    "CODESPACES",
    "CODESPACE_NAME",
    "ENV",
    "HOME",
    "HOSTNAME",
    "IFS",
    "LOGNAME",
    "OLDPWD",
    "PATH",
    "PWD",
    "SHELL",
    "SHELLOPTS",
    "SHLVL",
    "TERM",
    "TMPDIR",
    "USER",
    "UID",
];
/// Beginnings of such names.
const TAKEN_PREFIXES: [&str; 6] = ["PORTICO_", "LD_", "DYLD_", "VSCODE_", "GITHUB_CODESPACES_", "GIT_CONFIG_"];

/// The name of a secret: a variable's name that is a user's to choose.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SecretName(String);

/// Why a text is no name of a secret.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SecretNameError {
    #[error("a secret's name has letters, digits and _ alone, at most {MAX_NAME}, and does not begin with a digit")]
    Shape,
    #[error("that variable is not yours to set: Portico or the system uses it. Choose another name")]
    Taken,
}

impl SecretName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = SecretNameError;

    fn from_str(text: &str) -> Result<Self, SecretNameError> {
        let plain = text.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
        if text.is_empty() || text.len() > MAX_NAME || !plain || text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(SecretNameError::Shape);
        }
        let upper = text.to_ascii_uppercase();
        if TAKEN.contains(&upper.as_str()) || TAKEN_PREFIXES.iter().any(|prefix| upper.starts_with(prefix)) {
            return Err(SecretNameError::Taken);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A git server: scheme, host and port, all three compared exactly. `github.com` is `https://github.com`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GitHost {
    encrypted: bool,
    host: String,
    port: u16,
}

/// A text that names no git server.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("write a git server as HOST, https://HOST or http://HOST:PORT, without a path or a user name")]
pub struct GitHostError;

impl GitHost {
    /// From what git says of a server: `protocol` and `host`, which holds the port where there is one.
    pub fn from_git(protocol: &str, host: &str) -> Result<Self, GitHostError> {
        format!("{protocol}://{host}").parse()
    }

    /// Whether what is sent there is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }
}

impl FromStr for GitHost {
    type Err = GitHostError;

    fn from_str(text: &str) -> Result<Self, GitHostError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let encrypted = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(GitHostError),
        };
        let (host, port) = split_port(rest.strip_suffix('/').unwrap_or(rest))?;
        let port = match port {
            None => default_port(encrypted),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| GitHostError)?,
            Some(_) => return Err(GitHostError),
        };
        let host = host.to_ascii_lowercase();
        if port == 0 || !is_host(&host) {
            return Err(GitHostError);
        }
        Ok(Self { encrypted, host, port })
    }
}

impl fmt::Display for GitHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != default_port(self.encrypted) {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

fn default_port(encrypted: bool) -> u16 {
    if encrypted { 443 } else { 80 }
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), GitHostError> {
    if text.starts_with('[') {
        let end = text.find(']').ok_or(GitHostError)?;
        let (host, rest) = text.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(GitHostError),
        };
    }
    Ok(text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))))
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_');
    !host.is_empty() && host.len() <= MAX_HOST && host.chars().all(plain) && !host.starts_with(['.', '-'])
}

/// An extension of VS Code, as galleries name it: `publisher.name`, with `@version` where one is wanted.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ExtensionId(String);

/// A text that names no extension.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("write an extension as PUBLISHER.NAME, for instance rust-lang.rust-analyzer")]
pub struct ExtensionIdError;

impl FromStr for ExtensionId {
    type Err = ExtensionIdError;

    fn from_str(text: &str) -> Result<Self, ExtensionIdError> {
        let (id, version) = text.split_once('@').unwrap_or((text, "1"));
        let (publisher, name) = id.split_once('.').ok_or(ExtensionIdError)?;
        let word = |text: &str| {
            let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | '+');
            text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.chars().all(plain)
        };
        let fits = text.len() <= MAX_EXTENSION && word(publisher) && word(name) && word(version);
        fits.then(|| Self(text.into())).ok_or(ExtensionIdError)
    }
}

impl fmt::Display for ExtensionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_secrets() {
        for good in ["API_KEY", "_x", "a1", "GITHUB_TOKEN", "LDAP_URL", "PATHS", &"A".repeat(100)] {
            assert_eq!(good.parse::<SecretName>().map(|name| name.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", "1A", "A-B", "A B", "A=B", "Ä", "A\0", "A\n", &"A".repeat(101)] {
            assert_eq!(bad.parse::<SecretName>(), Err(SecretNameError::Shape), "{bad:?}");
        }
        for taken in [
            "PATH",
            "path",
            "HOME",
            "PORTICO_TOKEN",
            "LD_PRELOAD",
            "ld_library_path",
            "GIT_CONFIG_COUNT",
            "CODESPACES",
        ] {
            assert_eq!(taken.parse::<SecretName>(), Err(SecretNameError::Taken), "{taken}");
        }
    }

    #[test]
    fn hosts_of_git() {
        let check = |text: &str, shown: Option<&str>| {
            assert_eq!(
                text.parse::<GitHost>().ok().map(|host| host.to_string()).as_deref(),
                shown,
                "{text:?}"
            );
        };
        check("github.com", Some("https://github.com"));
        check("HTTPS://GitHub.com:443/", Some("https://github.com"));
        check("http://127.0.0.1:3000", Some("http://127.0.0.1:3000"));
        check("http://git.example:80", Some("http://git.example"));
        check("https://git.example:80", Some("https://git.example:80"));
        check("[::1]:8443", Some("https://[::1]:8443"));
        for bad in [
            "",
            "ssh://x",
            "https://",
            "a/b",
            "me@github.com",
            "x:0",
            "x:65536",
            "x:+1",
            "x:",
            "[::1",
            "[x]",
            "a b",
            "a\nb",
            "https://a\nhost=b",
            "*.x",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn extensions() {
        for good in ["rust-lang.rust-analyzer", "ms-python.python@2024.1.0", "a.b.c"] {
            assert_eq!(good.parse::<ExtensionId>().map(|id| id.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", "x", "-a.b", "a.-b", "a.b@", "a.b@-1", "/etc/x.vsix", "a.b c", "a.b\n"] {
            assert!(bad.parse::<ExtensionId>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn hosts_round_trip(text in "(https?://)?[a-zA-Z0-9.-]{1,20}(:[0-9]{1,5})?/?") {
            if let Ok(host) = text.parse::<GitHost>() {
                prop_assert_eq!(host.to_string().parse::<GitHost>(), Ok(host));
            }
        }
    }
}
