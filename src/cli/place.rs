//! Which gateway a client command talks to, as whom, and which codespace it means.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{
    args::Where,
    client::{Client, Place},
    failure::Usage,
};
use crate::api::model::Codespace;

/// The administration socket's name in the data directory.
pub const SOCKET: &str = "portico.sock";

/// Where a command can do its work.
pub enum Found {
    /// A gateway that runs.
    Gateway(Client),
    /// The data directory of a gateway that is down.
    Data(PathBuf),
}

/// Finds the gateway: a URL, else the socket of the one on this machine.
pub fn gateway(place: &Where) -> anyhow::Result<Client> {
    match find(place)? {
        Found::Gateway(client) => Ok(client),
        Found::Data(_) => Ok(Client::new(Place::Socket(data_dir(place).join(SOCKET)), None)),
    }
}

/// Finds the gateway, or the data directory of the one that is down.
///
/// A data directory that was named wins over a URL from the environment: the words are newer.
pub fn find(place: &Where) -> anyhow::Result<Found> {
    if let Some(url) = &place.url {
        let origin = url.parse().with_context(|| format!("{url:?} is no URL of a gateway"))?;
        let token = crate::config::client_token();
        return Ok(Found::Gateway(Client::new(Place::Url(origin), token)));
    }
    let data = data_dir(place);
    let socket = data.join(SOCKET);
    Ok(match answers(&socket) {
        true => Found::Gateway(Client::new(Place::Socket(socket), None)),
        false => Found::Data(data),
    })
}

/// Whether somebody listens; the file alone proves nothing, a killed gateway leaves it.
fn answers(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}

/// The data directory that is meant.
pub fn data_dir(place: &Where) -> PathBuf {
    place.data.clone().unwrap_or_else(crate::config::default_data_dir)
}

/// Picks the codespace: the one that was named, or the only one.
pub async fn codespace(client: &Client, given: Option<&str>) -> anyhow::Result<String> {
    if let Some(name) = given {
        let name: crate::domain::CodespaceName = name.parse().map_err(|error: crate::domain::NameError| Usage(error.to_string()))?;
        return Ok(name.to_string());
    }
    let all: Vec<Codespace> = client.get("/api/v1/codespaces").await?;
    match all.as_slice() {
        [only] => Ok(only.name.clone()),
        [] => Err(Usage("there is no codespace. Make one with: portico codespace create REPOSITORY".to_owned()).into()),
        several => {
            let names: Vec<&str> = several.iter().map(|one| one.name.as_str()).collect();
            Err(Usage(format!(
                "there are several codespaces; say which with -c NAME: {}",
                names.join(", ")
            ))
            .into())
        }
    }
}
