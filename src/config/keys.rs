//! Every key: its name, what it allows, and how its text becomes a value.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use super::{Config, Limits, Log, LogFormat, RuntimeKind, SessionLimits, Sharing, SignIn, Tls, attempts, docker, life, sign_in};
use crate::{
    domain::Networks,
    edge::Fronts,
    forward::client::Written,
    issuance::acme,
    outbound::{Direct, Outbound, Proxy},
    route::{Authority, Origin, Scheme},
};

/// One key of the configuration.
pub(super) struct Key {
    /// As in the file, with its table in front: `limits.idle_minutes`.
    pub(super) name: &'static str,
    /// What its values can be, for the message that refuses one.
    pub(super) allowed: &'static str,
    /// Sets it from text; none if the text is not allowed.
    pub(super) set: fn(&mut Config, &str) -> Option<()>,
}

const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
/// Agents give up after the longest of these by themselves.
const CONNECT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);
pub(super) const SESSION: RangeInclusive<Duration> = Duration::from_secs(5 * 60)..=Duration::from_secs(365 * 24 * 3600);
/// The store refuses to forget what is younger than a day.
const RETENTION: RangeInclusive<Duration> = Duration::from_secs(24 * 3600)..=Duration::from_secs(36_500 * 24 * 3600);
const TIMEOUT_ALLOWED: &str = "a duration from 1s to 1d, for instance 30s";
pub(super) const SESSION_ALLOWED: &str = "a duration from 5m to 365d, for instance 12h";

const HSTS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(2 * 365 * 24 * 3600);
pub(super) const NETWORKS_ALLOWED: &str =
    "addresses or ranges such as 10.0.0.0/8, several of them separated by commas, or nothing for nobody";
const CAP_ALLOWED: &str = "a number to 1000000000000000, 0 for none";
const HEADER_ALLOWED: &str = "the name of a header of its own, or nothing for none";
const FILES_ALLOWED: &str = "the path of a PEM file, several of them separated by commas, or nothing to speak plain HTTP";

/// Keys whose value in a file can be an array of texts; as one text, its items are separated by commas.
pub(super) const LISTS: &[&str] = &[
    "trusted_proxies",
    "proxy_protocol",
    "no_proxy",
    "tls.certificate",
    "tls.key",
    "docker.images",
    "docker.unreachable",
    "docker.name_servers",
    "trusted_header.proxies",
    "trusted_header.organisations",
    "trusted_header.allowed_domains",
    "trusted_header.allowed_groups",
    "trusted_header.sign_up",
    "trusted_header.admin_groups",
];

/// All keys, table by table.
pub(super) fn all() -> impl Iterator<Item = &'static Key> + Clone {
    KEYS.iter().chain(docker::KEYS).chain(life::KEYS)
}

