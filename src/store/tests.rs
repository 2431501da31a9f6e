//! One behavioural suite for every store, and what only a file can do wrong.

mod belongings;
mod files;
mod shares;

use std::{os::unix::fs::PermissionsExt, path::Path, time::Instant};

use time::{Duration, OffsetDateTime};

use self::{
    belongings::belongings,
    shares::{closures, share_links},
};
use super::{memory::MemoryStore, sqlite::SqliteStore, *};

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(1_800_000_000 + seconds) + Duration::nanoseconds(7)
}

fn user(id: &str, name: &str) -> UserRecord {
    UserRecord {
        id: UserId(id.into()),
        name: name.parse().expect("an account name"),
        role: Role::Member,
        password: None,
        email: Some("a@example.org".into()),
        suspended: false,
        created_at: at(0),
        made_by: None,
    }
}

fn session(id: &str, user: &str) -> SessionRecord {
    SessionRecord {
        id: SessionId(id.into()),
        user: UserId(user.into()),
        secret_hash: [id.bytes().fold(0, u8::wrapping_add); 32],
        created_at: at(1),
        last_seen_at: at(2),
        agent: "Browser/1 \u{1f600}".into(),
        address: Some("::1".into()),
        expires_at: None,
        origin: None,
    }
}

fn token(id: &str, user: &str, scope: Scope) -> TokenRecord {
    TokenRecord {
        id: TokenId(id.into()),
        user: UserId(user.into()),
        name: "ci".into(),
        scope,
        hash: [id.bytes().fold(0, u8::wrapping_add); 32],
        created_at: at(3),
        expires_at: Some(at(4)),
        last_used_at: None,
    }
}

fn codespace(name: &str) -> CodespaceRecord {
    CodespaceRecord {
        name: name.parse().expect("a name"),
        owner: UserId("u1".into()),
        display_name: "'); DROP TABLE codespaces; --".into(),
        repository: "https://example.org/r.git".into(),
        reference: Some("main".into()),
        default_branch: None,
        pull_request: Some(u64::MAX),
        devcontainer_path: None,
        runtime: "process".into(),
        phase: Phase::Creating,
        reason: None,
        generation: Generation(3),
        agent_hash: Some([9; 32]),
        agent_next_hash: None,
        prepared: false,
        work: None,
        idle_timeout_minutes: 30,
        woken_by: Default::default(),
        personal: true,
        started_at: None,
        traffic_counts: false,
        announced_at: None,
        created_at: at(5),
        last_used_at: at(6),
    }
}

fn port(codespace: &str, number: u16) -> PortRecord {
    PortRecord {
        codespace: codespace.parse().expect("a name"),
        port: Port::new(number).expect("a port"),
        label: Some("web".into()),
        visibility: Visibility::Public,
        expires_at: Some(at(7)),
        protocol: Some("https".into()),
        host_header: "localhost".into(),
        users: vec![UserId("u1".into()), UserId("u2".into())],
        log_entries: Some(100),
        woken_by: Some(Wakers::People),
        beside: Some("db".into()),
        limits: "rate=2 from=10.0.0.0/8".parse().expect("limits"),
    }
}

fn event(action: &str) -> AuditRecord {
    AuditRecord {
        at: at(8),
        action: action.into(),
        actor: "ada".into(),
        target: "t".into(),
        detail: String::new(),
        address: None,
        request_id: Some("r".into()),
    }
}

async fn users(store: SharedStore) {
    assert!(matches!(store.update_user(&user("u1", "ada")).await, Err(StoreError::Missing)));
    store.add_first_user(&user("u1", "ada")).await.expect("the first");
    assert!(matches!(store.add_first_user(&user("u2", "bob")).await, Err(StoreError::Conflict)));
    assert!(matches!(store.add_user(&user("u2", "ada")).await, Err(StoreError::Conflict)));
    assert!(matches!(store.add_user(&user("u1", "bob")).await, Err(StoreError::Conflict)));
    store.add_user(&user("u2", "bob")).await.expect("a second");
    assert!(matches!(store.update_user(&user("u2", "ada")).await, Err(StoreError::Conflict)));
    let changed = UserRecord {
        role: Role::Admin,
        password: Some("$argon2id$".into()),
        suspended: true,
        email: None,
        ..user("u2", "bert")
    };
    store.update_user(&changed).await.expect("an update");
    assert_eq!(store.users().await.expect("users"), [user("u1", "ada"), changed]);
}

