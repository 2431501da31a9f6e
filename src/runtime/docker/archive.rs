//! What is written into a container before it starts, and read from it: as tar, which is all that an engine takes.

use std::path::PathBuf;

use bollard::{
    Docker, body_full,
    query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder},
};
use futures_util::StreamExt as _;
use tar::{Archive, Builder, EntryType, Header};

use super::{
    engine::{Engine, is_missing},
    plan,
};
use crate::{protocol::bootstrap::Bootstrap, runtime::RuntimeError};

/// Largest `/etc/passwd` that is read, with its wrapping, in bytes.
const MAX_PASSWD: usize = 1 << 20;

/// A header and whatever extends it, in bytes.
const HEAD: usize = 4096;

/// Who the container's user is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    pub uid: u64,
    pub gid: u64,
    pub home: PathBuf,
}

/// What an agent finds when it starts.
pub struct Orders {
    pub bootstrap: Bootstrap,
    pub account: Account,
}

/// Finds out who the user of a container is, from its image and its `/etc/passwd`.
pub async fn account(api: &Docker, engine: &Engine, id: &str) -> Result<Account, RuntimeError> {
    let found = engine.container(id).await?;
    let user = found.and_then(|found| found.config?.user).unwrap_or_default();
    let options = DownloadFromContainerOptionsBuilder::default().path("/etc/passwd").build();
    let mut chunks = api.download_from_container(id, Some(options));
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) if bytes.len() + chunk.len() <= MAX_PASSWD => bytes.extend_from_slice(&chunk),
            Ok(_) => break,
            Err(error) if is_missing(&error) => break,
            Err(error) => return Err(engine.trouble(&error)),
        }
    }
    Ok(find_account(&user, &passwd(&bytes)))
}

/// Who a directory inside belongs to.
pub async fn owner(api: &Docker, engine: &Engine, id: &str, path: &str) -> Result<Option<u64>, RuntimeError> {
    let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
    let mut chunks = api.download_from_container(id, Some(options));
    let mut head = Vec::new();
    while head.len() < HEAD {
        match chunks.next().await {
            Some(Ok(chunk)) => head.extend_from_slice(&chunk[..chunk.len().min(HEAD)]),
            Some(Err(error)) if !is_missing(&error) => return Err(engine.trouble(&error)),
            _ => break,
        }
    }
    let mut archive = Archive::new(&head[..]);
    let first = archive.entries().ok().and_then(|mut entries| entries.next());
    Ok(first.and_then(Result::ok).and_then(|entry| entry.header().uid().ok()))
}

/// The text of the only file in an archive; nothing where there is none. Links are not followed.
fn passwd(bytes: &[u8]) -> String {
    let mut archive = Archive::new(bytes);
    let Ok(entries) = archive.entries() else { return String::new() };
    let mut file = entries.flatten().find(|entry| entry.header().entry_type() == EntryType::Regular);
    let mut text = Vec::new();
    if let Some(file) = &mut file {
        // What cannot be read has no lines.
        let _ = std::io::copy(file, &mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// `user` as an image says it: nothing, a name or a number, and perhaps a group after a colon (only a number is taken).
fn find_account(user: &str, passwd: &str) -> Account {
    let (user, group) = user.split_once(':').unwrap_or((user, ""));
    let user = if user.is_empty() { "0" } else { user };
    let lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut known = lines.filter(|fields| fields.len() >= 6);
    let line = known.find(|fields| fields[0] == user || fields[2] == user);
    let field = |at: usize| line.as_ref().map(|fields| fields[at]);
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok()).map(u64::from);
    let uid = number(field(2)).or(number(Some(user))).unwrap_or(0);
    let home = field(5).filter(|home| home.starts_with('/') && *home != "/").map(PathBuf::from);
    Account {
        uid,
        gid: number(Some(group)).or(number(field(3))).unwrap_or(uid),
        home: home.unwrap_or_else(|| {
            if uid == 0 {
                "/root".into()
            } else {
                format!("{}/.home", plan::WORKSPACES).into()
            }
        }),
    }
}

/// Writes the orders, and makes the directories of the agent and of the work the user's own.
pub async fn write(api: &Docker, engine: &Engine, id: &str, orders: &Orders) -> Result<(), RuntimeError> {
    let archive = pack(orders)?;
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    let written = api.upload_to_container(id, Some(options), body_full(archive.into())).await;
    written.map_err(|error| engine.trouble(&error))
}

fn pack(orders: &Orders) -> std::io::Result<Vec<u8>> {
    let text = serde_json::to_vec_pretty(&orders.bootstrap)?;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let mut builder = Builder::new(Vec::new());
    let mut add = |path: &str, kind: EntryType, mode: u32, bytes: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(orders.account.uid);
        header.set_gid(orders.account.gid);
        header.set_mtime(now);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, path.trim_start_matches('/'), bytes)
    };
    add(plan::WORKSPACES, EntryType::Directory, 0o755, b"")?;
    add(plan::STATE_DIRECTORY, EntryType::Directory, 0o700, b"")?;
    add(
        &format!("{}/bootstrap.json", plan::STATE_DIRECTORY),
        EntryType::Regular,
        0o600,
        &text,
    )?;
    builder.into_inner()
}

