use std::{path::PathBuf, time::Duration};

use super::{gather::read_text, *};
use crate::outbound::Proxy;

const HOME: (&str, &str) = ("HOME", "/home/ada");

fn gather(overrides: Overrides, variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::gather(overrides, variables).map_err(|error| error.to_string())
}

fn from_text(text: &str) -> Result<Config, String> {
    let mut config = keys::defaults();
    read_text(&mut config, text, "p.toml")
        .map(|()| config)
        .map_err(|error| error.to_string())
}

#[test]
fn defaults_are_those_of_the_product() {
    let config = gather(Overrides::default(), &[HOME]).expect("defaults");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.url.to_string(), "http://portico.localhost:8080");
    assert_eq!(config.domain, "codespaces.localhost");
    assert_eq!(config.data, PathBuf::from("/home/ada/.local/share/portico"));
    let config = gather(Overrides::default(), &[HOME, ("XDG_DATA_HOME", "/xdg")]).expect("defaults");
    assert_eq!(config.data, PathBuf::from("/xdg/portico"));
    assert!(gather(Overrides::default(), &[]).expect_err("no home").contains("--data DIR"));
}

#[test]
fn flag_over_variable_over_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("p.toml");
    std::fs::write(
        &file,
        "listen = '1.1.1.1:1'\ndomain = 'a.test'\ndata = '~/d'\n[limits]\nidle_minutes = 5\n",
    )
    .expect("a file");
    let overrides = Overrides {
        config: Some(file.clone()),
        listen: Some("3.3.3.3:3".into()),
        ..Overrides::default()
    };
    let variables = [
        HOME,
        ("PORTICO_LISTEN", "2.2.2.2:2"),
        ("PORTICO_DOMAIN", "B.test"),
        ("PORTICO_TOKEN", "x"),
        ("PORTICO_BROWSER_TESTS", "1"),
    ];
    let config = gather(overrides, &variables).expect("a configuration");
    assert_eq!(config.listen.to_string(), "3.3.3.3:3");
    assert_eq!(config.domain, "b.test");
    assert_eq!(config.limits.idle_minutes, 5);
    assert_eq!(config.data, PathBuf::from("/home/ada/d"));
    let named = file.display().to_string();
    let config = gather(Overrides::default(), &[HOME, ("PORTICO_CONFIG", &named)]).expect("a configuration");
    assert_eq!(config.listen.to_string(), "1.1.1.1:1");
}

#[test]
fn a_url_that_nobody_names_is_where_the_gateway_listens() {
    #[track_caller]
    fn check(variables: &[(&str, &str)], expected: &str) {
        let variables = [&[HOME], variables].concat();
        let config = gather(Overrides::default(), &variables).expect("a configuration");
        assert_eq!(config.url.to_string(), expected, "{variables:?}");
    }
    let listen = ("PORTICO_LISTEN", "127.0.0.1:9000");
    check(&[], "http://portico.localhost:8080");
    check(&[listen], "http://portico.localhost:9000");
    check(&[listen, ("PORTICO_TLS_LOCAL", "true")], "https://portico.localhost:9000");
    // A port mapping stands between them.
    check(
        &[listen, ("PORTICO_URL", "http://portico.localhost:8080")],
        "http://portico.localhost:8080",
    );
}

#[test]
fn mistakes_in_a_file_name_their_line() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(from_text(text).expect_err("a mistake"), expected, "{text}");
    }
    check(
        "# x\nlisen = '1.1.1.1:1'",
        "p.toml, line 2: there is no key \"lisen\". Did you mean listen?",
    );
    check(
        "idle_minutes = 9",
        "p.toml, line 1: there is no key \"idle_minutes\". Did you mean limits.idle_minutes?",
    );
    check(
        "\n\n[limits]\nidle_minuts = 9",
        "p.toml, line 4: there is no key \"limits.idle_minuts\". Did you mean limits.idle_minutes?",
    );
    check(
        "[limit]\nconnections = 9",
        "p.toml, line 1: there is no table [limit]. Did you mean [limits]?",
    );
    check("zzz = 1", "p.toml, line 1: there is no key \"zzz\".");
    check(
        "[limits]\nidle_minutes = 4",
        "p.toml, line 2: \"4\" is not allowed for limits.idle_minutes, which is a number of minutes from 5 to 240",
    );
    check(
        "[limits]\nattempts_per_account = 10",
        "p.toml, line 2: \"10\" is not allowed for limits.attempts_per_account, which is a number from 1 to 1000000 in a time from 1s to 1d, for instance 10 in 200s",
    );
    check(
        "allow_same_site = 'yes'",
        "p.toml, line 1: \"yes\" is not allowed for allow_same_site, which is true or false",
    );
    check(
        "runtime = ['process']",
        "p.toml, line 1: this is no value for runtime, which is process or docker",
    );
    assert!(from_text("a = 1\nb = = 2").expect_err("a mistake").starts_with("p.toml, line 2: "));
}

