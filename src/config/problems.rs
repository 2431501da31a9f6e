//! What is wrong with a configuration on this machine, before a user meets it.

use std::{
    env,
    fs::{self, Metadata},
    io::ErrorKind,
    net::{IpAddr, TcpListener},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access, statvfs};

use super::{Config, RuntimeKind, site};
use crate::{
    clock::{Clock as _, SystemClock},
    edge::{Certificates, shared_ticket_secret},
    issuance::{Urgency, acme::Troubles, local::Files},
    route::Scheme,
};

/// Below this the gateway cannot be trusted to keep its store.
const NO_SPACE: u64 = 64 * 1024 * 1024;
/// Below this the next codespace may not fit.
const LITTLE_SPACE: u64 = 2 * 1024 * 1024 * 1024;
/// An editor's socket has a path of at most 107 bytes (unix(7)), below the data directory and a generated name.
const MAX_DATA_BYTES: usize = 107 - "/codespaces/amber-quiet-otter-x7k2-and-more/state/editor.sock".len();
const EDITORS: &[&str] = &["code-server", "openvscode-server"];

/// One thing that is wrong, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    pub severity: Severity,
    /// The key that it is about; empty if none.
    pub key: &'static str,
    pub text: String,
    pub fix: String,
}

/// How bad a problem is, the worst first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// The gateway does not start, or nobody can use it.
    Error,
    /// It works, and something will be missing or unsafe.
    Warning,
    /// Good to know.
    Note,
}

pub(super) fn find(config: &Config) -> Vec<Problem> {
    let mut problems: Vec<_> = [
        same_site,
        listen,
        url,
        url_port,
        certificates,
        ticket_key,
        expiry,
        local,
        acme,
        fronts,
        data,
        space,
        engine,
        fence,
        name_servers,
        git,
        editor,
    ]
    .into_iter()
    .filter_map(|look| look(config))
    .collect();
    problems.sort_by_key(|problem| problem.severity);
    problems
}

