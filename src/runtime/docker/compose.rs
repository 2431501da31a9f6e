//! Reads the Compose files of a checkout, and gets the images of their services.
//!
//! What they say is read beside the threads that serve visitors, and of few repositories at once: each may take the moment and
//! the memory that its bounds leave it.

use std::{sync::Arc, time::Duration};

use bollard::models::HealthConfig;
use tokio::task::spawn_blocking;

use super::{
    DockerRuntime,
    checkout::{Checkout, Unreadable},
    group::Group,
    image,
    origin::Shop,
    plan::Made,
};
use crate::{
    devcontainer::{Compose, Health, Malformed, Project, Reading, Service, Texts},
    runtime::RuntimeError,
};

/// What Compose files say, and the files.
pub struct Composed {
    pub project: Project,
    pub texts: Texts,
}

impl DockerRuntime {
    /// Reads what the files of `compose` say; `source` names them.
    pub(super) async fn composed(&self, checkout: &Checkout<'_>, compose: &Compose, source: &str) -> Result<Composed, Unreadable> {
        if !self.options.compose {
            let why = "this gateway starts none; its operator can allow it with docker.compose. Name an image instead";
            return Err(Unreadable::Repository(format!(
                "{source} asks for the services of Compose files, and {why}"
            )));
        }
        let mut texts = Texts::new();
        loop {
            let (read, all) = self.read(compose.clone(), texts).await?;
            texts = all;
            match read.map_err(|error| Unreadable::Repository(format!("{source}: {error}")))? {
                Reading::Is(project) => return Ok(Composed { project: *project, texts }),
                Reading::Wants(paths) => {
                    let mut bytes: usize = texts.values().flatten().map(String::len).sum();
                    for path in paths {
                        let text = checkout.text(&path).await?;
                        bytes += text.as_ref().map_or(0, String::len);
                        texts.insert(path, text);
                        // More is not got, and that it is too much is said when it is read.
                        if bytes > Compose::MAX_BYTES {
                            break;
                        }
                    }
                }
            }
        }
    }

    async fn read(&self, compose: Compose, texts: Texts) -> Result<(Result<Reading, Malformed>, Texts), RuntimeError> {
        let permit = Arc::clone(&self.reading).acquire_owned().await;
        let read = spawn_blocking(move || {
            // Held until it is over, whether or not somebody still waits.
            let _permit = permit;
            (compose.read(&texts), texts)
        });
        read.await
            .map_err(|error| RuntimeError::Failed(format!("reading Compose files broke off: {error}")))
    }

    /// What runs beside a container, the images of all its services got; `root` is where the repository is checked out.
    pub(super) async fn group(&self, shop: &Shop<'_>, made: &Made, root: &str, project: &mut Project) -> Result<Group, Unreadable> {
        let mut images = Vec::new();
        let Project { siblings, notices, .. } = &mut *project;
        for service in siblings {
            let of_service = |error| match error {
                Unreadable::Repository(why) => Unreadable::Repository(format!("the service {}: {why}", service.name)),
                error => error,
            };
            let image = self.image_of_service(shop, service).await.map_err(of_service)?;
            let of_image = image::health(&self.engine, &image).await?;
            if let Some(calmed) = calmed(service.health.as_ref(), &of_image) {
                let reason = "its image would have it looked at more than once a second: it is looked at once a second";
                notices.note(format!("services.{}.healthcheck", service.name), reason);
                service.health = Some(calmed);
            }
            let places = image::volumes(&self.engine, &image).await?;
            images.push((image, places));
        }
        let places = image::volumes(&self.engine, &made.image).await?;
        Ok(Group::new(project, root, &made.configuration, &places, images))
    }

    /// The image of a service, built or found.
    pub(super) async fn image_of_service(&self, shop: &Shop<'_>, service: &Service) -> Result<String, Unreadable> {
        match (&service.build, &service.image) {
            (Some(build), _) => self.built_image(shop, build).await.map(|(image, _)| image),
            (None, Some(image)) => self.named_image(shop, image).await,
            (None, None) => Ok(self.options.image.clone()),
        }
    }
}

/// How a service is looked at, where what its image says would have it looked at too often; none where it would not. What the
/// Compose file sets counts more than its image, each by itself.
fn calmed(own: Option<&Health>, image: &HealthConfig) -> Option<Health> {
    let own = own.cloned().unwrap_or_default();
    // Named, since not every engine puts an image's own beside another interval.
    let test = own.test.clone().or_else(|| image.test.clone()).filter(|test| !test.is_empty())?;
    let hasty = |own: Option<Duration>, image| own.is_none() && image::is_too_often(image, Health::LEAST_INTERVAL);
    let interval = hasty(own.interval, image.interval).then_some(Health::LEAST_INTERVAL);
    let start_interval = hasty(own.start_interval, image.start_interval).then_some(Health::LEAST_INTERVAL);
    let is_looked_at = test.first().is_some_and(|word| word != "NONE") && (interval.is_some() || start_interval.is_some());
    is_looked_at.then(|| Health {
        test: Some(test),
        interval: interval.or(own.interval),
        start_interval: start_interval.or(own.start_interval),
        ..own
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_too_often_looks_once_a_second() {
        let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let image = |interval, start_interval| HealthConfig {
            test: words("CMD of-image"),
            interval,
            start_interval,
            ..HealthConfig::default()
        };
        let own = |test: Option<&str>, interval: Option<u64>| Health {
            test: test.and_then(words),
            interval: interval.map(Duration::from_secs),
            ..Health::default()
        };
        let check = |own: Option<Health>, image: HealthConfig, expected: Option<(&str, Option<u64>, Option<u64>)>| {
            let found = calmed(own.as_ref(), &image);
            let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
            let shown = found.map(|found| (found.test, seconds(found.interval), seconds(found.start_interval)));
            let expected = expected.map(|(test, interval, start)| (words(test), interval, start));
            assert_eq!(shown, expected, "{own:?} {image:?}");
        };
        check(None, image(None, None), None);
        check(None, image(Some(5_000_000_000), Some(0)), None);
        check(None, image(Some(-1), None), Some(("CMD of-image", Some(1), None)));
        check(None, image(None, Some(1000)), Some(("CMD of-image", None, Some(1))));
        check(Some(own(None, Some(30))), image(Some(1000), None), None);
        check(
            Some(own(None, Some(30))),
            image(Some(1000), Some(-5)),
            Some(("CMD of-image", Some(30), Some(1))),
        );
        check(
            Some(own(Some("CMD own"), None)),
            image(Some(1000), None),
            Some(("CMD own", Some(1), None)),
        );
        check(Some(Health::none()), image(Some(1000), None), None);
        let off = HealthConfig {
            test: words("NONE"),
            ..image(Some(1000), None)
        };
        check(None, off, None);
        check(
            None,
            HealthConfig {
                test: None,
                ..image(Some(1000), None)
            },
            None,
        );
    }
}
