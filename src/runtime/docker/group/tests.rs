use bollard::models::Health as HealthState;

use super::*;
use crate::devcontainer::RunOptions;

fn service(name: &str, joined: Joined) -> Service {
    Service {
        name: name.into(),
        joined,
        ..Service::default()
    }
}

fn project() -> Project {
    Project {
        own: Service {
            binds: vec![Bind {
                source: Some(String::new()),
                target: "/workspace".into(),
                read_only: false,
            }],
            aliases: vec!["front".into()],
            ..service("app", Joined::Service("db".into()))
        },
        siblings: vec![
            Service {
                aliases: vec!["database".into()],
                binds: vec![Bind {
                    source: Some("db/init.sql".into()),
                    target: "/init.sql".into(),
                    read_only: true,
                }],
                volumes: vec![Volume {
                    name: "data".into(),
                    target: "/var/lib/db".into(),
                    read_only: false,
                }],
                environment: [("A".to_owned(), "1".to_owned())].into(),
                run: RunOptions {
                    hosts: vec!["x:192.0.2.1".into()],
                    ..RunOptions::default()
                },
                restart: Restart::Always,
                ..service("db", Joined::Own)
            },
            service("web", Joined::Own),
            service("batch", Joined::Nothing),
        ],
        notices: Notices::default(),
    }
}

fn group() -> Group {
    made(&[], &["/var/lib/db/", "/var/log"]).0
}

/// The group where images have volumes at these places, and what is said of it.
fn made(own: &[&str], db: &[&str]) -> (Group, Vec<String>) {
    let owned = |places: &[&str]| places.iter().map(|place| (*place).to_owned()).collect::<Vec<_>>();
    let images = [("db:1", db), ("web:1", &[]), ("batch:1", &[])];
    let images = images.map(|(image, places)| (image.to_owned(), owned(places)));
    let mut configuration = Configuration::default();
    configuration.run.hosts = owned(&["y:192.0.2.2"]);
    let mut project = project();
    let group = Group::new(&mut project, "/workspaces/app", &configuration, &owned(own), images.into());
    (group, project.notices.iter().map(|notice| notice.key.clone()).collect())
}

#[test]
fn no_link_takes_the_place_of_a_volume() {
    let (group, notices) = made(&["/workspace/data"], &["/init.sql"]);
    assert_eq!((group.links.len(), group.siblings[0].links.len()), (0, 0));
    assert_eq!(notices, ["services.app.volumes", "services.db.volumes"]);
    let (group, notices) = made(&["/work"], &["/init", "/etc/../x", "/workspaces", ""]);
    assert_eq!((group.links.len(), group.siblings[0].links.len(), notices.len()), (1, 1, 0));
    assert_eq!(group.siblings[0].service.volumes.len(), 2);
}

#[test]
fn each_network_has_the_names_of_what_is_in_it() {
    let group = group();
    assert_eq!(group.networks().into_iter().collect::<Vec<_>>(), ["db", "web"]);
    assert_eq!(group.names("db"), ["app", "database", "db", "front"]);
    assert_eq!(group.names("web"), ["web"]);
    assert_eq!((group.hosts("db").len(), group.hosts("web").len()), (2, 0));
    assert_eq!(group.links, [("/workspace".to_owned(), "/workspaces/app".to_owned())]);
    let volumes: Vec<_> = group.siblings[0]
        .service
        .volumes
        .iter()
        .map(|volume| volume.name.as_str())
        .collect();
    assert_eq!(volumes, ["data", "db-var-log"], "what an image keeps is kept, once");
}

#[test]
fn no_two_containers_of_a_codespace_have_one_name() {
    let services = ["db", "db-fence", "fence", "x_fence_db", "net_db", "fence_db"];
    let mut names: Vec<String> = vec!["id".into(), "id-fence".into(), "id-give".into(), "id-checkout".into()];
    for service in services {
        names.extend([network_of, container_of, fence_of].map(|name| name("id", service)));
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "{names:?}");
    let labels = fence(ContainerCreateBody::default()).labels.expect("labels");
    assert_eq!(labels.get(PART_LABEL).map(String::as_str), Some(FENCE));
}

#[test]
fn who_is_reached_at_another_address() {
    let group = group();
    let (beside, own) = group.neighbours();
    assert_eq!(beside.into_iter().collect::<Vec<_>>(), [("web".to_owned(), "web")]);
    assert_eq!(
        own,
        ["app", "database", "db", "front"],
        "whoever shares its network is reached at its own address"
    );
}

