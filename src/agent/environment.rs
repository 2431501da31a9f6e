//! The environment of everything that runs inside a codespace.
//!
//! Owns which of the agent's own variables pass on. Refuses: the agent's credential and whatever else the gateway's
//! service manager happened to hold; what is not named here does not pass.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use super::{git_credentials, personal::Personal, serve::inside};
use crate::{
    devcontainer::expand_inside,
    domain::{GitHost, SecretName},
    protocol::bootstrap::{Bootstrap, JOIN_TOKEN, MARK_VARIABLE, PASSED_VARIABLES, SOCKET_VARIABLE},
};

/// Where programs are looked for when the agent itself has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables by name; given to programs in place of the agent's own environment.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    own: BTreeMap<OsString, OsString>,
    /// What the repository declares, known once it is checked out; none takes a variable away. Every clone sees it.
    declared: Arc<OnceLock<BTreeMap<OsString, Option<OsString>>>>,
    /// Stands above the user's secrets.
    added: BTreeMap<OsString, OsString>,
    /// Git's `credential.helper`.
    git_helper: OsString,
    personal: Personal,
}

impl Environment {
    /// Puts it together from this process's environment.
    pub fn of_agent(bootstrap: &Bootstrap) -> Self {
        Self::compose(std::env::vars_os(), bootstrap)
    }

    /// Puts it together from the agent's `own` variables and its orders.
    pub fn compose(own: impl IntoIterator<Item = (OsString, OsString)>, bootstrap: &Bootstrap) -> Self {
        let mut all: BTreeMap<OsString, OsString> = own
            .into_iter()
            .filter(|(name, _)| name != JOIN_TOKEN)
            .filter(|(name, _)| bootstrap.whole_environment || passes(&name.to_string_lossy()))
            .collect();
        all.insert("HOME".into(), bootstrap.home.clone().into());
        for (name, value) in &bootstrap.environment {
            if is_name(name) && !value.contains('\0') {
                all.insert(name.into(), value.into());
            }
        }
        if let Some(mark) = &bootstrap.mark {
            all.insert(MARK_VARIABLE.into(), mark.into());
        }
        all.insert(SOCKET_VARIABLE.into(), inside::socket(&bootstrap.state_dir).into());
        let mut path = OsString::from(programs(&bootstrap.state_dir));
        path.push(":");
        path.push(all.get(OsStr::new("PATH")).cloned().unwrap_or_else(|| DEFAULT_PATH.into()));
        all.insert("PATH".into(), path);
        let git_helper = OsString::from(git_credentials::helper(
            &programs(&bootstrap.state_dir).join("portico"),
            &bootstrap.state_dir,
        ));
        // For servers that the user names later on; last, after whatever else git is set to ask. The file says which servers
        // are ours alone by then, to what began before as well.
        let servers = git_credentials::servers(&bootstrap.state_dir);
        let include = servers.is_absolute().then(|| ("include.path".to_owned(), servers.into()));
        configure_git(
            &mut all,
            [("credential.helper".into(), git_helper.clone())].into_iter().chain(include),
        );
        Self {
            own: all,
            declared: Arc::default(),
            added: BTreeMap::new(),
            git_helper,
            personal: Personal::new(bootstrap.personal),
        }
    }

