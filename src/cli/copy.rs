//! `portico codespace cp`: files in and out as an archive, packed and unpacked by `tar` on both sides.
//!
//! What comes from a codespace is unpacked into a folder of its own, and only what was asked for leaves it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use tokio::process::{Child, Command};

use super::{args::Copy, client::Client, exec, failure::Usage, place};

/// What a path inside begins with.
const REMOTE: &str = "remote:";

/// Unpacks standard input at `$1`: into it, if it is a folder, else as it. `$2` is the name in the archive, `$3` how many come.
const RECEIVE: &str = r#"
case "$1" in "~") to=$HOME ;; "~/"*) to=$HOME/${1#"~/"} ;; *) to=$1 ;; esac
if [ -d "$to" ]; then exec tar -xof - -C "$to"; fi
[ "$3" = 1 ] || { echo "$1 is no folder" >&2; exit 1; }
in=$(mktemp -d "$(dirname -- "$to")/.portico-cp-XXXXXX") || exit 1
trap 'rm -rf -- "$in"' EXIT
tar -xof - -C "$in" && mv -- "$in/$2" "$to"
"#;

/// Packs `$1` to standard output.
const SEND: &str = r#"
case "$1" in "~/"*) from=$HOME/${1#"~/"} ;; *) from=$1 ;; esac
[ -e "$from" ] || { echo "there is no $1" >&2; exit 1; }
cd -- "$(dirname -- "$from")" && exec tar -cf - -- "$(basename -- "$from")"
"#;

/// Copies each of the paths but the last to the last.
pub async fn run(copy: Copy) -> anyhow::Result<ExitCode> {
    let (target, sources) = copy
        .paths
        .split_last()
        .ok_or_else(|| Usage("name what to copy, and where to".into()))?;
    let client = place::gateway(&copy.place).await?;
    let name = place::codespace(&client, copy.which.codespace.as_deref()).await?;
    let remote = sources.iter().filter(|source| source.starts_with(REMOTE)).count();
    match target.strip_prefix(REMOTE) {
        Some(target) if remote == 0 => {
            for source in sources {
                send(&client, &name, Path::new(source), target, sources.len()).await?;
            }
        }
        None if remote == sources.len() => {
            for source in sources {
                let source = source.strip_prefix(REMOTE).unwrap_or(source);
                receive(&client, &name, source, Path::new(target), sources.len()).await?;
            }
        }
        _ => {
            let why = "copy from here to remote:PATH, or from remote:PATH to here";
            return Err(Usage(why.into()).into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn send(client: &Client, name: &str, source: &Path, target: &str, count: usize) -> anyhow::Result<()> {
    let source = fs::canonicalize(source).with_context(|| format!("{} cannot be read", source.display()))?;
    let (Some(folder), Some(base)) = (source.parent(), source.file_name()) else {
        return Err(Usage("name a file or a folder, not the whole disk".into()).into());
    };
    let mut packer = tar(|tar| {
        tar.arg("-cf")
            .arg("-")
            .arg("-C")
            .arg(folder)
            .arg("--")
            .arg(base)
            .stdout(Stdio::piped())
    })?;
    let packed = packer.stdout.take().context("tar has no output")?;
    let target = if target.is_empty() { "." } else { target };
    let command = script(RECEIVE, &[target, &base.to_string_lossy(), &count.to_string()]);
    let status = exec::piped(client, name, &command, packed, tokio::io::sink()).await?;
    ensure!(
        status == 0,
        "{} could not be copied: tar ended with {status} in the codespace",
        source.display()
    );
    let packed = packer.wait().await?;
    ensure!(packed.success(), "{} could not be read whole", source.display());
    Ok(())
}

async fn receive(client: &Client, name: &str, source: &str, target: &Path, count: usize) -> anyhow::Result<()> {
    let base = Path::new(source).file_name();
    let base = base.ok_or_else(|| Usage(format!("{REMOTE}{source} names no file or folder")))?;
    let into = target.is_dir();
    if count > 1 && !into {
        bail!("{} is no folder", target.display());
    }
    let folder = match target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        _ if into => target,
        Some(parent) => parent,
        None => Path::new("."),
    };
    let room = Room::make(folder)?;
    let mut unpacker = tar(|tar| tar.arg("-xof").arg("-").arg("-C").arg(&room.0).stdin(Stdio::piped()))?;
    let input = unpacker.stdin.take().context("tar has no input")?;
    let status = exec::piped(client, name, &script(SEND, &[source]), tokio::io::empty(), input).await?;
    ensure!(
        status == 0,
        "{source} could not be copied: tar ended with {status} in the codespace"
    );
    let unpacked = unpacker.wait().await?;
    ensure!(unpacked.success(), "{source} did not arrive whole");
    let target = if into { target.join(base) } else { target.to_owned() };
    fs::rename(room.0.join(base), &target).with_context(|| format!("{} could not be put there", target.display()))
}

/// A folder of its own beside the target, so that what arrived whole is moved there at once.
struct Room(PathBuf);

impl Room {
    fn make(beside: &Path) -> anyhow::Result<Self> {
        let room = beside.join(format!(".portico-cp-{:016x}", rand::random::<u64>()));
        fs::create_dir(&room).with_context(|| format!("{} cannot be written to", beside.display()))?;
        Ok(Self(room))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tar(arguments: impl FnOnce(&mut Command) -> &mut Command) -> anyhow::Result<Child> {
    let mut command = Command::new("tar");
    arguments(&mut command);
    command
        .kill_on_drop(true)
        .spawn()
        .context("the program tar could not be started here")
}

/// A script with its arguments, for a shell inside.
fn script(text: &str, arguments: &[&str]) -> Vec<String> {
    let words = ["sh", "-c", text, "portico-cp"].into_iter().chain(arguments.iter().copied());
    words.map(str::to_owned).collect()
}
