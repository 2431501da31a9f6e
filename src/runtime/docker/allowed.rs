//! Which images repositories may name, and from which registries.
//!
//! An engine fetches what is named from wherever that says, with this machine's way to it, and what is on the engine
//! already is there for everybody who can name it. The operator says which; registries that are this machine, or that
//! codespaces cannot reach, are none unless named so.

use super::{Options, near};

/// The registry of images that name none, and the part of it that is for images without a part.
const HUB: &str = "docker.io";
const LIBRARY: &str = "library";

/// What the operator allows, in one item of the list.
#[derive(Debug, PartialEq)]
enum Pattern {
    /// All of a registry.
    Registry(String),
    /// All below a part of one, or an image with any tag.
    Part(String),
    /// One image with its tag or its digest.
    Image(String),
}

/// Whether a repository may name these; else why not, in words.
fn check(options: &Options, images: &[&str]) -> Result<(), String> {
    let refused = images.iter().find(|image| !is_allowed(options, image));
    refused.map_or(Ok(()), |image| {
        Err(format!(
            "the image {image} is not among those that this gateway's operator allows. Name another, or ask for it to be added to docker.images"
        ))
    })
}

/// As [`check`], and where the registry's name leads counts too, unless the operator names it. An engine that looks names up for
/// itself may come to see another address a moment later: what it can reach is its operator's to bound.
pub async fn admit(options: &Options, images: &[&str]) -> Result<(), String> {
    check(options, images)?;
    for image in images {
        let name = whole(image);
        let (host, port) = near::parts(name.split('/').next().unwrap_or_default());
        if host == HUB || name == whole(&options.image) || is_named(options, host, port) {
            continue;
        }
        let found = near::look_up(host, port).await;
        if let Some(why) = near::refusal(options, host, &found) {
            return Err(format!("the image {image} is not fetched: {why}. {}", advice(options)));
        }
    }
    Ok(())
}

/// What helps whoever names what only the operator's list would let through. A list that is empty allows all: its first entry
/// forbids all else.
pub fn advice(options: &Options) -> &'static str {
    match options.images.is_empty() {
        true => {
            "The operator can name it in docker.images, which is empty now: once something is named there, nothing else may be \
             fetched, so all that repositories use is to be named with it"
        }
        false => "Ask for it to be added to docker.images",
    }
}

/// Whether a repository may name one.
pub fn is_allowed(options: &Options, image: &str) -> bool {
    let name = whole(image);
    let (host, _) = near::parts(name.split('/').next().unwrap_or_default());
    name == whole(&options.image)
        || options.images.iter().any(|allowed| Pattern::read(allowed).covers(&name))
        || (options.images.is_empty() && !near::is_spelt(options, host))
}

/// Whether the operator's list names that registry, or a part of it.
pub fn is_named(options: &Options, host: &str, port: u16) -> bool {
    let registry = |allowed: &String| match Pattern::read(allowed) {
        Pattern::Registry(name) | Pattern::Part(name) | Pattern::Image(name) => {
            let (known, known_port) = near::parts(name.split('/').next().unwrap_or_default());
            known.eq_ignore_ascii_case(host) && known_port == port
        }
    };
    options.images.iter().any(registry)
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

impl Pattern {
    fn read(allowed: &str) -> Self {
        let plain = allowed.trim_end_matches('/');
        let host = plain.split([':', '/']).next().unwrap_or_default();
        if !plain.contains('/') && (plain != allowed || host.contains('.') || host == "localhost") {
            return Self::Registry(plain.to_ascii_lowercase());
        }
        let name = whole(plain);
        let has_tag = plain.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
        if has_tag {
            Self::Image(name)
        } else {
            Self::Part(name.trim_end_matches(":latest").to_owned())
        }
    }

    /// Whether it is the name, or ends where one of its parts does. With a tag it is that tag alone: of a name that has a digest
    /// too the digest counts, and any image of that repository could be had by its own.
    fn covers(&self, name: &str) -> bool {
        match self {
            Self::Registry(registry) => name.strip_prefix(registry.as_str()).is_some_and(|rest| rest.starts_with('/')),
            Self::Part(part) => name
                .strip_prefix(part.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@'])),
            Self::Image(image) => image == name,
        }
    }
}

/// Whether the first part of a name is a registry, as engines tell it from a part of a name.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.chars().any(|c| c.is_ascii_uppercase())
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
        assert_eq!(check(&options, &[image]).is_ok(), expected, "{image} with {images:?}");
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
            "0x7f.1/a",
            "2130706433:80/a",
            "127.1:5000/a",
            "0177.0.0.1/a",
        ] {
            check_with(&[], image, false);
            check_with(&[image], image, true);
        }
        check_with(&[], "[::1]:5000/a", false);
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
            "ghcr.io:5000/a",
            "team/tools:2@sha256:00",
        ] {
            check_with(&images, image, false);
        }
    }

    #[test]
    fn registries_that_the_operator_names() {
        let options = |images: &[&str]| Options {
            images: images.iter().map(|image| (*image).to_owned()).collect(),
            ..Options::default()
        };
        let named = options(&["ghcr.io", "registry.example.com:5000/team", "10.0.0.1:5000/a:1", "plain:5000/"]);
        for (host, port) in [
            ("GHCR.io", 443),
            ("registry.example.com", 5000),
            ("10.0.0.1", 5000),
            ("plain", 5000),
        ] {
            assert!(is_named(&named, host, port), "{host}:{port}");
        }
        for (host, port) in [("ghcr.io", 5000), ("registry.example.com", 443), ("io", 443), ("10.0.0.2", 5000)] {
            assert!(!is_named(&named, host, port), "{host}:{port}");
        }
        assert!(!is_named(&options(&[]), "ghcr.io", 443));
    }

    #[tokio::test]
    async fn a_registry_whose_name_leads_here_is_none() {
        let options = Options::default();
        assert!(admit(&options, &["ip6-localhost.localhost:80/a"]).await.is_err());
        assert_eq!(admit(&options, &["debian", options.image.as_str()]).await, Ok(()));
    }
}
