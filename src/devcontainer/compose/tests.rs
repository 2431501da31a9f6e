use super::*;
use crate::devcontainer::{Configuration, Origin, Place};

/// Reads a project below `.devcontainer`, all its files given.
fn read_with(compose: &Compose, files: &[(&str, &str)]) -> Result<Project, String> {
    let mut texts = Texts::new();
    for _ in 0..9 {
        match compose.read(&texts).map_err(|error| error.to_string())? {
            Reading::Is(project) => return Ok(*project),
            Reading::Wants(paths) => {
                for path in paths {
                    let text = files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
                    assert!(texts.insert(path, text).is_none(), "what is there is not asked for again");
                }
            }
        }
    }
    panic!("it never has enough")
}

fn app() -> Compose {
    Compose {
        files: vec![".devcontainer/compose.yml".into()],
        service: "app".into(),
        run_services: None,
    }
}

fn read(text: &str) -> Result<Project, String> {
    read_with(&app(), &[(".devcontainer/compose.yml", text)])
}

fn names(services: &[Service]) -> Vec<&str> {
    services.iter().map(|service| service.name.as_str()).collect()
}

fn noted(project: &Project) -> Vec<&str> {
    project.notices.iter().map(|notice| notice.key.as_str()).collect()
}

const WHOLE: &str = r#"
version: "3.8"
name: team
x-common: &common
  restart: unless-stopped
  init: true
services:
  app:
    build:
      context: ..
      dockerfile: .devcontainer/Dockerfile
      args: { VARIANT: "${VARIANT:-bookworm}" }
      target: dev
    volumes:
      - ..:/workspace:cached
      - cache:/cache
    command: sleep infinity
    network_mode: service:db
    user: dev
    depends_on: { db: { condition: service_healthy }, mail: { condition: service_started } }
  db:
    <<: *common
    image: postgres:16
    env_file: [db.env]
    environment:
      - POSTGRES_PASSWORD=$PASSWORD
      - FROM_NOBODY
    volumes: [data:/var/lib/postgresql/data, ./init.sql:/docker-entrypoint-initdb.d/init.sql:ro]
    ports: ["5432:5432", "127.0.0.1:9000:9000/tcp"]
    healthcheck: { test: [CMD-SHELL, pg_isready -U $$POSTGRES_USER], interval: 1s, retries: 30 }
    tmpfs: /var/run/x
    shm_size: 256m
    networks: { back: { aliases: [database] } }
    labels: [a=b]
  mail:
    image: mailpit:1
    entrypoint: ["/mailpit"]
    expose: ["1025"]
    restart: on-failure:3
    extra_hosts: ["other:192.0.2.7"]
  tools:
    image: tools:1
    profiles: [debug]
volumes:
  cache:
  data: { driver: local }
networks:
  back: { driver: bridge }
"#;

#[test]
fn a_project_with_everything() {
    let files = [
        (".devcontainer/compose.yml", WHOLE),
        (".devcontainer/.env", "PASSWORD=from-env\nVARIANT=\n"),
        (".devcontainer/db.env", "POSTGRES_USER=team\nPOSTGRES_PASSWORD=over\n"),
        (".devcontainer/Dockerfile", "FROM debian"),
    ];
    let project = read_with(&app(), &files).expect("it is read");
    assert_eq!(names(&project.siblings), ["db", "mail"], "{:?}", project.notices);
    let (own, db, mail) = (&project.own, &project.siblings[0], &project.siblings[1]);
    let build = own.build.clone().expect("a build");
    assert_eq!(
        (build.dockerfile.as_str(), build.context.as_str()),
        (".devcontainer/Dockerfile", "")
    );
    assert_eq!((build.args["VARIANT"].as_str(), build.target.as_deref()), ("bookworm", Some("dev")));
    assert_eq!((&own.joined, own.user.as_deref()), (&Joined::Service("db".into()), Some("dev")));
    assert_eq!(own.after["db"].condition, Condition::Healthy);
    assert_eq!(project.binds(), [("/workspace".to_owned(), String::new())]);
    assert_eq!(db.image.as_deref(), Some("postgres:16"));
    let environment: Vec<_> = db.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(environment, [("POSTGRES_PASSWORD", "from-env"), ("POSTGRES_USER", "team")]);
    assert_eq!((db.restart, db.run.init, db.run.shm_size), (Restart::Always, true, Some(256 << 20)));
    assert_eq!(
        (db.volumes.len(), db.binds.len(), &db.memory[..]),
        (1, 1, &["/var/run/x".to_owned()][..])
    );
    assert_eq!((&db.ports[..], &db.aliases[..]), (&[5432, 9000][..], &["database".to_owned()][..]));
    let test = db.health.clone().and_then(|health| health.test).expect("a test");
    assert_eq!(test[1], "pg_isready -U $POSTGRES_USER");
    assert_eq!(
        (mail.restart, mail.entrypoint.as_deref()),
        (Restart::OnFailure(Some(3)), Some(&["/mailpit".to_owned()][..]))
    );
    assert_eq!(mail.run.hosts, ["other:192.0.2.7"]);
    assert_eq!(noted(&project), ["services.db.ports"]);
}

