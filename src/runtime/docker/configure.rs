//! Makes a container as its repository says: image found or built, then the container anew around the same volume.
//!
//! What the repository got wrong is never an end: the codespace opens in the container that it had, or in one of the
//! operator's image, and says why.

use std::collections::BTreeSet;

use super::{
    DockerRuntime,
    build::{self, Site},
    checkout::{Checkout, Unreadable},
    compose::Composed,
    features::Workbench,
    image,
    instance::Instance,
    origin::Shop,
    plan::{self, Made},
};
use crate::{
    devcontainer::{Configuration, Inherited, Malformed, Notices, Origin, Place, Requirements},
    domain::CodespaceName,
    protocol::bootstrap::{Bootstrap, InContainer, Neighbours},
    runtime::{Making, Progress, RuntimeError},
};

/// What a repository says, and the image that it says it of.
struct Said {
    place: Place,
    configuration: Configuration,
    composed: Option<Composed>,
    image: String,
    fingerprint: String,
}

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
            return self.as_before(&instance, name, before.as_ref(), Notices::default(), progress).await;
        }
        self.stop_container(&id).await?;
        self.stop_group(&instance, name).await?;
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
                    return self.as_before(&instance, name, Some(&before), notices, progress).await;
                }
                return self.recover(&instance, name, &why).await;
            }
        };
        self.compare(requirements, &mut made.notices).await?;
        progress.tell("Making its container");
        if let Err(error) = self.replace_container(&instance, name, &made).await {
            let RuntimeError::Failed(why) = error else { return Err(error) };
            return self
                .recover(&instance, name, &format!("its container could not be made: {why}"))
                .await;
        }
        let images: Vec<&str> = made.images().collect();
        build::forget(&self.engine, &instance, name, &images).await?;
        let Some(group) = &made.group else {
            return Ok(told(Some(&made), notices));
        };
        progress.tell("Starting its services");
        match self.start_group(&instance, name, group, progress).await {
            Ok(more) => notices.extend(more),
            Err(Unreadable::Runtime(error)) => return Err(error),
            Err(Unreadable::Repository(why)) => {
                progress.print(&format!("== {why}\n"));
                return self.recover(&instance, name, &why).await;
            }
        }
        Ok(InContainer {
            neighbours: self.neighbours(&instance, name, group).await?,
            ..told(Some(&made), notices)
        })
    }

    /// Starts what is beside a container that stays. What does not start is told, and no reason to lose the container.
    async fn as_before(
        &self,
        instance: &Instance,
        name: &CodespaceName,
        before: Option<&Made>,
        mut notices: Notices,
        progress: &Progress,
    ) -> Result<InContainer, RuntimeError> {
        let Some((made, group)) = before.and_then(|made| Some((made, made.group.as_ref()?))) else {
            return Ok(told(before, notices));
        };
        if !self.has_networks(instance, name, group).await? {
            self.replace_container(instance, name, made).await?;
        }
        match self.start_group(instance, name, group, progress).await {
            Ok(more) => notices.extend(more),
            Err(Unreadable::Runtime(error)) => return Err(error),
            Err(Unreadable::Repository(why)) => {
                progress.print(&format!("== {why}\n"));
                notices.note("services", why);
            }
        }
        Ok(InContainer {
            neighbours: self.neighbours(instance, name, group).await?,
            ..told(before, notices)
        })
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
        let place = Place {
            root: plan::workspace(bootstrap),
            id: name.to_string(),
            ..Place::default()
        };
        let shop = Shop {
            instance,
            name,
            checkout,
            source: &source,
            progress,
        };
        let said = self.said(&shop, place).await?;
        let (image, notices) = self.image(&shop, &said).await?;
        let mut made = self.made(image, said.configuration, &said.place, notices).await?;
        made.fingerprint = Some(said.fingerprint);
        if let Some(Composed { mut project, .. }) = said.composed {
            made.group = Some(self.group(&shop, &made, &said.place.root, &mut project).await?);
            made.notices.extend(project.notices);
        }
        if made.label().is_none() {
            return Err(Unreadable::Repository(format!(
                "{source} says more than an engine can keep with a container"
            )));
        }
        let requirements = made.configuration.requirements;
        Ok((made, requirements))
    }

    /// Reads the file and those that it names, and gets what its own image is made from.
    async fn said(&self, shop: &Shop<'_>, mut place: Place) -> Result<Said, Unreadable> {
        let (checkout, source) = (shop.checkout, shop.source);
        let text = checkout.text(source).await?.unwrap_or_default();
        let malformed = |error: Malformed| Unreadable::Repository(format!("{source}: {error}"));
        let mut configuration = Configuration::read(&text, source, &place).map_err(malformed)?;
        let mut composed = match configuration.compose() {
            Some(compose) => Some(self.composed(checkout, compose, source).await?),
            None => None,
        };
        if let Some(found) = &composed {
            // Again, now that it is known where else the checkout is.
            place.binds = found.project.binds();
            configuration = Configuration::read(&text, source, &place).map_err(malformed)?;
        }
        let (image, dockerfile) = match (&configuration.origin, &composed) {
            (_, Some(found)) => (self.image_of_service(shop, &found.project.own).await?, None),
            (Origin::Image(image), _) => (self.named_image(shop, image).await?, None),
            (Origin::Build(build), _) => {
                let (image, dockerfile) = self.built_image(shop, build).await?;
                (image, Some(dockerfile))
            }
            (Origin::Compose(_) | Origin::Default, _) => (self.options.image.clone(), None),
        };
        let fingerprint = match &mut composed {
            Some(found) => {
                let fingerprint = configuration.fingerprint_of(&found.texts);
                found.project.add_own(&mut configuration);
                fingerprint
            }
            None => configuration.fingerprint(dockerfile.as_deref()),
        };
        Ok(Said {
            place,
            configuration,
            composed,
            image,
            fingerprint,
        })
    }

    /// The image with features in it, where they can be had.
    async fn image(&self, shop: &Shop<'_>, said: &Said) -> Result<(String, Notices), Unreadable> {
        let mut notices = Notices::default();
        let image = match self.why_no_features(&said.configuration) {
            None if said.configuration.features.is_empty() => said.image.clone(),
            None => self.with_features(shop, &said.configuration, &said.image).await?,
            Some(why) => {
                notices.note("features", why);
                said.image.clone()
            }
        };
        Ok((image, notices))
    }

    /// What the container is made of, with what its image brings.
    async fn made(&self, image: String, mut configuration: Configuration, place: &Place, mut notices: Notices) -> Result<Made, Unreadable> {
        let label = image::metadata(&self.engine, &image).await?.unwrap_or_default();
        let inherited = Inherited::take(&label, &mut configuration, place, &mut notices);
        let user = match configuration.user() {
            Some(user) => Some(user.to_owned()),
            None => image::user(&self.engine, &image).await?,
        };
        Ok(Made {
            image,
            user,
            configuration: Configuration {
                hooks: Vec::new(),
                notices: Notices::default(),
                ..configuration
            },
            notices,
            inherited,
            ..Made::default()
        })
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

    async fn with_features(&self, shop: &Shop<'_>, configuration: &Configuration, image: &str) -> Result<String, Unreadable> {
        let image = image::tagged(image);
        // It becomes what is built upon, with whatever it would have the engine do then.
        self.look_at_bases(&BTreeSet::from([image.clone()]), shop.progress).await?;
        let mounts = plan::Mounts::of(&self.options, &self.data, &self.program)?;
        let site = Site {
            engine: &self.engine,
            options: &self.options,
            instance: shop.instance,
            name: shop.name,
            mounts: &mounts,
        };
        let under_way = self.building.read().await;
        let workbench = Workbench {
            site,
            program: self.options.devcontainer_cli.as_deref().unwrap_or("devcontainer".as_ref()),
            data: &self.data,
            outbound: &self.outbound,
        };
        let built = Box::pin(workbench.install(shop.checkout, configuration, &image, shop.progress)).await;
        drop(under_way);
        self.prune(shop.instance).await;
        built
    }

    /// Names what the repository wants more of than a codespace gets: where nothing is bounded, than the engine's machine has.
    async fn compare(&self, wanted: Requirements, notices: &mut Notices) -> Result<(), RuntimeError> {
        if wanted == Requirements::default() {
            return Ok(());
        }
        let machine = self.engine.api().await?.info().await.map_err(|error| self.engine.trouble(&error))?;
        let bytes = machine
            .mem_total
            .and_then(|bytes| u64::try_from(bytes).ok())
            .filter(|bytes| *bytes > 0);
        let cores = machine.ncpu.and_then(|cores| u64::try_from(cores).ok()).filter(|cores| *cores > 0);
        let given = Given {
            milli_cpus: self.options.milli_cpus.map(u64::from).or(cores.map(|cores| cores * 1000)),
            memory: self.options.memory.or(bytes),
            storage: self.options.disk,
        };
        given.compare(wanted, notices);
        Ok(())
    }
}