#[test]
fn wrong_values_are_refused_and_right_ones_taken() {
    #[track_caller]
    fn check(key: &str, good: &[&str], bad: &[&str]) {
        for (texts, expected) in [(good, true), (bad, false)] {
            for text in texts {
                let overrides = Overrides {
                    others: vec![(key.into(), (*text).into())],
                    ..Overrides::default()
                };
                let outcome = gather(overrides, &[HOME]);
                assert_eq!(outcome.is_ok(), expected, "{key} {text:?} {:?}", outcome.err());
            }
        }
    }
    check(
        "listen",
        &["[::]:80", "localhost:1"],
        &["", "8080", "host:80", "127.0.0.1", "127.0.0.1:99999"],
    );
    check(
        "url",
        &["https://p.example.com", "http://10.0.0.1:80/"],
        &["p.example.com", "ftp://x", "https://p/x", "https://u@p"],
    );
    check(
        "domain",
        &["cs.test", "CS.test", "test"],
        &[
            "",
            "cs.test:80",
            "1.2.3.4",
            "[::1]",
            ".test",
            "a..b",
            "-a.test",
            "a_b.test",
            "*.test",
        ],
    );
    check("limits.connections", &["10"], &["9", "-1", "1e3", "many"]);
    for key in ["limits.attempts_per_account", "limits.attempts_per_address", "limits.attempts"] {
        check(
            key,
            &["1 in 1s", "1000000 in 1d", "10  in  3m 20s"],
            &[
                "",
                "10",
                "10s",
                "0 in 1s",
                "-1 in 1s",
                "1000001 in 1s",
                "1 in 0s",
                "1 in 2d",
                "1 in soon",
                "10/200s",
                "10in20s",
            ],
        );
    }
    check("limits.drain_timeout", &["1s", "2m 5s"], &["0s", "30", "2d", "soon"]);
    check("log.level", &["debug", "portico=trace,info"], &["", "inof", "loud"]);
    check("log.format", &["json"], &["xml"]);
    check("sessions.idle", &["1h"], &["8d", "1s"]);
    check("metrics_listen", &["", "127.0.0.1:9100"], &["9100", "127.0.0.1:8080"]);
    check("limits.connect_timeout", &["30s"], &["0s", "31s"]);
    assert!(
        gather(Overrides::default(), &[HOME, ("PORTICO_LISEN", "x")])
            .expect_err("a typo")
            .contains("PORTICO_LISTEN")
    );
}

#[test]
fn dom_1_the_same_site_is_refused_unless_allowed() {
    let mut overrides = Overrides {
        url: Some("https://portico.example.com".into()),
        domain: Some("cs.example.com".into()),
        ..Overrides::default()
    };
    let message = gather(overrides.clone(), &[HOME]).expect_err("the same site");
    assert!(message.contains("allow_same_site = true"), "{message}");
    overrides.allow_same_site = Some("true".into());
    let config = gather(overrides, &[HOME]).expect("allowed");
    assert!(
        config
            .problems()
            .iter()
            .any(|problem| problem.key == "allow_same_site" && problem.severity == Severity::Warning)
    );
}

