//! The rows of share links.

use sqlx::{
    Sqlite,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{
    faults::damaged,
    rows::{Columns, kept_time},
};
use crate::{
    domain::{Port, ShareId, ShareMethods, ShareTerms},
    store::{ShareRecord, StoreError},
};

pub(super) const SHARE: &str = "SELECT id, codespace, port, name, kind, path, methods, secret_hash, password, uses, max_uses, expires_at, \
     revoked_at, created_by, created_at, last_used_at, beside FROM shares";
const PUT: &str = "INSERT INTO shares VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
     ON CONFLICT (id) DO UPDATE SET name = ?4, uses = ?10, expires_at = ?12, revoked_at = ?13, last_used_at = ?16";

pub(super) fn share(row: &SqliteRow) -> Result<ShareRecord, StoreError> {
    let row = Columns(row);
    let methods = row.text(6)?.split(',').filter(|word| !word.is_empty());
    Ok(ShareRecord {
        id: ShareId(row.text(0)?.into()),
        codespace: row.parsed(1, "codespace name")?,
        name: row.get(3)?,
        terms: ShareTerms {
            port: Port::new(row.get(2)?).ok_or_else(|| damaged("port"))?,
            kind: row.parsed(4, "kind of a share link")?,
            path: row.parsed(5, "path of a share link")?,
            methods: ShareMethods::parse(methods).map_err(|_| damaged("methods of a share link"))?,
            expires_at: row.maybe_time(11)?,
            revoked_at: row.maybe_time(12)?,
        },
        beside: row.get(16)?,
        secret_hash: row.hash(7)?.ok_or_else(|| damaged("hash"))?,
        password: row.get(8)?,
        uses: row.get::<i64>(9)?.cast_unsigned(),
        max_uses: row.get::<Option<i64>>(10)?.map(i64::cast_unsigned),
        created_by: row.get(13)?,
        created_at: row.time(14)?,
        last_used_at: row.maybe_time(15)?,
    })
}

pub(super) fn put<'q>(share: &ShareRecord) -> Query<'q, Sqlite, SqliteArguments> {
    sqlx::query(PUT)
        .bind(share.id.0.to_string())
        .bind(share.codespace.to_string())
        .bind(share.terms.port.number())
        .bind(share.name.clone())
        .bind(share.terms.kind.as_str())
        .bind(share.terms.path.to_string())
        .bind(share.terms.methods.to_string())
        .bind(share.secret_hash.to_vec())
        .bind(share.password.clone())
        .bind(share.uses.cast_signed())
        .bind(share.max_uses.map(u64::cast_signed))
        .bind(share.terms.expires_at.map(kept_time))
        .bind(share.terms.revoked_at.map(kept_time))
        .bind(share.created_by.clone())
        .bind(kept_time(share.created_at))
        .bind(share.last_used_at.map(kept_time))
        .bind(share.beside.clone())
}
