//! How much disk a build takes, while it takes it: an engine has no bound for that.
//!
//! Owns the sum: the layers that the build made so far, as the engine tells their ids, and what the step that runs has
//! written. Layers that were there before count for nothing. What a Dockerfile runs can print ids too, and only make its own sum
//! larger by that.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use bollard::{
    models::{ContainerInspectResponse, ImageInspect},
    query_parameters::{
        InspectContainerOptionsBuilder, ListImagesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
        WaitContainerOptionsBuilder,
    },
};
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{sleep, timeout},
};

use super::{
    engine::{Engine, is_missing, is_taken},
    instance::Instance,
};
use crate::runtime::RuntimeError;

/// How long to wait at least between two looks; an engine walks through all files of a step for each.
const PAUSE: Duration = Duration::from_secs(2);
/// How long an engine may take to remove a step that it removes already.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most ids that a build may tell: a Dockerfile has no such number of steps.
const MOST_TOLD: usize = 10_000;

/// What is known of one build.
#[derive(Debug, Default)]
pub struct Meter {
    /// Layers, as the engine told them.
    told: Mutex<BTreeSet<String>>,
    /// The container of the step that was started last.
    step: Mutex<Option<String>>,
    /// Layers of builds that were there before this one.
    before: HashSet<String>,
    /// What is known of those that were told.
    known: AsyncMutex<HashMap<String, Layer>>,
    /// Whether it was found to take too much.
    is_over: AtomicBool,
}

/// An image that the engine told of, a step's or one that is built upon.
#[derive(Clone, Debug, Default, PartialEq)]
struct Layer {
    id: String,
    /// What its files are made of, the lowest first.
    chain: Vec<String>,
    /// In bytes, all of that.
    size: u64,
    /// Whether it is no build's of ours: one that others name, without our label.
    is_foreign: bool,
}

impl Meter {
    /// Begins with what there is.
    pub async fn begin(engine: &Engine, instance: &Instance) -> Result<Self, RuntimeError> {
        let options = ListImagesOptionsBuilder::default()
            .all(true)
            .filters(&instance.filter_of_layers())
            .build();
        let found = engine.api().await?.list_images(Some(options)).await;
        let found = found.map_err(|error| engine.trouble(&error))?;
        Ok(Self {
            before: found.into_iter().map(|image| image.id).collect(),
            ..Self::default()
        })
    }

    /// Takes note of what the engine says of a build.
    pub fn hear(&self, said: &str) {
        if let Some(id) = layer_told(said) {
            self.told.lock().insert(id.to_owned());
        }
    }

    /// Takes note of a step that was started.
    pub fn follow(&self, step: &str) {
        *self.step.lock() = Some(step.to_owned());
    }

    /// Ends once more than `most` bytes are taken, or when that can no longer be told: then a build is not to go on.
    pub async fn outgrown(&self, engine: &Engine, instance: &Instance, most: Option<u64>) -> RuntimeError {
        loop {
            let began = Instant::now();
            if let Err(error) = self.check(engine, instance, most).await {
                return error;
            }
            // An engine that finds it hard is asked less often.
            sleep(PAUSE.max(4 * began.elapsed())).await;
        }
    }

    /// An error where more than `most` bytes are taken.
    pub async fn check(&self, engine: &Engine, instance: &Instance, most: Option<u64>) -> Result<(), RuntimeError> {
        let Some(most) = most else { return Ok(()) };
        if self.weigh(engine, instance).await? <= most {
            return Ok(());
        }
        self.is_over.store(true, Relaxed);
        Err(RuntimeError::Failed(format!(
            "the build took more than {} MiB of disk, which is docker.build_disk, and was ended",
            most >> 20
        )))
    }

