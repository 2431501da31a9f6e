//! Makes a container as its repository says: image found or built, then the container anew around the same volume.
//!
//! What the repository got wrong is never an end: the codespace opens in the container that it had, or in one of the
//! operator's image, and says why.

use std::collections::BTreeSet;

use super::{
    DockerRuntime, allowed, bases,
    build::{self, Site},
    checkout::{Checkout, Unreadable},
    features::Workbench,
    image,
    instance::Instance,
    plan::{self, Made},
};
use crate::{
    devcontainer::{Configuration, Inherited, Notices, Origin, Place, Requirements},
    domain::CodespaceName,
    protocol::bootstrap::{Bootstrap, InContainer},
    runtime::{Making, Progress, RuntimeError},
};

impl DockerRuntime {
    /// Decides whether the container is made anew, and tells the agent what it lives in.
    pub(super) async fn make_as_configured(
        &self,
        name: &CodespaceName,
        bootstrap: &Bootstrap,
        making: Making,
        progress: &Progress,
    ) -> Result<InContainer, RuntimeError> {
        let instance = self.instance().await?;
        let id = instance.resource(name);
        let found = self.engine.container(&id).await?.unwrap_or_default();
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        let before = Made::of(&labels);
        let is_configured = before.as_ref().is_some_and(|made| made.fingerprint.is_some());
        // One that never ran was made a moment ago and holds nothing, whatever became of the one before it.
        let never_ran = plan::never_ran(found.state.as_ref());
        if making == Making::Kept && (is_configured || !never_ran) {
            return Ok(told(before.as_ref(), Notices::default()));
        }
        self.stop_container(&id).await?;
        let root = plan::workspace(bootstrap);
        let checkout = Checkout::open(&self.engine, &self.options, &instance, name, &root).await?;
        let planned = self.plan(&instance, name, bootstrap, &checkout, progress).await;
        checkout.close().await?;
        let mut notices = Notices::default();
        let planned = planned.map_err(|error| match error {
            Unreadable::Runtime(error) => error.to_string(),
            Unreadable::Repository(why) => why,
        });
        let (mut made, requirements) = match planned {
            Ok(planned) => planned,
            Err(why) => {
                progress.print(&format!("== {why}\n"));
                // The container that there was is worth more than an empty one.
                if let Some(before) = before.filter(|_| is_configured) {
                    notices.note(
                        "rebuild",
                        format!("it did not work, and the container is the one from before: {why}"),
                    );
                    return Ok(told(Some(&before), notices));
                }
                return self.recover(&instance, name, &why).await;
            }
        };
        self.compare(requirements, &mut made.notices);
        progress.tell("Making its container");
        if let Err(error) = self.replace_container(&instance, name, &made).await {
            let RuntimeError::Failed(why) = error else { return Err(error) };
            return self
                .recover(&instance, name, &format!("its container could not be made: {why}"))
                .await;
        }
        build::forget(&self.engine, &instance, name, Some(&made.image)).await?;
        Ok(told(Some(&made), notices))
    }

    /// What a container is made of where no repository says so.
    pub(super) async fn as_operator_says(&self) -> Result<Made, RuntimeError> {
        Ok(Made {
            user: image::user(&self.engine, &self.options.image).await?,
            ..Made::default()
        })
    }

    /// Makes the operator's own container, with the codespace's files in it.
    pub(super) async fn recover(&self, instance: &Instance, name: &CodespaceName, why: &str) -> Result<InContainer, RuntimeError> {
        let why: String = why.chars().take(1500).collect();
        let made = Made {
            recovery: Some(why),
            ..self.as_operator_says().await?
        };
        self.replace_container(instance, name, &made).await?;
        Ok(told(Some(&made), Notices::default()))
    }