/// Puts links where they are to be, each in the place of what is there, with the paths that they lead to inside.
pub async fn link(api: &Docker, engine: &Engine, id: &str, links: &[(String, String)]) -> Result<(), RuntimeError> {
    if links.is_empty() {
        return Ok(());
    }
    let archive = pack_links(links)?;
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    let written = api.upload_to_container(id, Some(options), body_full(archive.into())).await;
    written.map_err(|error| engine.trouble(&error))
}

fn pack_links(links: &[(String, String)]) -> std::io::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for (place, path) in links {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_mode(0o777);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        builder.append_link(&mut header, place.trim_start_matches('/'), path)?;
    }
    builder.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_images() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\nvscode:x:1000:1001:,,,:/home/vscode:/bin/bash\nodd:x:2:2::relative:/bin/sh\nbroken\n";
        let check = |user: &str, uid, gid, home: &str| {
            let account = Account {
                uid,
                gid,
                home: home.into(),
            };
            assert_eq!(find_account(user, passwd), account, "{user}");
        };
        check("", 0, 0, "/root");
        check("vscode", 1000, 1001, "/home/vscode");
        check("1000", 1000, 1001, "/home/vscode");
        check("1000:50", 1000, 50, "/home/vscode");
        check("4000", 4000, 4000, "/workspaces/.home");
        check("odd", 2, 2, "/workspaces/.home");
        check("nobody-there", 0, 0, "/root");
    }

    #[test]
    fn orders_are_for_their_reader_alone() {
        let orders = Orders {
            bootstrap: Bootstrap::default(),
            account: Account {
                uid: 1000,
                gid: 1001,
                home: "/home/x".into(),
            },
        };
        let packed = pack(&orders).expect("packed");
        let mut archive = Archive::new(&packed[..]);
        let entries: Vec<_> = archive
            .entries()
            .expect("entries")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let header = entry.header();
                let path = entry.path().expect("a path").display().to_string();
                (
                    path,
                    header.mode().expect("a mode"),
                    header.uid().expect("a user"),
                    header.gid().expect("a group"),
                )
            })
            .collect();
        let of = |path: &str, mode| (path.to_owned(), mode, 1000, 1001);
        assert_eq!(
            entries,
            [
                of("workspaces", 0o755),
                of("portico/state", 0o700),
                of("portico/state/bootstrap.json", 0o600)
            ]
        );
    }

    #[test]
    fn junk_is_no_account() {
        assert_eq!(passwd(b"no archive"), "");
        assert_eq!(passwd(&[0; 2048]), "");
    }

    #[test]
    fn links_lead_where_they_should() {
        let long = format!("/data/{}", "x".repeat(300));
        let links = [("/workspace", "/workspaces/app"), (long.as_str(), "/workspaces/app/db")];
        let links = links.map(|(place, path)| (place.to_owned(), path.to_owned()));
        let packed = pack_links(&links).expect("packed");
        let mut archive = Archive::new(&packed[..]);
        let found: Vec<_> = archive
            .entries()
            .expect("entries")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let target = entry.link_name().expect("readable").expect("a target").display().to_string();
                (format!("/{}", entry.path().expect("a path").display()), target)
            })
            .collect();
        assert_eq!(found, links);
    }
}