    async fn weigh(&self, engine: &Engine, instance: &Instance) -> Result<u64, RuntimeError> {
        let told = self.told.lock().clone();
        if told.len() > MOST_TOLD {
            return Err(RuntimeError::Failed(format!(
                "the build told of more than {MOST_TOLD} layers and was ended"
            )));
        }
        let mut known = self.known.lock().await;
        for id in told {
            if let Entry::Vacant(place) = known.entry(id) {
                let layer = layer(engine, instance, place.key()).await?;
                place.insert(layer);
            }
        }
        let layers = grown(known.values(), &self.before);
        let step = self.step.lock().clone();
        let Some(step) = step else { return Ok(layers) };
        let options = InspectContainerOptionsBuilder::default().size(true).build();
        match engine.api().await?.inspect_container(&step, Some(options)).await {
            Ok(found) => Ok(layers.saturating_add(written(&found)?)),
            Err(error) if is_missing(&error) => Ok(layers),
            Err(error) => Err(engine.trouble(&error)),
        }
    }

    /// Ends the step that was started last, of a build that is not to go on, and waits until it is gone: until then its layer is in
    /// use. If the build took too much its layers go too: the next one would come as far with them, and no further.
    pub async fn end(&self, engine: &Engine, instance: &Instance) -> Result<(), RuntimeError> {
        let step = self.step.lock().take();
        if let Some(step) = step {
            let api = engine.api().await?;
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            let removed = api.remove_container(&step, Some(options)).await;
            if removed.as_ref().is_err_and(is_taken) {
                // The engine is at it. An error is that it is done.
                let options = WaitContainerOptionsBuilder::default().condition("removed").build();
                let _ = timeout(PATIENCE, api.wait_container(&step, Some(options)).next()).await;
            } else {
                engine.unless_missing(removed)?;
            }
        }
        if self.is_over.load(Relaxed) {
            self.remove(engine, instance).await;
        }
        Ok(())
    }

    /// Removes the layers that a build left, those that it found excepted. What has a name, or is still in use, stays.
    async fn remove(&self, engine: &Engine, instance: &Instance) {
        let Ok(api) = engine.api().await else { return };
        let told = self.told.lock().clone();
        let mut mine = Vec::new();
        for id in told {
            let Ok(found) = api.inspect_image(&id).await else { continue };
            let is_named = found.repo_tags.as_ref().is_some_and(|tags| !tags.is_empty());
            if is_ours(&found, instance) && !is_named {
                mine.extend(found.id.filter(|id| !self.before.contains(id)));
            }
        }
        // Whichever has others upon it stays at first, and goes with the last of them.
        for id in mine {
            if let Err(error) = api
                .remove_image(&id, Some(RemoveImageOptionsBuilder::default().build()), None)
                .await
            {
                tracing::debug!(%error, "a layer stays");
            }
        }
    }
}

/// One that is not there, or no more, takes nothing.
async fn layer(engine: &Engine, instance: &Instance, id: &str) -> Result<Layer, RuntimeError> {
    match engine.api().await?.inspect_image(id).await {
        Ok(found) => Ok(Layer {
            is_foreign: is_foreign(&found, instance),
            id: found.id.unwrap_or_default(),
            chain: found.root_fs.and_then(|files| files.layers).unwrap_or_default(),
            size: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        }),
        Err(error) if is_missing(&error) => Ok(Layer::default()),
        Err(error) => Err(engine.trouble(&error)),
    }
}

fn is_ours(image: &ImageInspect, instance: &Instance) -> bool {
    let (key, value) = instance.layer_label();
    let labels = image.config.as_ref().and_then(|config| config.labels.as_ref());
    labels.is_some_and(|labels| labels.get(key).is_some_and(|found| found == value))
}

fn is_foreign(image: &ImageInspect, instance: &Instance) -> bool {
    let names = [&image.repo_tags, &image.repo_digests];
    names.into_iter().flatten().any(|names| !names.is_empty()) && !is_ours(image, instance)
}

