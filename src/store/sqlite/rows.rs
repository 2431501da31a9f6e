//! From rows to records. Columns are read by position, in the order of the `SELECT` beside each use.

use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::faults::{damaged, fault};
use crate::{
    domain::{Generation, Organisation, Port, SessionId, TokenId, UserId, Work},
    store::{
        AuditEntry, AuditRecord, CeilingRecord, ClosureRecord, CodespaceRecord, OfferDecisionRecord, PortRecord, SessionOrigin,
        SessionRecord, StoreError, TokenRecord, UserRecord,
    },
};

pub(super) const USER: &str = "SELECT id, name, role, password, email, suspended, created_at, made_by FROM users";
pub(super) const SESSION: &str =
    "SELECT id, user, secret_hash, created_at, last_seen_at, agent, address, expires_at, issuer, subject, origin_session
     FROM sessions";
pub(super) const TOKEN: &str = "SELECT id, user, name, scope, hash, created_at, expires_at, last_used_at FROM tokens";
pub(super) const CODESPACE: &str = "SELECT name, owner, display_name, repository, reference, pull_request, devcontainer_path, runtime, phase, \
     reason, generation, agent_hash, prepared, idle_timeout_minutes, created_at, last_used_at, uncommitted_files, unpushed_commits, agent_next_hash, \
     woken_by, started_at, traffic_counts, announced_at, personal, default_branch FROM codespaces";
pub(super) const OFFER_DECISION: &str = "SELECT codespace, hash, accepted, at FROM offer_decisions";
pub(super) const CLOSURE: &str = "SELECT extent, reason, by, at FROM closures";
pub(super) const CEILING: &str = "SELECT organisation, most, links FROM ceilings";
pub(super) const PORT: &str =
    "SELECT codespace, port, label, visibility, expires_at, protocol, host_header, users, limits, log_entries, woken_by, beside FROM ports";
/// Names and actions hold no character that sorts between a separator and the one that follows it.
pub(super) const AUDIT: &str = "SELECT id, at, action, actor, target, detail, address, request_id FROM audit
     WHERE (?1 IS NULL OR actor = ?1 OR target = ?1)
     AND (?2 IS NULL OR target = ?2 OR (target > ?2 || ':' AND target < ?2 || ';'))
     AND (?3 IS NULL OR action = ?3 OR (action > ?3 || '.' AND action < ?3 || '/'))
     AND (?4 IS NULL OR at >= ?4) AND (?5 IS NULL OR at < ?5) AND (?6 IS NULL OR id < ?6)
     ORDER BY id DESC LIMIT ?7";

pub(super) fn user(row: &SqliteRow) -> Result<UserRecord, StoreError> {
    let row = Columns(row);
    Ok(UserRecord {
        id: UserId(row.text(0)?.into()),
        name: row.parsed(1, "account name")?,
        role: row.parsed(2, "role")?,
        password: row.get(3)?,
        email: row.get(4)?,
        suspended: row.get(5)?,
        created_at: row.time(6)?,
        made_by: row.get(7)?,
    })
}

pub(super) fn session(row: &SqliteRow) -> Result<SessionRecord, StoreError> {
    let row = Columns(row);
    Ok(SessionRecord {
        id: SessionId(row.text(0)?.into()),
        user: UserId(row.text(1)?.into()),
        secret_hash: row.hash(2)?.ok_or_else(|| damaged("hash"))?,
        created_at: row.time(3)?,
        last_seen_at: row.time(4)?,
        agent: row.get(5)?,
        address: row.get(6)?,
        expires_at: row.maybe_time(7)?,
        origin: match (row.get(8)?, row.get(9)?) {
            (Some(issuer), Some(subject)) => Some(SessionOrigin {
                issuer,
                subject,
                session: row.get(10)?,
            }),
            _ => None,
        },
    })
}

pub(super) fn token(row: &SqliteRow) -> Result<TokenRecord, StoreError> {
    let row = Columns(row);
    Ok(TokenRecord {
        id: TokenId(row.text(0)?.into()),
        user: UserId(row.text(1)?.into()),
        name: row.get(2)?,
        scope: row.parsed(3, "scope")?,
        hash: row.hash(4)?.ok_or_else(|| damaged("hash"))?,
        created_at: row.time(5)?,
        expires_at: row.maybe_time(6)?,
        last_used_at: row.maybe_time(7)?,
    })
}

