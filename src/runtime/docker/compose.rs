//! Reads the Compose files of a checkout, and gets the images of their services.
//!
//! What they say is read beside the threads that serve visitors, and of few repositories at once: each may take the moment and
//! the memory that its bounds leave it.

use std::sync::Arc;

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
            if image::asks_too_often(&self.engine, &image, Health::LEAST_INTERVAL).await? {
                let reason = "its image would have it looked at more than once a second: it is not looked at";
                notices.note(format!("services.{}.healthcheck", service.name), reason);
                service.health = Some(Health::none());
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
