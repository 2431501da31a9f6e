//! What people keep is kept for them alone, and overwritten by its key.

use super::*;

pub(super) async fn belongings(store: SharedStore) {
    let key = |name: &str, repository: &str| BelongingKey {
        kind: "secret".into(),
        name: name.into(),
        repository: repository.into(),
    };
    let kept = |user: &str, key: BelongingKey, sealed: &[u8]| BelongingRecord {
        user: UserId(user.into()),
        key,
        sealed: sealed.into(),
        created_at: at(1),
        updated_at: at(2),
    };
    let first = kept("u1", key("A", ""), b"\0\xff");
    assert!(matches!(store.put_belonging(&first).await, Err(StoreError::Missing)));
    for (id, name) in [("u1", "ada"), ("u2", "bob")] {
        store.add_user(&user(id, name)).await.expect("new");
    }
    let of_repository = kept("u1", key("A", "https://x/y"), b"r");
    let of_other = kept("u2", key("A", ""), b"o");
    for one in [&first, &of_repository, &of_other] {
        store.put_belonging(one).await.expect("kept");
    }
    let again = BelongingRecord {
        sealed: b"again".to_vec(),
        updated_at: at(3),
        ..first.clone()
    };
    store.put_belonging(&again).await.expect("kept");
    assert_eq!(
        store.belongings().await.expect("kept"),
        [again, of_repository.clone(), of_other.clone()]
    );
    store.remove_belonging(&first.user, &first.key).await.expect("gone");
    store.remove_belonging(&first.user, &first.key).await.expect("gone twice");
    assert_eq!(store.belongings().await.expect("kept"), [of_repository, of_other]);
}
