//! Changes of files in the workspace, which are use of the codespace (inotify(7)).
//!
//! Owns which directories are watched: so many and no more, and none that programs fill by themselves. Refuses to know
//! what changed: that something did is all that is told.

use std::{
    collections::{HashMap, VecDeque},
    ffi::OsStr,
    fs, io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use tokio::time::sleep;

use super::report::Reporter;
use crate::protocol::tunnel::ActivityKind;

/// Most directories that are watched; what lies beyond counts when the editor or a terminal shows it.
const MAX_DIRECTORIES: usize = 2048;
/// What tools fill on their own: a build that runs is seen by its output.
const LEFT_OUT: [&str; 8] = [".git", "node_modules", "target", ".venv", "venv", "__pycache__", ".cache", ".next"];
/// How often to look whether the workspace is there.
const LOOK: Duration = Duration::from_secs(2);
/// How often the kernel is asked what changed: one call each time.
const PAUSE: Duration = Duration::from_secs(1);

/// The directories that are watched, by the kernel's numbers.
struct Watched {
    queue: OwnedFd,
    directories: HashMap<i32, PathBuf>,
}

/// Tells the reporter of changes below `workspace`, once it is there; runs for ever.
pub async fn watch(workspace: &Path, reporter: &Reporter) {
    while !workspace.is_dir() {
        sleep(LOOK).await;
    }
    if let Err(error) = attend(workspace, reporter).await {
        tracing::warn!(%error, "changed files do not count as use: the kernel tells nothing of them");
    }
    std::future::pending().await
}

async fn attend(workspace: &Path, reporter: &Reporter) -> io::Result<()> {
    let mut watched = Watched::new()?;
    watched.add(workspace.to_owned());
    loop {
        if watched.take()? {
            reporter.activity(ActivityKind::FileChange);
        }
        sleep(PAUSE).await;
    }
}

impl Watched {
    fn new() -> io::Result<Self> {
        Ok(Self {
            queue: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
            directories: HashMap::new(),
        })
    }

    /// Watches a directory and those below it, nearest first.
    fn add(&mut self, directory: PathBuf) {
        let what = WatchFlags::CLOSE_WRITE | WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        let how = WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW | WatchFlags::EXCL_UNLINK;
        let mut next = VecDeque::from([directory]);
        while let Some(directory) = next.pop_front() {
            if self.directories.len() >= MAX_DIRECTORIES {
                return;
            }
            // It may be gone by now, or the kernel has no watch to spare.
            let Ok(number) = inotify::add_watch(&self.queue, &directory, what | how) else {
                continue;
            };
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()) && counts(&entry.file_name()));
            next.extend(below.take(MAX_DIRECTORIES).map(|entry| entry.path()));
            self.directories.insert(number, directory);
        }
    }

    /// Takes all that the kernel has to tell; whether anything changed that counts.
    fn take(&mut self) -> io::Result<bool> {
        let mut space = [MaybeUninit::uninit(); 4096];
        let (mut changed, mut born) = (false, Vec::new());
        let mut reader = Reader::new(&self.queue, &mut space);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if event.events().contains(ReadFlags::IGNORED) {
                self.directories.remove(&event.wd());
                continue;
            }
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            if name.is_some_and(|name| !counts(name)) {
                continue;
            }
            changed = true;
            let appeared = event.events().intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
            if event.events().contains(ReadFlags::ISDIR)
                && appeared
                && let (Some(parent), Some(name)) = (self.directories.get(&event.wd()), name)
            {
                born.push(parent.join(name));
            }
        }
        born.into_iter().for_each(|directory| self.add(directory));
        Ok(changed)
    }
}

fn counts(name: &OsStr) -> bool {
    !LEFT_OUT.iter().any(|left_out| name == *left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_count_but_for_what_tools_fill() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("src/deep")).expect("made");
        fs::create_dir_all(path("node_modules/left")).expect("made");
        let mut watched = Watched::new().expect("a queue");
        watched.add(directory.path().to_owned());
        assert_eq!(watched.directories.len(), 3);
        let mut changes = || watched.take().expect("read");
        assert!(!changes());
        fs::write(path("node_modules/left/pad.js"), "x").expect("written");
        assert!(!changes());
        fs::write(path("src/deep/main.rs"), "fn main() {}").expect("written");
        assert!(changes() && !changes());
        fs::read(path("src/deep/main.rs")).expect("read");
        assert!(!changes(), "looking changes nothing");
        fs::create_dir_all(path("new")).expect("made");
        assert!(changes());
        fs::write(path("new/file"), "x").expect("written");
        assert!(changes(), "what is made later is watched too");
        fs::create_dir_all(path("target")).expect("made");
        fs::write(path("target/out"), "x").expect("written");
        assert!(!changes());
        fs::remove_dir_all(path("new")).expect("removed");
        assert!(changes() && !changes());
    }

    #[tokio::test]
    async fn a_change_is_reported() {
        let directory = tempfile::tempdir().expect("a directory");
        let (workspace, reporter) = (directory.path().join("w"), Reporter::new());
        fs::create_dir(&workspace).expect("made");
        let telling = async {
            // Written again until the watch is there.
            loop {
                fs::write(workspace.join("a"), "x").expect("written");
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            kinds = reporter.happened() => assert_eq!(kinds, [ActivityKind::FileChange]),
            () = telling => {}
            () = watch(&workspace, &reporter) => {}
            () = sleep(Duration::from_secs(60)) => panic!("nothing is told"),
        }
    }
}
