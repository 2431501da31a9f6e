//! A permit that fell between being given and being watched.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    super::{caller::Caller, context::Patience, lease::Lease, recall::Recall},
    *,
};
use crate::codespace::Question;

#[tokio::test]
async fn sess_3_what_changed_before_the_watching_began_ends_it_too() {
    let (bench, _endings) = bench(LIMITS, false).await;
    let now = crate::clock::Clock::now(&SystemClock);
    let owner = bench.codespace.snapshot().record.owner.clone();
    let peer = || {
        let caller = Caller::new(
            IpAddr::from(Ipv4Addr::LOCALHOST),
            &Fronts::default(),
            &addresses::Addresses::new(10),
        );
        let patience = Patience { body: LONG, write: LONG };
        Arc::new(Peer::new(caller, None, patience, Arc::new(Recall::default())))
    };
    let lease = async || {
        let token = bench.new_token().await;
        let who = bench.auth.by_token(&token, now);
        let Presented::Valid(identity) = &who else { panic!("{who:?}") };
        let credential = Some(identity.credential.clone());
        let question = Question::of_port(who, crate::domain::Port::new(3000).expect("a port"));
        Lease::new(
            bench.edge.clone(),
            Arc::clone(&bench.codespace),
            question,
            credential,
            ([127, 0, 0, 1].into(), None),
            peer(),
        )
    };
    let by = Actor::gateway();
    let fell = async |lease: Arc<Lease>| tokio::time::timeout(PATIENCE, lease.fallen()).await.is_ok();

    let whole = lease().await;
    tokio::select! {
        biased;
        () = whole.fallen() => panic!("nothing happened to it"),
        () = tokio::task::yield_now() => {}
    }
    // Its signals fired before anybody listened, and whoever asks policy finds the owner.
    let suspended = lease().await;
    bench.auth.suspend(&owner, true, &by, now).await.expect("suspended");
    assert!(fell(suspended).await, "the account is suspended");
    bench.auth.suspend(&owner, false, &by, now).await.expect("restored");
    let changed = lease().await;
    bench.auth.set_role(&owner, Role::Admin, &by, now).await.expect("another role");
    assert!(fell(changed).await, "the account has another role");
}