fn problem(severity: Severity, key: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Option<Problem> {
    let (text, fix) = (text.into(), fix.into());
    Some(Problem { severity, key, text, fix })
}

fn same_site(config: &Config) -> Option<Problem> {
    if !site::is_same_site(config) {
        return None;
    }
    let severity = if config.allow_same_site {
        Severity::Warning
    } else {
        Severity::Error
    };
    let text = format!(
        "{} and {} are of the same site: a page of any codespace can set and evict the gateway's cookies.",
        config.url.host, config.domain
    );
    problem(severity, "allow_same_site", text, "Use another registrable domain for codespaces.")
}

fn listen(config: &Config) -> Option<Problem> {
    if UnixStream::connect(config.data.join("portico.sock")).is_ok() {
        let text = format!("A gateway is running on {} already.", config.data.display());
        return problem(
            Severity::Note,
            "data",
            text,
            "Stop it before you start another on the same directory.",
        );
    }
    let error = TcpListener::bind(config.listen).err()?;
    let (text, fix) = match error.kind() {
        ErrorKind::AddrInUse => (
            "is in use by another program.".into(),
            "Stop that program, or choose another port with --listen.",
        ),
        ErrorKind::PermissionDenied => (
            "may not be used by this user.".into(),
            "Choose a port from 1024 on, or grant cap_net_bind_service.",
        ),
        ErrorKind::AddrNotAvailable => ("is no address of this machine.".into(), "Choose one that is, or 127.0.0.1."),
        _ => (format!("cannot be used: {error}."), "Choose another with --listen."),
    };
    problem(Severity::Error, "listen", format!("{} {text}", config.listen), fix)
}

fn url(config: &Config) -> Option<Problem> {
    if config.url.scheme == Scheme::Https {
        return None;
    }
    if !is_local(&config.url.host) || !is_local(&config.domain) {
        let text = "Browsers keep our cookies only over https, or on localhost, so nobody could sign in.";
        return problem(
            Severity::Error,
            "url",
            text,
            "Use an https url, with certificates in [tls] or a proxy in front that speaks TLS.",
        );
    }
    if !config.listen.ip().is_loopback() {
        let text = format!("{} can be reached from other machines, without TLS.", config.listen);
        return problem(Severity::Warning, "listen", text, "Listen on 127.0.0.1, or use an https url.");
    }
    None
}

fn url_port(config: &Config) -> Option<Problem> {
    if config.url.port == config.listen.port() {
        return None;
    }
    let text = format!(
        "Browsers are sent to port {}, and the gateway listens on port {}.",
        config.url.port,
        config.listen.port()
    );
    problem(
        Severity::Note,
        "url",
        text,
        "Right if a proxy or a port mapping stands between them.",
    )
}

fn certificates(config: &Config) -> Option<Problem> {
    if !config.speaks_tls() {
        let exposed = config.url.scheme == Scheme::Https && !config.listen.ip().is_loopback();
        let text = format!("{} can be reached from other machines and speaks plain HTTP.", config.listen);
        let fix = "Right if the proxy that speaks TLS is the only one who can reach it; else set tls.certificate and tls.key.";
        return exposed.then(|| problem(Severity::Note, "tls.certificate", text, fix)).flatten();
    }
    match Certificates::check(&config.pairs(), &config.sites()).map(|certificates| certificates.uncovered()) {
        Ok(hosts) if hosts.is_empty() => None,
        Ok(hosts) => {
            let text = format!("No certificate covers {}: browsers will refuse to go there.", hosts.join(" and "));
            let can_get = |host: &str| config.acme.hook.is_some() || config.acme.accept_terms && !host.starts_with("*.");
            if config.tls.local || hosts.iter().all(|host| can_get(host)) {
                return problem(
                    Severity::Note,
                    "tls.certificate",
                    text,
                    "The gateway gets what is missing when it runs.",
                );
            }
            let fix = "Name a certificate for each, in the order of their keys.";
            problem(Severity::Warning, "tls.certificate", text, fix)
        }
        Err(error) => problem(
            Severity::Error,
            "tls.certificate",
            format!("{error}."),
            "Correct the paths of tls.certificate and tls.key; each certificate needs its own key, in the same order.",
        ),
    }
}

fn ticket_key(config: &Config) -> Option<Problem> {
    let error = shared_ticket_secret(config.tls.ticket_key_file.as_ref()?).err()?;
    let fix = "Correct tls.ticket_key_file, or leave it empty: the gateway then keeps a key of its own.";
    problem(Severity::Error, "tls.ticket_key_file", format!("{error}."), fix)
}

fn expiry(config: &Config) -> Option<Problem> {
    let certificates = Certificates::check(&config.pairs(), &config.sites()).ok()?;
    let now = SystemClock.now();
    let worst = certificates
        .validities()
        .filter_map(|(hosts, validity)| Some((hosts, validity, validity.urgency(now)?)))
        .min_by_key(|(_, validity, _)| validity.until)?;
    let (severity, text) = match worst {
        (hosts, validity, Urgency::Expired) => (
            Severity::Error,
            format!(
                "The certificate of the {hosts} expired on {}: browsers refuse it.",
                validity.until.date()
            ),
        ),
        (hosts, validity, Urgency::NotYet) => (
            Severity::Error,
            format!(
                "The certificate of the {hosts} is good from {} only, or this machine's clock is wrong.",
                validity.from.date()
            ),
        ),
        (hosts, validity, Urgency::Soon) => (
            Severity::Warning,
            format!("The certificate of the {hosts} expires on {}.", validity.until.date()),
        ),
    };
    problem(
        severity,
        "tls.certificate",
        text,
        "Renew it; a running gateway reads the new file by itself.",
    )
}

fn local(config: &Config) -> Option<Problem> {
    if !config.tls.local {
        return None;
    }
    let text = "Browsers trust the gateway's own authority only where somebody told them to.";
    problem(Severity::Note, "tls.local", text, Files::of(&config.data).advice())
}

fn acme(config: &Config) -> Option<Problem> {
    if !config.acme.accept_terms {
        return None;
    }
    if let Some(hook) = &config.acme.hook
        && access(hook, Access::EXEC_OK).is_err()
    {
        let text = format!("The hook {} cannot be run.", hook.display());
        return problem(Severity::Error, "acme.hook", text, "Correct the path, or make it executable.");
    }
    if let Err(error) = config.acme.check_binding() {
        let fix = "Write the key there as the authority shows it, readable by this user alone.";
        return problem(Severity::Error, "acme.eab_key_file", format!("{error}."), fix);
    }
    let troubles = Troubles::of(&config.data);
    if troubles.is_empty() {
        return at_443(config);
    }
    let text: Vec<_> = troubles
        .iter()
        .map(|(name, what)| format!("No certificate for {name}: {what}."))
        .collect();
    problem(
        Severity::Warning,
        "acme.accept_terms",
        text.join(" "),
        "The gateway tries again by itself, after 5 minutes at first and 12 hours at most; SIGHUP, or the button on the page of certificates, tries at once.",
    )
}

/// The authority comes to port 443 and nowhere else, if it is to see a proof in a handshake (RFC 8737 §3).
fn at_443(config: &Config) -> Option<Problem> {
    if config.acme.hook.is_some() || config.redirect_http.is_some() || config.listen.port() == 443 {
        return None;
    }
    let text = format!(
        "The authority looks for a proof at port 443 of {}, and the gateway listens on port {}.",
        config.url.host,
        config.listen.port()
    );
    let fix = "Right if a port mapping stands between them; else listen on port 443, or set redirect_http to be asked over plain HTTP.";
    problem(Severity::Note, "acme.accept_terms", text, fix)
}

fn fronts(config: &Config) -> Option<Problem> {
    if config.fronts.proxies.is_everybody() || config.fronts.balancers.is_everybody() {
        let text = "Everybody is trusted as a proxy: anyone can sign in attempts and log lines under another's address.";
        return problem(
            Severity::Warning,
            "trusted_proxies",
            text,
            "Name the addresses of your proxies alone, in trusted_proxies and proxy_protocol.",
        );
    }
    let behind = config.url.scheme == Scheme::Https && !config.speaks_tls();
    if behind && config.fronts.proxies.is_empty() && config.fronts.balancers.is_empty() {
        let text = "Everybody comes from the proxy's address: in the log, and where sign-in attempts are counted.";
        let fix = "Name the proxy's address in trusted_proxies, if it writes X-Forwarded-For as nginx, Caddy and Traefik can.";
        return problem(Severity::Note, "trusted_proxies", text, fix);
    }
    None
}

fn data(config: &Config) -> Option<Problem> {
    let shown = config.data.display();
    if config.data.as_os_str().len() > MAX_DATA_BYTES {
        let text = format!("The path {shown} is long: editors may not be able to make their sockets below it.");
        return problem(
            Severity::Warning,
            "data",
            text,
            format!("Choose a path of at most {MAX_DATA_BYTES} bytes."),
        );
    }
    let (place, metadata) = existing(&config.data)?;
    if !metadata.is_dir() {
        return problem(
            Severity::Error,
            "data",
            format!("{} is a file.", place.display()),
            "Choose another path with --data.",
        );
    }
    if access(&place, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let text = format!("{} cannot be written by this user.", place.display());
        return problem(
            Severity::Error,
            "data",
            text,
            "Give it to this user, or choose another path with --data.",
        );
    }
    let mode = metadata.permissions().mode();
    if place == config.data && mode & 0o077 != 0 {
        let text = format!("Other users of this machine can look into {shown}.");
        return problem(Severity::Warning, "data", text, format!("chmod 700 {shown}"));
    }
    None
}

fn space(config: &Config) -> Option<Problem> {
    let (place, _) = existing(&config.data)?;
    let disk = statvfs(&place).ok()?;
    let left = disk.f_bavail.saturating_mul(disk.f_frsize);
    let severity = match left {
        0..NO_SPACE => Severity::Error,
        NO_SPACE..LITTLE_SPACE => Severity::Warning,
        _ => return None,
    };
    let text = format!("Only {} MiB are left on the disk of {}.", left / 1024 / 1024, config.data.display());
    problem(severity, "data", text, "Free some space, or choose another disk with --data.")
}

/// The container engine, where codespaces are its containers.
fn engine(config: &Config) -> Option<Problem> {
    let socket = &config.docker.socket;
    let error = match config.runtime {
        RuntimeKind::Docker => UnixStream::connect(socket).err()?,
        RuntimeKind::Process => return None,
    };
    let (why, fix) = match error.kind() {
        ErrorKind::PermissionDenied => ("may not be used by this user", "Add the gateway's user to the group of the socket."),
        ErrorKind::NotFound => ("is not there", "Start the engine, or correct the path."),
        _ => ("does not answer", "Start the engine."),
    };
    problem(
        Severity::Error,
        "docker.socket",
        format!("The container engine's socket {} {why}: {error}.", socket.display()),
        fix,
    )
}

fn fence(config: &Config) -> Option<Problem> {
    if config.runtime != RuntimeKind::Docker || !config.docker.fence_without_filter {
        return None;
    }
    problem(
        Severity::Warning,
        "docker.fence_without_filter",
        "On a kernel without nftables, programs in codespaces can get past their fence, to cloud metadata and to this machine.",
        "Leave it false, and load nf_tables where codespaces do not start then.",
    )
}

/// Name servers that containers are told of, and that their fence keeps them from.
fn name_servers(config: &Config) -> Option<Problem> {
    if config.runtime != RuntimeKind::Docker {
        return None;
    }
    let found = match config.docker.name_servers.as_slice() {
        [] => of_this_machine(),
        named => named.to_vec(),
    };
    let fenced = found.iter().find(|address| config.docker.is_fenced(**address))?;
    problem(
        Severity::Warning,
        "docker.name_servers",
        format!("Codespaces cannot ask the name server {fenced}: clouds tell credentials there, or docker.unreachable names it."),
        "Name one that they reach, unless the engine has one of its own.",
    )
}

/// The name servers that an engine hands on when nobody says otherwise.
fn of_this_machine() -> Vec<IpAddr> {
    let read = |path| named(&fs::read_to_string(path).unwrap_or_default());
    let found = read("/etc/resolv.conf");
    // systemd-resolved stands there for those that it has itself.
    let is_stub = found.iter().all(|address| *address == IpAddr::from([127, 0, 0, 53]));
    if is_stub { read("/run/systemd/resolve/resolv.conf") } else { found }
}

/// The addresses of `resolv.conf(5)`.
pub(super) fn named(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok()).flatten()
    };
    text.lines().filter_map(address).collect()
}

