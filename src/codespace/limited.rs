//! A port's limits at work: what is under way, and what came in the last moment. Shared by all threads of the gateway.

use std::{net::IpAddr, sync::Arc, time::Instant};

use parking_lot::Mutex;

use crate::domain::{Exceeded, PortLimits};

/// The limits of one port with their counters.
#[derive(Debug)]
pub struct Limited {
    limits: PortLimits,
    /// Shared with the limits before a change, so that what is under way counts on.
    counters: Arc<Mutex<Counters>>,
}

#[derive(Debug)]
struct Counters {
    open: u32,
    /// Requests that may come at this moment: a bucket that fills at the rate, as large as one second of it.
    tokens: f64,
    filled_at: Instant,
}

impl PartialEq for Limited {
    fn eq(&self, other: &Self) -> bool {
        self.limits == other.limits
    }
}

/// A place among a port's connections, until it is dropped.
#[derive(Debug)]
pub struct Room(Arc<Mutex<Counters>>);

impl Limited {
    /// Begins to count; none where nothing is limited.
    pub fn new(limits: PortLimits, now: Instant) -> Option<Arc<Self>> {
        let counters = Counters {
            open: 0,
            tokens: limits.rate.map_or(0.0, f64::from),
            filled_at: now,
        };
        (!limits.is_none()).then(|| {
            Arc::new(Self {
                limits,
                counters: Arc::new(Mutex::new(counters)),
            })
        })
    }

    /// The same limits, with the counters of those before them.
    pub(super) fn following(self: Arc<Self>, before: &Self) -> Arc<Self> {
        if before.limits.rate.is_none() {
            let mut counters = before.counters.lock();
            counters.tokens = self.limits.rate.map_or(0.0, f64::from);
        }
        Arc::new(Self {
            limits: self.limits.clone(),
            counters: Arc::clone(&before.counters),
        })
    }

    /// What is limited.
    pub fn limits(&self) -> &PortLimits {
        &self.limits
    }

    /// Lets one request or connection in, or says which limit it ran into.
    pub fn enter(&self, address: IpAddr, now: Instant) -> Result<Room, Exceeded> {
        if !self.limits.admits(address) {
            return Err(Exceeded::Address);
        }
        let mut counters = self.counters.lock();
        if let Some(most) = self.limits.connections
            && counters.open >= most
        {
            return Err(Exceeded::Connections(most));
        }
        if let Some(rate) = self.limits.rate {
            counters.fill(rate, now);
            if counters.tokens < 1.0 {
                return Err(Exceeded::Rate(rate));
            }
            counters.tokens -= 1.0;
        }
        counters.open += 1;
        drop(counters);
        Ok(Room(Arc::clone(&self.counters)))
    }

    /// Refuses a body whose length is said and too large.
    pub fn check_length(&self, length: Option<u64>) -> Result<(), Exceeded> {
        match (self.limits.body, length) {
            (Some(most), Some(length)) if length > most => Err(Exceeded::Body(most)),
            _ => Ok(()),
        }
    }
}

impl Counters {
    fn fill(&mut self, rate: u32, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * f64::from(rate)).min(f64::from(rate));
        self.filled_at = self.filled_at.max(now);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limited(text: &str, now: Instant) -> Arc<Limited> {
        Limited::new(text.parse().expect("limits"), now).expect("something is limited")
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_rate_is_refilled_by_time() {
        let start = Instant::now();
        let port = limited("rate=2", start);
        let enter = |millis| port.enter(HERE, start + Duration::from_millis(millis)).map(drop);
        assert_eq!([enter(0), enter(0), enter(0)], [Ok(()), Ok(()), Err(Exceeded::Rate(2))]);
        assert_eq!([enter(499), enter(501)], [Err(Exceeded::Rate(2)), Ok(())]);
        assert_eq!(enter(100), Err(Exceeded::Rate(2)), "a clock that another thread read earlier");
        assert_eq!(
            [enter(9000), enter(9000), enter(9000)],
            [Ok(()), Ok(()), Err(Exceeded::Rate(2))],
            "no more is saved up"
        );
    }

    #[test]
    fn a_place_is_free_again_when_it_is_left() {
        let now = Instant::now();
        let port = limited("connections=2", now);
        let first = port.enter(HERE, now).expect("room");
        let _second = port.enter(HERE, now).expect("room");
        assert_eq!(port.enter(HERE, now).map(drop), Err(Exceeded::Connections(2)));
        drop(first);
        assert!(port.enter(HERE, now).is_ok());
    }

    #[test]
    fn what_is_under_way_counts_on_under_other_limits() {
        let now = Instant::now();
        let before = limited("connections=2", now);
        let first = before.enter(HERE, now).expect("room");
        let after = limited("connections=1 rate=9", now).following(&before);
        assert_eq!(after.enter(HERE, now).map(drop), Err(Exceeded::Connections(1)));
        drop(first);
        assert!(after.enter(HERE, now).is_ok());
    }

    #[test]
    fn addresses_and_bodies() {
        let now = Instant::now();
        let port = limited("body=10 from=10.0.0.0/8", now);
        assert_eq!(port.enter(HERE, now).map(drop), Err(Exceeded::Address));
        assert!(port.enter(IpAddr::from([10, 0, 0, 1]), now).is_ok());
        assert_eq!(port.check_length(Some(11)), Err(Exceeded::Body(10)));
        assert_eq!((port.check_length(Some(10)), port.check_length(None)), (Ok(()), Ok(())));
        assert!(Limited::new(PortLimits::default(), now).is_none());
    }
}