async fn racing_first_users_make_one(store: SharedStore) {
    let tries: Vec<_> = (0..20)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .add_first_user(&user(&format!("u{number}"), &format!("n{number}")))
                    .await
                    .is_ok()
            })
        })
        .collect();
    let mut made = 0;
    for done in tries {
        made += usize::from(done.await.expect("no panic"));
    }
    assert_eq!(made, 1);
    assert_eq!(store.users().await.expect("users").len(), 1);
}

async fn oidc_1_an_identity_has_one_user(store: SharedStore) {
    let identity = |user: &str, subject: &str| IdentityRecord {
        issuer: "https://id.example".into(),
        subject: subject.into(),
        user: UserId(user.into()),
        provider: "id".into(),
        shown: "ada@example.org".into(),
        organisations: Organisation::parse("eng").map(|eng| vec![eng]),
        withheld: false,
        linked_at: at(1),
        used_at: at(2),
    };
    assert!(matches!(store.put_identity(&identity("u1", "s1")).await, Err(StoreError::Missing)));
    store
        .add_user_with_identity(&user("u1", "ada"), &identity("u1", "s1"))
        .await
        .expect("both");
    for (taken, subject) in [("ada", "s2"), ("bob", "s1")] {
        let refused = store.add_user_with_identity(&user("u2", taken), &identity("u2", subject)).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{taken} {subject}");
    }
    assert_eq!(store.users().await.expect("users"), [user("u1", "ada")], "neither or both");
    store.add_user(&user("u2", "bob")).await.expect("another");
    assert!(matches!(store.put_identity(&identity("u2", "s1")).await, Err(StoreError::Conflict)));
    let changed = IdentityRecord {
        organisations: None,
        withheld: true,
        shown: "lovelace".into(),
        used_at: at(3),
        ..identity("u1", "s1")
    };
    store.put_identity(&changed).await.expect("changed");
    store.put_identity(&identity("u2", "s2")).await.expect("linked");
    assert_eq!(
        store.identities().await.expect("identities"),
        [changed.clone(), identity("u2", "s2")]
    );
    store.remove_identity("https://id.example", "s2").await.expect("removed");
    store.remove_identity("https://id.example", "s2").await.expect("gone already");
    assert_eq!(store.identities().await.expect("identities"), [changed]);
}

async fn sessions_and_tokens(store: SharedStore) {
    assert!(matches!(store.put_session(&session("s", "u1")).await, Err(StoreError::Missing)));
    assert!(matches!(
        store.add_token(&token("t", "u1", Scope::All)).await,
        Err(StoreError::Missing)
    ));
    store.add_user(&user("u1", "ada")).await.expect("a user");
    store.put_session(&session("s", "u1")).await.expect("a session");
    let later = SessionRecord {
        expires_at: Some(at(9)),
        origin: Some(SessionOrigin {
            issuer: "https://id.example".into(),
            subject: "ada".into(),
            session: Some("s1".into()),
        }),
        last_seen_at: at(100),
        ..session("s", "u1")
    };
    store.put_session(&later).await.expect("the same again");
    assert_eq!(store.sessions().await.expect("sessions"), [later]);
    store.remove_session(&SessionId("s".into())).await.expect("gone");
    store.remove_session(&SessionId("s".into())).await.expect("gone twice");
    assert!(store.sessions().await.expect("sessions").is_empty());

    let name: CodespaceName = "amber".parse().expect("a name");
    let scopes = [
        Scope::All,
        Scope::Codespace(name.clone()),
        Scope::Port(name.clone(), Port::new(80).expect("80")),
        Scope::Inside(name),
    ];
    for (index, scope) in scopes.into_iter().enumerate() {
        let record = token(&"t".repeat(index + 1), "u1", scope);
        store.add_token(&record).await.expect("a token");
        assert!(store.tokens().await.expect("tokens").contains(&record));
    }
    assert!(matches!(
        store.add_token(&token("t", "u1", Scope::All)).await,
        Err(StoreError::Conflict)
    ));
    store.remove_token(&TokenId("t".into())).await.expect("gone");
    assert_eq!(store.tokens().await.expect("tokens").len(), 3);
}

