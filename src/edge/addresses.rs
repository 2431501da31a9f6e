//! How many places each address takes, so that one client cannot take all.

use std::{net::IpAddr, sync::Arc};

use dashmap::DashMap;

use crate::domain::subnet;

/// Places by address; an IPv6 /64 is one, because whoever has one address of it has them all. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    limit: usize,
    open: Arc<DashMap<IpAddr, usize>>,
}

/// A place among those of an address, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    address: IpAddr,
    open: Arc<DashMap<IpAddr, usize>>,
}

/// Nothing: the address has as many places as one may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooMany;

impl Addresses {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            open: Arc::default(),
        }
    }

    /// Takes a place; none is needed on loopback, which is not counted: a proxy there may be all of the world.
    pub(super) fn take(&self, address: IpAddr) -> Result<Option<Place>, TooMany> {
        if address.is_loopback() {
            return Ok(None);
        }
        let address = subnet(address);
        let mut open = self.open.entry(address).or_insert(0);
        if *open >= self.limit {
            return Err(TooMany);
        }
        if *open + 1 == self.limit {
            tracing::warn!(%address, limit = self.limit, "an address reached limits.connections_per_address; more of its connections are refused");
        }
        *open += 1;
        Ok(Some(Place {
            address,
            open: Arc::clone(&self.open),
        }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.remove_if_mut(&self.address, |_, open| {
            *open -= 1;
            *open == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lim_1_addresses_have_so_many_places() {
        let addresses = Addresses::new(2);
        let take = |address: &str| addresses.take(address.parse().expect("an address"));
        let (first, second) = (take("2001:db8::1"), take("2001:db8::ffff:1"));
        assert!(first.is_ok() && second.is_ok());
        assert!(take("2001:db8::2").is_err(), "the same /64");
        assert!(take("2001:db8:0:1::1").is_ok());
        assert!(take("192.0.2.1").is_ok());
        drop(first);
        let again = take("2001:db8::3");
        assert!(again.is_ok());
        drop((second, again));
        assert!(addresses.open.is_empty(), "nothing is kept of who left");
        let many: Vec<_> = (0..5).map(|_| take("127.0.0.1")).collect();
        assert!(many.iter().all(Result::is_ok));
    }
}
