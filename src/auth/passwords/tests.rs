use std::sync::{
    Barrier,
    atomic::{AtomicUsize, Ordering::SeqCst},
    mpsc,
};

use futures_util::{future::join_all, poll};

use super::*;
use crate::auth::{
    attempts::Attempts,
    fixture::{now, secret},
};

fn line(at_once: usize) -> Line {
    Line::of(at_once, WAITING, FLOOD)
}

#[tokio::test]
async fn rate_3_few_are_worked_out_at_once_and_the_rest_waits_or_is_refused() {
    let line = line(AT_ONCE);
    // None stands back: it would let others begin.
    *line.starved.lock() = Some(Instant::now());
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    // The first stay at work until everybody has asked: one that ended sooner would make room for another.
    let gate = Arc::new(Barrier::new(AT_ONCE + 1));
    let mut works = (0..WAITING + 50)
        .map(|number| {
            let (running, most, gate) = (running.clone(), most.clone(), gate.clone());
            Box::pin(tokio::task::unconstrained(line.run(move || {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                if number < AT_ONCE {
                    gate.wait();
                }
                running.fetch_sub(1, SeqCst);
            })))
        })
        .collect::<Vec<_>>();
    let mut let_in = Vec::new();
    for mut work in works.drain(..) {
        match poll!(&mut work) {
            std::task::Poll::Pending => let_in.push(work),
            std::task::Poll::Ready(done) => assert!(done.is_err()),
        }
    }
    assert_eq!(let_in.len(), WAITING);
    gate.wait();
    assert!(join_all(let_in).await.iter().all(Result::is_ok));
    assert_eq!(most.load(SeqCst), AT_ONCE);
}

/// The scheduling policy of the calling thread, field 41 of proc_pid_stat(5); 5 is SCHED_IDLE.
fn policy() -> String {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    after_name.split_whitespace().nth(38).unwrap().to_owned()
}

#[tokio::test]
async fn rate_3_hashes_of_a_flood_stand_back_behind_what_else_runs() {
    let (line, ours) = (line(1), policy());
    assert_ne!(ours, "5");
    assert_eq!(line.run(policy).await.unwrap(), ours);
    let _others = line.waiting.acquire_many(u32::try_from(FLOOD).unwrap()).await.unwrap();
    assert_eq!(line.run(policy).await.unwrap(), "5");
    *line.starved.lock() = Some(Instant::now());
    assert_eq!(line.run(policy).await.unwrap(), ours);
    assert_eq!(Hasher::new().links.run(policy).await.unwrap(), "5", "of links, always");
}

/// A hash that never gets a processor, played by one that waits.
#[tokio::test]
async fn rate_3_one_that_starves_holds_up_no_other() {
    let line = Line::of(1, WAITING, 0);
    let (end, ended) = mpsc::channel::<()>();
    let stuck = tokio::spawn({
        let line = line.clone();
        async move { line.run(move || ended.recv().is_err()).await }
    });
    while line.at_once.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert_ne!(line.run(policy).await.unwrap(), "5", "it has its share after one that starved");
    assert!(line.starved.lock().is_some() && !stuck.is_finished());
    drop(end);
    assert!(stuck.await.unwrap().unwrap());
    assert_eq!((line.at_once.available_permits(), line.waiting.available_permits()), (1, WAITING));
}

#[tokio::test]
async fn rate_3_links_hold_up_nobody_who_signs_in() {
    let hasher = Hasher::new();
    let _all = hasher
        .links
        .waiting
        .acquire_many(u32::try_from(WAITING_LINKS).unwrap())
        .await
        .unwrap();
    let _turn = hasher.links.at_once.acquire().await.unwrap();
    assert!(hasher.hash_of_link(secret("open sesame")).await.is_err());
    let hash = hasher.hash(secret("open sesame")).await.unwrap();
    let attempts = Arc::new(Mutex::new(Attempts::default()));
    let attempt = || Attempt::take(&attempts, "ada", None, now()).unwrap();
    assert!(hasher.verify(secret("open sesame"), Some(hash.clone()), attempt()).await.unwrap());
    assert!(!hasher.verify(secret("open says me"), Some(hash), attempt()).await.unwrap());
}

#[tokio::test]
async fn rate_1_an_attempt_counts_once_it_is_worked_on_whoever_waits_for_it() {
    let hasher = Hasher::new();
    let attempts = Arc::new(Mutex::new(Attempts::default()));
    let attempt = || Attempt::take(&attempts, "ada", None, now());
    let turn = hasher
        .sign_ins
        .at_once
        .acquire_many(u32::try_from(hasher.sign_ins.at_once.available_permits()).unwrap());
    let turn = turn.await.unwrap();
    for _ in 0..30 {
        let mut waits = Box::pin(hasher.verify(secret("wrong"), None, attempt().unwrap()));
        assert!(poll!(&mut waits).is_pending());
    }
    drop(turn);
    let mut begun = 0;
    while let Ok(attempt) = attempt() {
        let mut at_work = Box::pin(hasher.verify(secret("wrong"), None, attempt));
        assert!(poll!(&mut at_work).is_pending());
        drop(at_work);
        begun += 1;
        while hasher.sign_ins.waiting.available_permits() < WAITING {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(begun, 10, "nobody guesses for free by leaving");
}

#[test]
fn hashes_stand_back_in_a_flood_and_not_after_one_starved() {
    let (line, then) = (line(1), Instant::now());
    assert!(!line.stands_back(FLOOD, then));
    assert!(line.stands_back(FLOOD + 1, then));
    *line.starved.lock() = Some(then);
    assert!(!line.stands_back(WAITING, then + SHARE));
    assert!(line.stands_back(WAITING, then + SHARE + STARVED));
}