#[tokio::test]
async fn services_have_a_part_of_the_bounds_and_nothing_of_this_machine() {
    let directory = tempfile::tempdir().expect("a directory");
    let instance = Instance::of(directory.path().into()).await.expect("a mark");
    let name = "amber-otter-x7k2".parse().expect("a name");
    let id = instance.resource(&name);
    let options = Options {
        memory: Some(3 << 30),
        milli_cpus: Some(1500),
        processes: 900,
        disk: Some(30 << 30),
        ..Options::default()
    };
    let group = group();
    let body = sibling(&options, &instance, &name, &group, &group.siblings[0]);
    let host = body.host_config.clone().expect("bounds");
    assert_eq!(host.network_mode, Some(format!("container:{id}_net_db")));
    assert_eq!(
        (host.memory, host.memory_swap, host.nano_cpus, host.pids_limit),
        (Some(1 << 30), Some(1 << 30), Some(500_000_000), Some(300))
    );
    assert_eq!(host.storage_opt.expect("a bound")["size"], (10_u64 << 30).to_string());
    assert_eq!(
        (host.privileged, host.cap_add, host.port_bindings, host.binds, host.devices),
        (None, None, None, None, None)
    );
    assert_eq!(host.cap_drop.as_deref(), Some(&["MKNOD".to_owned(), "NET_RAW".to_owned()][..]));
    let mounts = host.mounts.expect("mounts");
    assert!(mounts.iter().all(|mount| mount.typ == Some(MountType::VOLUME)));
    assert_eq!(
        mounts.last().and_then(|mount| mount.read_only),
        Some(true),
        "as the only file of the repository is"
    );
    let sources: Vec<_> = mounts.iter().map(|mount| mount.source.clone().expect("one")).collect();
    assert_eq!(sources, [format!("{id}-data"), format!("{id}-db-var-log"), id.clone()]);
    assert_eq!(body.labels.expect("labels").get(PART_LABEL).map(String::as_str), Some(SERVICE));
    let batch = sibling(&options, &instance, &name, &group, &group.siblings[2]);
    assert_eq!(batch.host_config.and_then(|host| host.network_mode).as_deref(), Some("none"));

    let mounts = Mounts::of(&options, directory.path(), "/opt/portico".as_ref()).expect("planned");
    let body = network(&options, &instance, &name, &mounts, &group, "db");
    let host = body.host_config.expect("bounds");
    assert_eq!((host.network_mode.as_deref(), host.restart_policy), (Some(id.as_str()), None));
    assert_eq!((host.cap_drop, host.cap_add), (Some(vec!["ALL".to_owned()]), None));
    let endpoints = body
        .networking_config
        .and_then(|config| config.endpoints_config)
        .expect("endpoints");
    assert_eq!(endpoints[&id].aliases.as_ref().map(Vec::len), Some(4));
}

#[test]
fn what_is_waited_for() {
    let state = |running: bool, status: i64, health: Option<HealthStatusEnum>| ContainerState {
        running: Some(running),
        exit_code: Some(status),
        health: health.map(|status| HealthState {
            status: Some(status),
            ..HealthState::default()
        }),
        ..ContainerState::default()
    };
    use Condition::{Completed, Healthy, Started};
    use HealthStatusEnum::{HEALTHY, NONE, STARTING, UNHEALTHY};
    for (condition, state, expected) in [
        (Started, state(true, 0, None), Some(true)),
        (Started, state(false, 0, None), Some(true)),
        (Started, state(false, 1, None), Some(false)),
        (Completed, state(true, 0, None), None),
        (Completed, state(false, 0, None), Some(true)),
        (Completed, state(false, 2, None), Some(false)),
        (Healthy, state(true, 0, Some(STARTING)), None),
        (Healthy, state(true, 0, Some(HEALTHY)), Some(true)),
        (Healthy, state(true, 0, Some(UNHEALTHY)), Some(false)),
        (Healthy, state(false, 0, Some(STARTING)), Some(false)),
        (Healthy, state(true, 0, Some(NONE)), Some(false)),
        (Healthy, state(true, 0, None), Some(false)),
    ] {
        assert_eq!(
            judge(condition, &state).map(|found| found.is_ok()),
            expected,
            "{condition:?} {state:?}"
        );
    }
    let restarting = ContainerState {
        restarting: Some(true),
        exit_code: Some(1),
        ..ContainerState::default()
    };
    assert_eq!(judge(Completed, &restarting), None);
}