#[test]
fn what_reaches_out_is_refused_and_named() {
    for (written, key) in [
        ("privileged: true", "privileged"),
        ("cap_add: [SYS_ADMIN]", "cap_add"),
        ("cap_add: [NET_ADMIN, SYS_PTRACE]", "cap_add"),
        ("devices: [/dev/kvm]", "devices"),
        ("security_opt: [seccomp:unconfined]", "security_opt"),
        ("network_mode: host", "network_mode"),
        ("network_mode: container:portico-x", "network_mode"),
        ("pid: host", "pid"),
        ("ipc: host", "ipc"),
        ("userns_mode: host", "userns_mode"),
        ("cgroup_parent: /", "cgroup_parent"),
        ("volumes: [/var/run/docker.sock:/var/run/docker.sock]", "volumes"),
        ("volumes: [{type: bind, source: /, target: /host}]", "volumes"),
        ("volumes: [{type: npipe, source: x, target: /host}]", "volumes"),
        ("volumes_from: [container:other]", "volumes_from"),
        ("ports: ['80:80']", "ports"),
        ("extra_hosts: ['x:host-gateway']", "extra_hosts"),
        ("mem_limit: 64g", "mem_limit"),
        ("deploy: {resources: {limits: {memory: 64g}}}", "deploy"),
        ("sysctls: {kernel.x: 1}", "sysctls"),
        ("secrets: [x]", "secrets"),
        ("something_new: 1", "something_new"),
        ("build: {context: ., ssh: [default]}", "build.ssh"),
        ("build: {context: ., network: host}", "build.network"),
    ] {
        let project = read(&format!("services: {{app: {{image: a, {written}}}}}")).expect(written);
        assert_eq!(noted(&project), [format!("services.app.{key}")], "{written}");
        let plain = Service {
            name: "app".into(),
            image: Some("a".into()),
            build: project.own.build.clone(),
            ports: project.own.ports.clone(),
            run: super::super::RunOptions {
                trace: written.contains("SYS_PTRACE"),
                ..Default::default()
            },
            ..Service::default()
        };
        assert_eq!(project.own, plain, "{written}");
    }
    for (written, key) in [
        (
            "volumes: {x: {driver_opts: {type: none, o: bind, device: /}}}",
            "volumes.x.driver_opts",
        ),
        ("volumes: {x: {driver: nfs}}", "volumes.x.driver"),
        ("volumes: {x: {external: true}}", "volumes.x.external"),
        ("networks: {x: {driver: macvlan}}", "networks.x.driver"),
        ("secrets: {x: {file: /etc/shadow}}", "secrets"),
    ] {
        let project = read(&format!("services: {{app: {{image: a}}}}\n{written}")).expect(written);
        assert_eq!(noted(&project), [key], "{written}");
    }
}