/// The keys of the gateway itself, in the order of the sample file.
const KEYS: &[Key] = &[
    Key {
        name: "listen",
        allowed: "an address with a port, for instance 127.0.0.1:8080 or [::]:8080",
        set: |config, text| put(&mut config.listen, listen(text)),
    },
    Key {
        name: "metrics_listen",
        allowed: "an address with a port, for instance 127.0.0.1:9100, or nothing for none",
        set: |config, text| put(&mut config.metrics_listen, optional(text, listen)),
    },
    Key {
        name: "redirect_http",
        allowed: "an address with a port, for instance 0.0.0.0:80, or nothing for none",
        set: |config, text| put(&mut config.redirect_http, optional(text, listen)),
    },
    Key {
        name: "trusted_proxies",
        allowed: NETWORKS_ALLOWED,
        set: |config, text| put(&mut config.fronts.proxies, networks(text)),
    },
    Key {
        name: "forwarded_header",
        allowed: "x-forwarded-for or forwarded",
        set: |config, text| put(&mut config.fronts.written, written(text)),
    },
    Key {
        name: "proxy_protocol",
        allowed: NETWORKS_ALLOWED,
        set: |config, text| put(&mut config.fronts.balancers, networks(text)),
    },
    Key {
        name: "proxy",
        allowed: "http://[NAME:PASSWORD@]HOST:PORT, or nothing for what the environment's https_proxy says",
        set: |config, text| put(&mut config.outbound.proxy, optional(text, Proxy::parse)),
    },
    Key {
        name: "no_proxy",
        allowed: "domains, addresses and ranges, several of them separated by commas, or * for everything",
        set: |config, text| {
            put(
                &mut config.outbound.direct,
                items(text).iter().map(|item| Direct::parse(item)).collect(),
            )
        },
    },
    Key {
        name: "hsts",
        allowed: "a duration up to 730d, for instance 365d, or nothing to send no header",
        set: |config, text| put(&mut config.hsts, optional(text, |text| duration(text, HSTS))),
    },
    Key {
        name: "url",
        allowed: "http://HOST[:PORT] or https://HOST[:PORT], without a path",
        set: |config, text| put(&mut config.url, text.parse().ok()),
    },
    Key {
        name: "domain",
        allowed: "a host name without a port, for instance codespaces.example.net",
        set: |config, text| put(&mut config.domain, domain(text)),
    },
    Key {
        name: "data",
        allowed: "the path of a directory",
        set: |config, text| put(&mut config.data, path(text)),
    },
    Key {
        name: "belongings_key_file",
        allowed: "the path of a file, or nothing for one in the data directory",
        set: |config, text| put(&mut config.belongings_key_file, optional(text, path)),
    },
    Key {
        name: "allow_same_site",
        allowed: "true or false",
        set: |config, text| put(&mut config.allow_same_site, text.parse().ok()),
    },
    Key {
        name: "runtime",
        allowed: "process or docker",
        set: |config, text| put(&mut config.runtime, runtime(text)),
    },
    Key {
        name: "editor",
        allowed: "the path of an editor's program, or nothing for the one that is found",
        set: |config, text| put(&mut config.editor, optional(text, path)),
    },
    Key {
        name: "password_sign_in",
        allowed: "true or false",
        set: |config, text| put(&mut config.sign_in.passwords, text.parse().ok()),
    },
    Key {
        name: "tls.certificate",
        allowed: FILES_ALLOWED,
        set: |config, text| put(&mut config.tls.certificates, paths(text)),
    },
    Key {
        name: "tls.key",
        allowed: FILES_ALLOWED,
        set: |config, text| put(&mut config.tls.keys, paths(text)),
    },
    Key {
        name: "tls.local",
        allowed: "true or false",
        set: |config, text| put(&mut config.tls.local, text.parse().ok()),
    },
    Key {
        name: "tls.ticket_key_file",
        allowed: "the path of a file, or nothing for a key of this gateway's own",
        set: |config, text| put(&mut config.tls.ticket_key_file, optional(text, path)),
    },
    Key {
        name: "acme.accept_terms",
        allowed: "true or false",
        set: |config, text| put(&mut config.acme.accept_terms, text.parse().ok()),
    },
    Key {
        name: "acme.email",
        allowed: "an e-mail address, or nothing for none",
        set: |config, text| put(&mut config.acme.email, optional(text, email)),
    },
    Key {
        name: "acme.hook",
        allowed: "the path of a program, or nothing if the gateway itself proves its host",
        set: |config, text| put(&mut config.acme.hook, optional(text, path)),
    },
    Key {
        name: "acme.directory",
        allowed: "the https URL of an ACME directory",
        set: |config, text| put(&mut config.acme.directory, directory(text)),
    },
    Key {
        name: "acme.root",
        allowed: "the path of a PEM file, or nothing for the machine's own roots",
        set: |config, text| put(&mut config.acme.root, optional(text, path)),
    },
    Key {
        name: "acme.eab_key_id",
        allowed: "the id of a key that the authority gave you, or nothing for none",
        set: |config, text| put(&mut config.acme.eab_key_id, optional(text, |text| Some(text.to_owned()))),
    },
    Key {
        name: "acme.eab_key_file",
        allowed: "the path of a file with that key, or nothing for none",
        set: |config, text| put(&mut config.acme.eab_key_file, optional(text, path)),
    },
    Key {
        name: "limits.connections",
        allowed: "a number from 10 to 1000000",
        set: |config, text| put(&mut config.limits.connections, number(text, 10..=1_000_000)),
    },
    Key {
        name: "limits.connections_per_address",
        allowed: "a number from 1 to 1000000",
        set: |config, text| put(&mut config.limits.connections_per_address, number(text, 1..=1_000_000)),
    },
    Key {
        name: "limits.header_timeout",
        allowed: TIMEOUT_ALLOWED,
        set: |config, text| put(&mut config.limits.header_timeout, duration(text, TIMEOUT)),
    },
    Key {
        name: "limits.idle_timeout",
        allowed: TIMEOUT_ALLOWED,
        set: |config, text| put(&mut config.limits.idle_timeout, duration(text, TIMEOUT)),
    },
    Key {
        name: "limits.body_timeout",
        allowed: TIMEOUT_ALLOWED,
        set: |config, text| put(&mut config.limits.body_timeout, duration(text, TIMEOUT)),
    },
    Key {
        name: "limits.write_timeout",
        allowed: TIMEOUT_ALLOWED,
        set: |config, text| put(&mut config.limits.write_timeout, duration(text, TIMEOUT)),
    },
    Key {
        name: "limits.connect_timeout",
        allowed: "a duration from 1s to 30s",
        set: |config, text| put(&mut config.limits.connect_timeout, duration(text, CONNECT)),
    },
    Key {
        name: "limits.drain_timeout",
        allowed: TIMEOUT_ALLOWED,
        set: |config, text| put(&mut config.limits.drain_timeout, duration(text, TIMEOUT)),
    },
    Key {
        name: "limits.idle_minutes",
        allowed: "a number of minutes from 5 to 240",
        set: |config, text| put(&mut config.limits.idle_minutes, number(text, Config::IDLE_MINUTES)),
    },
    Key {
        name: "limits.codespaces_per_user",
        allowed: "a number from 1 to 100000",
        set: |config, text| put(&mut config.limits.codespaces_per_user, number(text, 1..=100_000)),
    },
    Key {
        name: "limits.tokens_per_user",
        allowed: "a number from 1 to 10000",
        set: |config, text| put(&mut config.limits.tokens_per_user, number(text, 1..=10_000)),
    },
    Key {
        name: "limits.sockets_per_user",
        allowed: "a number from 1 to 1000000",
        set: |config, text| put(&mut config.limits.sockets_per_user, number(text, 1..=1_000_000)),
    },
    Key {
        name: "limits.sockets_per_codespace",
        allowed: "a number from 1 to 1000000",
        set: |config, text| put(&mut config.limits.sockets_per_codespace, number(text, 1..=1_000_000)),
    },
    Key {
        name: "limits.sockets_per_address",
        allowed: "a number from 1 to 1000000",
        set: |config, text| put(&mut config.limits.sockets_per_address, number(text, 1..=1_000_000)),
    },
    Key {
        name: "limits.attempts_per_account",
        allowed: attempts::ALLOWED,
        set: |config, text| put(&mut config.limits.attempts.account, attempts::read(text)),
    },
    Key {
        name: "limits.attempts_per_address",
        allowed: attempts::ALLOWED,
        set: |config, text| put(&mut config.limits.attempts.address, attempts::read(text)),
    },
    Key {
        name: "limits.attempts",
        allowed: attempts::ALLOWED,
        set: |config, text| put(&mut config.limits.attempts.all, attempts::read(text)),
    },
    Key {
        name: "log.format",
        allowed: "text or json",
        set: |config, text| put(&mut config.log.format, log_format(text)),
    },
    Key {
        name: "log.level",
        allowed: "error, warn, info, debug or trace, or a filter such as portico=debug,info",
        set: |config, text| put(&mut config.log.level, log_level(text)),
    },
    Key {
        name: "sessions.idle",
        allowed: SESSION_ALLOWED,
        set: |config, text| put(&mut config.sessions.idle, duration(text, SESSION)),
    },
    Key {
        name: "sessions.absolute",
        allowed: SESSION_ALLOWED,
        set: |config, text| put(&mut config.sessions.absolute, duration(text, SESSION)),
    },
    Key {
        name: "audit.retention",
        allowed: "a duration from 1d to 36500d, for instance 365d",
        set: |config, text| put(&mut config.audit_retention, duration(text, RETENTION)),
    },
    Key {
        name: "sharing.max_visibility",
        allowed: "private, org or public",
        set: |config, text| put(&mut config.sharing.ceiling.most, text.parse().ok()),
    },
    Key {
        name: "sharing.links",
        allowed: "true or false",
        set: |config, text| put(&mut config.sharing.ceiling.links, text.parse().ok()),
    },
    Key {
        name: "sharing.stranger_requests_per_port",
        allowed: CAP_ALLOWED,
        set: |config, text| put(&mut config.sharing.strangers.requests_per_port, cap(text)),
    },
    Key {
        name: "sharing.stranger_requests_per_address",
        allowed: CAP_ALLOWED,
        set: |config, text| put(&mut config.sharing.strangers.requests_per_address, cap(text)),
    },
    Key {
        name: "sharing.stranger_bytes_per_port",
        allowed: CAP_ALLOWED,
        set: |config, text| put(&mut config.sharing.strangers.bytes_per_port, cap(text)),
    },
    Key {
        name: "sharing.stranger_bytes_per_address",
        allowed: CAP_ALLOWED,
        set: |config, text| put(&mut config.sharing.strangers.bytes_per_address, cap(text)),
    },
    Key {
        name: "sharing.abuse_contact",
        allowed: "https://…, or mailto: and an e-mail address, or nothing for none",
        set: |config, text| put(&mut config.sharing.abuse, optional(text, contact)),
    },
    Key {
        name: "trusted_header.user",
        allowed: HEADER_ALLOWED,
        set: |config, text| put(&mut config.sign_in.header.user, optional(text, sign_in::header)),
    },
    Key {
        name: "trusted_header.email",
        allowed: HEADER_ALLOWED,
        set: |config, text| put(&mut config.sign_in.header.email, optional(text, sign_in::header)),
    },
    Key {
        name: "trusted_header.groups",
        allowed: HEADER_ALLOWED,
        set: |config, text| put(&mut config.sign_in.header.groups, optional(text, sign_in::header)),
    },
    Key {
        name: "trusted_header.proxies",
        allowed: NETWORKS_ALLOWED,
        set: |config, text| put(&mut config.sign_in.header.proxies, networks(text)),
    },
    Key {
        name: "trusted_header.organisations",
        allowed: "a list of groups",
        set: |config, text| put(&mut config.sign_in.header.rules.organisations, Some(items(text))),
    },
    Key {
        name: "trusted_header.allowed_domains",
        allowed: "a list of domains of e-mail addresses, for instance example.com",
        set: |config, text| put(&mut config.sign_in.header.rules.allowed_domains, sign_in::domains(&items(text))),
    },
    Key {
        name: "trusted_header.allowed_groups",
        allowed: "a list of groups",
        set: |config, text| put(&mut config.sign_in.header.rules.allowed_groups, Some(items(text))),
    },
    Key {
        name: "trusted_header.sign_up",
        allowed: sign_in::SIGN_UP_ALLOWED,
        set: |config, text| put(&mut config.sign_in.header.rules.sign_up, Some(sign_in::sign_up(&items(text)))),
    },
    Key {
        name: "trusted_header.max_session",
        allowed: SESSION_ALLOWED,
        set: |config, text| {
            put(
                &mut config.sign_in.header.rules.max_session,
                optional(text, |text| duration(text, SESSION)),
            )
        },
    },
    Key {
        name: "trusted_header.own_ways",
        allowed: "true or false",
        set: |config, text| put(&mut config.sign_in.header.rules.own_ways, text.parse().ok()),
    },
    Key {
        name: "trusted_header.admin_groups",
        allowed: "a list of groups",
        set: |config, text| put(&mut config.sign_in.header.rules.admin_groups, Some(items(text))),
    },
];

