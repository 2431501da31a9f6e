//! Reading the layers: file, variables, flags; each names its place in what it says about a mistake.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use thiserror::Error;
use toml::de::{DeTable, DeValue};

use super::{
    Config,
    keys::{self, LISTS, defaults, nearest},
    sign_in::{self, PROVIDER_KEYS, Written},
    site,
};
use crate::{
    auth::ProviderOptions,
    outbound::{Direct, Proxy},
    route::Scheme,
};

/// What the command line said; absent where it said nothing.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The file to read.
    pub config: Option<PathBuf>,
    pub listen: Option<String>,
    pub url: Option<String>,
    pub domain: Option<String>,
    pub data: Option<String>,
    pub allow_same_site: Option<String>,
    pub runtime: Option<String>,
    pub editor: Option<String>,
    pub log_format: Option<String>,
    pub log_level: Option<String>,
    /// Any other key by its name, for instance `limits.idle_minutes`, with its value.
    pub others: Vec<(String, String)>,
}

/// Why there is no configuration; `Display` names the place and says what to do.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// Variables of ours that are no keys: where the file is, and what the client commands and codespaces use.
const OTHER_VARIABLES: &[&str] = &["PORTICO_CONFIG", "PORTICO_TOKEN", "PORTICO_MARK", "PORTICO_AGENT_SOCKET"];
const MAX_FILE_BYTES: u64 = 1024 * 1024;

pub(super) fn gather(overrides: Overrides, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let variables: HashMap<String, String> = environment.collect();
    let mut config = defaults();
    let own = config.url.port;
    // No URL that is given has this port.
    config.url.port = 0;
    let named = variables.get("PORTICO_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = overrides.config.clone().or(named) {
        read_file(&mut config, &path)?;
    }
    read_variables(&mut config, &variables)?;
    read_flags(&mut config, overrides)?;
    settle_paths(&mut config, &variables)?;
    if config.url.port == 0 {
        // Nobody named a URL: it is where the gateway listens.
        config.url.port = Some(config.listen.port()).filter(|port| *port > 0).unwrap_or(own);
        if config.tls.local {
            config.url.scheme = Scheme::Https;
        }
    }
    config.sign_in.settle();
    settle_outbound(&mut config, &variables)?;
    check_together(&config)?;
    Ok(config)
}

