//! The credential helper of git: who the user is at a git server, from the agent's memory, over a socket of its own.
//!
//! Owns both ends of the socket: the agent answers, and `portico agent git-credential` is what git runs
//! (gitcredentials(7)). It answers for exactly the server that a credential is kept for, and says nothing of others. Refuses
//! to store or erase: git's own word about a password changes nothing.

use std::{
    ffi::OsStr,
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::personal::Personal;
use crate::{domain::GitHost, protocol::personal::GitCredential, unix_socket};

/// Longest question in bytes.
const MAX_QUESTION: u64 = 8 * 1024;
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most questions at once.
const AT_ONCE: usize = 16;

/// Where the agent answers.
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("git.sock")
}

/// The value of git's `credential.helper`: the program with its arguments, for a shell.
pub fn helper(program: &Path, state_dir: &Path) -> String {
    let quoted = |path: &Path| format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"));
    format!("!{} agent git-credential {}", quoted(program), quoted(&socket(state_dir)))
}

/// The file that names the servers of which the user keeps a credential, for git to read as its configuration.
pub fn servers(state_dir: &Path) -> PathBuf {
    state_dir.join("git-servers")
}

/// Keeps that file as the user's servers are, for ever: what began before a server was added has git ask the agent and
/// nobody else for it, too. Passwords are not in it.
pub async fn name_servers(state_dir: &Path, helper: &OsStr, personal: &Personal) {
    let mut told = personal.watch();
    loop {
        let known = told.borrow_and_update().clone().unwrap_or_default();
        if let Err(error) = write_servers(state_dir, helper, &known.git) {
            tracing::warn!(%error, "git is not told which servers are the agent's");
        }
        if told.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Writes it in one go: git may read it at any moment.
pub(super) fn write_servers(state_dir: &Path, helper: &OsStr, kept: &[GitCredential]) -> io::Result<()> {
    let (file, fresh) = (servers(state_dir), state_dir.join(".git-servers.new"));
    let helper = helper.to_string_lossy().replace('\\', r"\\").replace('"', r#"\""#);
    let hosts = kept.iter().filter_map(|credential| credential.host.parse::<GitHost>().ok());
    let sections = hosts.map(|host| format!("[credential \"{host}\"]\n\thelper =\n\thelper = \"{helper}\"\n"));
    std::fs::write(&fresh, sections.collect::<String>())?;
    // Root inside may be another user than the agent's.
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o644))?;
    std::fs::rename(fresh, file)
}

/// Listens at the socket. Anybody inside may ask: what keeps others out is the directory above.
pub fn bind(state_dir: &Path) -> io::Result<UnixListener> {
    let path = socket(state_dir);
    let listener = unix_socket::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Answers for ever.
pub async fn serve(listener: UnixListener, personal: Personal) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let personal = personal.clone();
                tokio::spawn(async move {
                    let _ = timeout(PATIENCE, converse(stream, &personal)).await;
                    drop(permit);
                });
            }
            // Out of descriptors, for instance: later it may do again.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(mut stream: UnixStream, personal: &Personal) -> io::Result<()> {
    let mut question = String::new();
    (&mut stream).take(MAX_QUESTION).read_to_string(&mut question).await?;
    let answer = answer(&question, &personal.now().git);
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// What git reads: nothing, unless a credential is kept for just that server, and for the user name that git has if any.
fn answer(question: &str, kept: &[GitCredential]) -> String {
    let field = |name: &str| {
        let mut lines = question.lines().filter_map(|line| line.split_once('='));
        lines.find_map(|(key, value)| (key == name).then_some(value))
    };
    let (Some(protocol), Some(host)) = (field("protocol"), field("host")) else {
        return String::new();
    };
    let Ok(host) = GitHost::from_git(protocol, host) else {
        return String::new();
    };
    let shown = host.to_string();
    let found = kept.iter().find(|credential| credential.host == shown);
    let found = found.filter(|credential| field("username").is_none_or(|username| username == credential.username));
    found.map_or_else(String::new, |GitCredential { username, password, .. }| {
        format!("username={username}\npassword={}\n", password.0)
    })
}

/// What git runs: passes its question to the agent, if git asks to get something, and the answer back.
pub async fn ask(socket: &Path, operation: &str, question: &str) -> io::Result<String> {
    if operation != "get" {
        return Ok(String::new());
    }
    let mut stream = unix_socket::connect(socket).await?;
    stream.write_all(question.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{bootstrap::Secret, personal};

    fn kept() -> Vec<GitCredential> {
        let credential = |host: &str, password: &str| GitCredential {
            host: host.into(),
            username: "ada".into(),
            password: Secret(password.into()),
        };
        vec![credential("https://git.example", "one"), credential("http://127.0.0.1:3000", "two")]
    }

    #[test]
    fn only_the_very_server_is_answered_for() {
        let check = |question: &str, password: Option<&str>| {
            let expected = password.map(|password| format!("username=ada\npassword={password}\n"));
            assert_eq!(answer(question, &kept()), expected.unwrap_or_default(), "{question:?}");
        };
        check("protocol=https\nhost=git.example\n\n", Some("one"));
        check("protocol=https\nhost=GIT.example:443\npath=x/y.git\n", Some("one"));
        check("protocol=https\nhost=git.example\nusername=ada\n", Some("one"));
        check("protocol=http\nhost=127.0.0.1:3000\n", Some("two"));
        for other in [
            "protocol=http\nhost=git.example\n",
            "protocol=https\nhost=git.example:8443\n",
            "protocol=https\nhost=git.example.evil.org\n",
            "protocol=https\nhost=evil.git.example\n",
            "protocol=https\nhost=git.example\nusername=bob\n",
            "protocol=http\nhost=127.0.0.1\n",
            "protocol=https\nhost=127.0.0.1:3000\n",
            "protocol=ssh\nhost=git.example\n",
            "protocol=https\n",
            "host=git.example\n",
            "protocol=https\nhost=git.example@evil\n",
            "protocol=https\nhost=\n",
            "",
            "quit",
        ] {
            check(other, None);
        }
    }

    #[tokio::test]
    async fn the_helper_asks_the_agent_and_stores_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = bind(directory.path()).expect("the directory is ours");
        let known = Personal::new(true);
        known.learn(personal::Personal {
            git: kept(),
            ..personal::Personal::default()
        });
        let serving = tokio::spawn(serve(listener, known.clone()));
        let path = socket(directory.path());
        let question = "protocol=https\nhost=git.example\n\n";
        assert_eq!(ask(&path, "get", question).await.expect("answered"), "username=ada\npassword=one\n");
        for operation in ["store", "erase", "list"] {
            assert_eq!(ask(&path, operation, question).await.expect("answered"), "");
        }
        // What is too long gets no answer, and harms nobody.
        let long = format!("protocol=https\nx={}\nhost=git.example\n", "y".repeat(9000));
        assert!(ask(&path, "get", &long).await.map_or(true, |answer| answer.is_empty()));
        known.learn(personal::Personal::default());
        assert_eq!(ask(&path, "get", question).await.expect("answered"), "");
        serving.abort();
    }

    #[test]
    fn the_command_is_for_a_shell() {
        let line = helper(Path::new("/it's/portico"), Path::new("/state dir"));
        assert_eq!(line, r"!'/it'\''s/portico' agent git-credential '/state dir/git.sock'");
    }
}