    /// The same with one more variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.added.insert(name.into(), value.into());
        self
    }

    /// Takes what the repository declares, once. `${containerEnv:…}` is put in; our own programs stay in PATH.
    pub fn declare(&self, variables: impl IntoIterator<Item = (String, Option<String>)>) {
        let value = |name: &str| self.value(name).map(|value| value.to_string_lossy().into_owned());
        let mut declared: BTreeMap<OsString, Option<OsString>> = BTreeMap::new();
        for (name, text) in variables {
            let text = text.map(|text| expand_inside(&text, value));
            if is_name(&name) && !text.as_ref().is_some_and(|text| text.contains('\0')) {
                declared.insert(name.into(), text.map(OsString::from));
            }
        }
        let first = value("PATH").and_then(|path| Some(path.split_once(':')?.0.to_owned()));
        if let (Some(first), Some(Some(path))) = (first, declared.get_mut(OsStr::new("PATH")))
            && !path.to_string_lossy().split(':').any(|part| part == first)
        {
            let rest = std::mem::take(path);
            *path = first.into();
            path.push(":");
            path.push(rest);
        }
        let _ = self.declared.set(declared);
    }

    /// The value of a variable that is no secret of the user's.
    pub fn value(&self, name: &str) -> Option<&OsString> {
        let name = OsStr::new(name);
        let declared = || self.declared.get().and_then(|declared| declared.get(name));
        self.added.get(name).or_else(|| match declared() {
            Some(declared) => declared.as_ref(),
            None => self.own.get(name),
        })
    }

    /// What git runs to ask the agent.
    pub fn git_helper(&self) -> &OsStr {
        &self.git_helper
    }

    /// What the gateway told of the user.
    pub fn personal(&self) -> &Personal {
        &self.personal
    }

    /// Finds a program in PATH.
    pub fn which(&self, program: &str) -> Option<PathBuf> {
        let path = self.value("PATH")?;
        std::env::split_paths(path)
            .map(|directory| directory.join(program))
            .find(|file| file.is_file())
    }

    /// All variables, with the user's secrets as they are now.
    pub fn iter(&self) -> impl Iterator<Item = (OsString, OsString)> + use<> {
        let mut all = self.own.clone();
        for (name, value) in self.declared.get().into_iter().flatten() {
            match value {
                Some(value) => drop(all.insert(name.clone(), value.clone())),
                None => drop(all.remove(name)),
            }
        }
        let told = self.personal.now();
        for (name, value) in &told.variables {
            if name.parse::<SecretName>().is_ok() && !value.0.contains('\0') {
                all.insert(name.into(), value.0.clone().into());
            }
        }
        let hosts = told.git.iter().filter_map(|credential| credential.host.parse::<GitHost>().ok());
        configure_git(&mut all, hosts.flat_map(|host| self.alone_for(&host)));
        all.extend(self.added.clone());
        all.into_iter()
    }

    /// Has git ask the agent and nobody else for a server: git hands a password that was good to all that it is set to
    /// ask, and `credential.helper = store` would write ours into a file. An empty helper forgets those before it
    /// (gitcredentials(7)).
    fn alone_for(&self, host: &GitHost) -> [(String, OsString); 2] {
        [OsString::new(), self.git_helper.clone()].map(|helper| (format!("credential.{host}.helper"), helper))
    }
}