#[test]
fn what_makes_no_project() {
    let many: String = (0..9).map(|at| format!("  s{at}: {{image: a}}\n")).collect();
    for (text, told) in [
        ("", "holds no services"),
        ("services: {}", "no service \"app\""),
        ("services: {app: {}}", "neither image nor build"),
        ("services: {app: {image: 'a b'}}", "no name of an image"),
        ("services: {app: {image: a, depends_on: [db]}}", "no service \"db\""),
        ("services: {app: {image: a, network_mode: 'service:db'}}", "no service \"db\""),
        (
            "services: {app: {image: a}, x: {image: a, depends_on: [y]}, y: {image: a, depends_on: [x]}}",
            "waits for itself",
        ),
        (
            "services: {app: {image: a, network_mode: 'service:x'}, x: {image: a, network_mode: 'service:app'}}",
            "its own network",
        ),
        ("services: {app: {build: ../..}}", "outside of the repository"),
        ("services: {app: {build: {dockerfile: ../../../x}}}", "outside of the repository"),
        (
            "services: {app: {image: a, env_file: /etc/environment}}",
            "outside of the repository",
        ),
        ("services: {app: {image: a, env_file: there.env}}", "is not there"),
        ("services: {app: {image: '${IMAGE:?name one}'}}", "name one"),
        (
            "services: {app: {image: a, extends: {file: /x, service: y}}}",
            "extends is not supported",
        ),
        ("include: [/x.yml]\nservices: {app: {image: a}}", "include is not supported"),
        ("services: {app: {image: a}, 'a b': {image: a}}", "no name of a service"),
        (&format!("services:\n  app: {{image: a}}\n{many}"), "at most 8"),
        ("services: {app: {image: a}", "compose.yml: "),
    ] {
        let error = read(text).map(|project| names(&project.siblings).join(",")).expect_err(text);
        assert!(error.contains(told), "{text}: {error}");
    }
    let missing = read_with(&app(), &[]).expect_err("there is no file");
    assert!(missing.contains("compose.yml is not there"), "{missing}");
}

#[test]
fn which_services_run_and_in_which_order() {
    let text = "services: {app: {image: a, depends_on: [web]}, web: {image: a, depends_on: [db]}, db: {image: a}, aside: {image: a}, \
                waiting: {image: a, depends_on: [app]}, tool: {image: a, profiles: [x]}}";
    for (wanted, expected) in [
        (None, &["db", "web", "aside", "waiting"][..]),
        (Some(&[][..]), &["db", "web"]),
        (Some(&["tool"][..]), &["db", "web", "tool"]),
    ] {
        let compose = Compose {
            run_services: wanted.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
            ..app()
        };
        let project = read_with(&compose, &[(".devcontainer/compose.yml", text)]).expect("it is read");
        assert_eq!(names(&project.siblings), expected, "{wanted:?}");
    }
    let project = read(text).expect("it is read");
    assert_eq!(noted(&project), ["services.waiting.depends_on"]);
}

#[test]
fn later_files_go_over_earlier_ones() {
    let compose = Compose {
        files: vec!["compose.yml".into(), ".devcontainer/more.yml".into()],
        ..app()
    };
    let files = [
        (
            "compose.yml",
            "services: {app: {image: a, command: [one, two], environment: [A=1, B=1], volumes: [x:/data], expose: [1], depends_on: [db]}, db: {image: d}}",
        ),
        (
            ".devcontainer/more.yml",
            "services: {app: {image: b, command: three, environment: {B: 2, C: 3}, volumes: [y:/data, '.:/code'], build:, depends_on: {late: {condition: service_healthy}}}, late: {image: l}}",
        ),
    ];
    let project = read_with(&compose, &files).expect("it is read");
    let own = &project.own;
    assert_eq!(
        (own.image.as_deref(), own.command.as_deref()),
        (Some("b"), Some(&["three".to_owned()][..]))
    );
    let environment: Vec<_> = own.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(environment, ["A=1", "B=2", "C=3"]);
    assert_eq!(own.volumes.iter().map(|volume| volume.name.as_str()).collect::<Vec<_>>(), ["y"]);
    assert_eq!(
        project.binds(),
        [("/code".to_owned(), String::new())],
        "paths are relative to the first file"
    );
    assert_eq!(names(&project.siblings), ["db", "late"]);
}