    /// Reads what the repository says and gets the image; none where it says nothing.
    async fn plan(
        &self,
        instance: &Instance,
        name: &CodespaceName,
        bootstrap: &Bootstrap,
        checkout: &Checkout<'_>,
        progress: &Progress,
    ) -> Result<(Made, Requirements), Unreadable> {
        let Some(source) = checkout.configuration(bootstrap.devcontainer.as_deref()).await? else {
            return Ok((self.as_operator_says().await?, Requirements::default()));
        };
        progress.print(&format!("== {source}\n"));
        let text = checkout.text(&source).await?.unwrap_or_default();
        let place = Place {
            root: plan::workspace(bootstrap),
            id: name.to_string(),
        };
        let configuration =
            Configuration::read(&text, &source, &place).map_err(|error| Unreadable::Repository(format!("{source}: {error}")))?;
        let mut dockerfile = None;
        let image = match &configuration.origin {
            Origin::Default => self.options.image.clone(),
            Origin::Image(image) => {
                // With a tag, because an engine takes what could be the beginning of an id for one.
                let image = image::tagged(image);
                allowed::admit(&self.options, &[image.as_str()])
                    .await
                    .map_err(Unreadable::Repository)?;
                let got = image::get(&self.engine, &self.options, &image, progress).await;
                got.map_err(of_repository)?;
                image
            }
            Origin::Build(_) if !self.options.builds => {
                let why = "this gateway builds no images; its operator can allow it with docker.builds. Name an image instead";
                return Err(Unreadable::Repository(format!("{source} asks for a build, and {why}")));
            }
            Origin::Build(build) => {
                let missing = || Unreadable::Repository(format!("{source} names {}, which is not there", build.dockerfile));
                let text = checkout.text(&build.dockerfile).await?.ok_or_else(missing)?;
                dockerfile = Some(text.clone());
                // What is read is what is built.
                let text = build::labelled(&text, instance);
                let named = bases::check(&text, &build.args).map_err(Unreadable::Repository)?;
                allowed::admit(&self.options, &named.all().collect::<Vec<_>>())
                    .await
                    .map_err(Unreadable::Repository)?;
                self.look_at_bases(&named.bases, progress).await?;
                progress.tell(&format!("Building the image of {}", build.dockerfile));
                let mounts = plan::Mounts::of(&self.options, &self.data, &self.program)?;
                let site = Site {
                    engine: &self.engine,
                    options: &self.options,
                    instance,
                    name,
                    mounts: &mounts,
                };
                let under_way = self.building.read().await;
                let built = site.build(checkout, build, text, progress).await;
                drop(under_way);
                self.prune(instance).await;
                built?
            }
        };
        let fingerprint = configuration.fingerprint(dockerfile.as_deref());
        let mut notices = Notices::default();
        let image = match self.why_no_features(&configuration) {
            None if configuration.features.is_empty() => image,
            None => {
                self.with_features(instance, name, checkout, &configuration, &image, progress)
                    .await?
            }
            Some(why) => {
                notices.note("features", why);
                image
            }
        };
        let mut configuration = configuration;
        let label = image::metadata(&self.engine, &image).await?.unwrap_or_default();
        let inherited = Inherited::take(&label, &mut configuration, &place, &mut notices);
        let user = match configuration.user() {
            Some(user) => Some(user.to_owned()),
            None => image::user(&self.engine, &image).await?,
        };
        let requirements = configuration.requirements;
        let made = Made {
            fingerprint: Some(fingerprint),
            image,
            user,
            configuration: Configuration {
                hooks: Vec::new(),
                notices: Notices::default(),
                ..configuration
            },
            recovery: None,
            notices,
            inherited,
        };
        if made.label().is_none() {
            return Err(Unreadable::Repository(format!(
                "{source} says more than an engine can keep with a container"
            )));
        }
        Ok((made, requirements))
    }

