//! Tickets: single-use proofs that carry a login session to one codespace host (AUTH-2).

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use subtle::ConstantTimeEq;
use thiserror::Error;
use time::OffsetDateTime;

use super::{
    Auth, Client,
    secrets::{fresh_secret, hash_secret},
};
use crate::{domain::SessionId, route::Route};

/// How long a ticket is good, by both clocks.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// Most tickets of one login session; beyond it its oldest gives way. A page mints one for each listening port.
const MAX_EACH: usize = 512;
/// Longest ticket that is looked at.
const MAX_BYTES: usize = 64;
/// So many refusals of one ticket are in the audit log; whoever tries it more often does not flood the log.
const AUDITED_EACH: u8 = 8;

/// What a ticket is to be good for. The caller mints only for someone who may open the host now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ticket {
    pub host: Route,
    pub session: SessionId,
    pub binding: Binding,
}

/// What must come with a ticket, so that it is useless in another browser.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Binding {
    /// The nonce cookie whose value has this SHA-256.
    Nonce([u8; 32]),
    /// An `Origin` header that is this host's: a sibling's ticket, posted by the editor host's page.
    Origin(Route),
}

/// What came with a ticket.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// The values of the nonce cookies.
    pub nonces: Vec<String>,
    /// The host that the `Origin` header names, if it is exactly one of ours.
    pub origin: Option<Route>,
}

/// A ticket that was good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Redeemed {
    pub session: SessionId,
}

/// Why a ticket was no good. All of them are answered alike.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TicketError {
    #[error("no such ticket, or it expired")]
    Unknown,
    /// Caches and tabs replay innocently: it is logged, and ends nothing.
    #[error("the ticket was used before")]
    Replayed,
    #[error("the ticket is for another host")]
    WrongHost,
    #[error("the ticket is for another browser or page")]
    WrongProof,
    #[error("the login session is over")]
    SessionOver,
}

/// Both clocks at once: the wall clock may jump, the other one stands still while the machine sleeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) wall: OffsetDateTime,
    pub(super) monotonic: Instant,
}

/// The tickets that are out, by hash; used ones stay until they expire, to tell a replay.
#[derive(Default)]
pub(super) struct Table {
    out: HashMap<[u8; 32], Out>,
    of_session: HashMap<SessionId, VecDeque<[u8; 32]>>,
}

struct Out {
    ticket: Ticket,
    made: Moment,
    used: bool,
    /// How often it was refused.
    refused: u8,
}

impl Auth {
    /// Makes a ticket, 256 bits in base64url, good for 60 seconds.
    pub fn mint_ticket(&self, ticket: Ticket, client: &Client, now: OffsetDateTime) -> String {
        let secret = fresh_secret();
        self.audit_ticket("ticket.minted", &ticket.session, &ticket.host, client, now);
        self.inner.tickets.lock().keep(hash_secret(&secret), ticket, Moment::at(now));
        secret
    }

    /// Uses a ticket up. Of any number at once, one succeeds; a wrong host or proof gives nothing and uses nothing up.
    pub fn redeem_ticket(
        &self,
        secret: &str,
        host: &Route,
        proof: &Proof,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<Redeemed, TicketError> {
        if secret.len() > MAX_BYTES {
            return Err(TicketError::Unknown);
        }
        let hash = hash_secret(secret);
        let redeemed = self.inner.tickets.lock().redeem(&hash, host, proof, Moment::at(now));
        let redeemed = match redeemed {
            Ok(session) if self.alive(&session, now).is_some() => Ok(Redeemed { session }),
            Ok(_) => Err(TicketError::SessionOver),
            Err(error) => Err(error),
        };
        match &redeemed {
            Ok(redeemed) => self.audit_ticket("ticket.redeemed", &redeemed.session, host, client, now),
            Err(error) => {
                let worth_audit = self.inner.tickets.lock().worth_audit(&hash);
                if let Some(session) = worth_audit {
                    let action = match error {
                        TicketError::Replayed => "ticket.replayed",
                        _ => "ticket.refused",
                    };
                    let whose = self.name_of(&session);
                    let detail = if whose.is_empty() {
                        whose
                    } else {
                        format!("a ticket of {whose}'s")
                    };
                    // Whoever shows it need not be whose it is.
                    self.audit_later(action, client.actor(""), target_of(host), detail, now);
                }
            }
        }
        redeemed
    }

    /// Whose login session it is; empty once that is over.
    fn name_of(&self, session: &SessionId) -> String {
        let user = self.login_session(session).and_then(|session| self.user(session.user()));
        user.map(|user| user.name.to_string()).unwrap_or_default()
    }

    pub(super) fn sweep_tickets(&self, now: OffsetDateTime) {
        self.inner.tickets.lock().sweep(Moment::at(now));
    }

    fn audit_ticket(&self, action: &'static str, session: &SessionId, host: &Route, client: &Client, now: OffsetDateTime) {
        let by = client.actor(&self.name_of(session));
        self.audit_later(action, by, target_of(host), String::new(), now);
    }
}

/// How the audit log names a host: a codespace, or a port of it as `NAME:PORT`.
pub(super) fn target_of(host: &Route) -> String {
    match host {
        Route::Editor(name) => name.to_string(),
        Route::Port(name, port) => format!("{name}:{port}"),
        Route::Gateway | Route::NoSuchCodespace | Route::Foreign => String::new(),
    }
}

impl Moment {
    fn at(wall: OffsetDateTime) -> Self {
        Self {
            wall,
            monotonic: Instant::now(),
        }
    }