#[test]
fn certificates_come_with_their_keys() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str| directory.path().join(name).display().to_string();
    let mut keys = Vec::new();
    for host in ["portico.example.com", "*.example.net"] {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("a certificate");
        std::fs::write(file(&format!("{host}.pem")), made.cert.pem()).expect("written");
        std::fs::write(file(&format!("{host}.key")), made.signing_key.serialize_pem()).expect("written");
        keys.push(file(&format!("{host}.key")));
    }
    let both = format!("{},{}", file("portico.example.com.pem"), file("*.example.net.pem"));
    let gather_tls = |certificate: &str, key: &str| {
        let overrides = Overrides {
            url: Some("https://portico.example.com".into()),
            domain: Some("example.net".into()),
            others: vec![("tls.certificate".into(), certificate.into()), ("tls.key".into(), key.into())],
            ..Overrides::default()
        };
        gather(overrides, &[HOME])
    };
    let found = |certificate: &str, key: &str| {
        let problems = gather_tls(certificate, key).expect("a configuration").problems();
        let about = problems.into_iter().find(|problem| problem.key == "tls.certificate");
        about.map(|problem| (problem.severity, problem.text))
    };
    assert_eq!(found(&both, &keys.join(",")), None);
    let (severity, text) = found(&file("portico.example.com.pem"), &keys[0]).expect("no certificate for codespaces");
    assert_eq!(severity, Severity::Warning);
    assert!(text.contains("covers *.example.net:"), "{text}");
    #[track_caller]
    fn check(found: Option<(Severity, String)>, expected: &str) {
        let (severity, text) = found.expect(expected);
        assert_eq!(severity, Severity::Error);
        assert!(text.contains(expected), "{text}");
    }
    let certificate = file("portico.example.com.pem");
    check(found(&certificate, &keys[1]), "does not belong to the certificate");
    check(found(&file("none.pem"), &keys[0]), "none.pem cannot be read: No such file");
    check(found(&certificate, &certificate), "holds no private key");
    check(found(&keys[0], &keys[0]), "holds no certificate");
    let unequal = gather_tls(&both, &keys[0]).expect_err("a key is missing");
    assert!(unequal.contains("names 2 files and tls.key one file"), "{unequal}");

    let written = from_text("[tls]\ncertificate = ['a.pem', 'b.pem']\nkey = 'a.key'").expect("lists and texts");
    assert_eq!(written.tls.certificates, [PathBuf::from("a.pem"), PathBuf::from("b.pem")]);
    assert!(from_text("[tls]\nkey = [1, []]").is_err());
}

/// The sample holds every key, commented out at its default; other samples hold what they say.
#[test]
fn samples_parse() {
    let sample = include_str!("../../config/portico.toml");
    let is_setting = |line: &str| {
        line.split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    };
    let uncommented: String = sample
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if is_setting(setting) => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(from_text(sample), Ok(keys::defaults()));
    let mut config = from_text(&uncommented).expect("the sample");
    assert_eq!(config.data, PathBuf::from("~/.local/share/portico"));
    config.data = PathBuf::new();
    assert_eq!(config, keys::defaults());
    let mut table = "";
    let mut named = Vec::new();
    for line in uncommented.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = name;
        } else if is_setting(line) {
            let key = line.split(' ').next().unwrap_or_default();
            named.push(if table.is_empty() {
                key.to_owned()
            } else {
                format!("{table}.{key}")
            });
        }
    }
    let known: Vec<_> = keys::all().map(|key| key.name).collect();
    assert_eq!(named, known);

    let behind = from_text(include_str!("../../config/behind-proxy.toml")).expect("the sample");
    assert_eq!(behind.url.to_string(), "https://portico.example.com");
    assert_eq!(behind.limits.idle_timeout, Duration::from_secs(200));
}

#[test]
fn problems_are_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let overrides = Overrides {
        listen: Some(taken.local_addr().expect("its address").to_string()),
        url: Some("http://portico.example.com".into()),
        domain: Some("example.net".into()),
        data: Some(directory.path().join("new/data").display().to_string()),
        editor: Some("/nowhere/code-server".into()),
        ..Overrides::default()
    };
    let config = gather(overrides, &[HOME]).expect("a configuration");
    let problems = config.problems();
    let found: Vec<_> = problems.iter().map(|problem| (problem.severity, problem.key)).collect();
    assert!(found.contains(&(Severity::Error, "listen")), "{problems:?}");
    assert!(found.contains(&(Severity::Error, "url")), "{problems:?}");
    assert!(found.contains(&(Severity::Note, "url")), "{problems:?}");
    assert!(found.contains(&(Severity::Error, "editor")), "{problems:?}");
    assert!(!found.contains(&(Severity::Error, "data")), "{problems:?}");
    assert!(problems.is_sorted_by_key(|problem| problem.severity));
    assert!(!directory.path().join("new").exists());
}

