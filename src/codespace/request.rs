//! What may be asked of codespaces and ports: shapes and limits, decided without looking at anything.

use std::path::Path;

use time::OffsetDateTime;

use super::{BadChange, CodespaceChange, CodespaceError, NewCodespace, PortChange, Snapshot};
use crate::{
    domain::{CodespaceName, Port, PortLimits, Protocol, Reference, RepositorySource, Visibility},
    inspect,
    store::{CodespaceRecord, PortRecord},
};

const MAX_TEXT: usize = 80;
const MAX_PEOPLE: usize = 100;
const MAX_PORTS: usize = 512;
const IDLE_MINUTES: std::ops::RangeInclusive<u16> = 5..=240;

/// A request for a codespace whose every part is in shape.
pub struct Wanted {
    pub source: RepositorySource,
    pub reference: Option<String>,
    pub idle_timeout_minutes: u16,
    pub display_name: String,
}

/// Checks a request for a codespace.
pub fn wanted(new: &NewCodespace, default_idle_minutes: u16) -> Result<Wanted, CodespaceError> {
    let source = new.repository.parse::<RepositorySource>()?.without_user()?;
    if source.is_local() && !new.allow_local {
        return Err(CodespaceError::LocalNotAllowed);
    }
    let reference = new.reference.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let reference = reference.map(str::parse::<Reference>).transpose()?;
    if new.pull_request == Some(0) {
        return Err(BadChange::PullRequest.into());
    }
    if new.devcontainer_path.as_deref().is_some_and(|path| !is_inside(path)) {
        return Err(BadChange::DevcontainerPath.into());
    }
    let display_name = new.display_name.as_deref().unwrap_or(source.short_name());
    let shown = match display_name.floor_char_boundary(MAX_TEXT) {
        end if new.display_name.is_none() => &display_name[..end],
        _ => display_name,
    };
    Ok(Wanted {
        display_name: text(shown, BadChange::DisplayName)?,
        reference: reference.map(|reference| reference.to_string()),
        idle_timeout_minutes: idle_minutes(new.idle_timeout_minutes.unwrap_or(default_idle_minutes))?,
        source,
    })
}

/// Whether a record is what a request asks for.
pub fn is_same(record: &CodespaceRecord, new: &NewCodespace, wanted: &Wanted) -> bool {
    record.owner == new.owner
        && canon(&record.repository) == wanted.source.canon()
        && is_same_reference(record, wanted.reference.as_deref())
        && record.pull_request == new.pull_request
        && record.devcontainer_path == new.devcontainer_path
        && new.personal.is_none_or(|personal| personal == record.personal)
}

/// Whether a reference leads where a record's does: no reference is the default branch, once an agent has told which that is.
fn is_same_reference(record: &CodespaceRecord, wanted: Option<&str>) -> bool {
    let wanted = wanted.map(branch);
    let named = record.reference.as_deref().map(branch);
    let default = record.default_branch.as_deref();
    named == wanted || (default.is_some() && named.or(default) == wanted.or(default))
}

/// One spelling of a branch.
fn branch(reference: &str) -> &str {
    reference.strip_prefix("refs/heads/").unwrap_or(reference)
}

/// One spelling of a repository: hosts in any case, with and without `.git`.
fn canon(repository: &str) -> String {
    let source = repository.parse::<RepositorySource>();
    source.map_or_else(|_| repository.to_owned(), |source| source.canon())
}

/// Applies a change of settings to a record.
pub fn change_record(record: &mut CodespaceRecord, change: &CodespaceChange) -> Result<(), BadChange> {
    let name = change.display_name.as_deref().map(|name| text(name, BadChange::DisplayName));
    let idle = change.idle_timeout_minutes.map(idle_minutes).transpose()?;
    if let Some(name) = name.transpose()? {
        record.display_name = name;
    }
    if let Some(minutes) = idle {
        record.idle_timeout_minutes = minutes;
    }
    if let Some(wakers) = change.woken_by {
        record.woken_by = wakers;
    }
    if let Some(counts) = change.traffic_counts {
        record.traffic_counts = counts;
    }
    if let Some(personal) = change.personal {
        record.personal = personal;
    }
    Ok(())
}

