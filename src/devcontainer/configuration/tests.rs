use proptest::prelude::*;

use super::*;
use crate::devcontainer::{Command, Run};

fn place() -> Place {
    Place {
        root: "/workspaces/app".into(),
        id: "amber-otter-x7k2".into(),
        ..Place::default()
    }
}

fn read(text: &str) -> Configuration {
    Configuration::read(text, ".devcontainer/devcontainer.json", &place()).expect(text)
}

fn noted(configuration: &Configuration) -> Vec<&str> {
    configuration.notices.iter().map(|notice| notice.key.as_str()).collect()
}

#[test]
fn a_file_with_everything() {
    let found = read(
        r#"{ // the team's
            "name": "App", "$schema": "x",
            "build": { "dockerfile": "Dockerfile", "context": "..", "args": { "V": "${localEnv:V:12}" }, "target": "dev", "cacheFrom": "x" },
            "containerEnv": { "A": "${containerWorkspaceFolder}", "PORTICO_URL": "http://evil.example" },
            "remoteEnv": { "PATH": "${containerEnv:PATH}:/x", "GONE": null, "N": 3 },
            "containerUser": "root", "remoteUser": "node",
            "workspaceFolder": "/workspaces/${localWorkspaceFolderBasename}/web",
            "mounts": ["source=mods-${devcontainerId},target=${containerWorkspaceFolder}/node_modules,type=volume", { "type": "bind", "source": "/", "target": "/host" }],
            "runArgs": ["--init", "--network=host", "-e", "B=2"],
            "capAdd": ["SYS_PTRACE", "NET_ADMIN"],
            "hostRequirements": { "cpus": 4, "memory": "8gb", "storage": "32gb", "gpu": "optional" },
            "initializeCommand": "touch /tmp/owned",
            "onCreateCommand": ["npm", "ci"],
            "postCreateCommand": { "db": "make db", "web": ["make", "web"] },
            "postStartCommand": "",
            "waitFor": "postCreateCommand",
            "features": { "ghcr.io/x": { "v": 1 }, "node": {} }, "privileged": true, "overrideCommand": true,
            "somethingNew": 1,
            "customizations": { "vscode": { "extensions": ["a.b"] } },
        }"#,
    );
    let Origin::Build(build) = &found.origin else {
        panic!("it is built: {:?}", found.origin)
    };
    assert_eq!(
        (build.dockerfile.as_str(), build.context.as_str()),
        (".devcontainer/Dockerfile", "")
    );
    assert_eq!((build.args["V"].as_str(), build.target.as_deref()), ("12", Some("dev")));
    assert_eq!(found.container_env["A"], "/workspaces/app/web");
    assert_eq!(found.container_env["B"], "2");
    assert!(!found.container_env.contains_key("PORTICO_URL"));
    assert_eq!(found.remote_env["PATH"].as_deref(), Some("${containerEnv:PATH}:/x"));
    assert_eq!(found.remote_env["GONE"], None);
    assert_eq!(
        (found.features.wanted.len(), &found.features.wanted[0].options),
        (1, &serde_json::json!({ "v": "1" }))
    );
    assert_eq!(found.user(), Some("node"));
    assert_eq!(found.folder.as_deref(), Some("/workspaces/app/web"));
    assert_eq!(
        found.mounts,
        [Volume {
            name: "mods-amber-otter-x7k2".into(),
            target: "/workspaces/app/web/node_modules".into(),
            read_only: false
        }]
    );
    assert!(found.run.init && found.run.trace);
    assert_eq!((found.requirements.cpus, found.requirements.memory), (Some(4), Some(8 << 30)));
    let stages: Vec<_> = found.hooks.iter().map(|hook| hook.stage).collect();
    assert_eq!(stages, [Stage::OnCreate, Stage::PostCreate]);
    assert_eq!(
        found.hooks[1].commands[0],
        Command {
            name: "db".into(),
            run: Run::Shell("make db".into())
        }
    );
    assert_eq!(found.wait_for, Stage::PostCreate);
    for key in [
        "build.cacheFrom",
        "build.args",
        "containerEnv.PORTICO_URL",
        "remoteEnv",
        "mounts",
        "runArgs --network",
        "capAdd NET_ADMIN",
        "hostRequirements.gpu",
        "initializeCommand",
        "features node",
        "privileged",
        "somethingNew",
        "customizations.vscode.extensions",
    ] {
        assert!(noted(&found).contains(&key), "{key} is not among {:?}", noted(&found));
    }
    assert_eq!(found.notices.iter().count(), 13, "{:?}", noted(&found));
}