#[test]
fn name_servers_out_of_codespaces_reach_are_told() {
    #[track_caller]
    fn check(runtime: &str, servers: &str, unreachable: &str, expected: bool) {
        let text = format!("runtime = '{runtime}'\n[docker]\nname_servers = {servers}\nunreachable = {unreachable}\n");
        let problems = from_text(&text).expect("a configuration").problems();
        let told = problems.iter().any(|problem| problem.key == "docker.name_servers");
        assert_eq!(told, expected, "{text}: {problems:?}");
    }
    check("docker", "['9.9.9.9']", "[]", false);
    check("docker", "['9.9.9.9', '169.254.169.254']", "[]", true);
    check("docker", "['168.63.129.16']", "[]", true);
    check("docker", "['10.0.0.2']", "[]", false);
    check("docker", "['10.0.0.2']", "['10.0.0.0/8']", true);
    check("process", "['169.254.169.254']", "[]", false);
    let of = "# by hand\nsearch here\nnameserver 168.63.129.16\n nameserver\t::1 \nnameserver nowhere\nnameserver\noptions edns0\n";
    let addresses: Vec<_> = problems::named(of).iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["168.63.129.16", "::1"]);
}

#[test]
fn only_containers_are_known_by_their_network() {
    let of = |runtime: &str| {
        from_text(&format!("runtime = '{runtime}'"))
            .expect("a configuration")
            .fronts()
            .codespaces
    };
    let inside = "10.213.1.2".parse().expect("an address");
    assert!(of("docker").contains(inside));
    assert!(!of("docker").contains([127, 0, 0, 1].into()));
    assert!(of("process").is_empty());
}

/// The sample's provider is one, once it is no comment.
#[test]
fn the_samples_provider_parses() {
    let sample = include_str!("../../config/portico.toml");
    let provider: String = sample
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .skip_while(|line| !line.starts_with("[provider."))
        .filter(|line| !line.starts_with("client_secret_file"))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = from_text(&provider).expect("the sample's provider");
    let [provider] = &config.sign_in.providers[..] else {
        panic!("one provider: {:?}", config.sign_in.providers);
    };
    assert_eq!((provider.id.as_str(), provider.label.as_str()), ("company", "Company"));
    assert_eq!(provider.rules.allowed_domains, ["example.com"]);
    assert_eq!(provider.rules.sign_up, crate::auth::SignUp::Everybody);
    let named = sign_in::PROVIDER_KEYS
        .iter()
        .filter(|key| !sample.contains(&format!("#   {} = ", key.name)));
    let missing: Vec<_> = named.map(|key| key.name).collect();
    assert_eq!(missing, ["client_secret"], "beside the file that holds it");
}

#[test]
fn providers_come_from_files_and_variables() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let secret = file("secret", "s3cret\n");
    let written = file(
        "p.toml",
        "[provider.my-id]\nissuer = 'https://id.example'\nclient_id = 'c'\ngroups_claim = 'groups'\norganisations = ['CN=eng,OU=x', 'ops']\n",
    );
    let variables = [
        HOME,
        ("PORTICO_CONFIG", &*written),
        ("PORTICO_PROVIDER_MY_ID_CLIENT_SECRET_FILE", &*secret),
        ("PORTICO_PROVIDER_MY_ID_LABEL", "Mine"),
        ("PORTICO_PROVIDER_GH_KIND", "github"),
        ("PORTICO_PROVIDER_GH_CLIENT_ID", "g"),
        ("PORTICO_PROVIDER_GH_SIGN_UP", "ada@example.com, 7"),
    ];
    let config = gather(Overrides::default(), &variables).expect("a configuration");
    let [mine, github] = &config.sign_in.providers[..] else {
        panic!("two providers: {:?}", config.sign_in.providers);
    };
    assert_eq!((mine.id.as_str(), mine.label.as_str()), ("my-id", "Mine"));
    assert_eq!(mine.client_secret, Some(crate::auth::Secret::new("s3cret")));
    assert_eq!(mine.rules.organisations, ["CN=eng,OU=x", "ops"]);
    assert_eq!((github.label.as_str(), github.issuer.as_str()), ("GitHub", "https://github.com"));
    assert_eq!(
        github.rules.sign_up,
        crate::auth::SignUp::These(vec!["ada@example.com".into(), "7".into()])
    );
    assert!(!format!("{config:?}").contains("s3cret"));
    for (name, value, expected) in [
        (
            "PORTICO_PROVIDER_GH_CLIENT_SECERT",
            "canary",
            "there is no variable PORTICO_PROVIDER_GH_CLIENT_SECERT",
        ),
        ("PORTICO_PROVIDER_X_LABEL", "X", "[provider.x] lacks client_id"),
        (
            "PORTICO_PROVIDER_MY_ID_ISSUER",
            "http://id.example",
            "needs an issuer that begins with https://",
        ),
        ("PORTICO_PROVIDER_GH_ORGANISATIONS", "eng", "only with the scope read:org"),
        (
            "PORTICO_PROVIDER_MY_ID_CLIENT_SECRET_FILE",
            "/nowhere",
            "the path of a file that holds the secret",
        ),
        ("PORTICO_PASSWORD_SIGN_IN", "maybe", "true or false"),
    ] {
        let mut variables = variables.to_vec();
        variables.retain(|(other, _)| *other != name);
        variables.push((name, value));
        let mistake = gather(Overrides::default(), &variables).expect_err(name);
        assert!(mistake.contains(expected) && !mistake.contains("canary"), "{mistake}");
    }
}

