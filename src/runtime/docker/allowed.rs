//! Which images repositories may name. Pure.
//!
//! An engine fetches what is named from wherever that says, with this machine's way to it, and what is on the engine
//! already is there for everybody who can name it. The operator says which; registries that are this machine, or that
//! codespaces cannot reach, are none unless named so.

use std::net::IpAddr;

use super::Options;

/// The registry of images that name none, and the part of it that is for images without a part.
const HUB: &str = "docker.io";
const LIBRARY: &str = "library";

/// Whether a repository may name these; else why not, in words.
pub fn check<'a>(options: &Options, images: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
    let own = whole(&options.image);
    for image in images {
        let name = whole(image);
        let is_named = options.images.iter().any(|allowed| covers(&pattern(allowed), &name));
        if is_named || name == own || (options.images.is_empty() && !is_near(options, &name)) {
            continue;
        }
        return Err(format!(
            "the image {image} is not among those that this gateway's operator allows. Name another, or ask for it to be added to docker.images"
        ));
    }
    Ok(())
}

/// The name with its registry, and a tag.
fn whole(image: &str) -> String {
    let (first, rest) = image.split_once('/').unwrap_or(("", image));
    let name = match (is_registry(first), first, rest.contains('/')) {
        (true, HUB | "index.docker.io", false) => format!("{HUB}/{LIBRARY}/{rest}"),
        (true, HUB | "index.docker.io", true) => format!("{HUB}/{rest}"),
        (true, ..) => format!("{}/{rest}", first.to_ascii_lowercase()),
        (false, "", _) => format!("{HUB}/{LIBRARY}/{rest}"),
        (false, ..) => format!("{HUB}/{image}"),
    };
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        name
    } else {
        format!("{name}:latest")
    }
}

/// What the operator wrote: a registry, a part of one, or images.
fn pattern(allowed: &str) -> String {
    let allowed = allowed.trim_end_matches('/');
    let host = allowed.split([':', '/']).next().unwrap_or_default();
    if !allowed.contains('/') && (host.contains('.') || host == "localhost") {
        return allowed.to_ascii_lowercase();
    }
    let name = whole(allowed);
    let has_tag = allowed.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
    if has_tag {
        name
    } else {
        name.trim_end_matches(":latest").to_owned()
    }
}

/// Whether a pattern is the name, or ends where one of its parts does.
fn covers(pattern: &str, name: &str) -> bool {
    name.strip_prefix(pattern)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']))
}

/// Whether the first part of a name is a registry, as engines tell it from a part of a name.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.chars().any(|c| c.is_ascii_uppercase())
}

/// Whether the registry is this machine itself, as its address says, or is fenced.
fn is_near(options: &Options, name: &str) -> bool {
    let registry = name.split('/').next().unwrap_or_default();
    let host = registry.split(':').next().unwrap_or_default().trim_end_matches('.');
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    let Ok(IpAddr::V4(address)) = host.parse() else { return false };
    let fenced = || std::iter::once(&options.networks).chain(&options.unreachable);
    address.is_loopback() || address.is_link_local() || address.is_unspecified() || fenced().any(|network| network.contains(address.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_with(images: &[&str], image: &str, expected: bool) {
        let options = Options {
            image: "portico/base:1".into(),
            images: images.iter().map(|image| (*image).to_owned()).collect(),
            unreachable: vec!["10.0.0.0/8".parse().expect("a network")],
            ..Options::default()
        };
        assert_eq!(check(&options, [image]).is_ok(), expected, "{image} with {images:?}");
    }

    #[test]
    fn all_are_allowed_but_what_is_this_machine() {
        for image in [
            "debian",
            "debian:12",
            "ghcr.io/team/app",
            "registry.example.com:5000/a",
            "team/app@sha256:00",
            "192.0.2.1:5000/a",
        ] {
            check_with(&[], image, true);
        }
        for image in [
            "localhost/a",
            "localhost:5000/a",
            "reg.localhost:80/a",
            "127.0.0.1:5000/a",
            "127.1.2.3/a",
            "0.0.0.0:80/a",
            "169.254.169.254/latest/meta-data",
            "10.213.0.1:8080/a",
            "10.9.9.9/a",
        ] {
            check_with(&[], image, false);
            check_with(&[image], image, true);
        }
    }

    #[test]
    fn those_that_the_operator_names() {
        let images = ["debian", "team/tools:2", "ghcr.io", "registry.example.com:5000/shared/"];
        for image in [
            "debian",
            "debian:12",
            "docker.io/debian:12",
            "docker.io/library/debian",
            "index.docker.io/library/debian@sha256:00",
            "team/tools:2",
            "ghcr.io/any/thing:1",
            "registry.example.com:5000/shared/app",
            "portico/base:1",
        ] {
            check_with(&images, image, true);
        }
        for image in [
            "debian-evil",
            "debian/evil",
            "team/tools",
            "team/tools:22",
            "ghcr.io.evil.example/a",
            "registry.example.com/shared/app",
            "registry.example.com:5000/other",
            "portico/base:2",
            "library/other",
        ] {
            check_with(&images, image, false);
        }
    }
}