#[test]
fn no_file_makes_reading_it_unbounded() {
    let long = format!("LONG={}\n", "x".repeat(60_000));
    let named = |count: usize, of: &str| (0..count).map(|at| format!("{of}{at}")).collect::<Vec<_>>().join(", ");
    let many = |count: usize, what: &str| -> String { (0..count).map(|at| format!("  s{at}: {{image: a, {what}}}\n")).collect() };
    let app = "services:\n  app: {image: a}\n";
    let files = |text: String| {
        vec![
            (".devcontainer/compose.yml".to_owned(), text),
            (".devcontainer/.env".to_owned(), long.clone()),
        ]
    };
    let anchors = "{A: $LONG, B: $LONG, C: $LONG, D: $LONG}";
    for (files, told) in [
        // Names that stand for much: in each text, in keys that stand for one more, and in what has no value of its own.
        (files(format!("{app}{}", many(30, "labels: [\"$LONG\"]"))), "says too much"),
        (
            files(format!("{app}{}", many(30, "x-any: \"${NONE:-${LONG:+$LONG}}\""))),
            "says too much",
        ),
        (files(format!("{app}{}", many(30, "environment: [LONG]"))), "says too much"),
        (files(format!("{app}{}", many(30, "build: {args: {LONG: }}"))), "says too much"),
        (
            files(format!("x: &x {anchors}\n{app}{}", many(30, "environment: *x"))),
            "says too much",
        ),
        // Lists and maps that stand for much.
        (
            files(format!("x: &x [{}]\n{app}{}", named(2000, "n"), many(40, "networks: *x"))),
            "says too much",
        ),
        (
            files(format!(
                "services:\n  app:\n    image: a\n    extra_hosts:\n      ? {}\n      : [{}]\n",
                "h".repeat(2000),
                named(9000, "h")
            )),
            "a key is longer",
        ),
        // Files that lead to files.
        (
            files(format!("{app}{}", many(40, "env_file: [a.env, ../b.env, c/d.env]"))),
            "is not there",
        ),
        (
            files(format!("services: {{app: {{image: a, env_file: [{}]}}}}", named(32, "e/../n"))),
            "is not there",
        ),
        (
            files(format!(
                "{app}{}",
                (0..40)
                    .map(|at| format!("  s{at}: {{image: a, env_file: [x{at}, y{at}]}}\n"))
                    .collect::<String>()
            )),
            "more than 64 files",
        ),
        (
            files(format!("services: {{app: {{image: a, env_file: {}x}}}}", "d/".repeat(30))),
            "more than 24 directories",
        ),
        (
            files(format!("services: {{app: {{image: a, env_file: {}x}}}}", "d/".repeat(600))),
            "outside of the repository",
        ),
        (
            files(format!("services: {{app: {{image: a, env_file: ../../{}}}}}", "p".repeat(9000))),
            "outside of the repository",
        ),
        (files(format!("{app}{}", many(70, "init: true"))), "more than 64 services"),
    ] {
        let error = read_with(&self::app(), &borrowed(&files))
            .map(|project| names(&project.siblings).join(","))
            .expect_err(told);
        assert!(error.contains(told) && error.len() <= 700, "{told}: {error}");
    }
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect()
}

#[test]
fn one_bound_holds_for_all_files_of_a_project() {
    let paths: Vec<String> = (0..8).map(|at| format!(".devcontainer/{at}.yml")).collect();
    let read = |text: &str| {
        let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), text)).collect();
        let compose = Compose {
            files: paths.clone(),
            ..app()
        };
        read_with(&compose, &files).map(|project| names(&project.siblings).len())
    };
    let with = |bytes: usize| format!("services: {{app: {{image: a, labels: [{}]}}}}", "x".repeat(bytes));
    assert_eq!(read(&with(100_000)), Ok(0));
    assert!(read(&with(200_000)).is_err_and(|error| error.contains("says too much")));
    let list = |count: usize| {
        format!(
            "services: {{app: {{image: a, expose: [{}]}}}}",
            (0..count).map(|at| at.to_string()).collect::<Vec<_>>().join(",")
        )
    };
    assert_eq!(read(&list(2000)), Ok(0), "lists that are merged are compared once");
    assert!(read(&list(3000)).is_err_and(|error| error.contains("says too much")));
    let texts: Texts = (0..5).map(|at| (at.to_string(), Some("x".repeat(1 << 20)))).collect();
    let error = app().read(&texts).expect_err("that is too much").to_string();
    assert!(error.contains("more than 4194304 bytes in all"), "{error}");
}

