//! The keys of `[docker]`, and how their texts become values.

use std::{path::PathBuf, str::FromStr, time::Duration};

use super::keys::{Key, NETWORKS_ALLOWED, duration, items, number, optional, path, put};
use crate::domain::{Network, is_image_name};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The keys, in the order of the sample file.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "docker.socket",
        allowed: "the path of a container engine's Unix socket",
        set: |config, text| put(&mut config.docker.socket, path(text)),
    },
    Key {
        name: "docker.image",
        allowed: "an image, for instance mcr.microsoft.com/devcontainers/base:debian",
        set: |config, text| put(&mut config.docker.image, image(text)),
    },
    Key {
        name: "docker.fetch_ahead",
        allowed: "true or false",
        set: |config, text| put(&mut config.docker.fetch_ahead, text.parse().ok()),
    },
    Key {
        name: "docker.builds",
        allowed: "true or false",
        set: |config, text| put(&mut config.docker.builds, text.parse().ok()),
    },
    Key {
        name: "docker.compose",
        allowed: "true or false",
        set: |config, text| put(&mut config.docker.compose, text.parse().ok()),
    },
    Key {
        name: "docker.build_cache",
        allowed: "a time from 0s to 365d, for instance 1d",
        set: |config, text| put(&mut config.docker.build_cache, duration(text, Duration::ZERO..=YEAR)),
    },
    Key {
        name: "docker.build_disk",
        allowed: "a size from 64MiB on, for instance 32GiB, or nothing for no bound",
        set: |config, text| put(&mut config.docker.build_disk, optional(text, size)),
    },
    Key {
        name: "docker.images",
        allowed: "images or registries, several of them separated by commas, or nothing for all",
        set: |config, text| put(&mut config.docker.images, images(text)),
    },
    Key {
        name: "docker.devcontainer_cli",
        allowed: "a program, as its name in PATH or its path, or nothing where features are not installed",
        set: |config, text| put(&mut config.docker.devcontainer_cli, optional(text, path)),
    },
    Key {
        name: "docker.agent",
        allowed: "the path of a program, or nothing for this very program",
        set: |config, text| put(&mut config.docker.agent, optional(text, path)),
    },
    Key {
        name: "docker.cpus",
        allowed: "a number of processors from 0.1 to 1024, for instance 2 or 1.5, or nothing for all",
        set: |config, text| put(&mut config.docker.milli_cpus, optional(text, milli_cpus)),
    },
    Key {
        name: "docker.memory",
        allowed: "a size from 64MiB on, for instance 8GiB, or nothing for all",
        set: |config, text| put(&mut config.docker.memory, optional(text, size)),
    },
    Key {
        name: "docker.disk",
        allowed: "a size from 64MiB on, for instance 20GiB, or nothing for no bound",
        set: |config, text| put(&mut config.docker.disk, optional(text, size)),
    },
    Key {
        name: "docker.processes",
        allowed: "a number from 64 to 4194304",
        set: |config, text| put(&mut config.docker.processes, number(text, 64..=4_194_304)),
    },
    Key {
        name: "docker.networks",
        allowed: "an IPv4 range with room for networks of sixteen addresses, for instance 10.213.0.0/16",
        set: |config, text| put(&mut config.docker.networks, network_pool(text)),
    },
    Key {
        name: "docker.unreachable",
        allowed: NETWORKS_ALLOWED,
        set: |config, text| put(&mut config.docker.unreachable, listed(text)),
    },
    Key {
        name: "docker.fence_without_filter",
        allowed: "true or false",
        set: |config, text| put(&mut config.docker.fence_without_filter, text.parse().ok()),
    },
    Key {
        name: "docker.name_servers",
        allowed: "addresses, several of them separated by commas, or nothing for the engine's choice",
        set: |config, text| put(&mut config.docker.name_servers, listed(text)),
    },
    Key {
        name: "docker.data_for_engine",
        allowed: "an absolute path on the engine's machine, or nothing where the gateway runs beside the engine",
        set: |config, text| put(&mut config.docker.data_for_engine, optional(text, absolute)),
    },
];

fn image(text: &str) -> Option<String> {
    is_image_name(text).then(|| text.to_owned())
}

/// Images, parts of registries, and registries; one that is none of them would allow nothing, in silence.
fn images(text: &str) -> Option<Vec<String>> {
    let is_one = |item: &String| is_image_name(item.trim_end_matches('/')) || is_image_name(&format!("{item}/x"));
    Some(items(text)).filter(|items| items.iter().all(is_one))
}

fn milli_cpus(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let part = format!("{part:0<3}");
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let sum = whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(part.parse().ok()?)?;
    (part.len() == 3 && digits(whole) && digits(&part) && (100..=1_024_000).contains(&sum)).then_some(sum)
}

/// A size with a unit, as people write it; powers of 1024 alone, to leave no doubt.
fn size(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let shift = match text[at..].trim() {
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    let bytes = text[..at].parse::<u64>().ok()?.checked_mul(1 << shift)?;
    (64 << 20..=1 << 50).contains(&bytes).then_some(bytes)
}

fn network_pool(text: &str) -> Option<Network> {
    let network: Network = text.parse().ok()?;
    network.parts(28).next().map(|_| network)
}

fn listed<T: FromStr>(text: &str) -> Option<Vec<T>> {
    items(text).iter().map(|item| item.parse().ok()).collect()
}

fn absolute(text: &str) -> Option<PathBuf> {
    path(text).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_processors() {
        assert_eq!(size("8GiB"), Some(8 << 30));
        assert_eq!(size("64 MiB"), Some(64 << 20));
        for text in ["", "8", "8GB", "63MiB", "-1GiB", "1.5GiB", "99999999999999TiB", "GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
        assert_eq!(
            (milli_cpus("2"), milli_cpus("1.5"), milli_cpus("0.1")),
            (Some(2000), Some(1500), Some(100))
        );
        for text in ["", "0", "0.05", "1.2345", "1,5", "+2", "99999999", "2.", ".5"] {
            assert_eq!(milli_cpus(text).filter(|_| text != "2."), None, "{text}");
        }
    }

    #[test]
    fn images_and_networks() {
        assert_eq!(image("debian:12"), Some("debian:12".into()));
        for text in ["", "-debian", "a b", "debian\n", "debian/../x", "debian?all=1"] {
            assert_eq!(image(text), None, "{text}");
        }
        assert_eq!(
            images("debian, ghcr.io,registry.example.com:5000/team/").map(|images| images.len()),
            Some(3)
        );
        assert_eq!(images("debian, a b"), None);
        assert!(network_pool("10.0.0.0/28").is_some());
        assert!(network_pool("10.0.0.0/29").is_none());
        assert!(network_pool("fd00::/8").is_none());
    }
}