/// Every key at its default; `data` is empty, because its default depends on the environment.
pub(super) fn defaults() -> Config {
    let seconds = Duration::from_secs;
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
        metrics_listen: None,
        redirect_http: None,
        fronts: Fronts::default(),
        hsts: Some(seconds(365 * 24 * 3600)),
        url: Origin {
            scheme: Scheme::Http,
            host: "portico.localhost".into(),
            port: 8080,
        },
        domain: "codespaces.localhost".into(),
        data: PathBuf::new(),
        belongings_key_file: None,
        allow_same_site: false,
        runtime: RuntimeKind::Process,
        docker: crate::runtime::docker::Options::default(),
        editor: None,
        tls: Tls::default(),
        acme: acme::Options::default(),
        limits: Limits {
            connections: 10_000,
            connections_per_address: 1_000,
            header_timeout: seconds(10),
            idle_timeout: seconds(60),
            body_timeout: seconds(30),
            write_timeout: seconds(30),
            connect_timeout: seconds(5),
            drain_timeout: seconds(30),
            idle_minutes: 30,
            codespaces_per_user: 50,
            tokens_per_user: 100,
            sockets_per_user: 10_000,
            sockets_per_codespace: 10_000,
            sockets_per_address: 1_000,
            attempts: Default::default(),
        },
        life: crate::lifecycle::Rules::default(),
        log: Log {
            format: LogFormat::Text,
            level: "info".into(),
        },
        sessions: SessionLimits {
            idle: seconds(12 * 3600),
            absolute: seconds(7 * 24 * 3600),
        },
        audit_retention: seconds(365 * 24 * 3600),
        sharing: Sharing::default(),
        sign_in: SignIn::default(),
        outbound: Outbound::default(),
    }
}