async fn codespaces_and_ports(store: SharedStore) {
    assert!(matches!(
        store.update_codespace(&codespace("amber")).await,
        Err(StoreError::Missing)
    ));
    assert!(matches!(store.put_port(&port("amber", 80)).await, Err(StoreError::Missing)));
    store.add_codespace(&codespace("amber")).await.expect("new");
    store.add_codespace(&codespace("beryl")).await.expect("new");
    assert!(matches!(store.add_codespace(&codespace("amber")).await, Err(StoreError::Conflict)));
    let changed = CodespaceRecord {
        phase: Phase::Failed,
        reason: Some("no".into()),
        pull_request: None,
        agent_hash: None,
        agent_next_hash: None,
        prepared: true,
        woken_by: Wakers::Everyone,
        personal: false,
        default_branch: Some("trunk".into()),
        started_at: Some(at(7)),
        traffic_counts: true,
        announced_at: Some(at(8)),
        work: Some(Work {
            uncommitted_files: 2,
            unpushed_commits: 0,
        }),
        ..codespace("amber")
    };
    store.update_codespace(&changed).await.expect("an update");
    store.put_port(&port("amber", 80)).await.expect("a port");
    let private = PortRecord {
        visibility: Visibility::Private,
        label: None,
        expires_at: None,
        users: Vec::new(),
        ..port("amber", 80)
    };
    store.put_port(&private).await.expect("the same again");
    store.put_port(&port("beryl", 65535)).await.expect("a port");
    assert_eq!(store.codespaces().await.expect("codespaces"), [changed, codespace("beryl")]);
    assert_eq!(store.ports().await.expect("ports"), [private, port("beryl", 65535)]);
    let decision = |accepted| OfferDecisionRecord {
        codespace: codespace("amber").name,
        hash: [7; 32],
        accepted,
        at: at(5),
    };
    store.put_offer_decision(&decision(true)).await.expect("a decision");
    store.put_offer_decision(&decision(false)).await.expect("another");
    assert_eq!(store.offer_decisions().await.expect("decisions"), [decision(false)]);
    store.remove_codespace(&codespace("amber").name).await.expect("gone");
    assert!(store.offer_decisions().await.expect("decisions").is_empty());
    assert!(matches!(store.put_offer_decision(&decision(true)).await, Err(StoreError::Missing)));
}

async fn share_3_ceilings_are_kept(store: SharedStore) {
    let ceiling = |organisation: Option<&str>, most| CeilingRecord {
        organisation: organisation.map(|name| Organisation::parse(name).expect("a name")),
        most,
        links: most == Visibility::Private,
    };
    let group = Organisation::parse("CN=eng,OU=x").expect("a name");
    for record in [
        ceiling(None, Visibility::Org),
        ceiling(Some(group.as_str()), Visibility::Org),
        ceiling(Some(group.as_str()), Visibility::Private),
    ] {
        store.put_ceiling(&record).await.expect("kept");
    }
    let both = [ceiling(None, Visibility::Org), ceiling(Some(group.as_str()), Visibility::Private)];
    assert_eq!(store.ceilings().await.expect("ceilings"), both);
    store.remove_ceiling(None).await.expect("gone");
    store.remove_ceiling(None).await.expect("gone twice");
    assert_eq!(store.ceilings().await.expect("ceilings"), both[1..]);
    store.remove_ceiling(Some(&group)).await.expect("gone");
    assert!(store.ceilings().await.expect("ceilings").is_empty());
}

async fn share_2_names_are_never_used_again(store: SharedStore) {
    store.add_codespace(&codespace("amber")).await.expect("new");
    store.put_port(&port("amber", 80)).await.expect("a port");
    store.remove_codespace(&codespace("amber").name).await.expect("gone");
    store.remove_codespace(&codespace("amber").name).await.expect("gone twice");
    assert!(store.ports().await.expect("ports").is_empty());
    assert!(matches!(store.add_codespace(&codespace("amber")).await, Err(StoreError::Conflict)));
    assert!(store.codespaces().await.expect("codespaces").is_empty());
}

async fn secrets_are_kept_once(store: SharedStore) {
    assert_eq!(store.secret("k").await.expect("a read"), None);
    assert_eq!(store.keep_secret("k", &[1, 2]).await.expect("kept"), [1, 2]);
    assert_eq!(store.keep_secret("k", &[3]).await.expect("kept before"), [1, 2]);
    assert_eq!(store.secret("k").await.expect("a read"), Some(vec![1, 2]));
}

