//! What the tests of this module share.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, header::COOKIE};
use secrecy::SecretString;
use time::OffsetDateTime;

use super::*;
use crate::{
    domain::{CodespaceName, Port, Role},
    route::Route,
    store::{AuditQuestion, memory::MemoryStore},
};

/// Tokens that an account may have in these tests.
pub(super) const TOKENS: usize = 5;

pub(super) const PASSWORD: &str = "correct horse";

pub(super) fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn name(text: &str) -> CodespaceName {
    text.parse().expect("a codespace name")
}

pub(super) fn port(codespace: &str, number: u16) -> Route {
    Route::Port(name(codespace), Port::new(number).expect("a port"))
}

pub(super) fn editor(codespace: &str) -> Route {
    Route::Editor(name(codespace))
}

pub(super) fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

pub(super) async fn auth_on(store: SharedStore, now: OffsetDateTime) -> Auth {
    auth_with(store, OutsideOptions::default(), now).await
}

pub(super) async fn auth_with(store: SharedStore, outside: OutsideOptions, now: OffsetDateTime) -> Auth {
    let options = Options {
        sites: Sites::new("http://portico.localhost:8080".parse().expect("an origin"), "codespaces.localhost"),
        session_idle: seconds(12 * 3600),
        session_absolute: seconds(7 * 24 * 3600),
        tokens_per_user: TOKENS,
        attempts: Default::default(),
        outside,
    };
    Auth::load(store, options, now).await.expect("auth")
}

/// An empty store, and who reads it.
pub(super) async fn auth() -> (Auth, SharedStore) {
    let store: SharedStore = Arc::new(MemoryStore::new());
    (auth_on(store.clone(), now()).await, store)
}

/// A user without a password, since making one takes its time.
pub(super) async fn user(auth: &Auth, name: &str) -> Arc<User> {
    let new = NewUser {
        name: name.parse().expect("an account name"),
        role: Role::Member,
        password: None,
        email: None,
    };
    auth.create_user(new, &Actor::gateway(), now()).await.expect("a user")
}

pub(super) async fn user_with_password(auth: &Auth, name: &str) -> Arc<User> {
    let user = user(auth, name).await;
    with_password(auth, &user).await
}

/// The same account with a password.
pub(super) async fn with_password(auth: &Auth, user: &User) -> Arc<User> {
    auth.set_password(&user.id, secret(PASSWORD), None, &Actor::gateway(), now())
        .await
        .expect("a password");
    auth.user(&user.id).expect("the user")
}

/// A user with a login session.
pub(super) async fn signed_in(auth: &Auth) -> Fresh {
    let user = user(auth, "ada").await;
    auth.open_session(&user, &Client::default(), now()).await.expect("a session")
}

/// The `name=value` of a `Set-Cookie`, as the browser sends it back.
pub(super) fn sent_back(set_cookie: &str) -> &str {
    set_cookie.split(';').next().unwrap_or_default()
}

pub(super) fn cookies(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).expect("a header value"));
    }
    headers
}

pub(super) async fn audited(store: &SharedStore) -> Vec<String> {
    let question = AuditQuestion {
        limit: 100,
        ..AuditQuestion::default()
    };
    let events = store.audit(&question).await.expect("events");
    events.into_iter().rev().map(|entry| entry.event.action).collect()
}