/// The known key that is most like an unknown one, if any is.
pub(super) fn nearest(unknown: &str) -> Option<&'static str> {
    let likeness = |key: &Key| {
        let last = key.name.rsplit('.').next().unwrap_or(key.name);
        strsim::jaro_winkler(unknown, key.name).max(strsim::jaro_winkler(unknown, last) - 0.01)
    };
    let best = all().map(|key| (likeness(key), key.name)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness > 0.75).map(|(_, name)| name)
}

pub(super) fn put<T>(field: &mut T, value: Option<T>) -> Option<()> {
    *field = value?;
    Some(())
}

/// An empty text means none at all.
#[expect(clippy::option_option, reason = "the outer one is about the text, the inner one about the value")]
pub(super) fn optional<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { read(text).map(Some) }
}

fn listen(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port))),
        None => text.parse().ok(),
    }
}

/// A name that leaves room for a label of 63 in front of it (RFC 1035 §2.3.4).
fn domain(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    let host = authority.host();
    let label =
        |label: &str| !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-') && !label.contains('_');
    let is_address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    let good = authority.port().is_none() && host.len() <= 189 && !is_address && host.split('.').all(label);
    good.then(|| host.to_owned())
}

pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
}

fn paths(text: &str) -> Option<Vec<PathBuf>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(',').map(|item| path(item.trim())).collect()
}

