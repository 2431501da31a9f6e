//! The checkout in a codespace's volume, read from outside while nothing of the codespace runs.
//!
//! A container that is made and never started holds the volume, read-only, and the operator's own image: the engine
//! resolves paths in there, so that nothing of this machine can be reached, whatever links the repository has. Links on
//! the way to a file are refused all the same: they would lead out of the checkout.

use std::io::Read as _;

use bollard::{
    errors::Error,
    models::{ContainerCreateBody, HostConfig, Mount, MountType},
    query_parameters::{
        ContainerArchiveInfoOptionsBuilder, CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder,
        RemoveContainerOptionsBuilder,
    },
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tar::{Archive, EntryType};

use super::{
    Options,
    engine::{Engine, is_missing},
    instance::Instance,
    plan,
};
use crate::{
    devcontainer::{FILES, FOLDER, NAME},
    domain::CodespaceName,
    runtime::RuntimeError,
};

/// Largest file that is read, in bytes.
const MAX_FILE: usize = 1 << 20;
/// Most bytes of `.devcontainer` that are looked through for folders with a file of their own.
const MAX_FOLDER: usize = 16 << 20;
/// Most folders of it.
const MAX_FOLDERS: usize = 64;
/// Go's `os.ModeDir` and `os.ModeType`, by which engines tell what something is.
const MODE_DIRECTORY: u32 = 1 << 31;
const MODE_LINK: u32 = 1 << 27;
const MODE_TYPE: u32 = MODE_DIRECTORY | MODE_LINK | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;

/// A checkout that can be read.
pub struct Checkout<'a> {
    engine: &'a Engine,
    /// The container that holds it.
    holder: String,
    root: String,
}

/// What a path is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    File,
    Directory,
    Link,
    Other,
}

/// Why something of a repository cannot be read; its text is for whoever wrote it.
#[derive(Debug)]
pub enum Unreadable {
    Repository(String),
    Runtime(RuntimeError),
}

impl From<RuntimeError> for Unreadable {
    fn from(error: RuntimeError) -> Self {
        Self::Runtime(error)
    }
}

impl<'a> Checkout<'a> {
    /// Opens the checkout that is at `root` inside.
    pub async fn open(
        engine: &'a Engine,
        options: &Options,
        instance: &Instance,
        name: &CodespaceName,
        root: &str,
    ) -> Result<Self, RuntimeError> {
        let holder = holder(instance, name);
        let checkout = Self {
            engine,
            holder,
            root: root.to_owned(),
        };
        checkout.close().await?;
        let body = ContainerCreateBody {
            image: Some(options.image.clone()),
            entrypoint: Some(vec![plan::PROGRAM.into()]),
            labels: Some(instance.labels(name)),
            host_config: Some(HostConfig {
                network_mode: Some("none".into()),
                mounts: Some(vec![Mount {
                    typ: Some(MountType::VOLUME),
                    source: Some(instance.resource(name)),
                    target: Some(plan::WORKSPACES.into()),
                    read_only: Some(true),
                    ..Mount::default()
                }]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(&checkout.holder).build();
        let made = engine.api().await?.create_container(Some(options), body).await;
        made.map_err(|error| engine.trouble(&error))?;
        Ok(checkout)
    }

    /// Removes the container that holds it.
    pub async fn close(&self) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed = self.engine.api().await?.remove_container(&self.holder, Some(options)).await;
        self.engine.unless_missing(removed)
    }

    /// The path of the `devcontainer.json` that counts; the chosen one and no other, where one was chosen.
    pub async fn configuration(&self, chosen: Option<&str>) -> Result<Option<String>, Unreadable> {
        let places = match chosen {
            Some(path) => vec![path.trim_start_matches("./").to_owned()],
            None => FILES.map(str::to_owned).into(),
        };
        for place in places {
            match self.kind(&place).await? {
                Some(Kind::File) => return Ok(Some(place)),
                Some(Kind::Link) => return Err(is_link(&place)),
                _ => {}
            }
        }
        if chosen.is_some() || self.kind(FOLDER).await? != Some(Kind::Directory) {
            return Ok(None);
        }
        let bytes = collect(self.engine, self.archive(FOLDER).await?, MAX_FOLDER).await?;
        Ok(first_in_folder(&bytes))
    }

    /// The text of a file; none if there is none.
    pub async fn text(&self, path: &str) -> Result<Option<String>, Unreadable> {
        match self.kind(path).await? {
            None => return Ok(None),
            Some(Kind::File) => {}
            Some(Kind::Link) => return Err(is_link(path)),
            Some(_) => return Err(Unreadable::Repository(format!("{path} is no file"))),
        }
        let bytes = collect(self.engine, self.archive(path).await?, MAX_FILE + 4096).await?;
        let mut archive = Archive::new(&bytes[..]);
        let mut entries = archive.entries().map_err(RuntimeError::from)?.flatten();
        let file = entries.find(|entry| entry.header().entry_type() == EntryType::Regular);
        let mut file = file.filter(|file| file.size() <= MAX_FILE as u64);
        let mut text = String::new();
        let read = file.as_mut().map(|file| file.read_to_string(&mut text));
        match read {
            Some(Ok(_)) => Ok(Some(text)),
            _ => Err(Unreadable::Repository(format!(
                "{path} is larger than {MAX_FILE} bytes, or is not UTF-8"
            ))),
        }
    }

    /// A directory as a tar, its own name before every path in it.
    pub async fn directory(&self, path: &str) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<'a>, Unreadable> {
        match self.kind(path).await? {
            Some(Kind::Directory) => Ok(self.archive(path).await?),
            Some(Kind::Link) => Err(is_link(path)),
            _ => Err(Unreadable::Repository(format!("there is no directory {path:?} in the repository"))),
        }
    }

    async fn archive(&self, path: &str) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<'a>, RuntimeError> {
        let options = DownloadFromContainerOptionsBuilder::default().path(&self.inside(path)).build();
        Ok(self.engine.api().await?.download_from_container(&self.holder, Some(options)))
    }

    /// What a path is, none of its parts being a link; none if it is not there.
    async fn kind(&self, path: &str) -> Result<Option<Kind>, RuntimeError> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let mut kind = Some(Kind::Directory);
        for end in ends {
            kind = self.stat(&path[..end]).await?;
            if kind != Some(Kind::Directory) {
                // A file in place of a directory leads nowhere; the link itself is what is told.
                return Ok(kind.filter(|kind| end == path.len() || *kind == Kind::Link));
            }
        }
        Ok(kind)
    }

