use super::*;

#[tokio::test]
async fn a_container_gets_no_more_than_it_needs() {
    let directory = tempfile::tempdir().expect("a directory");
    let instance = Instance::of(directory.path().into()).await.expect("a mark");
    let name = "amber-otter-x7k2".parse().expect("a name");
    let options = Options {
        memory: Some(1 << 30),
        milli_cpus: Some(1500),
        data_for_engine: Some("/srv/portico".into()),
        ..Options::default()
    };
    let mounts = Mounts::of(&options, directory.path(), "/opt/portico".as_ref()).expect("planned");
    let body = container(&options, &instance, &name, &mounts, &Made::default());
    let host = body.host_config.clone().expect("bounds");
    assert_eq!(
        (host.memory, host.memory_swap, host.nano_cpus),
        (Some(1 << 30), Some(1 << 30), Some(1_500_000_000))
    );
    assert_eq!(host.pids_limit, Some(8192));
    assert_eq!((host.privileged, host.cap_add, host.port_bindings), (None, None, None));
    let mounted: Vec<_> = host
        .mounts
        .expect("mounts")
        .iter()
        .map(|mount| (mount.source.clone().expect("one"), mount.read_only))
        .collect();
    let volume = instance.resource(&name);
    assert_eq!(
        mounted,
        [
            ("/opt/portico".into(), Some(true)),
            ("/srv/portico/reach".into(), Some(true)),
            ("/srv/portico/editors".into(), Some(true)),
            ("/opt/portico".into(), Some(true)),
            (volume, None)
        ]
    );
    assert_eq!(
        digest(&body),
        digest(&container(&options, &instance, &name, &mounts, &Made::default()))
    );
    let roomier = Options {
        memory: None,
        ..options.clone()
    };
    let kept = digest(&container(&roomier, &instance, &name, &mounts, &Made::default()));
    assert_eq!(digest(&body), kept, "what was installed is worth more than a new bound");
    let other = Options {
        image: "debian:12".into(),
        ..options
    };
    assert_ne!(
        digest(&body),
        digest(&container(&other, &instance, &name, &mounts, &Made::default()))
    );
}

#[tokio::test]
async fn nothing_of_an_image_runs_before_the_fence() {
    let directory = tempfile::tempdir().expect("a directory");
    let instance = Instance::of(directory.path().into()).await.expect("a mark");
    let name = "amber-otter-x7k2".parse().expect("a name");
    let options = Options::default();
    let mounts = Mounts::of(&options, directory.path(), "/opt/portico".as_ref()).expect("planned");
    let mut made = Made::default();
    made.configuration.container_env = [("A", "1"), ("LD_PRELOAD", "/evil.so")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    made.configuration.mounts.push(Volume {
        name: "cache".into(),
        target: "/cache".into(),
        read_only: false,
    });
    let body = container(&options, &instance, &name, &mounts, &made);
    assert_eq!(body.entrypoint.as_deref(), Some(&[FIRST.to_owned()][..]));
    assert!(FIRST.matches('/').count() > DEEPEST, "it is mounted last");
    let at = |target: &str| MountPoint {
        destination: Some(target.into()),
        ..MountPoint::default()
    };
    let deep = "/1/2/3/4/5/6/7/8/9/10";
    let mounted = [at("/cache"), at(FIRST), at("/1/2/3/4/5/6/7/8/9")];
    assert_eq!(hiding(&mounted), None);
    assert_eq!(hiding(&[at(FIRST), at(deep)]), Some(deep), "as an image declares it");
    assert_eq!(
        hiding(&[at(deep)]),
        None,
        "a service begins with what it likes, behind a fence that stands"
    );
    let health = body.healthcheck.clone().and_then(|health| health.test);
    assert_eq!(health.as_deref(), Some(&["NONE".to_owned()][..]));
    assert_eq!(
        body.env.clone().unwrap_or_default(),
        ["LD_AUDIT=", "LD_LIBRARY_PATH=", "LD_PRELOAD=", "A=1"]
    );
    let volumes = body.host_config.iter().flat_map(|host| host.mounts.iter().flatten());
    let cache = volumes.clone().find(|mount| mount.target.as_deref() == Some("/cache"));
    let labels = cache
        .and_then(|mount| mount.volume_options.clone()?.labels)
        .expect("the volume is found again");
    assert_eq!(labels, instance.labels(&name));
    let volumes: Vec<_> = labelled_volumes(&body)
        .into_iter()
        .map(|volume| (volume.name, volume.labels))
        .collect();
    let cache = format!("{}-cache", instance.resource(&name));
    assert_eq!(
        volumes,
        [(Some(cache), Some(labels))],
        "an engine that gives mounts no labels has them too"
    );
    let digests = (0..8).map(|_| digest(&container(&options, &instance, &name, &mounts, &made)));
    assert_eq!(
        digests.collect::<std::collections::BTreeSet<_>>().len(),
        1,
        "one plan has one digest"
    );
}

#[test]
fn an_end_is_told_where_there_is_something_to_tell() {
    let state = |running, oom_killed, error: &str| ContainerState {
        running: Some(running),
        oom_killed: Some(oom_killed),
        error: Some(error.into()),
        ..ContainerState::default()
    };
    assert_eq!(why_ended(&state(true, true, ""), None), None);
    assert_eq!(why_ended(&state(false, false, ""), None), None);
    let told = why_ended(&state(false, true, ""), Some(512 << 20)).expect("told");
    assert!(told.contains("out of memory (512 MiB are allowed)"), "{told}");
    let told = why_ended(&state(false, false, "exec format error"), None).expect("told");
    assert!(told.contains("exec format error"), "{told}");
}
