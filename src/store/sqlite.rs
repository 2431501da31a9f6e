//! The store in one SQLite file: what the embedded gateway uses.
//!
//! One connection, since writes are few and reads happen at start alone. WAL, so that a copy can be taken while the
//! gateway runs; `synchronous = FULL`, because a sign-out or a revoked token that a power cut undoes is a hole, and
//! nothing here is written often enough for the `fsync` to matter.

mod belongings;
mod faults;
mod identities;
mod migrations;
mod rows;
mod shares;

use std::{
    fs::{DirBuilder, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::{
    ConnectOptions, Sqlite, SqlitePool,
    query::Query,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteQueryResult, SqliteRow, SqliteSynchronous,
    },
};
use time::OffsetDateTime;

use self::{faults::fault, rows::kept_time};
use super::{
    AuditEntry, AuditQuestion, AuditRecord, BelongingKey, BelongingRecord, CeilingRecord, ClosureRecord, CodespaceRecord, IdentityRecord,
    OfferDecisionRecord, PortRecord, SessionRecord, ShareRecord, Store, StoreError, TokenRecord, UserRecord,
};
use crate::domain::{CodespaceName, Extent, Organisation, SessionId, ShareId, TokenId, UserId, Wakers};

/// How long a write waits for another process, for instance a command line that works on the same data directory.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Rows that are read before they are asked for: reader and asker are two threads, and should not wake each other for each.
const ROWS_AHEAD: usize = 512;

const ADD_USER: &str = "INSERT INTO users VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// Most audit events that one call forgets.
const FORGOTTEN_AT_ONCE: i64 = 5000;

/// A store in a file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    pool: SqlitePool,
}

impl SqliteStore {
    /// Opens the file, makes it (mode 0600, its directories 0700) if it is not there, and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_file(path).await.map_err(|error| match error {
            StoreError::Unusable(why) => StoreError::Unusable(format!("the store {} cannot be used: {why}", path.display())),
            error => error,
        })
    }

    async fn open_file(path: &Path) -> Result<Self, StoreError> {
        make_private(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .row_buffer_size(ROWS_AHEAD)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await
            .map_err(fault)?;
        let mut connection = pool.acquire().await.map_err(fault)?;
        migrations::migrate(&mut connection).await?;
        drop(connection);
        Ok(Self { pool })
    }

    async fn all<T>(&self, select: &'static str, read: impl Fn(&SqliteRow) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
        // Row by row: a row is large, and at start there are very many.
        let rows = sqlx::query(select).fetch(&self.pool);
        rows.map(|row| read(&row.map_err(fault)?)).try_collect().await
    }

    async fn write(&self, query: Query<'_, Sqlite, SqliteArguments>) -> Result<u64, StoreError> {
        query
            .execute(&self.pool)
            .await
            .map(|result: SqliteQueryResult| result.rows_affected())
            .map_err(fault)
    }
}

/// Makes the file before SQLite does, because SQLite would make it readable to others; the files beside it get its mode.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let unusable = |error: std::io::Error| match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full,
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => StoreError::Unusable("a part of its path is a file".into()),
        _ => StoreError::Unusable(error.to_string()),
    };
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unusable)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(unusable(error)),
        _ => Ok(()),
    }
}

fn some(rows: u64) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::Missing) } else { Ok(()) }
}

fn bind_user<'q>(query: &'static str, user: &UserRecord) -> Query<'q, Sqlite, SqliteArguments> {
    sqlx::query(query)
        .bind(user.id.0.to_string())
        .bind(user.name.to_string())
        .bind(user.role.as_str())
        .bind(user.password.clone())
        .bind(user.email.clone())
        .bind(user.suspended)
        .bind(kept_time(user.created_at))
        .bind(user.made_by.clone())
}

fn bind_codespace<'q>(query: &'static str, codespace: &CodespaceRecord) -> Query<'q, Sqlite, SqliteArguments> {
    sqlx::query(query)
        .bind(codespace.name.to_string())
        .bind(codespace.owner.0.to_string())
        .bind(codespace.display_name.clone())
        .bind(codespace.repository.clone())
        .bind(codespace.reference.clone())
        .bind(codespace.pull_request.map(u64::cast_signed))
        .bind(codespace.devcontainer_path.clone())
        .bind(codespace.runtime.clone())
        .bind(codespace.phase.as_str())
        .bind(codespace.reason.clone())
        .bind(codespace.generation.0.cast_signed())
        .bind(codespace.agent_hash.map(Vec::from))
        .bind(codespace.prepared)
        .bind(codespace.idle_timeout_minutes)
        .bind(kept_time(codespace.created_at))
        .bind(kept_time(codespace.last_used_at))
        .bind(codespace.work.map(|work| work.uncommitted_files.cast_signed()))
        .bind(codespace.work.map(|work| work.unpushed_commits.cast_signed()))
        .bind(codespace.agent_next_hash.map(Vec::from))
        .bind(codespace.woken_by.as_str())
        .bind(codespace.started_at.map(kept_time))
        .bind(codespace.traffic_counts)
        .bind(codespace.announced_at.map(kept_time))
        .bind(codespace.personal)
        .bind(codespace.default_branch.clone())
}