/// What layers add to those that they are upon, but for those that were there before.
fn grown<'a>(known: impl Iterator<Item = &'a Layer>, before: &HashSet<String>) -> u64 {
    // Those that change no file have the chain of the one below.
    let mut chains: BTreeMap<&[String], (u64, bool)> = BTreeMap::new();
    for layer in known {
        let is_fresh = !layer.is_foreign && !before.contains(&layer.id);
        let entry = chains.entry(&layer.chain).or_insert((layer.size, true));
        entry.1 &= is_fresh;
    }
    let fresh = chains.iter().filter(|(_, (_, is_fresh))| *is_fresh);
    fresh
        .map(|(chain, (size, _))| {
            let below = (0..chain.len()).rev().find_map(|length| chains.get(&chain[..length]));
            size.saturating_sub(below.map_or(0, |(size, _)| *size))
        })
        .sum()
}

/// What a step has written; an error where that is out of sight.
fn written(step: &ContainerInspectResponse) -> Result<u64, RuntimeError> {
    let mounts = step.mounts.iter().flatten();
    let mut volumes = mounts.filter(|mount| mount.typ.as_deref() == Some("volume"));
    if let Some(volume) = volumes.next() {
        return Err(RuntimeError::Failed(format!(
            "a step of the build writes to the volume {}, which cannot be bounded: name volumes after the last RUN, or build upon an \
             image that has none",
            volume.destination.as_deref().unwrap_or_default()
        )));
    }
    Ok(step.size_rw.and_then(|size| u64::try_from(size).ok()).unwrap_or_default())
}

/// The id in ` ---> 0123456789ab`, with which an engine tells what a step became.
fn layer_told(said: &str) -> Option<&str> {
    let id = said.strip_prefix(" ---> ")?.trim_end();
    (id.len() == 12 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))).then_some(id)
}

#[cfg(test)]
mod tests {
    use bollard::models::MountPoint;

    use super::*;

    #[test]
    fn layers_in_what_is_said() {
        for (said, expected) in [
            (" ---> 0123456789ab\n", Some("0123456789ab")),
            (" ---> Using cache\n", None),
            (" ---> Running in 0123456789ab\n", None),
            ("---> 0123456789ab\n", None),
            (" ---> 0123456789abc\n", None),
            (" ---> 0123456789AB\n", None),
            ("", None),
        ] {
            assert_eq!(layer_told(said), expected, "{said:?}");
        }
    }

    #[test]
    fn what_layers_add() {
        let layer = |id: &str, chain: &str, size: u64| Layer {
            id: id.into(),
            chain: chain.chars().map(String::from).collect(),
            size,
            is_foreign: id.starts_with("base"),
        };
        let mut known = vec![
            layer("base", "ab", 1000),
            layer("base-of-others", "abc", 1500),
            layer("label", "ab", 1000),
            layer("old", "abd", 1100),
            layer("one", "abde", 1150),
            layer("two", "abdefg", 1170),
            layer("other", "abcx", 1503),
            layer("from-nothing", "y", 40),
            layer("cached", "abcxz", 9999),
        ];
        let before = HashSet::from(["old".to_owned(), "cached".to_owned()]);
        assert_eq!(grown(known.iter(), &before), 50 + 20 + 3 + 40);
        known.push(layer("same as one", "abde", 1150));
        assert_eq!(grown(known.iter(), &before), 113);
        assert_eq!(grown([Layer::default()].iter(), &before), 0);
    }

    #[test]
    fn what_a_step_has_written() {
        let step = |size: Option<i64>, kind: &str| ContainerInspectResponse {
            size_rw: size,
            mounts: Some(vec![MountPoint {
                typ: Some(kind.into()),
                destination: Some("/data".into()),
                ..MountPoint::default()
            }]),
            ..ContainerInspectResponse::default()
        };
        assert_eq!(written(&step(Some(7), "bind")).ok(), Some(7));
        assert_eq!(written(&step(Some(-1), "bind")).ok(), Some(0));
        assert_eq!(written(&ContainerInspectResponse::default()).ok(), Some(0));
        let why = written(&step(None, "volume")).expect_err("it is out of sight").to_string();
        assert!(why.contains("/data"), "{why}");
    }
}
