//! A permit that fell between being given and being watched.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    super::{caller::Caller, context::Patience, lease::Lease, recall::Recall},
    *,
};
use crate::{
    codespace::{PortChange, Question},
    domain::{Credential, Identity, Port, Visibility},
    relay::tests::without_timers,
};

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
        let question = Question::of_port(who, Port::new(3000).expect("a port"));
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

/// What may end a permit.
#[derive(Clone, Copy, Debug)]
enum Cause {
    SignOut,
    Token,
    Suspension,
    Private,
    Deletion,
}

/// A permit for port 3000, which is public, and what it was given to.
async fn presented(bench: &Bench, cause: Cause) -> Presented {
    let now = crate::clock::Clock::now(&SystemClock);
    let token = bench.new_token().await;
    match (cause, bench.auth.by_token(&token, now)) {
        (Cause::Private, _) => Presented::Nothing,
        (Cause::SignOut, Presented::Valid(identity)) => {
            let user = bench.auth.user(&identity.user).expect("the user");
            let client = auth::Client::default();
            let fresh = bench.auth.open_session(&user, &client, now).await.expect("a session");
            Presented::Valid(Arc::new(Identity {
                credential: Credential::Cookie(fresh.session.id.clone()),
                ..(*identity).clone()
            }))
        }
        (_, presented) => presented,
    }
}

async fn happens(bench: &Bench, cause: Cause, who: &Presented) {
    let (by, now) = (Actor::gateway(), crate::clock::Clock::now(&SystemClock));
    let name = bench.codespace.name();
    match (cause, who) {
        (Cause::SignOut | Cause::Token, Presented::Valid(identity)) => match &identity.credential {
            Credential::Cookie(session) => bench.auth.sign_out(session, &by, now).await.expect("signed out"),
            Credential::Token(token) => {
                let revoked = bench.auth.revoke_token(&identity.user, token, &by, now).await;
                assert!(revoked.expect("revoked"));
            }
            other => panic!("{other:?}"),
        },
        (Cause::Suspension, _) => {
            let owner = bench.codespace.owner();
            bench.auth.suspend(owner, true, &by, now).await.expect("suspended");
        }
        (Cause::Private, _) => visibility(bench, Visibility::Private).await,
        (Cause::Deletion, _) => bench.codespaces.delete(name, true, &by).await.expect("deleted"),
        _ => panic!("{who:?}"),
    }
}

async fn visibility(bench: &Bench, visibility: Visibility) {
    let change = PortChange {
        visibility: Some(visibility),
        ..PortChange::default()
    };
    let port = Port::new(3000).expect("a port");
    let changed = bench
        .codespaces
        .change_port(bench.codespace.name(), port, change, &Actor::gateway())
        .await;
    changed.expect("changed");
}

const CAUSES: [Cause; 5] = [Cause::SignOut, Cause::Token, Cause::Suspension, Cause::Private, Cause::Deletion];

/// A permit that such a cause ends, whom it was given to, and on which connection.
async fn permit(bench: &Bench, cause: Cause) -> (Arc<Lease>, Presented, Arc<Peer>) {
    visibility(bench, Visibility::Public).await;
    let who = presented(bench, cause).await;
    let credential = match &who {
        Presented::Valid(identity) => Some(identity.credential.clone()),
        _ => None,
    };
    let address = IpAddr::from(Ipv4Addr::LOCALHOST);
    let caller = Caller::new(address, &Fronts::default(), &addresses::Addresses::new(10));
    let patience = Patience { body: LONG, write: LONG };
    let peer = Arc::new(Peer::new(caller, None, patience, Arc::new(Recall::default())));
    let question = Question::of_port(who.clone(), Port::new(3000).expect("a port"));
    let lease = Lease::new(
        bench.edge.clone(),
        Arc::clone(&bench.codespace),
        question,
        credential,
        (address, None),
        Arc::clone(&peer),
    );
    (lease, who, peer)
}

/// A socket watches its permit from its first moment on.
#[tokio::test]
async fn sess_3_no_timer_stands_between_a_cause_and_the_end_of_a_socket() {
    for cause in CAUSES {
        let (bench, _endings) = bench(LIMITS, false).await;
        let (lease, who, _peer) = permit(&bench, cause).await;
        let fallen = without_timers(async move { lease.fallen().await }).await;
        happens(&bench, cause, &who).await;
        soon(fallen).await.expect("no timer was asked for");
    }
}

#[tokio::test]
async fn sess_3_each_cause_ends_what_is_open() {
    for cause in CAUSES {
        let (bench, _endings) = bench(LIMITS, false).await;
        let (lease, who, peer) = permit(&bench, cause).await;
        let _open = lease.watch();
        let fallen = tokio::spawn(async move { peer.leases.fallen().await });
        // It is watched by the next beat.
        bench.edge.inner.beat.next().await;
        tokio::task::yield_now().await;
        assert!(!fallen.is_finished(), "{cause:?} has not happened");
        let ((), fell) = tokio::join!(happens(&bench, cause, &who), soon(fallen));
        fell.expect("no panic");
    }
}
