//! A network of sixteen addresses for each codespace: engines' own pools end after some thirty.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use bollard::{
    models::{Ipam, IpamConfig, NetworkCreateRequest},
    query_parameters::ListNetworksOptionsBuilder,
};

use super::{
    Options,
    engine::{Engine, is_missing, is_taken},
    instance::Instance,
    plan,
};
use crate::{
    domain::{CodespaceName, Network},
    runtime::{Known, RuntimeError},
};

/// The prefix of a codespace's network.
const PREFIX: u8 = 28;
/// How many free ones are tried: another program may use addresses that no network of the engine shows.
const TRIES: usize = 64;
/// How long to wait for another gateway that made its network at the same moment.
const MOMENT: Duration = Duration::from_millis(50);

/// Makes a codespace's network, if it is not there.
pub async fn make(engine: &Engine, options: &Options, instance: &Instance, name: &CodespaceName) -> Result<(), RuntimeError> {
    let api = engine.api().await?;
    let id = instance.resource(name);
    match api.inspect_network(&id, None).await {
        Ok(_) => return Ok(()),
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(engine.trouble(&error)),
    }
    let all = api.list_networks(None).await.map_err(|error| engine.trouble(&error))?;
    // Another engine's networks are among this machine's routes, and what an engine left behind.
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let used: Vec<Network> = all
        .iter()
        .flat_map(|found| subnets(found.ipam.as_ref()))
        .chain(routed(&routes))
        .collect();
    let mut last = None;
    for subnet in options
        .networks
        .parts(PREFIX)
        .filter(|part| !used.iter().any(|used| used.overlaps(part)))
        .take(TRIES)
    {
        match api.create_network(request(instance, name, &subnet)).await {
            Ok(_) => return Ok(()),
            Err(error) if is_taken(&error) => return Ok(()),
            Err(error) => match engine.trouble(&error) {
                full @ RuntimeError::DiskFull => return Err(full),
                other => last = Some(other),
            },
        }
        tokio::time::sleep(MOMENT).await;
    }
    Err(last.unwrap_or_else(|| {
        let why = format!(
            "no addresses are left in {} for another codespace. Ask the operator for a larger docker.networks",
            options.networks
        );
        RuntimeError::Failed(why)
    }))
}

/// This machine's side of a codespace's network. An error where that is not known, because then it is not closed off.
pub async fn gateway(engine: &Engine, id: &str) -> Result<Ipv4Addr, RuntimeError> {
    let found = engine.api().await?.inspect_network(id, None).await;
    let found = found.map_err(|error| engine.trouble(&error))?;
    let mut configs = found.ipam.and_then(|ipam| ipam.config).unwrap_or_default().into_iter();
    let gateway = configs.find_map(|config| config.gateway?.parse().ok());
    gateway.ok_or_else(|| {
        RuntimeError::Failed(format!(
            "the container engine does not say where the network {id} ends. Ask the operator"
        ))
    })
}

/// Networks with a hole where a codespace's own is, the parts around it in the place of each that it is in: what runs beside a
/// codespace is reached.
pub async fn around_own(engine: &Engine, id: &str, networks: Vec<String>) -> Result<Vec<String>, RuntimeError> {
    let found = engine.api().await?.inspect_network(id, None).await;
    let found = found.map_err(|error| engine.trouble(&error))?;
    Ok(around(networks, &subnets(found.ipam.as_ref())))
}

fn around(networks: Vec<String>, own: &[Network]) -> Vec<String> {
    let parts = |text: String| {
        let whole = text.parse::<Network>().ok();
        let hole = whole.and_then(|whole| own.iter().find(|own| own.overlaps(&whole) && own.prefix() > whole.prefix()));
        match whole.zip(hole) {
            Some((whole, hole)) => beside(&whole, hole).iter().map(ToString::to_string).collect(),
            None => vec![text],
        }
    };
    networks.into_iter().flat_map(parts).collect()
}

/// The parts of a network without one that is in it: at each bit more, the half that this is not in.
fn beside(whole: &Network, hole: &Network) -> Vec<Network> {
    let IpAddr::V4(first) = hole.first() else { return vec![*whole] };
    let half = |prefix: u8| Network::v4(Ipv4Addr::from_bits(first.to_bits() ^ (1 << (32 - prefix))), prefix);
    (whole.prefix() + 1..=hole.prefix().min(32)).map(half).collect()
}

/// An address of a codespace's network that the engine gives to nobody: the last one, when it counts from the first.
pub async fn spare(engine: &Engine, id: &str) -> Result<Ipv4Addr, RuntimeError> {
    let found = engine.api().await?.inspect_network(id, None).await;
    let found = found.map_err(|error| engine.trouble(&error))?;
    let last = subnets(found.ipam.as_ref()).iter().find_map(last_host);
    last.ok_or_else(|| {
        RuntimeError::Failed(format!(
            "the container engine does not say which addresses the network {id} has. Ask the operator"
        ))
    })
}