#[test]
fn a_file_that_many_services_name_is_read_once() {
    let variables: String = (0..200).map(|at| format!("A{at}=1\n")).collect();
    let services = |count: usize| {
        let each: String = (0..count)
            .map(|at| format!("  s{at}: {{image: a, profiles: [x], env_file: ['./x/../a.env', a.env]}}\n"))
            .collect();
        format!("services:\n  app: {{image: a}}\n{each}")
    };
    let spent = |count: usize| {
        let text = services(count);
        let texts: Texts = [
            (".devcontainer/compose.yml", Some(text)),
            (".devcontainer/.env", None),
            (".devcontainer/a.env", Some(variables.clone())),
        ]
        .map(|(path, text)| (path.to_owned(), text))
        .into();
        let mut budget = Budget::default();
        assert!(matches!(app().read_within(&texts, &mut budget), Ok(Reading::Is(_))));
        budget.spent()
    };
    let (none, one, many) = (spent(0), spent(1), spent(11));
    let (first, later) = (one - none, (many - one) / 10);
    assert!(later < first, "{first} for the first, {later} for each that comes after");
}

#[test]
fn keys_that_nobody_reads_stand_for_nothing() {
    let project = read("x-any: ${GONE:?never asked}\nsecrets: {a: $ALSO}\nservices: {app: {image: 'a$UNSET'}}").expect("it is read");
    assert_eq!(noted(&project), ["${UNSET}", "secrets"]);
    let many: String = (0..99).map(|at| format!("$N{at}${{{}}}", "L".repeat(99))).collect();
    let project = read(&format!("services: {{app: {{image: a, command: '{many}'}}}}")).expect("it is read");
    assert!(noted(&project).iter().all(|key| key.len() <= 70), "{:?}", noted(&project));
    assert_eq!(noted(&project).len(), 32);
}

#[test]
fn a_devcontainer_json_names_it() {
    let place = Place {
        root: "/workspaces/app".into(),
        binds: vec![("/workspace".into(), "web".into())],
        ..Place::default()
    };
    let read = |text: &str| Configuration::read(text, ".devcontainer/devcontainer.json", &place).expect(text);
    let found = read(
        r#"{ "dockerComposeFile": ["../compose.yml", "compose.yml"], "service": "app", "runServices": ["db"],
             "workspaceFolder": "/workspace/src", "shutdownAction": "stopCompose", "containerEnv": { "AT": "${containerWorkspaceFolder}" },
             "mounts": ["source=modules,target=/workspace/node_modules,type=volume"] }"#,
    );
    let expected = Compose {
        files: vec!["compose.yml".into(), ".devcontainer/compose.yml".into()],
        service: "app".into(),
        run_services: Some(vec!["db".into()]),
    };
    assert_eq!((found.origin, found.notices.iter().count()), (Origin::Compose(expected), 0));
    assert_eq!(found.folder.as_deref(), Some("/workspaces/app/web/src"));
    assert_eq!(found.container_env["AT"], "/workspaces/app/web/src");
    assert_eq!(
        found.mounts[0].target, "/workspaces/app/web/node_modules",
        "a link is no place for a volume"
    );
    for text in [
        r#"{ "dockerComposeFile": "compose.yml" }"#,
        r#"{ "dockerComposeFile": "../../compose.yml", "service": "app" }"#,
        r#"{ "dockerComposeFile": "/etc/compose.yml", "service": "app" }"#,
        r#"{ "dockerComposeFile": [], "service": "app" }"#,
        r#"{ "dockerComposeFile": "compose.yml", "service": "a b" }"#,
    ] {
        let found = read(text);
        assert_eq!(found.origin, Origin::Default, "{text}");
        assert!(found.notices.iter().any(|notice| notice.key == "dockerComposeFile"), "{text}");
    }
    let machine = read(r#"{ "dockerComposeFile": "compose.yml", "service": "app" }"#).on_machine();
    assert!(machine.notices.iter().any(|notice| notice.key == "dockerComposeFile"));
}

#[test]
fn whatever_is_named_changes_what_it_is_made_from() {
    let configuration = Configuration::default();
    let of = |text: Option<&str>| configuration.fingerprint_of(&[("compose.yml".to_owned(), text.map(str::to_owned))].into());
    assert_eq!(of(Some("a")), of(Some("a")));
    assert_ne!(of(Some("a")), of(Some("b")));
    assert_ne!(of(Some("")), of(None));
}