/// Whether a text can be a variable's name.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// Puts a link `portico` to the running program where everything inside finds it.
pub fn link_programs(state_dir: &Path) -> io::Result<()> {
    let directory = programs(state_dir);
    std::fs::create_dir_all(&directory)?;
    let link = directory.join("portico");
    let fresh = directory.join(".portico.new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(std::env::current_exe()?, &fresh)?;
    std::fs::rename(fresh, link)
}

/// Adds to git's configuration (git-config(1), `GIT_CONFIG_COUNT`): in the environment, so that no dotfiles replace it and
/// nothing of it is in a file.
fn configure_git(all: &mut BTreeMap<OsString, OsString>, entries: impl IntoIterator<Item = (String, OsString)>) {
    let count = all.get(OsStr::new("GIT_CONFIG_COUNT"));
    let before = count.and_then(|value| value.to_str()?.parse::<u16>().ok()).unwrap_or(0);
    let mut count = before;
    for (key, value) in entries {
        all.insert(format!("GIT_CONFIG_KEY_{count}").into(), key.into());
        all.insert(format!("GIT_CONFIG_VALUE_{count}").into(), value);
        count = count.saturating_add(1);
    }
    if count == before {
        return;
    }
    all.insert("GIT_CONFIG_COUNT".into(), count.to_string().into());
}

fn programs(state_dir: &Path) -> PathBuf {
    state_dir.join("bin")
}

fn passes(name: &str) -> bool {
    PASSED_VARIABLES.contains(&name) || name.starts_with("LC_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bootstrap::Secret;

    #[test]
    fn a_machine_of_ones_own_passes_all_but_the_token_that_made_it_one() {
        let bootstrap = Bootstrap {
            whole_environment: true,
            ..Bootstrap::default()
        };
        let own = [(JOIN_TOKEN, "ptm_x"), ("OF_THE_MACHINE", "yes")].map(|(name, value)| (name.into(), value.into()));
        let environment = Environment::compose(own, &bootstrap);
        assert_eq!(environment.value(JOIN_TOKEN), None);
        assert!(environment.value("OF_THE_MACHINE").is_some());
    }

    #[test]
    fn only_what_is_named_passes() {
        let bootstrap = Bootstrap {
            credential: Secret("sesame".into()),
            state_dir: "/state".into(),
            home: "/home/x".into(),
            mark: Some("m1".into()),
            environment: BTreeMap::from([("CODESPACES".into(), "true".into()), ("BAD=NAME".into(), "x".into())]),
            ..Bootstrap::default()
        };
        let own = [
            ("PATH", "/usr/bin"),
            ("HOME", "/root"),
            ("LC_ALL", "C.UTF-8"),
            ("https_proxy", "http://proxy"),
            ("PORTICO_CREDENTIAL", "sesame"),
            ("NOTIFY_SOCKET", "/run/x"),
            ("CARGO_HOME", "/c"),
            ("PORTICO_MARK", "another"),
        ];
        let environment = Environment::compose(own.map(|(name, value)| (name.into(), value.into())), &bootstrap);
        let all: Vec<_> = environment
            .iter()
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect();
        assert_eq!(
            all,
            [
                "CODESPACES=true",
                "GIT_CONFIG_COUNT=2",
                "GIT_CONFIG_KEY_0=credential.helper",
                "GIT_CONFIG_KEY_1=include.path",
                "GIT_CONFIG_VALUE_0=!'/state/bin/portico' agent git-credential '/state/git.sock'",
                "GIT_CONFIG_VALUE_1=/state/git-servers",
                "HOME=/home/x",
                "LC_ALL=C.UTF-8",
                "PATH=/state/bin:/usr/bin",
                "PORTICO_AGENT_SOCKET=/state/inside.sock",
                "PORTICO_MARK=m1",
                "https_proxy=http://proxy",
            ]
        );
    }

    #[test]
    fn secrets_stand_between_what_is_there_and_what_is_asked_for() {
        let bootstrap = Bootstrap {
            personal: true,
            environment: BTreeMap::from([("A".into(), "ours".into()), ("B".into(), "ours".into())]),
            ..Bootstrap::default()
        };
        let environment = Environment::compose(std::iter::empty(), &bootstrap);
        let clone = environment.clone().with("B", "asked");
        let value = |of: &Environment, name: &str| of.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        assert_eq!(value(&clone, "A"), Some("ours".into()));
        environment.personal().learn(crate::protocol::personal::Personal {
            variables: ["A", "B", "C", "PORTICO_MARK", "LD_PRELOAD", "X=Y"]
                .map(|name| (name.to_owned(), Secret("canary".into())))
                .into(),
            ..Default::default()
        });
        for (name, expected) in [
            ("A", Some("canary")),
            ("B", Some("asked")),
            ("C", Some("canary")),
            ("PORTICO_MARK", None),
            ("LD_PRELOAD", None),
        ] {
            assert_eq!(value(&clone, name), expected.map(OsString::from), "{name}");
        }
        assert!(!format!("{environment:?}").contains("canary"));
    }

    #[test]
    fn what_the_repository_declares_is_seen_by_every_clone() {
        let bootstrap = Bootstrap {
            state_dir: "/state".into(),
            environment: BTreeMap::from([("GONE".into(), "x".into()), ("KEPT".into(), "k".into())]),
            ..Bootstrap::default()
        };
        let environment = Environment::compose([("PATH".into(), "/usr/bin".into())], &bootstrap);
        let clone = environment.clone().with("ADDED", "a");
        let declared = [
            ("PATH", Some("/own:${containerEnv:PATH}")),
            ("NEW", Some("${containerEnv:KEPT}${containerEnv:NO:d}")),
            ("GONE", None),
            ("ADDED", Some("b")),
            ("BAD=", Some("x")),
        ];
        environment.declare(declared.map(|(name, value)| (name.to_owned(), value.map(str::to_owned))));
        let all: BTreeMap<_, _> = clone.iter().collect();
        let value = |name: &str| all.get(OsStr::new(name)).and_then(|value| value.to_str());
        assert_eq!(value("PATH"), Some("/own:/state/bin:/usr/bin"));
        assert_eq!(
            (value("NEW"), value("GONE"), value("ADDED"), value("BAD=")),
            (Some("kd"), None, Some("a"), None)
        );
        assert_eq!(environment.value("NEW").and_then(|value| value.to_str()), Some("kd"));
        let other = Environment::compose([("PATH".into(), "/usr/bin".into())], &bootstrap);
        other.declare([("PATH".to_owned(), Some("/only".to_owned()))]);
        assert_eq!(other.value("PATH").and_then(|value| value.to_str()), Some("/state/bin:/only"));
    }

    /// With git itself: it hands a password that was good to every helper that it is set to ask.
    #[test]
    fn what_is_kept_here_is_stored_nowhere_else() {
        use std::{io::Write as _, os::unix::fs::PermissionsExt as _};
        let directory = tempfile::tempdir().expect("a directory");
        let (home, state) = (directory.path().join("home"), directory.path().join("state"));
        for made in [&home, &state.join("bin")] {
            std::fs::create_dir_all(made).expect("it is ours");
        }
        std::fs::write(home.join(".gitconfig"), "[credential]\n\thelper = store\n").expect("it is ours");
        let program = state.join("bin/portico");
        std::fs::write(
            &program,
            "#!/bin/sh\n[ \"$4\" = get ] && printf 'username=ada\\npassword=canary\\n'\nexit 0\n",
        )
        .expect("it is ours");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        let bootstrap = Bootstrap {
            state_dir: state,
            home: home.clone(),
            personal: true,
            environment: BTreeMap::from([("GIT_CONFIG_NOSYSTEM".into(), "1".into())]),
            ..Bootstrap::default()
        };
        let path = std::env::var_os("PATH").expect("there is one");
        let environment = Environment::compose([("PATH".into(), path)], &bootstrap);
        let credential = |host: &str| crate::protocol::personal::GitCredential {
            host: host.into(),
            username: "ada".into(),
            password: Secret("canary".into()),
        };
        environment.personal().learn(crate::protocol::personal::Personal {
            git: vec![credential("http://127.0.0.1:3000")],
            ..Default::default()
        });
        let began: Vec<_> = environment.iter().collect();
        let git = |operation: &str, question: &str| {
            let mut git = std::process::Command::new("git");
            let git = git.args(["credential", operation]).env_clear().envs(began.clone());
            let git = git.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
            let mut git = git.spawn().expect("git is installed");
            let mut input = git.stdin.take().expect("it is piped");
            input.write_all(question.as_bytes()).expect("git reads");
            drop(input);
            String::from_utf8(git.wait_with_output().expect("it ends").stdout).expect("text")
        };
        let stored = || std::fs::read_to_string(home.join(".git-credentials")).unwrap_or_default();
        let filled = git("fill", "protocol=http\nhost=127.0.0.1:3000\n\n");
        assert!(filled.contains("password=canary\n"), "{filled}");
        git("approve", &filled);
        assert_eq!(stored(), "");
        // The user's own helper goes on to serve other servers.
        git("approve", "protocol=https\nhost=other.example\nusername=ada\npassword=own\n\n");
        assert_eq!(stored(), "https://ada:own@other.example\n");
        assert!(git("fill", "protocol=https\nhost=other.example\n\n").contains("password=own\n"));
        // A server that was added later is the agent's alone as well, for what began before.
        let later = [credential("http://127.0.0.1:3000"), credential("https://later.example")];
        git_credentials::write_servers(&bootstrap.state_dir, environment.git_helper(), &later).expect("written");
        let filled = git("fill", "protocol=https\nhost=later.example\n\n");
        assert!(filled.contains("password=canary\n"), "{filled}");
        git("approve", &filled);
        assert_eq!(stored(), "https://ada:own@other.example\n");
    }
}