#[test]
fn nothing_is_said_of_a_plain_file() {
    let found =
        read(r#"{ "image": "mcr.microsoft.com/devcontainers/rust:1", "postCreateCommand": "cargo fetch", "updateRemoteUserUID": true }"#);
    assert_eq!(found.origin, Origin::Image("mcr.microsoft.com/devcontainers/rust:1".into()));
    assert_eq!(noted(&found), [""; 0]);
    assert_eq!(found.wait_for, Stage::UpdateContent);
    assert_eq!(read("{}"), Configuration::default());
}

#[test]
fn paths_stay_in_the_repository() {
    for (dockerfile, context, expected) in [
        ("Dockerfile", ".", Some((".devcontainer/Dockerfile", ".devcontainer"))),
        ("../docker/Dev", "..", Some(("docker/Dev", ""))),
        ("../../Dockerfile", "..", None),
        ("Dockerfile", "../..", None),
        ("/etc/passwd", "..", None),
        ("Dockerfile", "/", None),
        ("x/../../../x", ".", None),
    ] {
        let found = read(&format!(
            r#"{{ "build": {{ "dockerfile": "{dockerfile}", "context": "{context}" }} }}"#
        ));
        let paths = match &found.origin {
            Origin::Build(build) => Some((build.dockerfile.as_str(), build.context.as_str())),
            _ => None,
        };
        assert_eq!(paths, expected, "{dockerfile} {context}");
        assert_eq!(noted(&found).contains(&"build"), expected.is_none());
    }
}

#[test]
fn folders_outside_of_the_checkout_are_named() {
    for (folder, expected) in [
        ("/workspaces/app", None),
        ("/workspaces/app/", None),
        ("/workspaces/app/a/b", Some("/workspaces/app/a/b")),
        ("/workspaces/app/../other", None),
        ("/workspaces/application", None),
        ("/etc", None),
    ] {
        let found = read(&format!(r#"{{ "workspaceFolder": "{folder}" }}"#));
        assert_eq!(found.folder.as_deref(), expected, "{folder}");
        let is_root = folder.trim_end_matches('/') == "/workspaces/app";
        assert_eq!(noted(&found).is_empty(), expected.is_some() || is_root, "{folder}");
    }
}

#[test]
fn nothing_is_mounted_over_what_others_need() {
    for (mount, volumes) in [
        ("source=a,target=/data,type=volume", 1),
        ("target=/home/dev/.cache", 1),
        ("source=a,target=/usr/local/cargo,type=volume,readonly", 1),
        ("source=/etc,target=/data,type=bind", 0),
        ("source=/var/run/docker.sock,target=/data,type=volume", 0),
        ("source=../x,target=/data,type=volume", 0),
        ("source=a,target=/,type=volume", 0),
        ("source=a,target=/portico/state,type=volume", 0),
        ("source=a,target=/workspaces,type=volume", 0),
        ("source=a,target=/1/2/3/4/5/6/7/8/9,type=volume", 1),
        ("source=a,target=/1/2/3/4/5/6/7/8/9/10,type=volume", 0),
        ("source=a,target=/data/../portico,type=volume", 0),
        ("source=a,target=/etc/ssl,type=volume", 0),
        ("source=a,target=data,type=volume", 0),
        ("target=/ram,type=tmpfs", 0),
        ("", 0),
    ] {
        let found = read(&format!(r#"{{ "mounts": ["{mount}"] }}"#));
        assert_eq!(found.mounts.len(), volumes, "{mount}");
        assert_eq!(noted(&found).is_empty(), volumes == 1, "{mount}");
    }
}

#[test]
fn only_what_a_container_is_made_of_makes_another() {
    let print = |text: &str| read(text).fingerprint(Some("FROM x"));
    let one = print(r#"{ "image": "a" }"#);
    assert_eq!(
        one,
        print(r#"{ "image": "a", "forwardPorts": [1], "postStartCommand": "x", "remoteEnv": { "A": "1" } }"#)
    );
    for stage in ["onCreateCommand", "updateContentCommand", "postCreateCommand"] {
        let with = |command: &str| print(&format!(r#"{{ "image": "a", "{stage}": "{command}" }}"#));
        assert!(with("x") != one && with("x") != with("y") && with("x") == with("x"), "{stage}");
    }
    assert_ne!(one, print(r#"{ "image": "b" }"#));
    assert_ne!(one, print(r#"{ "image": "a", "remoteUser": "x" }"#));
    assert_ne!(one, read(r#"{ "image": "a" }"#).fingerprint(Some("FROM y")));
}

#[test]
fn a_machine_is_no_container() {
    let found = read(r#"{ "image": "a", "remoteUser": "x", "postCreateCommand": "true" }"#).on_machine();
    assert_eq!(noted(&found), ["image", "remoteUser"]);
    assert_eq!((&found.origin, found.hooks.len()), (&Origin::Default, 1));
    let own = found.at_rest();
    assert_eq!((own.hooks.len(), noted(&own).contains(&"postCreateCommand")), (0, true));
}

/// Any value that JSON can hold, shaped like what files say.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        "(\\PC|\\$\\{localEnv:|\\}|/|\\.\\.|--cap-add|=|,|type|target|volume){0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        let key = prop_oneof![
            Just("dockerfile".to_owned()),
            Just("args".to_owned()),
            Just("target".to_owned()),
            "\\PC{0,6}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::btree_map(key, inner, 0..5).prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_file_is_read_within_bounds(
        file in prop::collection::btree_map(prop::sample::select(&[
            "image", "build", "containerEnv", "remoteEnv", "remoteUser", "workspaceFolder", "mounts", "runArgs", "capAdd",
            "hostRequirements", "onCreateCommand", "postCreateCommand", "waitFor", "features", "customizations", "x",
        ][..]), value(), 0..8),
    ) {
        let text = serde_json::to_string(&file).expect("it is JSON");
        let found = Configuration::read(&text, ".devcontainer/devcontainer.json", &place()).expect("it is an object");
        prop_assert!(found.notices.iter().count() <= 48);
        prop_assert!(found.mounts.iter().all(|volume| is_free(&volume.target)));
        if let Origin::Build(build) = &found.origin {
            prop_assert!(![&build.dockerfile, &build.context].iter().any(|path| path.starts_with('/') || path.split('/').any(|part| part == "..")));
        }
        let sent = serde_json::to_string(&found).expect("it can be sent");
        prop_assert_eq!(serde_json::from_str::<Configuration>(&sent).expect("it can be read"), found);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = Configuration::read(&text, "x", &place());
    }
}

#[test]
fn an_image_is_a_name_and_nothing_else() {
    for image in [
        "../containers/json?all=1",
        "x?y",
        "x#y",
        "x%2fy",
        "a/../b",
        "Debian",
        "${localEnv:X:/}",
    ] {
        let found = read(&format!(r#"{{ "image": "{image}" }}"#));
        assert_eq!(found.origin, Origin::Default, "{image}");
        assert!(noted(&found).contains(&"image"), "{image}: {:?}", noted(&found));
    }
}

#[test]
fn the_agents_libraries_are_its_own() {
    let found = read(
        r#"{ "containerEnv": { "LD_PRELOAD": "/evil.so", "LD_AUDIT": "/evil.so", "A": "1" },
             "runArgs": ["-e", "LD_LIBRARY_PATH=/evil"], "remoteEnv": { "LD_LIBRARY_PATH": "/opt/lib" } }"#,
    );
    assert_eq!(found.container_env.keys().collect::<Vec<_>>(), ["A"]);
    assert_eq!(found.remote_env["LD_LIBRARY_PATH"].as_deref(), Some("/opt/lib"));
    for key in ["containerEnv.LD_PRELOAD", "containerEnv.LD_AUDIT", "runArgs --env.LD_LIBRARY_PATH"] {
        assert!(noted(&found).contains(&key), "{key} is not among {:?}", noted(&found));
    }
}

#[test]
fn what_is_of_another_kind_than_expected_is_named() {
    #[track_caller]
    fn check(text: &str, key: &str, expected: &str) {
        let found = read(text);
        let told: Vec<_> = found
            .notices
            .iter()
            .map(|notice| (notice.key.as_str(), notice.reason.as_str()))
            .collect();
        assert!(
            told.iter().any(|(of, reason)| *of == key && reason.contains(expected)),
            "{text}: {told:?}"
        );
    }
    check(r#"{ "runArgs": "--init" }"#, "runArgs", "a list");
    check(r#"{ "image": ["a"] }"#, "image", "a text");
    check(r#"{ "forwardPorts": 3000 }"#, "forwardPorts", "a list");
    check(r#"{ "init": "true" }"#, "init", "without quotes");
    check(r#"{ "remoteEnv": [] }"#, "remoteEnv", "an object");
    check(
        r#"{ "hostRequirements": { "cpus": "4" } }"#,
        "hostRequirements.cpus",
        "a whole number",
    );
    check(r#"{ "hostRequirements": { "memory": "much" } }"#, "hostRequirements.memory", "8gb");
    check(r#"{ "build": { "context": ".." } }"#, "build", "names no dockerfile");
    check(r#"{ "build": { "dockerfile": "D", "args": [] } }"#, "build.args", "an object");
    assert!(
        read(r#"{ "image": null, "mounts": [], "init": false, "hostRequirements": { "cpus": 2, "memory": "8gb" } }"#)
            .notices
            .iter()
            .next()
            .is_none()
    );
}