    async fn stat(&self, path: &str) -> Result<Option<Kind>, RuntimeError> {
        let options = ContainerArchiveInfoOptionsBuilder::default().path(&self.inside(path)).build();
        match self
            .engine
            .api()
            .await?
            .get_container_archive_info(&self.holder, Some(options))
            .await
        {
            Ok(found) => Ok(Some(kind(found.file_mode))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.engine.trouble(&error)),
        }
    }

    fn inside(&self, path: &str) -> String {
        if path.is_empty() {
            self.root.clone()
        } else {
            format!("{}/{path}", self.root)
        }
    }
}

/// The name of the container that holds a checkout.
pub fn holder(instance: &Instance, name: &CodespaceName) -> String {
    format!("{}-checkout", instance.resource(name))
}

fn is_link(path: &str) -> Unreadable {
    Unreadable::Repository(format!(
        "{path} is a link, or is reached by one, which could lead out of the repository: it is not read"
    ))
}

fn kind(mode: u32) -> Kind {
    match mode & MODE_TYPE {
        0 => Kind::File,
        MODE_DIRECTORY => Kind::Directory,
        kind if kind & MODE_LINK != 0 => Kind::Link,
        _ => Kind::Other,
    }
}

/// Reads at most so many bytes.
async fn collect(engine: &Engine, chunks: impl Stream<Item = Result<Bytes, Error>>, limit: usize) -> Result<Vec<u8>, RuntimeError> {
    let mut chunks = std::pin::pin!(chunks);
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| engine.trouble(&error))?;
        bytes.extend_from_slice(&chunk[..chunk.len().min(limit - bytes.len())]);
        if bytes.len() >= limit {
            break;
        }
    }
    Ok(bytes)
}

/// The first by name of `.devcontainer/X/devcontainer.json` in an archive of `.devcontainer`.
fn first_in_folder(bytes: &[u8]) -> Option<String> {
    let mut archive = Archive::new(bytes);
    let files = archive.entries().ok()?.map_while(Result::ok).filter_map(|entry| {
        let path = String::from_utf8(entry.path_bytes().into_owned()).ok()?;
        let parts: Vec<&str> = path.split('/').collect();
        let fits = entry.header().entry_type() == EntryType::Regular && matches!(parts[..], [FOLDER, folder, NAME] if folder != "..");
        fits.then_some(path)
    });
    files.take(MAX_FOLDERS).min()
}

#[cfg(test)]
mod tests {
    use tar::{Builder, Header};

    use super::*;

    #[test]
    fn what_engines_call_a_link() {
        assert_eq!(kind(0o644), Kind::File);
        assert_eq!(kind(MODE_DIRECTORY | 0o755), Kind::Directory);
        assert_eq!(kind(MODE_LINK | 0o777), Kind::Link);
        assert_eq!(kind(1 << 25 | 0o600), Kind::Other, "a pipe");
    }

    #[test]
    fn the_first_folder_with_a_file() {
        let mut builder = Builder::new(Vec::new());
        for (path, kind) in [
            (".devcontainer/web/devcontainer.json", EntryType::Regular),
            (".devcontainer/api/devcontainer.json", EntryType::Regular),
            (".devcontainer/aaa/devcontainer.json", EntryType::Symlink),
            (".devcontainer/aaa/deep/devcontainer.json", EntryType::Regular),
            (".devcontainer/aa.json", EntryType::Regular),
        ] {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(0);
            builder.append_data(&mut header, path, &b""[..]).expect("added");
        }
        let bytes = builder.into_inner().expect("packed");
        assert_eq!(first_in_folder(&bytes).as_deref(), Some(".devcontainer/api/devcontainer.json"));
        assert_eq!(
            first_in_folder(&bytes[..700]).as_deref(),
            Some(".devcontainer/web/devcontainer.json"),
            "what is cut off is passed over"
        );
        assert_eq!(first_in_folder(b"junk"), None);
    }
}
