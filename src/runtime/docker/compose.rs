//! Reads the Compose files of a checkout, and gets the images of their services.

use super::{
    DockerRuntime,
    checkout::{Checkout, Unreadable},
    group::Group,
    image,
    origin::Shop,
    plan::Made,
};
use crate::devcontainer::{Compose, Project, Reading, Service, Texts};

/// Most files of one project, those that it names included.
const MAX_FILES: usize = 64;
/// Most bytes of them all.
const MAX_BYTES: usize = 4 << 20;

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
            let read = compose.read(&texts);
            match read.map_err(|error| Unreadable::Repository(format!("{source}: {error}")))? {
                Reading::Is(project) => return Ok(Composed { project: *project, texts }),
                Reading::Wants(paths) => {
                    for path in paths {
                        let text = checkout.text(&path).await?;
                        texts.insert(path, text);
                    }
                }
            }
            let bytes: usize = texts.values().flatten().map(String::len).sum();
            if texts.len() > MAX_FILES || bytes > MAX_BYTES {
                let why = format!("{source}: its Compose files name more than {MAX_FILES} files or {MAX_BYTES} bytes");
                return Err(Unreadable::Repository(why));
            }
        }
    }

    /// What runs beside a container, the images of all its services got; `root` is where the repository is checked out.
    pub(super) async fn group(&self, shop: &Shop<'_>, made: &Made, root: &str, project: &mut Project) -> Result<Group, Unreadable> {
        let mut images = Vec::new();
        for service in &project.siblings {
            let of_service = |error| match error {
                Unreadable::Repository(why) => Unreadable::Repository(format!("the service {}: {why}", service.name)),
                error => error,
            };
            let image = self.image_of_service(shop, service).await.map_err(of_service)?;
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
