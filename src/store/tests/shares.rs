//! Share links are kept as they are, and end with their codespace.

use super::*;
use crate::domain::{ShareKind, ShareMethods, SharePath};

fn share(id: &str, codespace: &str) -> ShareRecord {
    ShareRecord {
        id: ShareId(id.into()),
        codespace: codespace.parse().expect("a name"),
        name: "for Kim".into(),
        terms: ShareTerms {
            port: Port::new(3000).expect("a port"),
            kind: ShareKind::Webhook,
            path: "/hooks".parse().expect("a path"),
            methods: ShareMethods::parse(["POST", "PUT"]).expect("methods"),
            expires_at: Some(at(9)),
            revoked_at: None,
        },
        beside: Some("admin".into()),
        secret_hash: [id.bytes().fold(0, u8::wrapping_add); 32],
        password: Some("$argon2id$".into()),
        uses: 0,
        max_uses: Some(5),
        created_by: "ada".into(),
        created_at: at(1),
        last_used_at: None,
    }
}

pub(super) async fn share_links(store: SharedStore) {
    assert!(matches!(store.put_share(&share("s1", "amber")).await, Err(StoreError::Missing)));
    store.add_codespace(&codespace("amber")).await.expect("new");
    store.put_share(&share("s1", "amber")).await.expect("a link");
    let open = ShareRecord {
        terms: ShareTerms {
            kind: ShareKind::People,
            path: SharePath::everything(),
            methods: ShareMethods::default(),
            expires_at: None,
            ..share("s2", "amber").terms
        },
        password: None,
        beside: None,
        max_uses: None,
        ..share("s2", "amber")
    };
    store.put_share(&open).await.expect("a link");
    let mut used = share("s1", "amber");
    (used.uses, used.last_used_at, used.terms.revoked_at) = (3, Some(at(5)), Some(at(6)));
    store.put_share(&used).await.expect("the same again");
    assert_eq!(store.shares().await.expect("links"), [used, open]);
    store.remove_share(&ShareId("s2".into())).await.expect("gone");
    store.remove_share(&ShareId("s2".into())).await.expect("gone twice");
    assert_eq!(store.shares().await.expect("links").len(), 1);
    store.remove_codespace(&codespace("amber").name).await.expect("gone");
    assert!(store.shares().await.expect("links").is_empty(), "they end with their codespace");
}

pub(super) async fn closures(store: SharedStore) {
    let closure = |extent: &str, reason: &str| ClosureRecord {
        extent: extent.parse().expect("an extent"),
        reason: reason.into(),
        by: "ada".into(),
        at: at(4),
    };
    let [all, user, port] = ["all", "user:u1", "port:amber-x:3000"].map(|extent| closure(extent, "why"));
    for closure in [&all, &user, &port] {
        store.put_closure(closure).await.expect("closed");
    }
    let again = closure("user:u1", "'); DROP TABLE closures; --");
    store.put_closure(&again).await.expect("the same again");
    for _ in 0..2 {
        store.remove_closure(&all.extent).await.expect("open, twice");
    }
    let mut found = store.closures().await.expect("closures");
    found.sort_by(|a, b| a.extent.cmp(&b.extent));
    assert_eq!(found, [again, port]);
}
