//! What the operator changed since the gateway ran last, for the audit log.
//!
//! The settings as `Debug` shows them, without any secret, are kept in the data directory from one start to the next.

use std::{collections::BTreeMap, fs, io, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use crate::{audit::Actor, audit::Audit, config::Config};

const FILE: &str = "settings.json";
/// Longest value that is told, and most of them.
const MAX_VALUE: usize = 100;
const MAX_TOLD: usize = 20;

type Settings = BTreeMap<String, String>;

/// Tells the audit log what is set otherwise than at the last start.
pub(super) fn tell_changes(config: &Config, audit: &Audit) {
    let path = config.data.join(FILE);
    let now = flattened(&format!("{config:#?}"));
    let before: Option<Settings> = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if before.as_ref() == Some(&now) {
        return;
    }
    if let Some(changes) = before.map(|before| changes(&before, &now)) {
        audit.record("config.changed", &Actor::gateway(), "", changes);
    }
    if let Err(error) = keep(&path, &now) {
        tracing::warn!(%error, "the settings of this start were not kept: the audit log will not say what changes at the next");
    }
}

/// Each setting by its path, `limits.idle_minutes`; what lists hold is numbered.
fn flattened(shown: &str) -> Settings {
    let (mut settings, mut path): (Settings, Vec<(String, usize)>) = Default::default();
    for line in shown.lines().skip(1) {
        let line = line.trim().trim_end_matches(',');
        if matches!(line, "}" | ")" | "]" | "},") {
            path.pop();
            continue;
        }
        let (name, value) = match line.split_once(": ") {
            Some((name, value))
                if name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit()) =>
            {
                (name.to_owned(), value)
            }
            _ => {
                let number = path.last_mut().map_or(0, |(_, count)| {
                    *count += 1;
                    *count - 1
                });
                (number.to_string(), line)
            }
        };
        if value.ends_with(['{', '(', '[']) {
            path.push((name, 0));
            continue;
        }
        let whole: Vec<&str> = path.iter().map(|(part, _)| part.as_str()).chain([name.as_str()]).collect();
        settings.insert(whole.join("."), value.to_owned());
    }
    settings
}

fn changes(before: &Settings, now: &Settings) -> String {
    let names: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let changed = names.into_iter().filter(|name| before.get(*name) != now.get(*name));
    let value = |settings: &Settings, name: &str| {
        let value = settings.get(name).map_or("nothing", String::as_str);
        value[..value.floor_char_boundary(MAX_VALUE)].to_owned()
    };
    let told: Vec<_> = changed
        .map(|name| format!("{name}: {} → {}", value(before, name), value(now, name)))
        .collect();
    let more = told.len().saturating_sub(MAX_TOLD);
    let mut text = told[..told.len().min(MAX_TOLD)].join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

fn keep(path: &Path, settings: &Settings) -> io::Result<()> {
    let early = path.with_extension("new");
    let _ = fs::remove_file(&early);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&early)?;
    file.write_all(&serde_json::to_vec_pretty(settings)?)?;
    fs::rename(&early, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    fn config(settings: &[(&str, &str)]) -> Config {
        let overrides = Overrides {
            data: Some("/data".into()),
            others: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Overrides::default()
        };
        Config::gather(overrides, std::iter::empty()).expect("settings")
    }

    fn flat(config: &Config) -> Settings {
        flattened(&format!("{config:#?}"))
    }

    #[test]
    fn audit_1_what_changed_is_told_by_name_and_value() {
        #[track_caller]
        fn check(before: &[(&str, &str)], now: &[(&str, &str)], expected: &str) {
            assert_eq!(changes(&flat(&config(before)), &flat(&config(now))), expected);
        }
        check(&[], &[], "");
        check(&[], &[("limits.idle_minutes", "60")], "limits.idle_minutes: 30 → 60");
        check(
            &[("trusted_proxies", "10.0.0.1")],
            &[("trusted_proxies", "10.0.0.1,10.0.0.2")],
            "fronts.proxies.0.1.first: nothing → 10.0.0.2; fronts.proxies.0.1.prefix: nothing → 32",
        );
    }

    #[test]
    fn log_3_no_secret_is_told_or_kept() {
        let mut with = config(&[("proxy", "http://ada:canary@proxy:1")]);
        let mut provider = crate::auth::ProviderOptions::named("id");
        provider.client_secret = Some(crate::auth::Secret::new("canary"));
        with.sign_in.providers.push(provider);
        let told = changes(&flat(&config(&[])), &flat(&with));
        assert!(
            told.contains("sign_in.providers.0.id: nothing → \"id\"") && !told.contains("canary"),
            "{told}"
        );
        assert!(!format!("{:?}", flat(&with)).contains("canary"));
    }

    #[test]
    fn many_and_long_values_are_cut() {
        let of = |value: &str| {
            (0..100)
                .map(|number| (format!("key.{number}"), value.repeat(500)))
                .collect::<Settings>()
        };
        let told = changes(&of("é"), &of("x"));
        assert!(
            told.len() < MAX_TOLD * (2 * MAX_VALUE + 40) && told.ends_with("and 80 more"),
            "{told}"
        );
    }
}
