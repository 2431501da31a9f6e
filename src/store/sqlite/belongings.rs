//! The rows of what people keep for their codespaces.

use sqlx::{
    Sqlite,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::rows::{Columns, kept_time};
use crate::{
    domain::UserId,
    store::{BelongingKey, BelongingRecord, StoreError},
};

pub(super) const BELONGING: &str = "SELECT user, kind, name, repository, sealed, created_at, updated_at FROM belongings";
const PUT: &str = "INSERT INTO belongings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
     ON CONFLICT (user, kind, name, repository) DO UPDATE SET sealed = ?5, updated_at = ?7";
const REMOVE: &str = "DELETE FROM belongings WHERE user = ? AND kind = ? AND name = ? AND repository = ?";

pub(super) fn belonging(row: &SqliteRow) -> Result<BelongingRecord, StoreError> {
    let row = Columns(row);
    Ok(BelongingRecord {
        user: UserId(row.text(0)?.into()),
        key: BelongingKey {
            kind: row.get(1)?,
            name: row.get(2)?,
            repository: row.get(3)?,
        },
        sealed: row.get(4)?,
        created_at: row.time(5)?,
        updated_at: row.time(6)?,
    })
}

pub(super) fn put<'q>(belonging: &BelongingRecord) -> Query<'q, Sqlite, SqliteArguments> {
    sqlx::query(PUT)
        .bind(belonging.user.0.to_string())
        .bind(belonging.key.kind.clone())
        .bind(belonging.key.name.clone())
        .bind(belonging.key.repository.clone())
        .bind(belonging.sealed.clone())
        .bind(kept_time(belonging.created_at))
        .bind(kept_time(belonging.updated_at))
}

pub(super) fn remove<'q>(user: &UserId, key: &BelongingKey) -> Query<'q, Sqlite, SqliteArguments> {
    sqlx::query(REMOVE)
        .bind(user.0.to_string())
        .bind(key.kind.clone())
        .bind(key.name.clone())
        .bind(key.repository.clone())
}
