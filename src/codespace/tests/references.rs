//! Which request is for a codespace that is there already.

use super::*;

impl Bench {
    /// A codespace of a reference, and whether it was made for this.
    async fn at(&self, reference: Option<&str>) -> (Arc<Codespace>, Created) {
        let wanted = NewCodespace {
            reference: reference.map(str::to_owned),
            ..self.wanted()
        };
        self.spaces.create(wanted, &Actor::default()).await.expect("it is there, or made")
    }

    /// As [`Self::at`]; its agent has looked at the repository.
    async fn checked_out(&self, reference: Option<&str>, default_branch: &str) -> Arc<Codespace> {
        let (codespace, created) = self.at(reference).await;
        assert_eq!(created, Created::New);
        self.started(&codespace, 1).await;
        connect(&codespace, 1).await;
        let name = default_branch.to_owned();
        say(&codespace, 1, FromAgent::DefaultBranch { name }).await;
        say(&codespace, 1, FromAgent::Prepared).await;
        reaches(&codespace, |now| now.phase() == Phase::Running).await;
        codespace
    }
}

#[tokio::test]
async fn no_reference_is_the_default_branch_by_its_name() {
    let bench = bench().await;
    let nameless = bench.checked_out(None, "trunk").await;
    for same in [None, Some("trunk"), Some("refs/heads/trunk")] {
        let (found, created) = bench.at(same).await;
        assert_eq!((found.name(), created), (nameless.name(), Created::Existing), "{same:?}");
    }
    // It is known after a restart of the gateway too.
    let later = load(&bench.store, &bench.runtime, &bench.auth, &bench.clock).await;
    let wanted = NewCodespace {
        reference: Some("trunk".into()),
        ..bench.wanted()
    };
    let (found, created) = later.create(wanted, &Actor::default()).await.expect("it is there");
    assert_eq!((found.name(), created), (nameless.name(), Created::Existing));
    // What runs inside may speak for the agent once the repository is there; it claims no other branch.
    let name = "main".to_owned();
    say(&nameless, 1, FromAgent::DefaultBranch { name }).await;
    for other in ["main", "refs/tags/trunk"] {
        assert_eq!(bench.at(Some(other)).await.1, Created::New, "{other}");
    }
}

#[tokio::test]
async fn the_default_branch_by_its_name_is_no_reference() {
    let bench = bench().await;
    let named = bench.checked_out(Some("trunk"), "trunk").await;
    let (found, created) = bench.at(None).await;
    assert_eq!((found.name(), created), (named.name(), Created::Existing));
    let side = bench.checked_out(Some("side"), "trunk").await;
    assert_ne!(side.name(), named.name());
    assert_eq!(bench.at(None).await.0.name(), named.name());
}

#[tokio::test]
async fn of_two_that_were_made_before_it_was_known_each_is_found_by_its_own() {
    let bench = bench().await;
    let (nameless, _) = bench.at(None).await;
    let (named, created) = bench.at(Some("trunk")).await;
    assert_eq!(created, Created::New, "nobody knows yet");
    for codespace in [&nameless, &named] {
        bench.started(codespace, 1).await;
        connect(codespace, 1).await;
        let name = "trunk".to_owned();
        say(codespace, 1, FromAgent::DefaultBranch { name }).await;
        reaches(codespace, |now| now.record.default_branch.is_some()).await;
    }
    assert_eq!(bench.at(None).await.0.name(), nameless.name());
    assert_eq!(bench.at(Some("trunk")).await.0.name(), named.name());
}
