//! The image of a codespace: found, or pulled while its user watches.

use bollard::{models::CreateImageInfo, query_parameters::CreateImageOptionsBuilder};
use futures_util::StreamExt as _;

use super::engine::{Engine, is_missing};
use crate::{
    domain::is_image_name,
    runtime::{Progress, RuntimeError},
};

/// The label in which an image says so.
const METADATA: &str = "devcontainer.metadata";

/// Gets an image, if the engine has it not.
pub async fn get(engine: &Engine, image: &str, progress: &Progress) -> Result<(), RuntimeError> {
    // The name becomes part of an address of the engine.
    if !is_image_name(image) {
        return Err(RuntimeError::Failed(format!("{image:?} is no name of an image")));
    }
    let api = engine.api().await?;
    match api.inspect_image(image).await {
        Ok(_) => return Ok(()),
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(engine.trouble(&error)),
    }
    progress.tell(&format!("Getting the image {image}"));
    let options = CreateImageOptionsBuilder::default().from_image(&tagged(image)).build();
    let mut pull = api.create_image(Some(options), None, None);
    while let Some(told) = pull.next().await {
        match told {
            Ok(told) => progress.tell(&words(image, &told)),
            Err(error) => {
                let why = engine.trouble(&error);
                let RuntimeError::Failed(why) = why else { return Err(why) };
                return Err(RuntimeError::Failed(format!("the image {image} cannot be had. {why}")));
            }
        }
    }
    api.inspect_image(image).await.map(drop).map_err(|error| engine.trouble(&error))
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

/// What an image has an engine do with a build that is upon it.
pub async fn triggers(engine: &Engine, image: &str) -> Result<Vec<String>, RuntimeError> {
    let found = engine
        .api()
        .await?
        .inspect_image(image)
        .await
        .map_err(|error| engine.trouble(&error))?;
    Ok(found.config.and_then(|config| config.on_build).unwrap_or_default())
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
