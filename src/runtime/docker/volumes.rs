//! What holds work: the volumes that this gateway made, and those of them that belong to no codespace.

use std::path::Path;

use bollard::{models::Volume, query_parameters::ListVolumesOptionsBuilder};

use super::{Options, engine::Engine, instance::Instance, plan};
use crate::runtime::{Known, LeftBehind, RuntimeError};

/// Where clients of an engine look by themselves.
const USUAL: &str = "/var/run/docker.sock";

/// All volumes that this gateway made.
pub async fn of_gateway(engine: &Engine, instance: &Instance) -> Result<Vec<Volume>, RuntimeError> {
    let options = ListVolumesOptionsBuilder::default().filters(&instance.filter()).build();
    let found = engine.api().await?.list_volumes(Some(options)).await;
    let volumes = found.map_err(|error| engine.trouble(&error))?.volumes.unwrap_or_default();
    Ok(volumes.into_iter().filter(|volume| instance.is_maker(&volume.labels)).collect())
}

/// Those of codespaces that are not known.
pub async fn left_behind(
    engine: &Engine,
    options: &Options,
    instance: &Instance,
    is_known: &Known<'_>,
) -> Result<Vec<LeftBehind>, RuntimeError> {
    let is_podman = engine.is_podman().await?;
    let volumes = of_gateway(engine, instance).await?.into_iter();
    let mut left: Vec<LeftBehind> = volumes
        .filter(|volume| !plan::is_known(&volume.labels, is_known))
        .map(|mut volume| LeftBehind {
            kind: "volume",
            codespace: volume.labels.remove(plan::NAME_LABEL).unwrap_or_default(),
            remove: removal(&options.socket, is_podman, &volume.name),
            name: volume.name,
        })
        .collect();
    left.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(left)
}

/// How an operator removes a volume.
fn removal(socket: &Path, is_podman: bool, name: &str) -> String {
    let is_usual = socket == Path::new(USUAL);
    let engine = quoted(format!("unix://{}", socket.display()));
    match (is_podman, is_usual) {
        (true, _) => format!("podman --url {engine} volume rm {name}"),
        (false, true) => format!("docker volume rm {name}"),
        (false, false) => format!("docker -H {engine} volume rm {name}"),
    }
}

/// A word as a shell takes it.
fn quoted(word: String) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/:._-+@%".contains(&byte);
    if word.bytes().all(is_plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_volume_is_removed() {
        let check = |socket: &str, is_podman, expected: &str| assert_eq!(removal(Path::new(socket), is_podman, "v"), expected);
        check(USUAL, false, "docker volume rm v");
        check(
            "/run/user/1000/docker.sock",
            false,
            "docker -H unix:///run/user/1000/docker.sock volume rm v",
        );
        check(
            "/run/podman/podman.sock",
            true,
            "podman --url unix:///run/podman/podman.sock volume rm v",
        );
        check(USUAL, true, "podman --url unix:///var/run/docker.sock volume rm v");
        check("/my own/p.sock", true, "podman --url 'unix:///my own/p.sock' volume rm v");
        check("/it's/d.sock", false, r"docker -H 'unix:///it'\''s/d.sock' volume rm v");
    }
}
