//! Builds an image of a repository's Dockerfile while its user watches.
//!
//! The context goes from the codespace's volume to the engine as a stream, what `.dockerignore` names left out; neither is
//! ever a file of this machine. What the Dockerfile runs is in an enclosure (see there), within the codespace's bounds, and gets
//! no secret. Layers carry a label of ours, so that those of builds that failed are found when they are to go.

use std::{collections::HashMap, pin::pin, time::Duration};

use bollard::{
    body_full, body_try_stream,
    models::BuildInfo,
    query_parameters::{
        BuildImageOptions, BuildImageOptionsBuilder, ListImagesOptionsBuilder, PruneImagesOptionsBuilder, RemoveImageOptionsBuilder,
    },
};
use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    future::{Either, select},
    stream::unfold,
};
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{
    Options, bases, bounds,
    checkout::{Checkout, Unreadable},
    context::{self, Bridge},
    enclosure,
    engine::Engine,
    ignore::Ignored,
    instance::Instance,
    leftovers,
    meter::Meter,
    plan,
};
use crate::{
    devcontainer::Build,
    domain::CodespaceName,
    runtime::{Known, Progress, RuntimeError},
};

/// How long a build may take.
const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// No layer of a build that is under way is older.
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);
/// How much a build may print, in bytes.
const MAX_PRINTED: usize = 64 << 20;
/// Pieces of a context on their way, each a few KiB.
const QUEUE: usize = 8;

/// Who is told of a build.
type Watching<'a> = (&'a Progress, &'a Meter);

/// A context as it goes to the engine.
enum Packed {
    Whole(Vec<u8>),
    Pieces(mpsc::Receiver<std::io::Result<Bytes>>),
}

/// What a build needs.
pub struct Site<'a> {
    pub engine: &'a Engine,
    pub options: &'a Options,
    pub instance: &'a Instance,
    pub name: &'a CodespaceName,
    pub mounts: &'a plan::Mounts,
}