pub(super) fn codespace(row: &SqliteRow) -> Result<CodespaceRecord, StoreError> {
    let row = Columns(row);
    Ok(CodespaceRecord {
        name: row.parsed(0, "codespace name")?,
        owner: UserId(row.text(1)?.into()),
        display_name: row.get(2)?,
        repository: row.get(3)?,
        reference: row.get(4)?,
        default_branch: row.get(24)?,
        pull_request: row.get::<Option<i64>>(5)?.map(i64::cast_unsigned),
        devcontainer_path: row.get(6)?,
        runtime: row.get(7)?,
        phase: row.parsed(8, "phase")?,
        reason: row.get(9)?,
        generation: Generation(row.get::<i64>(10)?.cast_unsigned()),
        agent_hash: row.hash(11)?,
        agent_next_hash: row.hash(18)?,
        prepared: row.get(12)?,
        idle_timeout_minutes: row.get(13)?,
        woken_by: row.parsed(19, "word for who wakes it")?,
        started_at: row.maybe_time(20)?,
        traffic_counts: row.get(21)?,
        announced_at: row.maybe_time(22)?,
        personal: row.get(23)?,
        created_at: row.time(14)?,
        last_used_at: row.time(15)?,
        work: match (row.get::<Option<i64>>(16)?, row.get::<Option<i64>>(17)?) {
            (Some(files), Some(commits)) => Some(Work {
                uncommitted_files: files.cast_unsigned(),
                unpushed_commits: commits.cast_unsigned(),
            }),
            _ => None,
        },
    })
}

pub(super) fn port(row: &SqliteRow) -> Result<PortRecord, StoreError> {
    let row = Columns(row);
    let users: Vec<String> = serde_json::from_str(row.text(7)?).map_err(|_| damaged("list of users"))?;
    Ok(PortRecord {
        codespace: row.parsed(0, "codespace name")?,
        port: Port::new(row.get(1)?).ok_or_else(|| damaged("port"))?,
        label: row.get(2)?,
        visibility: row.parsed(3, "visibility")?,
        expires_at: row.maybe_time(4)?,
        protocol: Some(row.get(5)?).filter(|protocol: &String| !protocol.is_empty()),
        host_header: row.get(6)?,
        users: users.into_iter().map(|id| UserId(id.into())).collect(),
        limits: row.parsed(8, "limits")?,
        log_entries: row.get(9)?,
        woken_by: match row.get::<Option<String>>(10)? {
            Some(word) => Some(word.parse().map_err(|_| damaged("word for who wakes it"))?),
            None => None,
        },
        beside: row.get(11)?,
    })
}

pub(super) fn offer_decision(row: &SqliteRow) -> Result<OfferDecisionRecord, StoreError> {
    let row = Columns(row);
    Ok(OfferDecisionRecord {
        codespace: row.parsed(0, "codespace name")?,
        hash: row.hash(1)?.ok_or_else(|| damaged("hash"))?,
        accepted: row.get(2)?,
        at: row.time(3)?,
    })
}

pub(super) fn closure(row: &SqliteRow) -> Result<ClosureRecord, StoreError> {
    let row = Columns(row);
    Ok(ClosureRecord {
        extent: row.parsed(0, "extent of a closure")?,
        reason: row.get(1)?,
        by: row.get(2)?,
        at: row.time(3)?,
    })
}

/// No organisation has an empty name: that row is everybody's.
pub(super) fn ceiling(row: &SqliteRow) -> Result<CeilingRecord, StoreError> {
    let row = Columns(row);
    let name = row.text(0)?;
    Ok(CeilingRecord {
        organisation: match name {
            "" => None,
            name => Some(Organisation::parse(name).ok_or_else(|| damaged("organisation"))?),
        },
        most: row.parsed(1, "visibility")?,
        links: row.get(2)?,
    })
}

pub(super) fn audit(row: &SqliteRow) -> Result<AuditEntry, StoreError> {
    let row = Columns(row);
    let event = AuditRecord {
        at: row.time(1)?,
        action: row.get(2)?,
        actor: row.get(3)?,
        target: row.get(4)?,
        detail: row.get(5)?,
        address: row.get(6)?,
        request_id: row.get(7)?,
    };
    Ok(AuditEntry { id: row.get(0)?, event })
}

/// A time as it is kept: nanoseconds since 1970, which an `i64` holds until 2262.
pub(super) fn kept_time(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos()).unwrap_or(i64::MAX)
}

pub(super) struct Columns<'r>(pub(super) &'r SqliteRow);

impl<'r> Columns<'r> {
    pub(super) fn get<T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(&self, index: usize) -> Result<T, StoreError> {
        self.0.try_get(index).map_err(fault)
    }

    pub(super) fn text(&self, index: usize) -> Result<&'r str, StoreError> {
        self.get(index)
    }

    pub(super) fn parsed<T: std::str::FromStr>(&self, index: usize, what: &'static str) -> Result<T, StoreError> {
        self.text(index)?.parse().map_err(|_| damaged(what))
    }

    pub(super) fn hash(&self, index: usize) -> Result<Option<[u8; 32]>, StoreError> {
        let bytes: Option<&[u8]> = self.get(index)?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| damaged("hash"))).transpose()
    }

    pub(super) fn time(&self, index: usize) -> Result<OffsetDateTime, StoreError> {
        read_time(self.get(index)?)
    }

    pub(super) fn maybe_time(&self, index: usize) -> Result<Option<OffsetDateTime>, StoreError> {
        self.get::<Option<i64>>(index)?.map(read_time).transpose()
    }
}

fn read_time(kept: i64) -> Result<OffsetDateTime, StoreError> {
    OffsetDateTime::from_unix_timestamp_nanos(kept.into()).map_err(|_| damaged("time"))
}
