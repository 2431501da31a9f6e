//! The image of a codespace: found, or pulled while its user watches.

use std::{collections::HashMap, pin::pin, time::Duration};

use bollard::{
    models::{CreateImageInfo, HealthConfig, ImageConfig},
    query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder},
};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::{
    Options,
    engine::{Engine, is_missing},
};
use crate::{
    domain::is_image_name,
    runtime::{Progress, RuntimeError},
};

/// The label in which an image says so.
const METADATA: &str = "devcontainer.metadata";

/// How long a pull may take.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Whether the engine has an image.
pub async fn is_there(engine: &Engine, image: &str) -> Result<bool, RuntimeError> {
    match engine.api().await?.inspect_image(image).await {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(engine.trouble(&error)),
    }
}

/// Gets an image, if the engine has it not.
pub async fn get(engine: &Engine, options: &Options, image: &str, progress: &Progress) -> Result<(), RuntimeError> {
    // The name becomes part of an address of the engine.
    if !is_image_name(image) {
        return Err(RuntimeError::Failed(format!("{image:?} is no name of an image")));
    }
    if is_there(engine, image).await? {
        return Ok(());
    }
    let api = engine.api().await?;
    let most = options.build_disk.unwrap_or(u64::MAX);
    progress.tell(&format!("Getting the image {image}"));
    match timeout(PATIENCE, pull(engine, image, most, progress)).await {
        Ok(pulled) => pulled?,
        Err(_) => {
            let why = format!("the image {image} was not there within {} minutes", PATIENCE.as_secs() / 60);
            return Err(RuntimeError::Failed(why));
        }
    }
    let found = api.inspect_image(image).await.map_err(|error| engine.trouble(&error))?;
    // A small archive can hold a large image.
    if found.size.and_then(|size| u64::try_from(size).ok()).is_some_and(|size| size > most) {
        let removed = api
            .remove_image(image, Some(RemoveImageOptionsBuilder::default().build()), None)
            .await;
        removed.map_err(|error| engine.trouble(&error))?;
        return Err(too_large(image, most));
    }
    Ok(())
}

/// Has the engine pull, which ends with whoever listens.
async fn pull(engine: &Engine, image: &str, most: u64, progress: &Progress) -> Result<(), RuntimeError> {
    let options = CreateImageOptionsBuilder::default().from_image(&tagged(image)).build();
    let mut pull = pin!(engine.api().await?.create_image(Some(options), None, None));
    let mut layers = HashMap::new();
    while let Some(told) = pull.next().await {
        let told = told.map_err(|error| match engine.trouble(&error) {
            RuntimeError::Failed(why) => RuntimeError::Failed(format!("the image {image} cannot be had. {why}")),
            error => error,
        })?;
        if size(&mut layers, &told) > most {
            return Err(too_large(image, most));
        }
        progress.tell(&words(image, &told));
    }
    Ok(())
}

/// How large all is that is fetched, as far as it was told.
fn size(layers: &mut HashMap<String, u64>, told: &CreateImageInfo) -> u64 {
    let total = told.progress_detail.as_ref().and_then(|detail| detail.total);
    if let (Some(id), Some(total)) = (&told.id, total.and_then(|total| u64::try_from(total).ok())) {
        let known = layers.entry(id.clone()).or_default();
        *known = total.max(*known);
    }
    layers.values().fold(0, |sum, size| sum.saturating_add(*size))
}

fn too_large(image: &str, most: u64) -> RuntimeError {
    RuntimeError::Failed(format!(
        "the image {image} is larger than {} MiB, which is docker.build_disk. Name a smaller one, or ask the operator",
        most >> 20
    ))
}

/// What an image says of containers that are made of it; none where it says nothing.
pub async fn metadata(engine: &Engine, image: &str) -> Result<Option<String>, RuntimeError> {
    let found = engine
        .api()
        .await?
        .inspect_image(image)
        .await
        .map_err(|error| engine.trouble(&error))?;
    let mut labels = found.config.and_then(|config| config.labels).unwrap_or_default();
    Ok(labels.remove(METADATA))
}

/// The user that an image's own label names for whoever works in it, as development container images have it.
pub async fn user(engine: &Engine, image: &str) -> Result<Option<String>, RuntimeError> {
    Ok(metadata(engine, image).await?.and_then(|text| named_user(&text)))
}

/// How containers of an image are set up.
async fn config(engine: &Engine, image: &str) -> Result<Option<ImageConfig>, RuntimeError> {
    let found = engine.api().await?.inspect_image(image).await;
    Ok(found.map_err(|error| engine.trouble(&error))?.config)
}