fn git(config: &Config) -> Option<Problem> {
    if config.runtime == RuntimeKind::Docker || on_path("git").is_some() {
        return None;
    }
    problem(
        Severity::Error,
        "",
        "git is not installed, so no repository can be opened.",
        "Install it, on Debian with: apt install git",
    )
}

fn editor(config: &Config) -> Option<Problem> {
    let installed = config.data.join("editors/code-server.json").is_file();
    if config.runtime == RuntimeKind::Docker {
        let text = "No editor is installed that could be mounted into containers; codespaces have terminals and ports alone.";
        return if installed {
            None
        } else {
            problem(Severity::Warning, "editor", text, "Run: portico editor install")
        };
    }
    if let Some(program) = &config.editor {
        let text = format!("The editor {} cannot be run.", program.display());
        let runs = access(program, Access::EXEC_OK).is_ok();
        return if runs {
            None
        } else {
            problem(Severity::Error, "editor", text, "Correct the path, or leave it empty.")
        };
    }
    if installed || EDITORS.iter().any(|name| on_path(name).is_some()) {
        return None;
    }
    let text = "No editor is installed; codespaces have terminals and ports alone.";
    problem(Severity::Warning, "editor", text, "Run: portico editor install")
}

/// Whether a name leads to the same machine for every browser.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost") || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The path itself, or the nearest part of it that is there.
fn existing(path: &Path) -> Option<(PathBuf, Metadata)> {
    path.ancestors().find_map(|part| Some((part.to_owned(), part.metadata().ok()?)))
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok())
}
