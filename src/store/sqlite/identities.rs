//! The rows of identities from elsewhere.

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
    domain::{Organisation, UserId},
    store::{IdentityRecord, StoreError},
};

pub(super) const IDENTITY: &str =
    "SELECT issuer, subject, user, provider, shown, organisations, linked_at, used_at, withheld FROM identities";
pub(super) const ADD: &str = "INSERT INTO identities VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
/// Changes no row of another user.
pub(super) const PUT: &str =
    "INSERT INTO identities VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (issuer, subject) DO UPDATE SET
     provider = ?4, shown = ?5, organisations = ?6, linked_at = ?7, used_at = ?8, withheld = ?9 WHERE user = ?3";

pub(super) fn identity(row: &SqliteRow) -> Result<IdentityRecord, StoreError> {
    let row = Columns(row);
    Ok(IdentityRecord {
        issuer: row.get(0)?,
        subject: row.get(1)?,
        user: UserId(row.text(2)?.into()),
        provider: row.get(3)?,
        shown: row.get(4)?,
        organisations: row.get::<Option<&str>>(5)?.map(read_organisations).transpose()?,
        linked_at: row.time(6)?,
        used_at: row.time(7)?,
        withheld: row.get(8)?,
    })
}

pub(super) fn bind<'q>(query: &'static str, identity: &IdentityRecord) -> Result<Query<'q, Sqlite, SqliteArguments>, StoreError> {
    let organisations = identity.organisations.as_ref().map(|organisations| {
        let names: Vec<&str> = organisations.iter().map(Organisation::as_str).collect();
        serde_json::to_string(&names)
    });
    let organisations = organisations.transpose().map_err(|error| StoreError::Failed(Box::new(error)))?;
    Ok(sqlx::query(query)
        .bind(identity.issuer.clone())
        .bind(identity.subject.clone())
        .bind(identity.user.0.to_string())
        .bind(identity.provider.clone())
        .bind(identity.shown.clone())
        .bind(organisations)
        .bind(kept_time(identity.linked_at))
        .bind(kept_time(identity.used_at))
        .bind(identity.withheld))
}

fn read_organisations(text: &str) -> Result<Vec<Organisation>, StoreError> {
    let names: Vec<String> = serde_json::from_str(text).map_err(|_| damaged("list of organisations"))?;
    let read = names.iter().map(|name| Organisation::parse(name));
    read.collect::<Option<_>>().ok_or_else(|| damaged("organisation"))
}
