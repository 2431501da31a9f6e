//! Who is at the other end of a connection, and who is behind it if that is a proxy which the operator named.

use std::net::IpAddr;

use http::HeaderMap;

use super::addresses::{Addresses, Place, TooMany};
use crate::{
    domain::Networks,
    forward::client::{self, Client, Written},
};

/// What the operator says of where connections come from: whom to take for proxies in front, and where codespaces are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fronts {
    /// Their word on who a request is from is taken.
    pub proxies: Networks,
    /// Where they write it.
    pub written: Written,
    /// Connections from here begin with a PROXY header.
    pub balancers: Networks,
    /// Codespaces are here, and nobody who is let in: what runs in them is to have no way to the gateway's listeners, let alone be
    /// taken for a proxy.
    pub codespaces: Networks,
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Its address, never taken from what anyone can send.
    pub address: IpAddr,
    /// Where the clients of a named proxy are counted, if this is one.
    behind: Option<Addresses>,
}

impl Caller {
    /// Looks whether an address is a named proxy's.
    pub(super) fn new(address: IpAddr, fronts: &Fronts, addresses: &Addresses) -> Self {
        let is_proxy = !fronts.proxies.is_empty() && fronts.proxies.contains(address);
        Self {
            address,
            behind: is_proxy.then(|| addresses.clone()),
        }
    }

    /// Somebody who is counted elsewhere, and behind no proxy.
    pub(super) fn alone(address: IpAddr) -> Self {
        Self { address, behind: None }
    }

    /// Whether it is a named proxy, whose connections carry many clients' requests.
    pub(super) fn is_proxy(&self) -> bool {
        self.behind.is_some()
    }

    /// Takes a place for the connection; a proxy's is not counted, its clients' requests are.
    pub(super) fn place(&self, addresses: &Addresses) -> Result<Option<Place>, TooMany> {
        if self.behind.is_some() {
            return Ok(None);
        }
        addresses.take(self.address)
    }

    /// Who a request on this connection is from.
    pub(super) fn client(&self, headers: &HeaderMap, fronts: &Fronts) -> Client {
        if self.behind.is_none() {
            return Client {
                address: self.address,
                scheme: None,
            };
        }
        client::client(headers, fronts.written, self.address, &fronts.proxies)
    }

    /// Takes a place for a request that came through a proxy: it is what a connection would be without one.
    pub(super) fn place_behind(&self, client: IpAddr) -> Result<Option<Place>, TooMany> {
        self.behind.as_ref().map_or(Ok(None), |addresses| addresses.take(client))
    }
}