/// Removes networks of codespaces that are no more.
pub async fn tidy(engine: &Engine, instance: &Instance, is_known: &Known<'_>) -> Result<(), RuntimeError> {
    let api = engine.api().await?;
    let options = ListNetworksOptionsBuilder::default().filters(&instance.filter()).build();
    let found = api.list_networks(Some(options)).await.map_err(|error| engine.trouble(&error))?;
    for network in found {
        let labels = network.labels.unwrap_or_default();
        let Some(id) = network
            .id
            .filter(|_| instance.is_maker(&labels) && !plan::is_known(&labels, is_known))
        else {
            continue;
        };
        engine.unless_missing(api.remove_network(&id).await)?;
    }
    Ok(())
}

fn subnets(ipam: Option<&Ipam>) -> Vec<Network> {
    let configs = ipam.and_then(|ipam| ipam.config.as_ref());
    let subnets = configs.into_iter().flatten().filter_map(|config| config.subnet.as_deref());
    subnets.filter_map(|subnet| subnet.parse().ok()).collect()
}

/// The networks of `/proc/net/route`, but the default.
fn routed(routes: &str) -> Vec<Network> {
    let network = |line: &str| {
        let hex = |at: usize| u32::from_str_radix(line.split_whitespace().nth(at)?, 16).ok();
        // Addresses are written as the machine holds them.
        let prefix = u8::try_from(hex(7)?.count_ones()).ok()?;
        (prefix > 0).then_some(Network::v4(hex(1)?.to_ne_bytes().into(), prefix))
    };
    routes.lines().skip(1).filter_map(network).collect()
}

fn first_host(subnet: &Network) -> Option<Ipv4Addr> {
    match subnet.first() {
        IpAddr::V4(first) => Some(Ipv4Addr::from_bits(first.to_bits() + 1)),
        IpAddr::V6(_) => None,
    }
}

/// The one before the broadcast address.
fn last_host(subnet: &Network) -> Option<Ipv4Addr> {
    let count = 1_u32.checked_shl(32_u32.checked_sub(subnet.prefix().into())?)?;
    match subnet.first() {
        IpAddr::V4(first) if count >= 8 => Some(Ipv4Addr::from_bits(first.to_bits() + (count - 2))),
        _ => None,
    }
}

fn request(instance: &Instance, name: &CodespaceName, subnet: &Network) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: instance.resource(name),
        driver: Some("bridge".into()),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(subnet.to_string()),
                gateway: first_host(subnet).map(|address| address.to_string()),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        labels: Some(instance.labels(name)),
        ..NetworkCreateRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_address_of_a_network() {
        let last = |subnet: &str| last_host(&subnet.parse().expect("a network")).map(|address| address.to_string());
        assert_eq!(last("10.213.0.16/28").as_deref(), Some("10.213.0.30"));
        assert_eq!(last("255.255.255.0/24").as_deref(), Some("255.255.255.254"));
        for small in ["10.0.0.0/30", "10.0.0.1/32", "fd00::/64", "0.0.0.0/0"] {
            assert_eq!(last(small), None, "{small}");
        }
    }

    #[test]
    fn what_is_around_a_network() {
        let own: [Network; 1] = ["10.213.2.48/28".parse().expect("a network")];
        let around = |networks: &[&str]| around(networks.iter().map(|network| (*network).to_owned()).collect(), &own);
        let kept = ["169.254.0.0/16", "fe80::/10", "10.213.2.49/32", "10.213.2.64/28", "10.213.2.48/28"];
        assert_eq!(around(&kept), kept);
        assert_eq!(around(&["10.213.2.0/26"]), ["10.213.2.0/27", "10.213.2.32/28"]);
        for whole in ["10.213.0.0/16", "10.0.0.0/8", "0.0.0.0/0"] {
            let parts: Vec<Network> = around(&[whole]).iter().map(|part| part.parse().expect("a network")).collect();
            let whole: Network = whole.parse().expect("a network");
            assert_eq!(parts.len(), usize::from(28 - whole.prefix()));
            let addresses: u64 = parts.iter().map(|part| 1_u64 << (32 - part.prefix())).sum();
            assert_eq!(addresses, (1_u64 << (32 - whole.prefix())) - 16, "nothing is left out");
            let apart = |at: usize| parts.iter().skip(at + 1).all(|other| !parts[at].overlaps(other));
            assert!((0..parts.len()).all(apart) && parts.iter().all(|part| !part.overlaps(&own[0]) && whole.overlaps(part)));
        }
    }

    #[test]
    fn networks_that_this_machine_has_are_taken() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\nbr\t1000D50A\t0\t1\t0\t0\t0\tF0FFFFFF\neth0\t00000000\t0\t3\t0\t0\t0\t00000000\nbroken\n";
        let found: Vec<_> = routed(routes).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.213.0.16/28"]);
    }
}