    /// Why features are not installed, if they are wanted.
    fn why_no_features(&self, configuration: &Configuration) -> Option<&'static str> {
        match (&self.options.devcontainer_cli, self.options.builds) {
            _ if configuration.features.is_empty() => None,
            (None, _) => Some(
                "features are not installed here. The operator can have them installed with docker.devcontainer_cli (npm install \
                 --global @devcontainers/cli); else put what they install into a Dockerfile, or into onCreateCommand",
            ),
            (_, false) => Some(
                "installing features builds an image, and this gateway builds none; its operator can allow it with docker.builds. \
                 Else install what they bring in onCreateCommand",
            ),
            (Some(_), true) => None,
        }
    }

    async fn with_features(
        &self,
        instance: &Instance,
        name: &CodespaceName,
        checkout: &Checkout<'_>,
        configuration: &Configuration,
        image: &str,
        progress: &Progress,
    ) -> Result<String, Unreadable> {
        let image = image::tagged(image);
        // It becomes what is built upon, with whatever it would have the engine do then.
        self.look_at_bases(&BTreeSet::from([image.clone()]), progress).await?;
        let mounts = plan::Mounts::of(&self.options, &self.data, &self.program)?;
        let site = Site {
            engine: &self.engine,
            options: &self.options,
            instance,
            name,
            mounts: &mounts,
        };
        let under_way = self.building.read().await;
        let workbench = Workbench {
            site,
            program: self.options.devcontainer_cli.as_deref().unwrap_or("devcontainer".as_ref()),
            data: &self.data,
            outbound: &self.outbound,
        };
        let built = Box::pin(workbench.install(checkout, configuration, &image, progress)).await;
        drop(under_way);
        self.prune(instance).await;
        built
    }

    /// Gets what is built upon, and refuses what it would have the engine do with the build.
    async fn look_at_bases(&self, bases: &BTreeSet<String>, progress: &Progress) -> Result<(), Unreadable> {
        for base in bases {
            let base = image::tagged(base);
            image::get(&self.engine, &self.options, &base, progress)
                .await
                .map_err(of_repository)?;
            let triggers = image::triggers(&self.engine, &base).await?;
            bases::check_triggers(&base, &triggers).map_err(Unreadable::Repository)?;
        }
        Ok(())
    }

    /// Names what the repository wants more of than a codespace gets.
    fn compare(&self, wanted: Requirements, notices: &mut Notices) {
        let short = |wanted: Option<u64>, given: Option<u64>| wanted.zip(given).filter(|(wanted, given)| wanted > given);
        let gib = |bytes: u64| format!("{}.{} GiB", bytes >> 30, ((bytes % (1 << 30)) * 10) >> 30);
        if let Some((wanted, given)) = short(wanted.cpus.map(|cpus| cpus * 1000), self.options.milli_cpus.map(u64::from)) {
            let reason = format!(
                "it asks for {}; a codespace has {}.{} here",
                wanted / 1000,
                given / 1000,
                given % 1000 / 100
            );
            notices.note("hostRequirements.cpus", reason);
        }
        for (key, wanted, given) in [
            ("hostRequirements.memory", wanted.memory, self.options.memory),
            ("hostRequirements.storage", wanted.storage, self.options.disk),
        ] {
            if let Some((wanted, given)) = short(wanted, given) {
                notices.note(key, format!("it asks for {}; a codespace has {} here", gib(wanted), gib(given)));
            }
        }
    }
}

/// What the agent is told of the container that it lives in.
fn told(made: Option<&Made>, notices: Notices) -> InContainer {
    let mut all = notices;
    all.extend(made.map(|made| made.notices.clone()).unwrap_or_default());
    InContainer {
        awaits: false,
        made_from: made.and_then(|made| made.fingerprint.clone()),
        recovery: made.and_then(|made| made.recovery.clone()),
        inherited: made.map(|made| made.inherited.clone()).unwrap_or_default(),
        notices: all,
        log: String::new(),
    }
}

fn of_repository(error: RuntimeError) -> Unreadable {
    match error {
        RuntimeError::Failed(why) => Unreadable::Repository(why),
        error => error.into(),
    }
}