async fn audit_1_events_are_found_by_what_they_say(store: SharedStore) {
    for (seconds, action, actor, target) in [
        (1, "session.created", "ada", "s1"),
        (2, "port.changed", "ada", "amber-x:3000"),
        (3, "codespace.started", "bob", "amber-x"),
        (4, "codespace.started", "bob", "amber-xy"),
        (5, "user.suspended", "ada", "bob"),
        (6, "sessions", "", ""),
    ] {
        let (action, actor, target) = (action.into(), actor.into(), target.into());
        let event = AuditRecord {
            at: at(seconds),
            action,
            actor,
            target,
            ..event("")
        };
        store.append_audit(&event).await.expect("appended");
    }
    let check = async |question: AuditQuestion, expected: &[i64]| {
        let question = AuditQuestion {
            limit: question.limit.max(2),
            ..question
        };
        let found = store.audit(&question).await.expect("events");
        let seconds: Vec<i64> = found.iter().map(|entry| (entry.event.at - at(0)).whole_seconds()).collect();
        assert_eq!(seconds, expected, "{question:?}");
        found.last().map(|entry| entry.id)
    };
    let any = AuditQuestion::default();
    let text = |text: &str| Some(text.to_owned());
    let last = check(any.clone(), &[6, 5]).await;
    check(
        AuditQuestion {
            before: last,
            limit: 9,
            ..any.clone()
        },
        &[4, 3, 2, 1],
    )
    .await;
    check(
        AuditQuestion {
            user: text("bob"),
            limit: 9,
            ..any.clone()
        },
        &[5, 4, 3],
    )
    .await;
    check(
        AuditQuestion {
            codespace: text("amber-x"),
            ..any.clone()
        },
        &[3, 2],
    )
    .await;
    check(
        AuditQuestion {
            action: text("session"),
            ..any.clone()
        },
        &[1],
    )
    .await;
    check(
        AuditQuestion {
            action: text("port.changed"),
            ..any.clone()
        },
        &[2],
    )
    .await;
    check(
        AuditQuestion {
            action: text("' OR 1 --"),
            ..any.clone()
        },
        &[],
    )
    .await;
    let (since, until) = (Some(at(2)), Some(at(4)));
    check(
        AuditQuestion {
            since,
            until,
            limit: 9,
            ..any
        },
        &[3, 2],
    )
    .await;
}

async fn audit_1_old_events_are_forgotten_and_no_others(store: SharedStore) {
    let now = OffsetDateTime::now_utc();
    for days in [40, 31, 29, 0] {
        let event = AuditRecord {
            at: now - Duration::days(days),
            ..event("a")
        };
        store.append_audit(&event).await.expect("appended");
    }
    assert_eq!(store.forget_audit(now - Duration::days(30)).await.expect("forgotten"), 2);
    assert_eq!(store.forget_audit(now - Duration::days(30)).await.expect("forgotten"), 0);
    assert_eq!(store.audit(&everything()).await.expect("events").len(), 2);
}

fn everything() -> AuditQuestion {
    AuditQuestion {
        limit: u32::MAX,
        ..AuditQuestion::default()
    }
}

/// Runs each test against each store.
macro_rules! suite {
    ($($test:ident),+ $(,)?) => {
        mod in_memory {
            $(#[tokio::test] async fn $test() { super::$test(std::sync::Arc::new(super::MemoryStore::new())).await })+
        }
        mod in_sqlite {
            $(#[tokio::test] async fn $test() {
                let directory = tempfile::tempdir().expect("a directory");
                super::$test(std::sync::Arc::new(super::open(&directory.path().join("s.db")).await)).await;
            })+
        }
    };
}

suite!(
    users,
    racing_first_users_make_one,
    oidc_1_an_identity_has_one_user,
    sessions_and_tokens,
    codespaces_and_ports,
    share_links,
    belongings,
    closures,
    share_3_ceilings_are_kept,
    share_2_names_are_never_used_again,
    secrets_are_kept_once,
    audit_1_events_are_found_by_what_they_say,
    audit_1_old_events_are_forgotten_and_no_others,
);

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).await.expect("a store")
}
