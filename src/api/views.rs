//! From what the services know to what the API shows.

use secrecy::ExposeSecret;
use time::OffsetDateTime;

use super::{Services, life, model};
use crate::{
    auth,
    codespace::{Offer, PortView, Snapshot},
    doctor::Fix,
    domain::{Port, PortLimits, UserId, Visibility},
    issuance::{Record, Urgency},
    protocol::tunnel::EditorState,
    store::{AuditEntry, PortRecord},
};

impl Services {
    /// Shows a codespace as it is now.
    pub(super) fn show(&self, snapshot: &Snapshot) -> model::Codespace {
        let record = &snapshot.record;
        model::Codespace {
            name: record.name.to_string(),
            display_name: record.display_name.clone(),
            state: record.phase.to_string(),
            reason: record.reason.clone(),
            repository: record.repository.clone(),
            reference: record.reference.clone(),
            pull_request: record.pull_request,
            owner: self.account_name(&record.owner),
            runtime: record.runtime.clone(),
            editor_url: format!("{}/", self.sites.editor(&record.name)),
            editor: editor_word(snapshot.editor).to_owned(),
            connected: snapshot.connected,
            steps: snapshot.steps.iter().map(step).collect(),
            rebuild_offered: snapshot.configured.changed || snapshot.configured.recovery.is_some(),
            recovery: snapshot.configured.recovery.clone(),
            notices: snapshot.configured.notices.iter().map(notice).collect(),
            ports: self.show_ports(snapshot),
            offer: snapshot.offer().map(|offer| self.show_offer(snapshot, &offer)),
            idle_timeout_minutes: record.idle_timeout_minutes,
            woken_by: record.woken_by.to_string(),
            personal: record.personal,
            awake_because: snapshot.awake_because.clone(),
            traffic_counts: record.traffic_counts,
            stops_at: snapshot.idle_at,
            stops_soon: snapshot.stops_soon,
            stops_anyway: snapshot.stops_anyway,
            leases: life::leases(snapshot),
            deletes_at: self.codespaces.deletes_at(record),
            stopped_because: snapshot.stopped_because.clone(),
            restarted_because: snapshot.restarted_because.clone(),
            away_because: snapshot.away_because.clone(),
            out_of_memory: snapshot.out_of_memory.clone(),
            created_at: record.created_at,
            last_used_at: record.last_used_at,
        }
    }

    /// Shows the ports of a codespace, lowest first.
    pub(super) fn show_ports(&self, snapshot: &Snapshot) -> Vec<model::Port> {
        let now = self.clock.now();
        snapshot
            .ports
            .iter()
            .map(|(port, view)| self.show_port(snapshot, *port, view, now))
            .collect()
    }

    /// Shows what the repository asks to share.
    fn show_offer(&self, snapshot: &Snapshot, offer: &Offer) -> model::Offer {
        let now = self.clock.now();
        let share = |(port, visibility): (&Port, &Visibility)| model::OfferedShare {
            port: port.number(),
            visibility: visibility.to_string(),
            now: snapshot.visibility(*port, now).to_string(),
        };
        model::Offer {
            hash: offer.id(),
            source: offer.source.clone(),
            ports: offer.shares.iter().map(share).collect(),
        }
    }

    /// Shows a port.
    pub(super) fn show_port(&self, snapshot: &Snapshot, port: Port, view: &PortView, now: OffsetDateTime) -> model::Port {
        let settings = &view.settings;
        let listening = view.listening.as_ref();
        let path = listening.and_then(|listening| listening.path.as_deref());
        // What was shared of another that had the number is not shared now.
        let is_shared = snapshot.leads_to(port, settings.beside.as_deref());
        let users = if is_shared { &settings.users[..] } else { &[] };
        model::Port {
            port: port.number(),
            url: format!("{}{}", self.sites.port(&snapshot.record.name, port), printed_path(path)),
            label: view.label().map(str::to_owned),
            protocol: view.protocol().to_owned(),
            host_header: settings.host_header.clone(),
            visibility: snapshot.visibility(port, now).to_string(),
            max_visibility: snapshot.most_visible(port).to_string(),
            expires_at: settings.expires_at.filter(|deadline| is_shared && *deadline > now),
            users: users.iter().map(|id| self.account_name(id)).collect(),
            listening: listening.is_some(),
            on_auto_forward: view.on_auto_forward().as_str().to_owned(),
            limits: shown_limits(&settings.limits),
            log_entries: settings.log_entries,
            woken_by: settings.woken_by.map(|wakers| wakers.to_string()),
            process: listening.and_then(|listening| listening.process.clone()),
            pid: listening.and_then(|listening| listening.pid),
            command: listening.and_then(|listening| listening.command.clone()),
            addresses: listening.map(|listening| listening.addresses.clone()).unwrap_or_default(),
            advice: self.port_advice(snapshot, port, settings),
            closed: snapshot.closure(port).map(|closure| self.show_closure(&closure)),
            links: snapshot
                .shares
                .values()
                .filter(|share| share.terms.port == port && snapshot.is_for(share) && share.end(now).is_none())
                .count(),
        }
    }