/// What is set on a port of which nothing is set.
pub fn default_port(codespace: &CodespaceName, port: Port) -> PortRecord {
    PortRecord {
        codespace: codespace.clone(),
        port,
        label: None,
        visibility: Visibility::Private,
        expires_at: None,
        protocol: None,
        host_header: "localhost".into(),
        users: Vec::new(),
        limits: PortLimits::default(),
        log_entries: None,
        woken_by: None,
        beside: None,
    }
}

/// Applies a change to what is set on a port. A change of visibility without a deadline ends the deadline before it.
pub fn change_port(snapshot: &Snapshot, port: Port, change: PortChange, now: OffsetDateTime) -> Result<PortRecord, BadChange> {
    let known = snapshot.ports.get(&port);
    if known.is_none() && snapshot.ports.len() >= MAX_PORTS {
        return Err(BadChange::TooManyPorts);
    }
    let mut record = known.map_or_else(|| default_port(&snapshot.record.name, port), |view| view.settings.clone());
    if record.expires_at.is_some_and(|deadline| deadline <= now) {
        (record.visibility, record.expires_at) = (Visibility::Private, None);
    }
    if change.visibility.is_some() || change.users.is_some() {
        share_what_is_there(snapshot, &mut record);
    }
    if let Some(visibility) = change.visibility {
        if let Some(closure) = snapshot.closure(port).filter(|_| visibility != Visibility::Private) {
            return Err(BadChange::Closed(closure.reason.clone()));
        }
        if snapshot.ceiling().lower(visibility) != visibility {
            return Err(BadChange::Ceiling(snapshot.ceiling().most));
        }
        (record.visibility, record.expires_at) = (visibility, None);
    }
    if let Some(deadline) = change.expires_at {
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(BadChange::Deadline);
        }
        record.expires_at = deadline;
    }
    if let Some(label) = change.label {
        let label = label.filter(|label| !label.trim().is_empty());
        record.label = label.map(|label| text(&label, BadChange::Label)).transpose()?;
    }
    if let Some(protocol) = change.protocol {
        record.protocol = Some(one_of(protocol, &Protocol::WORDS, BadChange::Protocol)?);
    }
    if let Some(world) = change.host_header {
        record.host_header = one_of(world, &["localhost", "preserve"], BadChange::HostHeader)?;
    }
    if let Some(wakers) = change.woken_by {
        record.woken_by = wakers;
    }
    if let Some(mut users) = change.users {
        users.sort();
        users.dedup();
        if users.len() > MAX_PEOPLE {
            return Err(BadChange::TooManyPeople);
        }
        record.users = users;
    }
    if let Some(limits) = change.limits {
        record.limits = limits;
    }
    if let Some(entries) = change.log_entries {
        if entries.is_some_and(|entries| !(1..=inspect::MOST_ENTRIES).contains(&entries)) {
            return Err(BadChange::LogEntries);
        }
        record.log_entries = entries;
    }
    if !record.is_shared() {
        record.beside = None;
    }
    Ok(record)
}

/// Has a change of who may open a port mean what the number leads to now: what was shared of another is shared no more.
fn share_what_is_there(snapshot: &Snapshot, record: &mut PortRecord) {
    if record.is_shared() && snapshot.leads_to(record.port, record.beside.as_deref()) {
        return;
    }
    (record.visibility, record.expires_at) = (Visibility::Private, None);
    record.users.clear();
    record.beside = snapshot.beside(record.port).map(str::to_owned);
}

fn idle_minutes(minutes: u16) -> Result<u16, BadChange> {
    IDLE_MINUTES.contains(&minutes).then_some(minutes).ok_or(BadChange::IdleTimeout)
}

fn one_of(word: String, words: &[&str], error: BadChange) -> Result<String, BadChange> {
    if words.contains(&word.as_str()) { Ok(word) } else { Err(error) }
}

pub fn text(text: &str, error: BadChange) -> Result<String, BadChange> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control);
    if fits { Ok(text.into()) } else { Err(error) }
}

fn is_inside(path: &str) -> bool {
    let plain = |part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir);
    !path.is_empty() && path.len() <= 512 && !path.chars().any(char::is_control) && Path::new(path).components().all(plain)
}
