//! The schema, as the ordered list of changes that lead to it; `PRAGMA user_version` counts those that were made.

use sqlx::{Connection, SqliteConnection};

use super::faults::fault;
use crate::store::StoreError;

/// Never edit one that was released: add another.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE users (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        role TEXT NOT NULL,
        password TEXT,
        email TEXT,
        suspended INTEGER NOT NULL,
        created_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE sessions (
        id TEXT NOT NULL PRIMARY KEY,
        user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        secret_hash BLOB NOT NULL UNIQUE,
        created_at INTEGER NOT NULL,
        last_seen_at INTEGER NOT NULL,
        agent TEXT NOT NULL
    ) STRICT;
    CREATE TABLE tokens (
        id TEXT NOT NULL PRIMARY KEY,
        user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        scope TEXT NOT NULL,
        hash BLOB NOT NULL UNIQUE,
        created_at INTEGER NOT NULL,
        expires_at INTEGER
    ) STRICT;
    -- Names of codespaces are never used again, so they outlive the codespaces.
    CREATE TABLE used_names (name TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE codespaces (
        name TEXT NOT NULL PRIMARY KEY REFERENCES used_names (name),
        owner TEXT NOT NULL,
        display_name TEXT NOT NULL,
        repository TEXT NOT NULL,
        reference TEXT,
        pull_request INTEGER,
        devcontainer_path TEXT,
        runtime TEXT NOT NULL,
        phase TEXT NOT NULL,
        reason TEXT,
        generation INTEGER NOT NULL,
        agent_hash BLOB,
        prepared INTEGER NOT NULL,
        idle_timeout_minutes INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        last_used_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE ports (
        codespace TEXT NOT NULL REFERENCES codespaces (name) ON DELETE CASCADE,
        port INTEGER NOT NULL,
        label TEXT,
        visibility TEXT NOT NULL,
        expires_at INTEGER,
        protocol TEXT NOT NULL,
        host_header TEXT NOT NULL,
        users TEXT NOT NULL,
        PRIMARY KEY (codespace, port)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE secrets (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        action TEXT NOT NULL,
        actor TEXT NOT NULL,
        target TEXT NOT NULL,
        detail TEXT NOT NULL,
        address TEXT,
        request_id TEXT
    ) STRICT;
    CREATE TRIGGER audit_keeps_its_rows BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
    CREATE TRIGGER audit_loses_no_rows BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
",
    // What only a stopped codespace has.
    "
    ALTER TABLE codespaces ADD COLUMN uncommitted_files INTEGER;
    ALTER TABLE codespaces ADD COLUMN unpushed_commits INTEGER;
",
    // Who people are at providers of identities.
    "
    CREATE TABLE identities (
        issuer TEXT NOT NULL,
        subject TEXT NOT NULL,
        user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        provider TEXT NOT NULL,
        shown TEXT NOT NULL,
        organisations TEXT,
        linked_at INTEGER NOT NULL,
        used_at INTEGER NOT NULL,
        PRIMARY KEY (issuer, subject)
    ) STRICT, WITHOUT ROWID;
",
    // When a token was used, where a session came from; audit events may be forgotten, but only by their age.
    "
    ALTER TABLE tokens ADD COLUMN last_used_at INTEGER;
    ALTER TABLE sessions ADD COLUMN address TEXT;
    CREATE INDEX audit_by_time ON audit (at);
    CREATE TABLE audit_retention (one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), kept_from INTEGER NOT NULL) STRICT;
    INSERT INTO audit_retention VALUES (1, 0);
    CREATE TRIGGER audit_keeps_a_day BEFORE UPDATE ON audit_retention WHEN NEW.kept_from > (unixepoch() - 86400) * 1000000000
        BEGIN SELECT RAISE(ABORT, 'the audit log keeps a day at least'); END;
    CREATE TRIGGER audit_retention_stays BEFORE DELETE ON audit_retention BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
    CREATE TRIGGER audit_replaces_no_rows BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
    DROP TRIGGER audit_loses_no_rows;
    CREATE TRIGGER audit_loses_only_old_rows BEFORE DELETE ON audit WHEN OLD.at >= (SELECT kept_from FROM audit_retention)
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
",
    // Which accounts a provider made: those as old as an identity of theirs.
    "
    ALTER TABLE users ADD COLUMN made_by TEXT;
    UPDATE users SET made_by = (SELECT issuer FROM identities WHERE user = users.id AND linked_at = users.created_at LIMIT 1);
",
    // Who vouched for a sign-in, and until when.
    "
    ALTER TABLE sessions ADD COLUMN expires_at INTEGER;
    ALTER TABLE sessions ADD COLUMN issuer TEXT;
    ALTER TABLE sessions ADD COLUMN subject TEXT;
    ALTER TABLE sessions ADD COLUMN origin_session TEXT;
",
    // What owners decided on what repositories ask to share; the protocol of a port that nobody set may be declared.
    "
    CREATE TABLE offer_decisions (
        codespace TEXT NOT NULL REFERENCES codespaces (name) ON DELETE CASCADE,
        hash BLOB NOT NULL,
        accepted INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (codespace, hash)
    ) STRICT, WITHOUT ROWID;
    UPDATE ports SET protocol = '' WHERE protocol = 'http';
",
    // Share links.
    "
    CREATE TABLE shares (
        id TEXT NOT NULL PRIMARY KEY,
        codespace TEXT NOT NULL REFERENCES codespaces (name) ON DELETE CASCADE,
        port INTEGER NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        path TEXT NOT NULL,
        methods TEXT NOT NULL,
        secret_hash BLOB NOT NULL UNIQUE,
        password TEXT,
        uses INTEGER NOT NULL,
        max_uses INTEGER,
        expires_at INTEGER,
        revoked_at INTEGER,
        created_by TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        last_used_at INTEGER
    ) STRICT;
    CREATE INDEX shares_by_codespace ON shares (codespace);
",
    // The credential that an agent was told to use from then on.
    "
    ALTER TABLE codespaces ADD COLUMN agent_next_hash BLOB;
",
    // Limits of a port.
    "
    ALTER TABLE ports ADD COLUMN limits TEXT NOT NULL DEFAULT '';
",
    // What people keep for their codespaces, encrypted: secrets, credentials for git servers, settings.
    "
    CREATE TABLE belongings (
        user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        repository TEXT NOT NULL,
        sealed BLOB NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        PRIMARY KEY (user, kind, name, repository)
    ) STRICT;
",
    // Whose visits start a codespace, and since when it runs.
    "
    ALTER TABLE codespaces ADD COLUMN woken_by TEXT NOT NULL DEFAULT 'owner';
    ALTER TABLE codespaces ADD COLUMN started_at INTEGER;
    UPDATE codespaces SET started_at = last_used_at WHERE phase IN ('creating', 'starting', 'running', 'stopping');
",
    // What operators have closed of what is shared.
    "
    CREATE TABLE closures (
        extent TEXT PRIMARY KEY,
        reason TEXT NOT NULL,
        by TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    // How many exchanges the request log of a port keeps.
    "
    ALTER TABLE ports ADD COLUMN log_entries INTEGER;
",
    // How far owners may share; the row of no name is for everybody.
    "
    CREATE TABLE ceilings (
        organisation TEXT NOT NULL PRIMARY KEY,
        most TEXT NOT NULL,
        links INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    // Whether requests to ports count as use, and when it was said that a codespace will be deleted.
    "
    ALTER TABLE codespaces ADD COLUMN traffic_counts INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE codespaces ADD COLUMN announced_at INTEGER;
",
    // Whether a codespace is told what its owner keeps.
    "
    ALTER TABLE codespaces ADD COLUMN personal INTEGER NOT NULL DEFAULT 1;
",
    // Whether a provider that was asked for somebody's groups said nothing.
    "
    ALTER TABLE identities ADD COLUMN withheld INTEGER NOT NULL DEFAULT 0;
",
    // Whose visits to a port start its codespace, where that is another matter than elsewhere.
    "
    ALTER TABLE ports ADD COLUMN woken_by TEXT;
",
    // Which service beside a codespace had the port that was shared, where it was not the codespace's own.
    "
    ALTER TABLE ports ADD COLUMN beside TEXT;
    ALTER TABLE shares ADD COLUMN beside TEXT;
",
    // Which branch a repository opens with where nobody names one.
    "
    ALTER TABLE codespaces ADD COLUMN default_branch TEXT;
",
];

/// Makes the changes that a file does not have yet.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    migrate_by(MIGRATIONS, connection).await
}

/// Makes a file as an older version made it, with the first so many changes.
#[cfg(test)]
pub(super) async fn migrate_as_then(version: usize, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    migrate_by(&MIGRATIONS[..version], connection).await
}

/// Makes changes, each with its count in one transaction.
async fn migrate_by(changes: &[&'static str], connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let made: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await
        .map_err(fault)?;
    let made = usize::try_from(made).unwrap_or(usize::MAX);
    if made > changes.len() {
        return Err(StoreError::Unusable(
            "it was written by a newer version of Portico. Start that version, or restore a backup of before".into(),
        ));
    }
    for (index, change) in changes.iter().enumerate().skip(made) {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(fault)?;
        // Another process may have been first.
        let now: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut *transaction)
            .await
            .map_err(fault)?;
        if usize::try_from(now).is_ok_and(|now| now > index) {
            continue;
        }
        sqlx::raw_sql(*change).execute(&mut *transaction).await.map_err(fault)?;
        let count = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {}", index + 1));
        sqlx::raw_sql(count).execute(&mut *transaction).await.map_err(fault)?;
        transaction.commit().await.map_err(fault)?;
    }
    Ok(())
}
