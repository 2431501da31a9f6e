//! What only a file can do wrong.

use super::*;

#[tokio::test]
async fn a_file_survives_and_is_private() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("data/portico.db");
    let store = open(&path).await;
    store.add_user(&user("u1", "ada")).await.expect("a user");
    for file in std::fs::read_dir(directory.path().join("data")).expect("files") {
        let mode = file.expect("a file").metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let directory_mode = path.parent().expect("data").metadata().expect("metadata").permissions().mode();
    assert_eq!(directory_mode & 0o777, 0o700);
    // Dropped, not closed: as a kill would leave it.
    drop(store);
    assert_eq!(open(&path).await.users().await.expect("users"), [user("u1", "ada")]);
}

#[tokio::test]
async fn files_that_are_no_store_are_refused_in_words() {
    let directory = tempfile::tempdir().expect("a directory");
    let garbage = directory.path().join("garbage.db");
    std::fs::write(&garbage, [0x5a; 5000]).expect("a file");
    let newer = directory.path().join("newer.db");
    let store = open(&newer).await;
    store.pretend_newer().await;
    store.close().await;
    let blocked = garbage.join("s.db");
    for (path, words) in [(&garbage, "damaged"), (&newer, "newer version"), (&blocked, "is a file")] {
        let message = SqliteStore::open(path).await.expect_err("no store").to_string();
        assert!(
            message.contains(words) && message.contains(&path.display().to_string()),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_full_disk_says_so_and_leaves_the_store_usable() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("s.db")).await;
    store.add_user(&user("u1", "ada")).await.expect("a user");
    store.limit_pages(40).await;
    let big = AuditRecord {
        detail: "x".repeat(100_000),
        ..event("a")
    };
    let mut last = Ok(());
    for _ in 0..20 {
        last = store.append_audit(&big).await;
        if last.is_err() {
            break;
        }
    }
    assert!(matches!(last, Err(StoreError::Full)), "{last:?}");
    assert_eq!(store.users().await.expect("users").len(), 1);
}

#[tokio::test]
async fn audit_1_the_log_only_grows() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("s.db")).await;
    store.append_audit(&event("a")).await.expect("appended");
    for statement in [
        "DELETE FROM audit",
        "UPDATE audit SET actor = 'nobody'",
        "REPLACE INTO audit SELECT id, at, action, 'nobody', target, detail, address, request_id FROM audit",
        "UPDATE audit_retention SET kept_from = unixepoch() * 1000000000",
        "DELETE FROM audit_retention",
    ] {
        assert!(store.run(statement).await.is_err(), "{statement}");
    }
    assert!(store.forget_audit(OffsetDateTime::now_utc()).await.is_err());
    let kept: Vec<AuditRecord> = store
        .audit(&everything())
        .await
        .expect("events")
        .into_iter()
        .map(|entry| entry.event)
        .collect();
    assert_eq!(kept, [event("a")]);
}

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up_to_date() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s.db");
    let store = SqliteStore::make_old(&path, 1).await;
    for statement in [
        "INSERT INTO users VALUES ('u1', 'ada', 'admin', NULL, NULL, 0, 1)",
        "INSERT INTO sessions VALUES ('s1', 'u1', zeroblob(32), 1, 2, 'Browser')",
        "INSERT INTO tokens VALUES ('t1', 'u1', 'ci', 'all', zeroblob(32), 3, NULL)",
        "INSERT INTO audit (at, action, actor, target, detail) VALUES (1, 'session.created', 'ada', 'ada', '')",
        "INSERT INTO used_names VALUES ('amber')",
        "INSERT INTO codespaces VALUES ('amber', 'u1', 'A', '/r', NULL, NULL, NULL, 'process', 'stopped', NULL, 3, NULL, 1, 30, 5, 6)",
    ] {
        store.run(statement).await.expect("as it was");
    }
    store.close().await;
    let store = open(&path).await;
    let kept = store.codespaces().await.expect("codespaces").remove(0);
    assert_eq!((kept.phase, kept.work), (Phase::Stopped, None));
    assert_eq!(store.tokens().await.expect("tokens")[0].last_used_at, None);
    assert_eq!(store.sessions().await.expect("sessions")[0].address, None);
    assert_eq!(store.audit(&everything()).await.expect("events").len(), 1);
    assert!(store.run("DELETE FROM audit").await.is_err());
    let stopped = CodespaceRecord {
        work: Some(Work::default()),
        ..kept
    };
    store.update_codespace(&stopped).await.expect("an update");
    assert_eq!(store.codespaces().await.expect("codespaces"), [stopped]);
}

/// Ten thousand codespaces are read at start in at most 100 ms by a release build.
#[tokio::test]
async fn ten_thousand_codespaces_are_read_fast() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s.db");
    let store = open(&path).await;
    store.add_codespace(&codespace("amber")).await.expect("new");
    for statement in [
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) INSERT INTO used_names SELECT 'n' || i || 'x' FROM n",
        "INSERT INTO codespaces SELECT u.name, owner, display_name, repository, reference, pull_request, devcontainer_path, runtime, phase, \
         reason, generation, agent_hash, prepared, idle_timeout_minutes, created_at, last_used_at, uncommitted_files, unpushed_commits, \
         agent_next_hash, woken_by, started_at, traffic_counts, announced_at, personal, default_branch FROM used_names AS u, codespaces AS c WHERE u.name <> c.name",
    ] {
        store.run(statement).await.expect("rows");
    }
    store.close().await;
    let start = Instant::now();
    let codespaces = open(&path).await.codespaces().await.expect("codespaces");
    let took = start.elapsed();
    assert_eq!(codespaces.len(), 10_000);
    println!("10,000 codespaces in {took:?}");
    // Unoptimised and on a busy machine; a quadratic mistake would take minutes.
    assert!(took < std::time::Duration::from_secs(30), "{took:?}");
}

/// Bytes changed anywhere in the file make errors, or answers; never a panic.
#[tokio::test]
async fn damaged_files_fail_in_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s.db");
    let store = open(&path).await;
    store.add_user(&user("u1", "ada")).await.expect("a user");
    store.put_session(&session("s", "u1")).await.expect("a session");
    store.add_codespace(&codespace("amber")).await.expect("new");
    store.put_port(&port("amber", 80)).await.expect("a port");
    store.close().await;
    let whole = std::fs::read(&path).expect("the file");
    let copy = directory.path().join("copy.db");
    for index in (0..whole.len()).step_by(509) {
        let mut bytes = whole.clone();
        bytes[index] ^= 0xff;
        if index % 2 == 0 {
            bytes.truncate(index);
        }
        std::fs::write(&copy, &bytes).expect("a copy");
        let Ok(store) = SqliteStore::open(&copy).await else { continue };
        let _outcomes = (
            store.users().await,
            store.sessions().await,
            store.codespaces().await,
            store.ports().await,
        );
        store.close().await;
        for beside in ["copy.db-wal", "copy.db-shm"] {
            let _absent = std::fs::remove_file(directory.path().join(beside));
        }
    }
}