fn read_file(config: &mut Config, path: &Path) -> Result<(), ConfigError> {
    let shown = path.display();
    let cannot = |why: String| ConfigError(format!("cannot read the configuration {shown}: {why}"));
    let size = std::fs::metadata(path).map_err(|error| cannot(error.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(cannot("it is larger than 1 MiB".into()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
    read_text(config, &text, &shown.to_string())
}

/// Reads the text of a file; `shown` names it in messages.
pub(super) fn read_text(config: &mut Config, text: &str, shown: &str) -> Result<(), ConfigError> {
    let place = |offset: usize| {
        format!(
            "{shown}, line {}",
            1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
        )
    };
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        ConfigError(format!(
            "{}: that is no TOML: {}. A text stands in quotes, as in listen = \"127.0.0.1:8080\"",
            place(offset),
            error.message()
        ))
    })?;
    for (key, value) in table.get_ref() {
        let name = key.get_ref().as_ref();
        let DeValue::Table(inner) = value.get_ref() else {
            if name == "provider" {
                let at = place(key.span().start);
                return Err(ConfigError(format!("{at}: providers have names: write [provider.NAME]")));
            }
            set(config, name, list_text(name, value.get_ref()), || place(key.span().start))?;
            continue;
        };
        if name == "provider" {
            read_providers(config, inner, place)?;
            continue;
        }
        known_table(name).map_err(|hint| ConfigError(format!("{}: there is no table [{name}].{hint}", place(key.span().start))))?;
        for (key, value) in inner {
            let name = format!("{name}.{}", key.get_ref());
            set(config, &name, list_text(&name, value.get_ref()), || place(key.span().start))?;
        }
    }
    Ok(())
}

/// Reads the tables `[provider.NAME]`.
fn read_providers(config: &mut Config, tables: &DeTable<'_>, place: impl Fn(usize) -> String) -> Result<(), ConfigError> {
    for (id, table) in tables {
        let at = place(id.span().start);
        let name = id.get_ref();
        let DeValue::Table(keys) = table.get_ref() else {
            return Err(ConfigError(format!("{at}: providers have names: write [provider.NAME]")));
        };
        let provider = config.sign_in.provider(name).ok_or_else(|| {
            ConfigError(format!(
                "{at}: [provider.{name}] cannot be the name of a provider: 1 to 30 of a-z, 0-9 and dashes, at most 30 of them"
            ))
        })?;
        for (key, value) in keys {
            let at = place(key.span().start);
            set_of_provider(provider, key.get_ref(), written(value.get_ref()), || at.clone())?;
        }
    }
    Ok(())
}

/// Sets one key of a provider; none is a value of a kind that no key has.
fn set_of_provider(
    provider: &mut ProviderOptions,
    name: &str,
    value: Option<Written>,
    place: impl Fn() -> String,
) -> Result<(), ConfigError> {
    let full = format!("provider.{}.{name}", provider.id);
    let Some(key) = PROVIDER_KEYS.iter().find(|key| key.name == name) else {
        let near = PROVIDER_KEYS.iter().find(|key| strsim::damerau_levenshtein(key.name, name) <= 3);
        let hint = near.map(|key| format!(" Did you mean {}?", key.name)).unwrap_or_default();
        return Err(ConfigError(format!("{}: there is no key {full:?}.{hint}", place())));
    };
    let done = value.and_then(|value| (key.set)(provider, &value));
    // The value may be a secret: it is not said again.
    done.ok_or_else(|| ConfigError(format!("{}: this is no value for {full}, which is {}", place(), key.allowed)))
}

fn written(value: &DeValue<'_>) -> Option<Written> {
    match value {
        DeValue::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(|item| value_text(item.get_ref())).collect();
            items.map(Written::List)
        }
        value => value_text(value).map(Written::Text),
    }
}

/// Checks the name of a table; otherwise hints at the nearest.
fn known_table(name: &str) -> Result<(), String> {
    let mut tables = keys::all().filter_map(|key| key.name.split_once('.')).map(|(table, _)| table);
    if tables.clone().any(|table| table == name) {
        return Ok(());
    }
    let near = tables.find(|table| strsim::damerau_levenshtein(table, name) <= 2);
    Err(near.map(|near| format!(" Did you mean [{near}]?")).unwrap_or_default())
}

fn read_variables(config: &mut Config, variables: &HashMap<String, String>) -> Result<(), ConfigError> {
    let mut ours: Vec<_> = variables.iter().filter(|(name, _)| name.starts_with("PORTICO_")).collect();
    ours.sort();
    for (name, value) in ours {
        if let Some(key) = keys::all().find(|key| variable(key.name) == *name) {
            set(config, key.name, Some(value.clone()), || format!("the variable {name}"))?;
        } else if let Some((id, key)) = sign_in::variable(name, &config.sign_in.providers) {
            let place = || format!("the variable {name}");
            let nobody = || ConfigError(format!("{}: {id:?} cannot be the name of a provider", place()));
            let provider = config.sign_in.provider(&id).ok_or_else(nobody)?;
            set_of_provider(provider, key.name, Some(Written::Text(value.clone())), place)?;
        } else if name.starts_with(sign_in::VARIABLE_PREFIX) {
            return Err(ConfigError(format!(
                "there is no variable {name}: after the provider's name comes one of its keys"
            )));
        } else if !OTHER_VARIABLES.contains(&name.as_str()) {
            refuse_near_miss(name)?;
        }
    }
    Ok(())
}

/// Others may use our prefix, so only a variable that looks like a misspelt key is refused.
fn refuse_near_miss(name: &str) -> Result<(), ConfigError> {
    let meant = keys::all()
        .map(|key| variable(key.name))
        .find(|known| strsim::damerau_levenshtein(name, known) <= 2);
    match meant {
        Some(meant) => Err(ConfigError(format!("there is no variable {name}. Did you mean {meant}?"))),
        None => Ok(()),
    }
}

fn read_flags(config: &mut Config, overrides: Overrides) -> Result<(), ConfigError> {
    let flags = [
        ("listen", overrides.listen),
        ("url", overrides.url),
        ("domain", overrides.domain),
        ("data", overrides.data),
        ("allow_same_site", overrides.allow_same_site),
        ("runtime", overrides.runtime),
        ("editor", overrides.editor),
        ("log.format", overrides.log_format),
        ("log.level", overrides.log_level),
    ];
    for (name, value) in flags {
        if let Some(value) = value {
            set(config, name, Some(value), || format!("--{}", name.replace(['_', '.'], "-")))?;
        }
    }
    for (name, value) in overrides.others {
        set(config, &name, Some(value), || "the command line".to_owned())?;
    }
    Ok(())
}

/// Sets one key from its text; none is a value of a kind that no key has.
fn set(config: &mut Config, name: &str, text: Option<String>, place: impl Fn() -> String) -> Result<(), ConfigError> {
    let Some(key) = keys::all().find(|key| key.name == name) else {
        let hint = nearest(name).map(|known| format!(" Did you mean {known}?")).unwrap_or_default();
        return Err(ConfigError(format!("{}: there is no key {name:?}.{hint}", place())));
    };
    let done = text.as_deref().and_then(|text| (key.set)(config, text.trim()));
    done.ok_or_else(|| {
        // The address of a proxy may hold a password: it is not said again.
        let is = text
            .filter(|_| name != "proxy")
            .map(|text| format!("{text:?} is not allowed for"))
            .unwrap_or_else(|| "this is no value for".into());
        ConfigError(format!("{}: {is} {name}, which is {}", place(), key.allowed))
    })
}

fn value_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().replace('_', "")),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// The same, and the items of an array where the key takes several.
fn list_text(name: &str, value: &DeValue<'_>) -> Option<String> {
    let DeValue::Array(items) = value else { return value_text(value) };
    let items: Option<Vec<String>> = items.iter().map(|item| value_text(item.get_ref())).collect();
    items.filter(|_| LISTS.contains(&name)).map(|items| items.join(","))
}

