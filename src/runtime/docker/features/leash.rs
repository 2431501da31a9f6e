//! What a run of the command line may use of this machine.
//!
//! The program is the operator's, what it reads is not: an archive that grows without end as it is unpacked, a text that is
//! slow to read. Owns the kernel's limits for its processes, a bound for its directory, and their end, all of them together.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use tokio::{process::Child, task::spawn_blocking, time::sleep};

/// What a process gets: memory of its own, the largest file, processor time in seconds, descriptors, and no dump of its memory.
const LIMITS: [(Resource, u64); 5] = [
    (Resource::Data, 4 << 30),
    (Resource::Fsize, 256 << 20),
    (Resource::Cpu, 300),
    (Resource::Nofile, 1024),
    (Resource::Core, 0),
];
/// Most bytes on disk, and files and directories, of a run's directory.
const MOST: (u64, usize) = (1 << 30, 100_000);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Holds a process that leads its own group; dropped, it ends the whole group.
#[derive(Debug)]
pub struct Leash(Option<Pid>);

impl Leash {
    /// Limits what was started a moment ago and read nothing yet.
    pub fn on(child: &Child) -> io::Result<Self> {
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let leash = Self(pid);
        for (resource, most) in LIMITS.into_iter().filter(|_| pid.is_some()) {
            let limit = Rlimit {
                current: Some(most),
                maximum: Some(most),
            };
            match prlimit(pid, resource, limit) {
                // One that is over already needs none; one that may have less than that keeps it.
                Ok(_) | Err(rustix::io::Errno::SRCH) => {}
                Err(rustix::io::Errno::PERM) => tracing::debug!(?resource, "the limit of this machine is lower"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(leash)
    }

    /// It ended by itself, and was waited for.
    pub fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may be over.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Ends, with what is wrong, once a directory holds too much.
pub async fn outgrown(directory: &Path) -> String {
    loop {
        sleep(LOOK).await;
        let directory = directory.to_owned();
        let is_over = spawn_blocking(move || is_over(directory, MOST)).await;
        if is_over.unwrap_or(true) {
            return format!("they take more than {} MiB, or {} files", MOST.0 >> 20, MOST.1);
        }
    }
}

/// Whether what is in a directory takes more than so many bytes on disk, or is of more than so many parts. What goes away
/// meanwhile counts for nothing.
fn is_over(directory: PathBuf, (most_bytes, most_parts): (u64, usize)) -> bool {
    let (mut bytes, mut parts, mut left) = (0_u64, 0, vec![directory]);
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            // In blocks of 512 bytes, whatever a file says that it is long.
            bytes = bytes.saturating_add(about.blocks().saturating_mul(512));
            parts += 1;
            if bytes > most_bytes || parts > most_parts {
                return true;
            }
            if about.is_dir() {
                left.push(entry.path());
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        process::Command,
    };

    use super::*;

    fn shell(script: &str) -> Child {
        Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("started")
    }

    #[tokio::test]
    async fn a_program_has_limits() {
        let mut child = shell("read go; ulimit -f; ulimit -t; ulimit -n; ulimit -c; ulimit -d");
        let leash = Leash::on(&child).expect("limited");
        child.stdin.take().expect("a pipe").write_all(b"go\n").await.expect("told");
        let mut said = String::new();
        child.stdout.take().expect("a pipe").read_to_string(&mut said).await.expect("read");
        let said: Vec<u64> = said.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        // Files in blocks of 512 bytes or of 1024, as the shell has it.
        assert!(said[0] == (256 << 20) / 512 || said[0] == (256 << 20) / 1024, "{said:?}");
        assert_eq!(said[1..], [300, 1024, 0, 4 << 20]);
        child.wait().await.expect("over");
        leash.let_go();
    }

    #[tokio::test]
    async fn all_that_it_started_ends_with_it() {
        let mut child = shell("sleep 1000 & echo $!; wait");
        let leash = Leash::on(&child).expect("limited");
        let mut stdout = child.stdout.take().expect("a pipe");
        let mut said = [0; 1];
        stdout.read_exact(&mut said).await.expect("it began");
        drop(leash);
        // The pipe ends when nobody holds it any more, the grandchild neither.
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).await.expect("read");
        assert!(!child.wait().await.expect("over").success());
    }

    #[test]
    fn directories_have_bounds() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = || directory.path().to_owned();
        fs::create_dir(path().join("deep")).expect("made");
        fs::write(path().join("deep/file"), vec![1; 64 * 1024]).expect("written");
        std::os::unix::fs::symlink("/usr", path().join("deep/link")).expect("made");
        assert!(!is_over(path(), (1 << 20, 10)));
        assert!(is_over(path(), (32 * 1024, 10)), "bytes");
        assert!(is_over(path(), (1 << 20, 2)), "parts");
        assert!(!is_over(path().join("gone"), (0, 0)));
    }
}