impl Site<'_> {
    /// Builds; gives the tag, which nobody else's Dockerfile can guess and build upon.
    pub async fn build(
        &self,
        checkout: &Checkout<'_>,
        build: &Build,
        dockerfile: String,
        progress: &Progress,
    ) -> Result<String, Unreadable> {
        let ignored = self.ignored(checkout, build).await?;
        self.enclosed(build, async |options, meter: &Meter| {
            self.run(checkout, build, dockerfile, ignored, options, (progress, meter)).await
        })
        .await
    }

    /// As [`Site::build`], of a context that is there already, with its Dockerfile under [`context::DOCKERFILE`].
    pub async fn build_archive(&self, build: &Build, archive: Vec<u8>, progress: &Progress) -> Result<String, Unreadable> {
        self.enclosed(build, async |options, meter: &Meter| {
            let context = Packed::Whole(archive);
            self.follow(options, context, (progress, meter)).await.map_err(|error| match error {
                RuntimeError::Failed(why) => {
                    progress.print(&format!("{why}\n"));
                    Unreadable::Repository(format!("its features could not be installed. {why}"))
                }
                error => error.into(),
            })
        })
        .await
    }

    /// Has something built in a network of its own and within bounds, and takes away what it leaves.
    async fn enclosed(
        &self,
        build: &Build,
        running: impl AsyncFnOnce(BuildImageOptions, &Meter) -> Result<(), Unreadable>,
    ) -> Result<String, Unreadable> {
        let tag = format!("{}:{:032x}", self.instance.resource(self.name), rand::random::<u128>());
        let meter = Meter::begin(self.engine, self.instance).await?;
        // What opened half of it left that behind.
        let built = match Box::pin(enclosure::open(self)).await {
            Ok(network) => {
                let options = self.build_options(build, &tag, &network);
                let running = Box::pin(running(options, &meter));
                self.within_bounds(&network, &meter, running).await
            }
            Err(error) => Err(error.into()),
        };
        // The last of it may have been over before anybody looked.
        let built = match built {
            Ok(()) => self.check(&tag, &meter).await,
            failed => failed,
        };
        if built.is_err() {
            meter.end(self.engine, self.instance).await?;
        }
        enclosure::close(self.engine, self.instance, self.name).await?;
        built.map(|()| tag)
    }

    /// Removes what was built if it is too large.
    async fn check(&self, tag: &str, meter: &Meter) -> Result<(), Unreadable> {
        let Err(error) = meter.check(self.engine, self.instance, self.options.build_disk).await else {
            return Ok(());
        };
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        let removed = self.engine.api().await?.remove_image(tag, Some(options), None).await;
        self.engine.unless_missing(removed.map(drop))?;
        Err(error.into())
    }

    /// Ends a build that takes too long, or too much, and one whose steps cannot be bounded.
    async fn within_bounds(
        &self,
        network: &str,
        meter: &Meter,
        running: impl Future<Output = Result<(), Unreadable>>,
    ) -> Result<(), Unreadable> {
        tokio::select! {
            built = running => built,
            error = Box::pin(bounds::keep(self.engine, self.options, network, meter)) => Err(error.into()),
            error = Box::pin(meter.outgrown(self.engine, self.instance, self.options.build_disk)) => Err(error.into()),
            () = tokio::time::sleep(PATIENCE) => {
                let why = format!("the build took longer than {} minutes and was ended", PATIENCE.as_secs() / 60);
                Err(Unreadable::Repository(why))
            }
        }
    }

    /// Has the engine build, and shows what it says.
    async fn follow(&self, options: BuildImageOptions, context: Packed, (progress, meter): Watching<'_>) -> Result<(), RuntimeError> {
        let body = match context {
            Packed::Whole(archive) => body_full(archive.into()),
            Packed::Pieces(pieces) => body_try_stream(unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)))),
        };
        let api = self.engine.api().await?;
        let mut told = pin!(api.build_image(options, None, Some(body)));
        let mut printed = 0;
        while let Some(told) = told.next().await {
            let told = told.map_err(|error| self.engine.trouble(&error))?;
            printed += told.stream.as_ref().map_or(0, String::len);
            if printed > MAX_PRINTED {
                let why = format!("it printed more than {} MiB and was ended", MAX_PRINTED >> 20);
                return Err(RuntimeError::Failed(why));
            }
            meter.hear(told.stream.as_deref().unwrap_or_default());
            show(&told, progress);
        }
        Ok(())
    }

    async fn ignored(&self, checkout: &Checkout<'_>, build: &Build) -> Result<Ignored, Unreadable> {
        let in_context = if build.context.is_empty() {
            ".dockerignore".to_owned()
        } else {
            format!("{}/.dockerignore", build.context)
        };
        // The Dockerfile's own one counts first, as with docker's own builder.
        for path in [format!("{}.dockerignore", build.dockerfile), in_context] {
            if let Some(text) = checkout.text(&path).await? {
                return Ok(Ignored::read(&text));
            }
        }
        Ok(Ignored::default())
    }

    async fn run(
        &self,
        checkout: &Checkout<'_>,
        build: &Build,
        dockerfile: String,
        ignored: Ignored,
        options: BuildImageOptions,
        (progress, meter): Watching<'_>,
    ) -> Result<(), Unreadable> {
        let mut chunks = Box::pin(checkout.directory(&build.context).await?);
        let (raw, unpacked) = mpsc::channel::<std::io::Result<Bytes>>(QUEUE);
        let (packed, body) = mpsc::channel::<std::io::Result<Bytes>>(QUEUE);
        let filtering = spawn_blocking(move || context::filter(Bridge::new(unpacked), packed, &dockerfile, &ignored));
        let feeding = async move {
            while let Some(chunk) = chunks.next().await {
                if raw.send(chunk.map_err(std::io::Error::other)).await.is_err() {
                    break;
                }
            }
        };
        let watching = self.follow(options, Packed::Pieces(body), (progress, meter));
        // An engine that is done before it has read everything wants no more.
        let watched = match select(Box::pin(watching), Box::pin(feeding)).await {
            Either::Left((watched, _)) => watched,
            Either::Right(((), watching)) => watching.await,
        };
        // What is wrong with the context is why the engine got none.
        if let Ok(Err(error)) = filtering.await
            && error.kind() == std::io::ErrorKind::Other
        {
            return Err(Unreadable::Repository(format!("the build's context cannot be used: {error}")));
        }
        watched.map_err(|error| match error {
            RuntimeError::Failed(why) => {
                progress.print(&format!("{why}\n"));
                Unreadable::Repository(format!("its image could not be built. {why}"))
            }
            error => error.into(),
        })
    }

    fn build_options(&self, build: &Build, tag: &str, network: &str) -> BuildImageOptions {
        let labels = self.instance.labels(self.name);
        let args: HashMap<String, String> = build.args.clone().into_iter().collect();
        let mut options = BuildImageOptionsBuilder::new()
            .dockerfile(context::DOCKERFILE)
            .t(tag)
            .rm(true)
            .forcerm(true)
            .networkmode(&format!("container:{network}"))
            .labels(&labels)
            .buildargs(&args);
        if let Some(target) = &build.target {
            options = options.target(target);
        }
        if let Some(memory) = self.options.memory {
            // The engine's client takes no more; what runs gets the rest as it starts.
            let memory = i32::try_from(memory).unwrap_or(i32::MAX);
            options = options.memory(memory).memswap(memory);
        }
        if let Some(thousandths) = self.options.milli_cpus {
            let quota = i32::try_from(thousandths.saturating_mul(100)).unwrap_or(i32::MAX);
            options = options.cpuperiod(100_000).cpuquota(quota);
        }
        options.build()
    }
}