/// The variable of a key: `limits.idle_minutes` is `PORTICO_LIMITS_IDLE_MINUTES`.
fn variable(key: &str) -> String {
    format!("PORTICO_{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Takes the ways out from the variables that other programs know, where no key says anything. Whatever is reached through
/// a proxy is https; http is for this machine alone.
fn settle_outbound(config: &mut Config, variables: &HashMap<String, String>) -> Result<(), ConfigError> {
    let first = |names: &[&'static str]| {
        let found = names.iter().find_map(|name| Some((*name, variables.get(*name)?.trim())));
        found.filter(|(_, value)| !value.is_empty())
    };
    if config.outbound.proxy.is_none()
        && let Some((name, value)) = first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
    {
        let whole = if value.contains("://") {
            value.to_owned()
        } else {
            format!("http://{value}")
        };
        // The value may hold a password: it is not said again.
        let proxy = Proxy::parse(&whole);
        let proxy = proxy.ok_or_else(|| {
            ConfigError(format!(
                "the variable {name} names no proxy of the form http://HOST:PORT; set proxy"
            ))
        })?;
        config.outbound.proxy = Some(proxy);
    }
    if config.outbound.direct.is_empty()
        && let Some((_, value)) = first(&["no_proxy", "NO_PROXY"])
    {
        config.outbound.direct = value.split(',').filter_map(|item| Direct::parse(item.trim())).collect();
    }
    config.acme.outbound = config.outbound.clone();
    Ok(())
}

/// Finds the data directory's default, follows `~/`, and makes paths absolute.
fn settle_paths(config: &mut Config, variables: &HashMap<String, String>) -> Result<(), ConfigError> {
    let absolute = |name: &str| variables.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("HOME");
    if config.data.as_os_str().is_empty() {
        let share = absolute("XDG_DATA_HOME").or_else(|| home.as_ref().map(|home| home.join(".local/share")));
        let share = share.ok_or_else(|| ConfigError("there is no home directory, so say where the data goes: --data DIR".into()))?;
        config.data = share.join("portico");
    }
    let own = config
        .acme
        .hook
        .iter_mut()
        .chain(&mut config.acme.root)
        .chain(&mut config.acme.eab_key_file);
    let own = own.chain(&mut config.tls.ticket_key_file).chain(&mut config.belongings_key_file);
    let files = config.tls.certificates.iter_mut().chain(&mut config.tls.keys).chain(own);
    let docker = std::iter::once(&mut config.docker.socket).chain(config.docker.agent.as_mut());
    let files = files.chain(docker);
    for path in std::iter::once(&mut config.data).chain(config.editor.as_mut()).chain(files) {
        if let (Ok(rest), Some(home)) = (path.strip_prefix("~"), &home) {
            *path = home.join(rest);
        }
        *path = std::path::absolute(&*path).map_err(|error| ConfigError(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

fn files(count: usize) -> String {
    match count {
        0 => "no file".into(),
        1 => "one file".into(),
        _ => format!("{count} files"),
    }
}

/// Checks that TLS can be spoken, and how its certificates are got.
fn check_tls(config: &Config) -> Result<(), ConfigError> {
    if config.speaks_tls() && config.url.scheme == Scheme::Http {
        return Err(ConfigError(
            "with tls.certificate, tls.local or acme.accept_terms the gateway speaks TLS, so url must begin with https://".into(),
        ));
    }
    if config.acme.accept_terms && config.acme.hook.is_none() && config.tls.certificates.is_empty() && !config.tls.local {
        return Err(ConfigError(format!(
            "a wildcard certificate for *.{} takes acme.hook (DNS-01), or name one in tls.certificate",
            config.domain
        )));
    }
    if config.acme.eab_key_id.is_some() != config.acme.eab_key_file.is_some() {
        return Err(ConfigError(
            "acme.eab_key_id and acme.eab_key_file belong together: the authority gives both when an account there must be named".into(),
        ));
    }
    Ok(())
}

/// Checks what no key shows alone.
fn check_together(config: &Config) -> Result<(), ConfigError> {
    if site::is_same_site(config) && !config.allow_same_site {
        return Err(ConfigError(format!(
            "the url's host {} and the domain {} are of the same site, so a page of any codespace could meddle with the gateway's cookies. \
             Use another registrable domain for codespaces, or set allow_same_site = true to accept that",
            config.url.host, config.domain
        )));
    }
    if config.tls.certificates.len() != config.tls.keys.len() {
        return Err(ConfigError(format!(
            "tls.certificate names {} and tls.key {}: each certificate needs its key, in the same order",
            files(config.tls.certificates.len()),
            files(config.tls.keys.len())
        )));
    }
    check_tls(config)?;
    if config.metrics_listen.is_some_and(|address| address == config.listen) {
        return Err(ConfigError(
            "metrics_listen is the same as listen. Metrics are not for everyone: give them an address of their own, or none".into(),
        ));
    }
    if config.redirect_http.is_some() && config.url.scheme == Scheme::Http {
        return Err(ConfigError(
            "redirect_http sends to https, so url must begin with https://; else leave it empty".into(),
        ));
    }
    if config
        .redirect_http
        .is_some_and(|address| address == config.listen || Some(address) == config.metrics_listen)
    {
        return Err(ConfigError(
            "redirect_http is the same as listen or metrics_listen. Give it an address of its own, or none".into(),
        ));
    }
    if let Some(mistake) = config.sign_in.mistake() {
        return Err(ConfigError(mistake));
    }
    if config.sessions.idle > config.sessions.absolute {
        return Err(ConfigError(
            "sessions.idle is longer than sessions.absolute, which ends a session in any case".into(),
        ));
    }
    Ok(())
}