#[test]
fn mistakes_about_signing_in_are_told() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("p.toml");
        std::fs::write(&file, text).expect("a file");
        let overrides = Overrides {
            config: Some(file),
            ..Overrides::default()
        };
        let mistake = gather(overrides, &[HOME]).expect_err("a mistake");
        assert!(mistake.contains(expected), "{text}: {mistake}");
    }
    check(
        "[provider.google]\nisuer = 'x'",
        "line 2: there is no key \"provider.google.isuer\". Did you mean issuer?",
    );
    check(
        "[provider.google]\nclient_secret = ['a']",
        "this is no value for provider.google.client_secret",
    );
    check("[provider.Google]\nlabel = 'x'", "cannot be the name of a provider");
    check("[provider]\ngoogle = 1", "write [provider.NAME]");
    check("[[provider]]\nlabel = 'x'", "write [provider.NAME]");
    check("password_sign_in = false", "leaves no way to sign in");
    check("[trusted_header]\nuser = 'x-user'", "[trusted_header] needs proxies");
    for everybody in ["0.0.0.0/0", "::/0", "10.0.0.1, 0.0.0.0/0"] {
        check(
            &format!("[trusted_header]\nuser = 'x-user'\nproxies = '{everybody}'"),
            "[trusted_header] believes everybody",
        );
    }
    check("[trusted_header]\nproxies = '10.0.0.1'", "[trusted_header] needs user");
    check(
        "[trusted_header]\nuser = 'cookie'\nproxies = '10.0.0.1'",
        "not allowed for trusted_header.user",
    );
    let twice = "issuer = 'https://id.example'\nclient_id = 'c'\n";
    check(
        &format!("[provider.a]\n{twice}[provider.b]\n{twice}"),
        "give each issuer one provider",
    );
}

#[test]
fn the_way_out_is_a_key_or_what_the_environment_says() {
    let proxy = |text: &str| Proxy::parse(text);
    let with = |text: &str, variables: &[(&str, &str)]| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("p.toml");
        std::fs::write(&path, text).expect("a file");
        let overrides = Overrides {
            config: Some(path),
            ..Overrides::default()
        };
        gather(overrides, &[&[HOME], variables].concat())
    };
    let plain = with("", &[]).expect("nothing").outbound;
    assert_eq!((plain.proxy, plain.direct), (None, Vec::new()));
    let variables = [
        ("HTTPS_PROXY", "proxy:3128"),
        ("NO_PROXY", "a.example, 10.0.0.0/8,, "),
        ("http_proxy", "http://other"),
    ];
    let taken = with("", &variables).expect("variables");
    assert_eq!(taken.outbound.proxy, proxy("http://proxy:3128"));
    assert_eq!(taken.outbound.direct.len(), 2);
    assert_eq!(taken.acme.outbound, taken.outbound);
    assert_eq!(taken.sign_in.meant(taken.outbound.clone()).outbound, taken.outbound);
    let keys = with("proxy = 'http://mine:1'\nno_proxy = ['b.example']", &variables).expect("keys");
    assert_eq!((keys.outbound.proxy, keys.outbound.direct.len()), (proxy("http://mine:1"), 1));
    for (text, variables) in [
        ("proxy = 'socks5://ada:canary@p:1'", &[][..]),
        ("", &[("https_proxy", "socks5://ada:canary@p:1")][..]),
    ] {
        let refused = with(text, variables).expect_err("no such proxy");
        assert!(refused.contains("http://") && !refused.contains("canary"), "{refused}");
    }
}
