//! What builds left that no image with a name is made of: the cache of the next one, and the sum of what fails again and again.
//!
//! Owns that sum. Each build is bounded by itself; without this, one after another would fill the disk.

use std::collections::{HashMap, HashSet};

use bollard::{models::ImageSummary, query_parameters::ListImagesOptionsBuilder};

use super::{engine::Engine, instance::Instance};
use crate::runtime::RuntimeError;

/// How an engine writes that an image has no name.
const NAMELESS: &str = "<none>";

/// How much disk it takes, in bytes.
pub async fn weigh(engine: &Engine, instance: &Instance) -> Result<u64, RuntimeError> {
    let options = ListImagesOptionsBuilder::default().all(true).build();
    let images = engine.api().await?.list_images(Some(options)).await;
    let images = images.map_err(|error| engine.trouble(&error))?;
    Ok(sum(&images, instance.layer_label()))
}

/// What layers with that label add to those that they are upon, but for those that images with a name are made of.
fn sum(images: &[ImageSummary], (key, value): (&str, &str)) -> u64 {
    let by_id: HashMap<&str, &ImageSummary> = images.iter().map(|image| (image.id.as_str(), image)).collect();
    let mut kept = HashSet::new();
    for named in images.iter().filter(|image| is_named(image)) {
        let mut at = Some(named);
        while let Some(image) = at.filter(|image| kept.insert(image.id.as_str())) {
            at = by_id.get(image.parent_id.as_str()).copied();
        }
    }
    let is_left = |image: &&ImageSummary| !kept.contains(image.id.as_str()) && image.labels.get(key).is_some_and(|found| found == value);
    let size = |image: &ImageSummary| u64::try_from(image.size).unwrap_or_default();
    let adds = |image: &ImageSummary| {
        let below = by_id.get(image.parent_id.as_str()).map_or(0, |below| size(below));
        size(image).saturating_sub(below)
    };
    images.iter().filter(is_left).map(adds).fold(0, u64::saturating_add)
}

fn is_named(image: &ImageSummary) -> bool {
    let names = image.repo_tags.iter().chain(&image.repo_digests);
    names.into_iter().any(|name| !name.starts_with(NAMELESS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_builds_left() {
        let image = |id: &str, parent: &str, size: i64, name: &str| ImageSummary {
            id: id.into(),
            parent_id: parent.into(),
            size,
            repo_tags: vec![name.into()],
            labels: [("layer".to_owned(), "us".to_owned())].into(),
            ..ImageSummary::default()
        };
        let base = ImageSummary {
            labels: HashMap::new(),
            ..image("base", "", 1000, "debian:12")
        };
        let built = [
            base,
            image("one", "base", 1100, "<none>:<none>"),
            image("done", "one", 1150, "ours:1"),
            image("failed", "one", 1130, "<none>:<none>"),
            image("again", "failed", 1137, "<none>:<none>"),
            image("scratch", "", 5, "<none>:<none>"),
        ];
        assert_eq!(sum(&built, ("layer", "us")), 30 + 7 + 5);
        assert_eq!(sum(&built, ("layer", "others")), 0);
        let round = [image("a", "b", 3, "x:1"), image("b", "a", 3, "<none>:<none>")];
        assert_eq!(sum(&round, ("layer", "us")), 0, "an engine that errs keeps nobody busy");
    }
}
