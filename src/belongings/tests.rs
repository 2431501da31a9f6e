//! What is kept, what is refused, and that nothing of it is anywhere in clear.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::{
    clock::SystemClock,
    domain::{Role, UserName},
    store::{Store as _, UserRecord, memory::MemoryStore},
};

const REPOSITORY: &str = "https://git.example/team/app";

fn id(text: &str) -> UserId {
    UserId(text.into())
}

fn name(text: &str) -> SecretName {
    text.parse().expect("a name")
}

fn value(text: &str) -> SecretString {
    text.to_owned().into()
}

async fn store_of(users: &[&str]) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    for user in users {
        let record = UserRecord {
            id: id(user),
            name: user.parse::<UserName>().expect("a name"),
            role: Role::Member,
            password: None,
            email: None,
            suspended: false,
            created_at: OffsetDateTime::UNIX_EPOCH,
            made_by: None,
        };
        store.add_user(&record).await.expect("new");
    }
    store
}

async fn load(store: &Arc<MemoryStore>, vault: Vault) -> Belongings {
    let store: SharedStore = Arc::clone(store) as SharedStore;
    let clock: SharedClock = Arc::new(SystemClock);
    let audit = Audit::new(Arc::clone(&store), Arc::clone(&clock));
    Belongings::load(store, vault, audit, clock).await.expect("loaded")
}

#[tokio::test]
async fn a_codespace_is_told_what_its_owner_keeps_for_it_and_nobody_elses() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("belongings.key");
    let store = store_of(&["ada", "bob"]).await;
    let by = Actor::gateway();
    {
        let kept = load(&store, Vault::at(&file, false).expect("a key")).await;
        let (ada, bob) = (id("ada"), id("bob"));
        let source: RepositorySource = REPOSITORY.parse().expect("a repository");
        let (first, is_new) = kept
            .set_secret(&ada, &name("A"), None, &value("canary-all"), &by)
            .await
            .expect("kept");
        assert!(is_new && first.repository.is_none());
        for (user, secret, repository, text) in [
            (&ada, "A", Some(&source), "canary-app"),
            (&ada, "B", None, "canary-b"),
            (&bob, "A", None, "canary-bob"),
        ] {
            kept.set_secret(user, &name(secret), repository, &value(text), &by)
                .await
                .expect("kept");
        }
        let host: GitHost = "git.example".parse().expect("a host");
        let (git, _) = kept
            .set_git(&ada, &host, None, "ada", &value("canary-password"), &by)
            .await
            .expect("kept");
        assert_eq!((git.host.as_str(), git.username.as_str()), ("https://git.example", "ada"));
    }
    // Nothing of it in the store, and the next gateway has it all.
    for record in store.belongings().await.expect("kept") {
        assert!(!String::from_utf8_lossy(&record.sealed).contains("canary"), "{:?}", record.key);
    }
    assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    let kept = load(&store, Vault::at(&file, false).expect("a key")).await;
    let told = |user: &str, repository: &str| {
        let personal = kept.for_codespace(&id(user), repository, false);
        assert!(!format!("{personal:?}").contains("canary"), "{personal:?}");
        let variables = personal
            .variables
            .into_iter()
            .map(|(name, Secret(value))| format!("{name}={value}"));
        (variables.collect::<Vec<_>>(), personal.git.len())
    };
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    for spelling in [REPOSITORY, "https://GIT.example:443/team/app.git"] {
        assert_eq!(told("ada", spelling), (owned(&["A=canary-app", "B=canary-b"]), 1), "{spelling}");
    }
    assert_eq!(
        told("ada", "https://git.example/team/app2"),
        (owned(&["A=canary-all", "B=canary-b"]), 1)
    );
    assert_eq!(told("bob", REPOSITORY), (owned(&["A=canary-bob"]), 0));
    assert_eq!(told("eve", REPOSITORY), (owned(&[]), 0));
    assert!(kept.delete_secret(&id("ada"), &name("A"), None, &by).await.expect("gone"));
    assert!(!kept.delete_secret(&id("ada"), &name("A"), None, &by).await.expect("gone twice"));
    assert_eq!(kept.secrets(&id("ada")).len(), 2);
}

#[tokio::test]
async fn a_value_that_was_moved_or_sealed_with_another_key_does_not_open() {
    let store = store_of(&["ada", "bob"]).await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("belongings.key");
    let kept = load(&store, Vault::at(&file, false).expect("a key")).await;
    let by = Actor::gateway();
    kept.set_secret(&id("ada"), &name("A"), None, &value("mine"), &by)
        .await
        .expect("kept");
    let sealed = store.belongings().await.expect("kept").remove(0);
    let other_name = BelongingKey {
        name: "B".into(),
        ..sealed.key.clone()
    };
    for moved in [
        BelongingRecord {
            user: id("bob"),
            ..sealed.clone()
        },
        BelongingRecord {
            key: other_name,
            ..sealed.clone()
        },
        BelongingRecord {
            sealed: sealed.sealed.iter().map(|byte| byte ^ 1).collect(),
            ..sealed.clone()
        },
    ] {
        let kept = {
            store.put_belonging(&moved).await.expect("kept");
            load(&store, Vault::at(&file, false).expect("a key")).await
        };
        assert!(!kept.for_codespace(&moved.user, "", false).variables.contains_key(&moved.key.name));
    }
    let kept = load(&store, Vault::forgetful().expect("a key")).await;
    assert!(kept.for_codespace(&id("ada"), "", false).variables.is_empty());
    assert!(kept.secrets(&id("ada")).iter().all(|secret| !secret.readable));
}