#[async_trait]
impl Store for SqliteStore {
    async fn close(&self) {
        // The last connection writes the log into the file.
        self.pool.close().await;
    }

    async fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        self.all(rows::USER, rows::user).await
    }

    async fn add_user(&self, user: &UserRecord) -> Result<(), StoreError> {
        self.write(bind_user(ADD_USER, user)).await.map(drop)
    }

    async fn add_first_user(&self, user: &UserRecord) -> Result<(), StoreError> {
        let query = "INSERT INTO users SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE NOT EXISTS (SELECT 1 FROM users)";
        some(self.write(bind_user(query, user)).await?).map_err(|_| StoreError::Conflict)
    }

    async fn update_user(&self, user: &UserRecord) -> Result<(), StoreError> {
        let query =
            "UPDATE users SET name = ?2, role = ?3, password = ?4, email = ?5, suspended = ?6, created_at = ?7, made_by = ?8 WHERE id = ?1";
        some(self.write(bind_user(query, user)).await?)
    }

    async fn identities(&self) -> Result<Vec<IdentityRecord>, StoreError> {
        self.all(identities::IDENTITY, identities::identity).await
    }

    async fn add_user_with_identity(&self, user: &UserRecord, identity: &IdentityRecord) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(fault)?;
        let query = bind_user(ADD_USER, user);
        query.execute(&mut *transaction).await.map_err(fault)?;
        let query = identities::bind(identities::ADD, identity)?;
        query.execute(&mut *transaction).await.map_err(fault)?;
        transaction.commit().await.map_err(fault)
    }

    async fn put_identity(&self, identity: &IdentityRecord) -> Result<(), StoreError> {
        let changed = self.write(identities::bind(identities::PUT, identity)?).await?;
        some(changed).map_err(|_| StoreError::Conflict)
    }

    async fn remove_identity(&self, issuer: &str, subject: &str) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM identities WHERE issuer = ? AND subject = ?");
        self.write(query.bind(issuer).bind(subject)).await.map(drop)
    }

    async fn sessions(&self) -> Result<Vec<SessionRecord>, StoreError> {
        self.all(rows::SESSION, rows::session).await
    }

    async fn put_session(&self, session: &SessionRecord) -> Result<(), StoreError> {
        let query = "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (id) DO UPDATE SET user = ?2, secret_hash = ?3, created_at = ?4, last_seen_at = ?5, agent = ?6, address = ?7,
             expires_at = ?8, issuer = ?9, subject = ?10, origin_session = ?11";
        let origin = session.origin.as_ref();
        let query = sqlx::query(query)
            .bind(session.id.0.as_ref())
            .bind(session.user.0.as_ref())
            .bind(session.secret_hash.as_slice())
            .bind(kept_time(session.created_at))
            .bind(kept_time(session.last_seen_at))
            .bind(&session.agent)
            .bind(&session.address)
            .bind(session.expires_at.map(kept_time))
            .bind(origin.map(|origin| &origin.issuer))
            .bind(origin.map(|origin| &origin.subject))
            .bind(origin.and_then(|origin| origin.session.as_ref()));
        self.write(query).await.map(drop)
    }

    async fn remove_session(&self, id: &SessionId) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM sessions WHERE id = ?").bind(id.0.as_ref());
        self.write(query).await.map(drop)
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.all(rows::TOKEN, rows::token).await
    }

    async fn add_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        let query = sqlx::query("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(token.id.0.as_ref())
            .bind(token.user.0.as_ref())
            .bind(&token.name)
            .bind(token.scope.to_string())
            .bind(token.hash.as_slice())
            .bind(kept_time(token.created_at))
            .bind(token.expires_at.map(kept_time))
            .bind(token.last_used_at.map(kept_time));
        self.write(query).await.map(drop)
    }

    async fn token_used(&self, id: &TokenId, at: OffsetDateTime) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE tokens SET last_used_at = ? WHERE id = ?")
            .bind(kept_time(at))
            .bind(id.0.as_ref());
        self.write(query).await.map(drop)
    }

    async fn remove_token(&self, id: &TokenId) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM tokens WHERE id = ?").bind(id.0.as_ref());
        self.write(query).await.map(drop)
    }

    async fn codespaces(&self) -> Result<Vec<CodespaceRecord>, StoreError> {
        self.all(rows::CODESPACE, rows::codespace).await
    }

    async fn add_codespace(&self, codespace: &CodespaceRecord) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(fault)?;
        sqlx::query("INSERT INTO used_names VALUES (?)")
            .bind(codespace.name.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(fault)?;
        let query = "INSERT INTO codespaces VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
             ?23, ?24, ?25)";
        bind_codespace(query, codespace).execute(&mut *transaction).await.map_err(fault)?;
        transaction.commit().await.map_err(fault)
    }

    async fn update_codespace(&self, codespace: &CodespaceRecord) -> Result<(), StoreError> {
        let query = "UPDATE codespaces SET owner = ?2, display_name = ?3, repository = ?4, reference = ?5, pull_request = ?6,
             devcontainer_path = ?7, runtime = ?8, phase = ?9, reason = ?10, generation = ?11, agent_hash = ?12, prepared = ?13,
             idle_timeout_minutes = ?14, created_at = ?15, last_used_at = ?16,
             uncommitted_files = ?17, unpushed_commits = ?18, agent_next_hash = ?19, woken_by = ?20,
             started_at = ?21, traffic_counts = ?22, announced_at = ?23, personal = ?24, default_branch = ?25 WHERE name = ?1";
        some(self.write(bind_codespace(query, codespace)).await?)
    }

    async fn remove_codespace(&self, name: &CodespaceName) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM codespaces WHERE name = ?").bind(name.as_str());
        self.write(query).await.map(drop)
    }

    async fn ports(&self) -> Result<Vec<PortRecord>, StoreError> {
        self.all(rows::PORT, rows::port).await
    }

    async fn put_port(&self, port: &PortRecord) -> Result<(), StoreError> {
        let users: Vec<&str> = port.users.iter().map(|id| id.0.as_ref()).collect();
        let users = serde_json::to_string(&users).map_err(|error| StoreError::Failed(Box::new(error)))?;
        let query = "INSERT INTO ports (codespace, port, label, visibility, expires_at, protocol, host_header, users, limits, log_entries, woken_by, beside)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT (codespace, port) DO UPDATE SET
             label = ?3, visibility = ?4, expires_at = ?5, protocol = ?6, host_header = ?7, users = ?8, limits = ?9, log_entries = ?10,
             woken_by = ?11, beside = ?12";
        let query = sqlx::query(query)
            .bind(port.codespace.as_str())
            .bind(port.port.number())
            .bind(&port.label)
            .bind(port.visibility.as_str())
            .bind(port.expires_at.map(kept_time))
            .bind(port.protocol.as_deref().unwrap_or_default())
            .bind(&port.host_header)
            .bind(users)
            .bind(port.limits.to_string())
            .bind(port.log_entries)
            .bind(port.woken_by.map(Wakers::as_str))
            .bind(&port.beside);
        self.write(query).await.map(drop)
    }

    async fn offer_decisions(&self) -> Result<Vec<OfferDecisionRecord>, StoreError> {
        self.all(rows::OFFER_DECISION, rows::offer_decision).await
    }

    async fn put_offer_decision(&self, decision: &OfferDecisionRecord) -> Result<(), StoreError> {
        let query =
            "INSERT INTO offer_decisions VALUES (?1, ?2, ?3, ?4) ON CONFLICT (codespace, hash) DO UPDATE SET accepted = ?3, at = ?4";
        let query = sqlx::query(query)
            .bind(decision.codespace.as_str())
            .bind(decision.hash.as_slice())
            .bind(decision.accepted)
            .bind(kept_time(decision.at));
        self.write(query).await.map(drop)
    }

    async fn shares(&self) -> Result<Vec<ShareRecord>, StoreError> {
        self.all(shares::SHARE, shares::share).await
    }

    async fn put_share(&self, share: &ShareRecord) -> Result<(), StoreError> {
        self.write(shares::put(share)).await.map(drop)
    }

    async fn remove_share(&self, id: &ShareId) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM shares WHERE id = ?").bind(id.0.as_ref());
        self.write(query).await.map(drop)
    }

    async fn belongings(&self) -> Result<Vec<BelongingRecord>, StoreError> {
        self.all(belongings::BELONGING, belongings::belonging).await
    }

    async fn put_belonging(&self, belonging: &BelongingRecord) -> Result<(), StoreError> {
        self.write(belongings::put(belonging)).await.map(drop)
    }

    async fn remove_belonging(&self, user: &UserId, key: &BelongingKey) -> Result<(), StoreError> {
        self.write(belongings::remove(user, key)).await.map(drop)
    }

    async fn closures(&self) -> Result<Vec<ClosureRecord>, StoreError> {
        self.all(rows::CLOSURE, rows::closure).await
    }

    async fn put_closure(&self, closure: &ClosureRecord) -> Result<(), StoreError> {
        let query = "INSERT INTO closures VALUES (?1, ?2, ?3, ?4) ON CONFLICT (extent) DO UPDATE SET reason = ?2, by = ?3, at = ?4";
        let query = sqlx::query(query)
            .bind(closure.extent.to_string())
            .bind(&closure.reason)
            .bind(&closure.by)
            .bind(kept_time(closure.at));
        self.write(query).await.map(drop)
    }

    async fn remove_closure(&self, extent: &Extent) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM closures WHERE extent = ?").bind(extent.to_string());
        self.write(query).await.map(drop)
    }

    async fn ceilings(&self) -> Result<Vec<CeilingRecord>, StoreError> {
        self.all(rows::CEILING, rows::ceiling).await
    }

    async fn put_ceiling(&self, ceiling: &CeilingRecord) -> Result<(), StoreError> {
        let query = "INSERT INTO ceilings VALUES (?1, ?2, ?3) ON CONFLICT (organisation) DO UPDATE SET most = ?2, links = ?3";
        let query = sqlx::query(query)
            .bind(ceiling.organisation.as_ref().map_or("", Organisation::as_str).to_owned())
            .bind(ceiling.most.to_string())
            .bind(ceiling.links);
        self.write(query).await.map(drop)
    }

    async fn remove_ceiling(&self, organisation: Option<&Organisation>) -> Result<(), StoreError> {
        let query =
            sqlx::query("DELETE FROM ceilings WHERE organisation = ?").bind(organisation.map_or("", Organisation::as_str).to_owned());
        self.write(query).await.map(drop)
    }

    async fn secret(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::query_scalar("SELECT value FROM secrets WHERE key = ?")
            .bind(key)
            .fetch_optional(&self.pool)
            .await
            .map_err(fault)
    }

    async fn keep_secret(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        // The update that changes nothing makes RETURNING give back the row that was there.
        let query = "INSERT INTO secrets VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = value RETURNING value";
        sqlx::query_scalar(query)
            .bind(key)
            .bind(value)
            .fetch_one(&self.pool)
            .await
            .map_err(fault)
    }

    async fn append_audit(&self, event: &AuditRecord) -> Result<(), StoreError> {
        let query = "INSERT INTO audit (at, action, actor, target, detail, address, request_id) VALUES (?, ?, ?, ?, ?, ?, ?)";
        let query = sqlx::query(query)
            .bind(kept_time(event.at))
            .bind(&event.action)
            .bind(&event.actor)
            .bind(&event.target)
            .bind(&event.detail)
            .bind(&event.address)
            .bind(&event.request_id);
        self.write(query).await.map(drop)
    }

    async fn audit(&self, question: &AuditQuestion) -> Result<Vec<AuditEntry>, StoreError> {
        let query = sqlx::query(rows::AUDIT)
            .bind(&question.user)
            .bind(&question.codespace)
            .bind(&question.action)
            .bind(question.since.map(kept_time))
            .bind(question.until.map(kept_time))
            .bind(question.before)
            .bind(question.limit);
        let rows = query.fetch_all(&self.pool).await.map_err(fault)?;
        rows.iter().map(rows::audit).collect()
    }

    async fn forget_audit(&self, until: OffsetDateTime) -> Result<u64, StoreError> {
        let until = kept_time(until);
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(fault)?;
        let keep = sqlx::query("UPDATE audit_retention SET kept_from = ?").bind(until);
        keep.execute(&mut *transaction).await.map_err(fault)?;
        let forget = sqlx::query("DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ? LIMIT ?)")
            .bind(until)
            .bind(FORGOTTEN_AT_ONCE);
        let forgotten = forget.execute(&mut *transaction).await.map_err(fault)?.rows_affected();
        transaction.commit().await.map_err(fault)?;
        Ok(forgotten)
    }
}

#[cfg(test)]
impl SqliteStore {
    pub(super) async fn run(&self, statement: &'static str) -> Result<(), StoreError> {
        sqlx::raw_sql(statement).execute(&self.pool).await.map(drop).map_err(fault)
    }

    /// Makes a file as an older version did.
    pub(super) async fn make_old(path: &Path, version: usize) -> Self {
        make_private(path).expect("a file");
        let options = SqliteConnectOptions::new().filename(path);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .expect("opened");
        let mut connection = pool.acquire().await.expect("a connection");
        migrations::migrate_as_then(version, &mut connection).await.expect("made");
        drop(connection);
        Self { pool }
    }

    pub(super) async fn pretend_newer(&self) {
        self.run("PRAGMA user_version = 99").await.expect("a pragma");
    }

    /// Makes the disk look full, as far as SQLite can tell.
    pub(super) async fn limit_pages(&self, pages: u32) {
        let statement = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        sqlx::raw_sql(statement).execute(&self.pool).await.expect("a pragma");
    }
}