    /// Whether something made then is still good now. A wall clock set back does not make it good for longer, because
    /// the other clock goes on.
    fn is_good(self, now: Self) -> bool {
        now.wall - self.wall < GOOD_FOR && now.monotonic.saturating_duration_since(self.monotonic) < GOOD_FOR
    }
}

impl Table {
    pub(super) fn keep(&mut self, hash: [u8; 32], ticket: Ticket, now: Moment) {
        let hashes = self.of_session.entry(ticket.session.clone()).or_default();
        while hashes.len() >= MAX_EACH {
            hashes.pop_front().and_then(|oldest| self.out.remove(&oldest));
        }
        hashes.push_back(hash);
        let out = Out {
            ticket,
            made: now,
            used: false,
            refused: 0,
        };
        self.out.insert(hash, out);
    }

    pub(super) fn redeem(&mut self, hash: &[u8; 32], host: &Route, proof: &Proof, now: Moment) -> Result<SessionId, TicketError> {
        let out = self
            .out
            .get_mut(hash)
            .filter(|out| out.made.is_good(now))
            .ok_or(TicketError::Unknown)?;
        if out.used {
            return Err(TicketError::Replayed);
        }
        if out.ticket.host != *host {
            return Err(TicketError::WrongHost);
        }
        if !out.ticket.binding.is_met(proof) {
            return Err(TicketError::WrongProof);
        }
        out.used = true;
        Ok(out.ticket.session.clone())
    }

    /// The session of a ticket of which one more refusal belongs into the audit log; of one that never was none does.
    fn worth_audit(&mut self, hash: &[u8; 32]) -> Option<SessionId> {
        let out = self.out.get_mut(hash)?;
        out.refused = out.refused.saturating_add(1);
        (out.refused <= AUDITED_EACH).then(|| out.ticket.session.clone())
    }