#[tokio::test]
async fn settings_that_do_not_open_are_not_overwritten() {
    let store = store_of(&["ada"]).await;
    let (ada, by) = (id("ada"), Actor::gateway());
    let change = || ProfileChange {
        git_name: Some("Ada".into()),
        ..ProfileChange::default()
    };
    let kept = load(&store, Vault::forgetful().expect("a key")).await;
    kept.change_profile(&ada, change(), false, &by).await.expect("changed");
    let before = store.belongings().await.expect("kept");
    let kept = load(&store, Vault::forgetful().expect("another")).await;
    assert_eq!(kept.profile(&ada), None);
    let refused = kept.change_profile(&ada, change(), false, &by).await;
    assert!(matches!(refused, Err(BelongingError::Unreadable)), "{refused:?}");
    assert_eq!(store.belongings().await.expect("kept"), before);
}

#[tokio::test]
async fn a_repository_has_its_own_password_and_one_name_in_all_spellings() {
    let store = store_of(&["ada"]).await;
    let kept = load(&store, Vault::forgetful().expect("a key")).await;
    let (ada, by) = (id("ada"), Actor::gateway());
    let source = |text: &str| text.parse::<RepositorySource>().expect("a repository");
    let host: GitHost = "git.example".parse().expect("a host");
    for (repository, password) in [(None, "for-all"), (Some(source(REPOSITORY)), "for-one")] {
        let set = kept.set_git(&ada, &host, repository.as_ref(), "ada", &value(password), &by).await;
        assert!(set.expect("kept").1);
    }
    let other: GitHost = "other.example".parse().expect("a host");
    kept.set_git(&ada, &other, Some(&source(REPOSITORY)), "ada", &value("only-there"), &by)
        .await
        .expect("kept");
    let told = |repository: &str| {
        let git = kept.for_codespace(&ada, repository, false).git.into_iter();
        git.map(|git| format!("{} {}", git.host, git.password.0)).collect::<Vec<_>>()
    };
    let all = ["https://git.example for-one", "https://other.example only-there"];
    assert_eq!(told("https://git.example/team/app.git/"), all);
    assert_eq!(told("https://evil.example/team/app"), ["https://git.example for-all"]);
    let spelled = source("https://Git.Example/team/app.git");
    let (_, is_new) = kept
        .set_git(&ada, &host, Some(&spelled), "ada", &value("changed"), &by)
        .await
        .expect("kept");
    assert!(!is_new);
    assert!(kept.delete_git(&ada, &host, Some(&spelled), &by).await.expect("gone"));
    assert_eq!(
        told(REPOSITORY),
        ["https://git.example for-all", "https://other.example only-there"]
    );
}

#[test]
fn a_key_that_is_needed_is_not_made_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("belongings.key");
    assert!(matches!(Vault::at(&file, true), Err(VaultError::Missing(_))));
    assert!(!file.exists());
    Vault::at(&file, false).expect("made");
    Vault::at(&file, true).expect("it is there");
}

#[tokio::test]
async fn numbers_and_sizes_are_bounded() {
    let store = store_of(&["ada"]).await;
    let kept = load(&store, Vault::forgetful().expect("a key")).await;
    let (ada, by) = (id("ada"), Actor::gateway());
    let set = async |secret: &str, text: &str| kept.set_secret(&ada, &name(secret), None, &value(text), &by).await.map(drop);
    assert!(matches!(set("A", "").await, Err(BelongingError::Empty)));
    assert!(matches!(set("A", "a\0b").await, Err(BelongingError::Control)));
    assert!(matches!(
        set("A", &"x".repeat(MAX_SECRET_BYTES + 1)).await,
        Err(BelongingError::TooLong { .. })
    ));
    for number in 0..5 {
        set(&format!("L{number}"), &"x".repeat(MAX_SECRET_BYTES)).await.expect("kept");
    }
    assert!(matches!(
        set("L5", &"x".repeat(MAX_SECRET_BYTES)).await,
        Err(BelongingError::TooLongTogether)
    ));
    set("L4", &"y".repeat(MAX_SECRET_BYTES)).await.expect("in place of the one before");
    for number in 0..95 {
        set(&format!("S{number}"), "a line\nand a tab\t").await.expect("kept");
    }
    assert!(matches!(
        set("ONE_MORE", "x").await,
        Err(BelongingError::TooMany { limit: MAX_SECRETS })
    ));
    let host: GitHost = "x".parse().expect("a host");
    let several = kept.set_git(&ada, &host, None, "ada\nhost=evil", &value("x"), &by).await;
    assert!(matches!(several, Err(BelongingError::SeveralLines)));
}

#[test]
fn keys_that_others_can_read_or_that_are_none_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("belongings.key");
    Vault::at(&file, false).expect("made");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("it is ours");
    assert!(matches!(Vault::at(&file, false), Err(VaultError::Readable(_))));
    std::fs::write(&file, b"short").expect("it is ours");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    assert!(matches!(Vault::at(&file, false), Err(VaultError::Damaged(_))));
}
