//! How many sockets are open: of one user, to one codespace, and from one address of those who did not sign in (WS-5).

use std::{fmt, net::IpAddr, sync::Arc};

use dashmap::DashMap;
use thiserror::Error;

use super::Codespaces;
use crate::domain::{CodespaceName, UserId, subnet};

/// Most sockets at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SocketLimits {
    pub per_user: usize,
    pub per_codespace: usize,
    /// Of people who did not sign in, to public ports.
    pub per_address: usize,
}

/// Whom a socket is of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SocketOf {
    User(UserId),
    Stranger(IpAddr),
}

/// There are as many sockets as there may be; `Display` is for people and says which limit it is.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{whose} {limit} sockets open, as many as {key} allows; close pages or programs that hold some, or ask your operator to raise it")]
pub struct TooManySockets {
    whose: &'static str,
    key: &'static str,
    /// How many there may be.
    pub limit: usize,
}

/// An open socket, counted until dropped.
pub struct OpenSocket {
    held: [Holder; 2],
    open: Arc<DashMap<Holder, usize>>,
}

/// The sockets that are open.
pub(super) struct Sockets {
    limits: SocketLimits,
    open: Arc<DashMap<Holder, usize>>,
}

/// What sockets are counted by.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Holder {
    User(UserId),
    Codespace(CodespaceName),
    Address(IpAddr),
    /// On loopback a proxy may bring everybody's: not counted.
    Nobody,
}

impl Codespaces {
    /// Counts a socket that is about to be opened to a codespace.
    pub fn open_socket(&self, to: &CodespaceName, of: SocketOf) -> Result<OpenSocket, TooManySockets> {
        self.inner.sockets.open(to, of)
    }
}

impl Sockets {
    pub(super) fn new(limits: SocketLimits) -> Self {
        Self {
            limits,
            open: Arc::default(),
        }
    }

    fn open(&self, to: &CodespaceName, of: SocketOf) -> Result<OpenSocket, TooManySockets> {
        let mut socket = OpenSocket {
            held: [Holder::Nobody, Holder::Nobody],
            open: Arc::clone(&self.open),
        };
        let of = match of {
            SocketOf::User(user) => Holder::User(user),
            SocketOf::Stranger(address) if address.to_canonical().is_loopback() => Holder::Nobody,
            SocketOf::Stranger(address) => Holder::Address(subnet(address)),
        };
        // The second may fail: the first is then given back as the socket goes.
        for (place, holder) in [of, Holder::Codespace(to.clone())].into_iter().enumerate() {
            self.take(&holder)?;
            socket.held[place] = holder;
        }
        Ok(socket)
    }

    fn take(&self, holder: &Holder) -> Result<(), TooManySockets> {
        let (whose, key, limit) = match holder {
            Holder::User(_) => ("Your account has", "limits.sockets_per_user", self.limits.per_user),
            Holder::Codespace(_) => ("This codespace has", "limits.sockets_per_codespace", self.limits.per_codespace),
            Holder::Address(_) => ("Your address has", "limits.sockets_per_address", self.limits.per_address),
            Holder::Nobody => return Ok(()),
        };
        let mut open = self.open.entry(holder.clone()).or_insert(0);
        if *open >= limit {
            return Err(TooManySockets { whose, key, limit });
        }
        *open += 1;
        Ok(())
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        for holder in &self.held {
            self.open.remove_if_mut(holder, |_, open| {
                *open -= 1;
                *open == 0
            });
        }
    }
}

impl fmt::Debug for OpenSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.held).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ws_5_sockets_are_counted_by_user_codespace_and_address() {
        let limits = SocketLimits {
            per_user: 2,
            per_codespace: 3,
            per_address: 1,
        };
        let sockets = Sockets::new(limits);
        let open = |to: &str, of: SocketOf| sockets.open(&to.parse().expect("a name"), of);
        let user = |name: &str| SocketOf::User(UserId(name.into()));
        let stranger = |address: &str| SocketOf::Stranger(address.parse().expect("an address"));
        let refused = |open: Result<OpenSocket, TooManySockets>| open.expect_err("one too many").key;
        let (first, second) = (open("amber-x", user("ada")), open("birch-x", user("ada")));
        assert_eq!(refused(open("cedar-x", user("ada"))), "limits.sockets_per_user");
        let third = open("amber-x", stranger("2001:db8::1"));
        assert_eq!(refused(open("birch-x", stranger("2001:db8::2"))), "limits.sockets_per_address");
        let fourth = open("amber-x", stranger("127.0.0.1"));
        assert_eq!(refused(open("amber-x", user("bob"))), "limits.sockets_per_codespace");
        // A refusal holds nothing, and what is closed makes room.
        let (fifth, sixth) = (open("birch-x", user("bob")), open("birch-x", user("bob")));
        drop(first);
        let again = open("amber-x", user("ada"));
        for socket in [second, third, fourth, fifth, sixth, again] {
            drop(socket.expect("there is room"));
        }
        assert!(sockets.open.is_empty(), "nothing is kept of what closed");
    }
}