    pub(super) fn sweep(&mut self, now: Moment) {
        self.out.retain(|_, out| out.made.is_good(now));
        let out = &self.out;
        self.of_session.retain(|_, hashes| {
            hashes.retain(|hash| out.contains_key(hash));
            !hashes.is_empty()
        });
    }
}

impl Binding {
    fn is_met(&self, proof: &Proof) -> bool {
        match self {
            Self::Nonce(wanted) => proof
                .nonces
                .iter()
                .any(|nonce| bool::from(hash_secret(nonce).as_slice().ct_eq(wanted.as_slice()))),
            Self::Origin(wanted) => proof.origin.as_ref() == Some(wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use super::*;
    use crate::auth::{
        Fresh,
        fixture::{audited, auth, editor, now, port, seconds, signed_in},
    };

    fn ticket(fresh: &Fresh, binding: Binding) -> Ticket {
        Ticket {
            host: port("amber", 3000),
            session: fresh.session.id.clone(),
            binding,
        }
    }

    fn nonce(value: &str) -> Proof {
        Proof {
            nonces: vec!["other".into(), value.into()],
            origin: None,
        }
    }

    fn origin(host: Route) -> Proof {
        Proof {
            nonces: Vec::new(),
            origin: Some(host),
        }
    }

    #[tokio::test]
    async fn auth_2_a_ticket_needs_its_host_and_proof_and_works_once() {
        let (auth, store) = auth().await;
        let fresh = signed_in(&auth).await;
        let host = port("amber", 3000);
        let cases = [
            (Binding::Nonce(hash_secret("n")), nonce("n"), nonce("m")),
            (
                Binding::Origin(editor("amber")),
                origin(editor("amber")),
                origin(port("amber", 4000)),
            ),
        ];
        for (binding, right, wrong) in cases {
            let secret = auth.mint_ticket(ticket(&fresh, binding), &Client::default(), now());
            assert_eq!(secret.len(), 43);
            let redeem = |host: &Route, proof: &Proof| auth.redeem_ticket(&secret, host, proof, &Client::default(), now());
            assert_eq!(redeem(&port("beryl", 3000), &right), Err(TicketError::WrongHost));
            assert_eq!(redeem(&editor("amber"), &right), Err(TicketError::WrongHost));
            assert_eq!(redeem(&host, &wrong), Err(TicketError::WrongProof));
            assert_eq!(redeem(&host, &Proof::default()), Err(TicketError::WrongProof));
            assert_eq!(redeem(&host, &right).map(|redeemed| redeemed.session), Ok(fresh.session.id.clone()));
            assert_eq!(redeem(&host, &right), Err(TicketError::Replayed));
            assert_eq!(
                auth.redeem_ticket("x", &host, &right, &Client::default(), now()),
                Err(TicketError::Unknown)
            );
        }
        auth.settle().await;
        assert_eq!(
            audited(&store).await.iter().filter(|action| *action == "ticket.replayed").count(),
            2
        );
        // A replay ends nothing.
        assert!(auth.alive(&fresh.session.id, now()).is_some());
    }

    #[tokio::test]
    async fn auth_2_of_a_thousand_at_once_one_succeeds() {
        let (auth, _) = auth().await;
        let fresh = signed_in(&auth).await;
        let secret = auth.mint_ticket(ticket(&fresh, Binding::Nonce(hash_secret("n"))), &Client::default(), now());
        let barrier = Arc::new(Barrier::new(8));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (auth, secret, barrier) = (auth.clone(), secret.clone(), barrier.clone());
                std::thread::spawn(move || {
                    barrier.wait();
                    let redeem = || auth.redeem_ticket(&secret, &port("amber", 3000), &nonce("n"), &Client::default(), now());
                    (0..125).filter(|_| redeem().is_ok()).count()
                })
            })
            .collect();
        let won: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn auth_2_no_clock_makes_an_expired_ticket_good() {
        let (auth, _) = auth().await;
        let fresh = signed_in(&auth).await;
        let start = Moment::at(now());
        let check = |wall: i64, monotonic: u64, expected: bool| {
            let mut table = Table::default();
            table.keep([1; 32], ticket(&fresh, Binding::Nonce(hash_secret("n"))), start);
            let later = Moment {
                wall: start.wall + time::Duration::seconds(wall),
                monotonic: start.monotonic + seconds(monotonic),
            };
            let redeemed = table.redeem(&[1; 32], &port("amber", 3000), &nonce("n"), later);
            assert_eq!(redeemed.is_ok(), expected, "{wall} {monotonic}");
        };
        check(59, 59, true);
        check(60, 60, false);
        check(3600, 1, false);
        check(-3600, 59, true);
        check(61 - 3600, 61, false);
        check(61, 0, false);
    }

    #[tokio::test]
    async fn tickets_are_bounded_and_swept() {
        let (auth, _) = auth().await;
        let fresh = signed_in(&auth).await;
        let first = auth.mint_ticket(ticket(&fresh, Binding::Nonce(hash_secret("n"))), &Client::default(), now());
        for _ in 0..MAX_EACH {
            auth.mint_ticket(ticket(&fresh, Binding::Nonce([0; 32])), &Client::default(), now());
        }
        let host = port("amber", 3000);
        assert_eq!(
            auth.redeem_ticket(&first, &host, &nonce("n"), &Client::default(), now()),
            Err(TicketError::Unknown)
        );
        assert_eq!(auth.inner.tickets.lock().out.len(), MAX_EACH);
        auth.sweep(now() + seconds(61)).await;
        assert!(auth.inner.tickets.lock().out.is_empty() && auth.inner.tickets.lock().of_session.is_empty());
    }

    #[tokio::test]
    async fn a_ticket_is_worth_nothing_once_the_session_is_over() {
        let (auth, _) = auth().await;
        let fresh = signed_in(&auth).await;
        let secret = auth.mint_ticket(ticket(&fresh, Binding::Nonce(hash_secret("n"))), &Client::default(), now());
        auth.sign_out(&fresh.session.id, &crate::audit::Actor::gateway(), now())
            .await
            .expect("signed out");
        let redeemed = auth.redeem_ticket(&secret, &port("amber", 3000), &nonce("n"), &Client::default(), now());
        assert_eq!(redeemed, Err(TicketError::SessionOver));
    }
}
