//! Which gateway a client command talks to, as whom, and which codespace it means.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{
    args::Where,
    client::{Client, Place},
    failure::Usage,
    saved::Saved,
};
use crate::{
    api::model::Codespace,
    app::OPERATOR_SOCKET,
    config::{Config, Overrides},
    route::Origin,
    unix_socket,
};

/// Where a command can do its work.
pub enum Found {
    /// A gateway that runs.
    Gateway(Client),
    /// The data directory of a gateway that is down.
    Data(PathBuf),
}

/// Finds the gateway, up or down: a command that needs one then says that it is not up.
pub async fn gateway(place: &Where) -> anyhow::Result<Client> {
    Ok(match find(place).await? {
        Found::Gateway(client) => client,
        Found::Data(data) => Client::new(Place::Socket(data.join(OPERATOR_SOCKET)), None),
    })
}

/// Finds the gateway: by flag, else by `PORTICO_URL` and `PORTICO_TOKEN` together, else the one that `portico login` signed
/// in to, else by the socket of the one on this machine. The URL alone is also the configuration of a gateway, so it does
/// not count without a token, one that was saved for it included. Where the environment names the gateway of this machine by
/// its data or its configuration, that one is meant.
pub async fn find(place: &Where) -> anyhow::Result<Found> {
    let token = variable("PORTICO_TOKEN");
    let from_environment = variable("PORTICO_URL").filter(|_| place.data.is_none());
    if let Some(url) = place.url.clone().or(from_environment.clone().filter(|_| token.is_some())) {
        let origin = url.parse().with_context(|| format!("{url:?} is no gateway's URL"))?;
        let token = match token {
            Some(token) => Some(token),
            None => Saved::read()?.at(&origin).map(|sign_in| sign_in.token.clone()),
        };
        return Ok(Found::Gateway(Client::new(Place::Url(origin), token)));
    }
    let named_here = ["PORTICO_DATA", "PORTICO_CONFIG"].iter().any(|name| variable(name).is_some());
    if place.data.is_none() && !named_here {
        let saved = Saved::read()?;
        let found = match from_environment.and_then(|url| url.parse::<Origin>().ok()) {
            Some(origin) => saved.at(&origin).map(|sign_in| (origin.clone(), sign_in)),
            None => saved.current(),
        };
        if let Some((origin, sign_in)) = found {
            return Ok(Found::Gateway(Client::new(Place::Url(origin), Some(sign_in.token.clone()))));
        }
    }
    let data = config(place.data.as_deref())?.data;
    let socket = data.join(OPERATOR_SOCKET);
    Ok(if answers(&socket).await {
        Found::Gateway(Client::new(Place::Socket(socket), None))
    } else {
        Found::Data(data)
    })
}

/// The configuration as this command line would run with.
pub fn config(data: Option<&Path>) -> anyhow::Result<Config> {
    let overrides = Overrides {
        data: data.map(|data| data.to_string_lossy().into_owned()),
        ..Overrides::default()
    };
    Ok(Config::gather(overrides, environment())?)
}

/// This process's environment; what is no text cannot be a setting of ours.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// A variable of this process's environment that holds something.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether somebody listens; the file alone proves nothing, a killed gateway leaves it.
async fn answers(socket: &Path) -> bool {
    unix_socket::connect(socket).await.is_ok()
}

/// Picks the codespace: the one that was named, or the only one.
pub async fn codespace(client: &Client, given: Option<&str>) -> anyhow::Result<String> {
    if let Some(name) = given {
        let name: Result<crate::domain::CodespaceName, _> = name.parse();
        return name.map(|name| name.to_string()).map_err(|error| Usage(error.to_string()).into());
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