/// What a codespace has at most; none where nobody knows.
#[derive(Clone, Copy, Debug, Default)]
struct Given {
    milli_cpus: Option<u64>,
    memory: Option<u64>,
    storage: Option<u64>,
}

impl Given {
    fn compare(self, wanted: Requirements, notices: &mut Notices) {
        let short = |wanted: Option<u64>, given: Option<u64>| wanted.zip(given).filter(|(wanted, given)| wanted > given);
        let gib = |bytes: u64| format!("{}.{} GiB", bytes >> 30, ((bytes % (1 << 30)) * 10) >> 30);
        if let Some((wanted, given)) = short(wanted.cpus.map(|cpus| cpus.saturating_mul(1000)), self.milli_cpus) {
            let reason = format!(
                "it asks for {}; a codespace has {}.{} here",
                wanted / 1000,
                given / 1000,
                given % 1000 / 100
            );
            notices.note("hostRequirements.cpus", reason);
        }
        for (key, wanted, given) in [
            ("hostRequirements.memory", wanted.memory, self.memory),
            ("hostRequirements.storage", wanted.storage, self.storage),
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
        neighbours: Neighbours::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_is_named() {
        #[track_caller]
        fn check(given: Given, expected: &[(&str, &str)]) {
            let mut notices = Notices::default();
            let wanted = Requirements {
                cpus: Some(8),
                memory: Some(16 << 30),
                storage: Some(64 << 30),
            };
            given.compare(wanted, &mut notices);
            let told: Vec<_> = notices.iter().map(|notice| (notice.key.as_str(), notice.reason.as_str())).collect();
            assert_eq!(told, expected);
        }
        check(Given::default(), &[]);
        let all = Given {
            milli_cpus: Some(8000),
            memory: Some(16 << 30),
            storage: Some(64 << 30),
        };
        check(all, &[]);
        let half = Given {
            milli_cpus: Some(1500),
            memory: Some(12 << 30),
            ..all
        };
        let told = [
            ("hostRequirements.cpus", "it asks for 8; a codespace has 1.5 here"),
            ("hostRequirements.memory", "it asks for 16.0 GiB; a codespace has 12.0 GiB here"),
        ];
        check(half, &told);
    }
}