fn contact(text: &str) -> Option<String> {
    let known = ["https://", "http://", "mailto:"].iter().any(|scheme| text.starts_with(scheme));
    let plain = text.len() <= 500 && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>'".contains(&byte));
    (known && plain).then(|| text.to_owned())
}

fn email(text: &str) -> Option<String> {
    let (name, host) = text.split_once('@')?;
    let good = !name.is_empty() && !host.is_empty() && !text.contains([' ', ',', '\n', '\r']) && !host.contains('@');
    good.then(|| text.to_owned())
}

fn directory(text: &str) -> Option<String> {
    let uri: http::Uri = text.parse().ok()?;
    (uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty())).then(|| text.to_owned())
}

fn networks(text: &str) -> Option<Networks> {
    if text.is_empty() {
        return Some(Networks::default());
    }
    text.split(',').map(|item| item.trim().parse().ok()).collect()
}

fn written(text: &str) -> Option<Written> {
    match text.to_ascii_lowercase().as_str() {
        "x-forwarded-for" => Some(Written::XForwarded),
        "forwarded" => Some(Written::Forwarded),
        _ => None,
    }
}

fn runtime(text: &str) -> Option<RuntimeKind> {
    match text {
        "process" => Some(RuntimeKind::Process),
        "docker" => Some(RuntimeKind::Docker),
        _ => None,
    }
}

pub(super) fn items(text: &str) -> Vec<String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(str::to_owned).collect()
}

pub(super) fn number<T: FromStr + PartialOrd>(text: &str, range: RangeInclusive<T>) -> Option<T> {
    text.parse().ok().filter(|number| range.contains(number))
}

/// A cap; an inner none is none.
#[expect(clippy::option_option, reason = "the outer one is about the text, the inner one about the value")]
fn cap(text: &str) -> Option<Option<u64>> {
    number(text, 0..=1_000_000_000_000_000).map(|most| Some(most).filter(|most| *most > 0))
}

pub(super) fn duration(text: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|duration| range.contains(duration))
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

fn log_level(text: &str) -> Option<String> {
    let good = !text.is_empty() && tracing_subscriber::EnvFilter::try_new(text).is_ok();
    // A misspelt level alone reads as the name of a module.
    let level = !text.contains(['=', ',']) && !["error", "warn", "info", "debug", "trace", "off"].contains(&text);
    (good && !level).then(|| text.to_owned())
}