    /// What the doctor advises after what the app refused lately, if the settings are still those.
    fn port_advice(&self, snapshot: &Snapshot, port: Port, settings: &PortRecord) -> Option<model::PortAdvice> {
        let (refusal, note) = self.doctor.memory().refused(&snapshot.record.name, port)?;
        let preserves_host = settings.host_header == "preserve";
        Some(model::PortAdvice {
            kind: refusal.slug().to_owned(),
            detail: refusal.detail().to_owned(),
            advice: refusal.advice(preserves_host),
            set: refusal.fix(preserves_host).map(setting),
            trace_id: note.trace,
            at: note.at,
        })
    }

    /// An account's name; its id where the account is gone.
    pub(super) fn account_name(&self, id: &UserId) -> String {
        self.auth.user(id).map_or_else(|| id.to_string(), |user| user.name.to_string())
    }
}

fn shown_limits(limits: &PortLimits) -> Option<model::PortLimits> {
    (!limits.is_none()).then(|| model::PortLimits {
        requests_per_second: limits.rate,
        connections: limits.connections,
        body_bytes: limits.body,
        addresses: limits.from.iter().map(ToString::to_string).collect(),
    })
}

/// A change of a port that mends it, as `PATCH` takes it.
pub fn setting(fix: Fix) -> model::ChangePort {
    let (name, value) = fix.setting();
    let value = Some(value.to_owned());
    match name {
        "protocol" => model::ChangePort {
            protocol: value,
            ..model::ChangePort::default()
        },
        _ => model::ChangePort {
            host_header: value,
            ..model::ChangePort::default()
        },
    }
}

/// Shows an account.
pub fn user(user: &auth::User) -> model::User {
    model::User {
        id: user.id.to_string(),
        name: user.name.to_string(),
        role: user.role.as_str().to_owned(),
        has_password: user.has_password(),
        may_have_own_ways: None,
        email: user.email.clone(),
        suspended: user.suspended,
        created_at: Some(user.created_at),
    }
}

/// Shows a token without its secret.
pub fn token(token: &auth::Token) -> model::Token {
    model::Token {
        id: token.id.to_string(),
        name: token.name.clone(),
        scope: token.scope.to_string(),
        created_at: token.created_at,
        expires_at: token.expires_at,
        last_used_at: token.last_used_at(),
    }
}

/// Shows a token that was just made.
pub fn new_token(made: &auth::NewToken) -> model::NewToken {
    model::NewToken {
        id: made.record.id.to_string(),
        name: made.record.name.clone(),
        scope: made.record.scope.to_string(),
        token: made.plain.expose_secret().to_owned(),
        created_at: made.record.created_at,
        expires_at: made.record.expires_at,
    }
}

/// Shows an audit event.
pub fn audit_event(entry: AuditEntry) -> model::AuditEvent {
    let AuditEntry { id, event } = entry;
    model::AuditEvent {
        id,
        at: event.at,
        event: event.action,
        actor: event.actor,
        target: event.target,
        detail: event.detail,
        address: event.address,
        request_id: event.request_id,
    }
}

fn notice(notice: &crate::devcontainer::Notice) -> model::Notice {
    model::Notice {
        key: notice.key.clone(),
        reason: notice.reason.clone(),
    }
}

/// A step as the API shows it.
pub fn step(step: &crate::domain::Step) -> model::Step {
    model::Step {
        name: step.name.to_string(),
        state: step.state.to_string(),
        detail: step.detail.clone(),
    }
}

fn editor_word(editor: Option<EditorState>) -> &'static str {
    match editor {
        None => "unknown",
        Some(EditorState::Absent) => "absent",
        Some(EditorState::Starting) => "starting",
        Some(EditorState::Ready) => "ready",
        Some(EditorState::Failed) => "failed",
    }
}

/// The path that a program printed, which is hostile text: kept only if it is plainly a path.
fn printed_path(path: Option<&str>) -> &str {
    let plain = |path: &&str| {
        let safe = |byte: u8| byte.is_ascii_graphic() && !b"\\\"'<>`#".contains(&byte);
        path.starts_with('/') && !path.starts_with("//") && path.len() <= 200 && path.bytes().all(safe)
    };
    path.filter(plain).unwrap_or("/")
}

/// Shows what is known of a certificate.
pub fn certificate(record: Record, now: OffsetDateTime) -> model::Certificate {
    let state = match record.validity.map(|validity| validity.urgency(now)) {
        None => "missing",
        Some(None) => "good",
        Some(Some(Urgency::Soon)) => "expires_soon",
        Some(Some(Urgency::Expired)) => "expired",
        Some(Some(Urgency::NotYet)) => "not_yet",
    };
    let (last_error, last_error_at) = record.trouble.map(|trouble| (trouble.text, trouble.at)).unzip();
    model::Certificate {
        hosts: record.hosts.as_str().to_owned(),
        name: record.name,
        source: record.source.map(|source| source.as_str().to_owned()),
        state: state.to_owned(),
        valid_from: record.validity.map(|validity| validity.from),
        expires_at: record.validity.map(|validity| validity.until),
        last_error,
        last_error_at,
        next_try_at: record.next,
    }
}