/// What an image has an engine do with a build that is upon it.
pub async fn triggers(engine: &Engine, image: &str) -> Result<Vec<String>, RuntimeError> {
    Ok(config(engine, image).await?.and_then(|config| config.on_build).unwrap_or_default())
}

/// Where an image says that what is kept is in volumes.
pub async fn volumes(engine: &Engine, image: &str) -> Result<Vec<String>, RuntimeError> {
    Ok(config(engine, image).await?.and_then(|config| config.volumes).unwrap_or_default())
}

/// How an image has an engine look at its health.
pub async fn health(engine: &Engine, image: &str) -> Result<HealthConfig, RuntimeError> {
    Ok(config(engine, image)
        .await?
        .and_then(|config| config.healthcheck)
        .unwrap_or_default())
}

/// Whether so many nanoseconds between two looks are fewer than are heeded: each look is a process of the engine's. None and 0
/// stand for what an engine does by itself; it takes a negative number from an image, and then looks without a pause.
pub fn is_too_often(nanoseconds: Option<i64>, least: Duration) -> bool {
    nanoseconds.is_some_and(|time| time != 0 && u128::try_from(time).map_or(true, |time| time < least.as_nanos()))
}

/// The last of a list of parts that names one counts, `remoteUser` before `containerUser`.
fn named_user(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let parts = match value {
        serde_json::Value::Array(parts) => parts,
        part => vec![part],
    };
    let named = |key: &str| parts.iter().rev().find_map(|part| part.get(key)?.as_str()).map(str::to_owned);
    let plain =
        |user: &String| !user.is_empty() && user.len() <= 64 && user.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    named("remoteUser").or_else(|| named("containerUser")).filter(plain)
}

/// Without a tag an engine would pull all of them.
pub fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) && !image.starts_with("sha256:") {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

fn words(image: &str, told: &CreateImageInfo) -> String {
    let status = told.status.as_deref().unwrap_or("Working");
    let detail = told
        .progress_detail
        .as_ref()
        .and_then(|detail| Some((detail.current?, detail.total?)));
    let part = detail
        .filter(|(_, total)| *total > 0)
        .map(|(current, total)| format!(", {} %", current * 100 / total));
    let words = format!("Getting the image {image}: {status}{}", part.unwrap_or_default());
    words.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn users_that_images_name() {
        for (text, user) in [
            (
                r#"[{"id":"feature"},{"containerUser":"root","remoteUser":"vscode"}]"#,
                Some("vscode"),
            ),
            (r#"{"containerUser":"node"}"#, Some("node")),
            (r#"[{"remoteUser":"a b"}]"#, None),
            ("[]", None),
            ("junk", None),
        ] {
            assert_eq!(named_user(text).as_deref(), user, "{text}");
        }
    }

    #[test]
    fn how_much_is_fetched() {
        let told = |id: &str, total: Option<i64>| CreateImageInfo {
            id: Some(id.into()),
            progress_detail: Some(ProgressDetail { current: Some(1), total }),
            ..CreateImageInfo::default()
        };
        let mut layers = HashMap::new();
        assert_eq!(size(&mut layers, &told("a", Some(100))), 100);
        assert_eq!(size(&mut layers, &told("b", Some(i64::MAX))), (1 << 63) + 99);
        assert_eq!(size(&mut layers, &told("a", None)), (1 << 63) + 99);
        assert_eq!(size(&mut layers, &told("a", Some(-1))), (1 << 63) + 99);
        assert_eq!(size(&mut layers, &CreateImageInfo::default()), (1 << 63) + 99);
    }

    #[test]
    fn how_often_is_too_often() {
        let second = 1_000_000_000;
        for (nanoseconds, expected) in [
            (None, false),
            (Some(0), false),
            (Some(1), true),
            (Some(second - 1), true),
            (Some(second), false),
            (Some(i64::MAX), false),
            (Some(-1), true),
            (Some(-30 * second), true),
            (Some(i64::MIN), true),
        ] {
            assert_eq!(is_too_often(nanoseconds, Duration::from_secs(1)), expected, "{nanoseconds:?}");
        }
    }

    #[test]
    fn an_image_without_a_tag_is_the_latest() {
        for (image, tagged_image) in [
            ("debian", "debian:latest"),
            ("debian:12", "debian:12"),
            ("registry.example.com:5000/base", "registry.example.com:5000/base:latest"),
            ("base@sha256:00", "base@sha256:00"),
            ("c0ffee", "c0ffee:latest"),
            ("sha256:c0ffee", "sha256:c0ffee:latest"),
        ] {
            assert_eq!(tagged(image), tagged_image);
        }
    }
}
