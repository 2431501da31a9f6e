//! Gets the images that a repository names, and those that it says how to build.

use std::collections::BTreeSet;

use super::{
    DockerRuntime, allowed, bases,
    build::{self, Site},
    checkout::{Checkout, Unreadable},
    image,
    instance::Instance,
    plan,
};
use crate::{
    devcontainer::Build,
    domain::CodespaceName,
    runtime::{Progress, RuntimeError},
};

/// For whom images are got, and from where.
pub struct Shop<'a> {
    pub instance: &'a Instance,
    pub name: &'a CodespaceName,
    pub checkout: &'a Checkout<'a>,
    /// The file that asks for them.
    pub source: &'a str,
    pub progress: &'a Progress,
}

impl DockerRuntime {
    /// An image that is there or at a registry.
    pub(super) async fn named_image(&self, shop: &Shop<'_>, image: &str) -> Result<String, Unreadable> {
        // With a tag, because an engine takes what could be the beginning of an id for one.
        let image = image::tagged(image);
        allowed::admit(&self.options, &[image.as_str()])
            .await
            .map_err(Unreadable::Repository)?;
        let got = image::get(&self.engine, &self.options, &image, shop.progress).await;
        got.map_err(of_repository)?;
        Ok(image)
    }

    /// The image of a Dockerfile, and that file's text.
    pub(super) async fn built_image(&self, shop: &Shop<'_>, build: &Build) -> Result<(String, String), Unreadable> {
        let (source, instance) = (shop.source, shop.instance);
        if !self.options.builds {
            let why = "this gateway builds no images; its operator can allow it with docker.builds. Name an image instead";
            return Err(Unreadable::Repository(format!("{source} asks for a build, and {why}")));
        }
        let missing = || Unreadable::Repository(format!("{source} names {}, which is not there", build.dockerfile));
        let dockerfile = shop.checkout.text(&build.dockerfile).await?.ok_or_else(missing)?;
        // What is read is what is built.
        let text = build::labelled(&dockerfile, instance);
        let named = bases::check(&text, &build.args).map_err(Unreadable::Repository)?;
        allowed::admit(&self.options, &named.all().collect::<Vec<_>>())
            .await
            .map_err(Unreadable::Repository)?;
        self.look_at_bases(&named.bases, shop.progress).await?;
        shop.progress.tell(&format!("Building the image of {}", build.dockerfile));
        let mounts = plan::Mounts::of(&self.options, &self.data, &self.program)?;
        let site = Site {
            engine: &self.engine,
            options: &self.options,
            instance,
            name: shop.name,
            mounts: &mounts,
        };
        let under_way = self.building.read().await;
        let built = site.build(shop.checkout, build, text, shop.progress).await;
        drop(under_way);
        self.prune(instance).await;
        Ok((built?, dockerfile))
    }

    /// Gets what is built upon, and refuses what it would have the engine do with the build.
    pub(super) async fn look_at_bases(&self, bases: &BTreeSet<String>, progress: &Progress) -> Result<(), Unreadable> {
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
}

/// An image that cannot be had is for whoever named it.
fn of_repository(error: RuntimeError) -> Unreadable {
    match error {
        RuntimeError::Failed(why) => Unreadable::Repository(why),
        error => error.into(),
    }
}