/// Removes what was built for a codespace, but for some images. Layers that others use stay.
pub async fn forget(engine: &Engine, instance: &Instance, name: &CodespaceName, but: &[&str]) -> Result<(), RuntimeError> {
    let api = engine.api().await?;
    let options = ListImagesOptionsBuilder::default().filters(&instance.filter()).build();
    let found = api.list_images(Some(options)).await.map_err(|error| engine.trouble(&error))?;
    for image in found.into_iter().filter(|image| instance.is_of(name, &image.labels)) {
        if image.repo_tags.iter().any(|tag| but.contains(&tag.as_str())) {
            continue;
        }
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        // One that a container still uses is removed with the next.
        if let Err(error) = api.remove_image(&image.id, Some(options), None).await {
            tracing::debug!(codespace = %name, %error, "an image stays");
        }
    }
    Ok(())
}

/// Removes what was built for codespaces that are no more.
pub async fn tidy(engine: &Engine, instance: &Instance, is_known: &Known<'_>) -> Result<(), RuntimeError> {
    let api = engine.api().await?;
    let options = ListImagesOptionsBuilder::default().filters(&instance.filter()).build();
    let found = api.list_images(Some(options)).await.map_err(|error| engine.trouble(&error))?;
    let gone = |labels: &HashMap<String, String>| instance.is_maker(labels) && !plan::is_known(labels, is_known);
    for image in found.into_iter().filter(|image| gone(&image.labels)) {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        if let Err(error) = api.remove_image(&image.id, Some(options), None).await {
            tracing::debug!(%error, "an image of no codespace stays");
        }
    }
    Ok(())
}

/// Removes layers of builds that failed long ago; all of them once they take more than one build may. One that is under way looks
/// the same: while there is one, those stay that it can have made.
pub async fn prune(engine: &Engine, instance: &Instance, options: &Options, is_under_way: bool) -> Result<(), RuntimeError> {
    let mut age = options.build_cache;
    if let Some(most) = options.build_disk
        && leftovers::weigh(engine, instance).await? > most
    {
        age = Duration::ZERO;
    }
    let age = if is_under_way { age.max(LONGEST) } else { age };
    let mut filter = instance.filter_of_layers();
    filter.insert("dangling".into(), vec!["true".into()]);
    // Engines cut it to whole seconds: what was made within this one would stay.
    if !age.is_zero() {
        filter.insert("until".into(), vec![format!("{}s", age.as_secs())]);
    }
    let options = PruneImagesOptionsBuilder::default().filters(&filter).build();
    let pruned = engine.api().await?.prune_images(Some(options)).await;
    pruned.map(drop).map_err(|error| engine.trouble(&error))
}

/// The Dockerfile with a label of ours on each of its stages, which all that is made of them has.
pub fn labelled(dockerfile: &str, instance: &Instance) -> String {
    let (key, value) = instance.layer_label();
    let label = format!("LABEL {key}={value}\n");
    bases::after_each_from(dockerfile, &label)
}

fn show(told: &BuildInfo, progress: &Progress) {
    if let Some(text) = &told.stream {
        progress.print(text);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty());
        if let Some(line) = line.filter(|line| line.starts_with("Step ")) {
            progress.tell(&plain(line));
        }
    } else if let Some(status) = &told.status {
        let layer = told.id.as_deref().map(|id| format!("{id}: ")).unwrap_or_default();
        // A layer's advance is for whoever watches; the log gets its stages.
        if told.progress_detail.as_ref().is_none_or(|detail| detail.total.is_none()) {
            progress.print(&format!("{layer}{status}\n"));
        }
        progress.tell(&plain(&format!("{layer}{status}")));
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
