//! How many sockets are open: of one user, to one codespace, and from one address of those who did not sign in (WS-5).
//!
//! A codespace's are not for whoever comes first: a fifth is its owner's alone, and another that of people who signed in.

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
    /// To a codespace of their own.
    Owner(UserId),
    /// To somebody else's.
    Guest(UserId),
    Stranger(IpAddr),
}

/// There are as many sockets as there may be; `Display` is for people and says which limit it is.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "{whose} {limit} sockets open, as many as {key} allows{of_those}; close pages or programs that hold some, or ask your operator to raise it"
)]
pub struct TooManySockets {
    whose: &'static str,
    key: &'static str,
    of_those: &'static str,
    /// How many there may be.
    pub limit: usize,
}

/// An open socket, counted until dropped.
pub struct OpenSocket {
    held: [Holder; 4],
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
    /// All that others than its owner have open to a codespace, and all that strangers have.
    Guests(CodespaceName),
    Strangers(CodespaceName),
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
            held: [const { Holder::Nobody }; 4],
            open: Arc::clone(&self.open),
        };
        let (all, guests) = (Holder::Codespace(to.clone()), || Holder::Guests(to.clone()));
        let holders = match of {
            SocketOf::Owner(user) => [Holder::User(user), Holder::Nobody, Holder::Nobody, all],
            SocketOf::Guest(user) => [Holder::User(user), Holder::Nobody, guests(), all],
            SocketOf::Stranger(address) => {
                let loopback = address.to_canonical().is_loopback();
                let of = if loopback {
                    Holder::Nobody
                } else {
                    Holder::Address(subnet(address))
                };
                [of, Holder::Strangers(to.clone()), guests(), all]
            }
        };
        // A later one may fail: those before it are then given back as the socket goes.
        for (place, holder) in holders.into_iter().enumerate() {
            self.take(&holder)?;
            socket.held[place] = holder;
        }
        Ok(socket)
    }

    fn take(&self, holder: &Holder) -> Result<(), TooManySockets> {
        let of_all = self.limits.per_codespace;
        let codespace = "limits.sockets_per_codespace";
        let (whose, key, of_those, limit) = match holder {
            Holder::User(_) => ("Your account has", "limits.sockets_per_user", "", self.limits.per_user),
            Holder::Codespace(_) => ("This codespace has", codespace, "", of_all),
            Holder::Guests(_) => ("This codespace's visitors have", codespace, " them", of_all - of_all / 5),
            Holder::Strangers(_) => ("People who did not sign in have", codespace, " them", of_all - 2 * (of_all / 5)),
            Holder::Address(_) => ("Your address has", "limits.sockets_per_address", "", self.limits.per_address),
            Holder::Nobody => return Ok(()),
        };
        let mut open = self.open.entry(holder.clone()).or_insert(0);
        if *open >= limit {
            return Err(TooManySockets {
                whose,
                key,
                of_those,
                limit,
            });
        }
        *open += 1;
        Ok(())
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        for holder in self.held.iter().filter(|holder| **holder != Holder::Nobody) {
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
        let user = |name: &str| SocketOf::Guest(UserId(name.into()));
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

    #[test]
    fn ws_5_visitors_leave_room_for_a_codespaces_owner_and_strangers_for_whoever_signed_in() {
        let limits = SocketLimits {
            per_user: 100,
            per_codespace: 10,
            per_address: 100,
        };
        let sockets = Sockets::new(limits);
        let name: CodespaceName = "amber-x".parse().expect("a name");
        let as_many_as_may = |of: SocketOf| {
            let mut open = Vec::new();
            loop {
                match sockets.open(&name, of.clone()) {
                    Ok(socket) => open.push(socket),
                    Err(error) => return (open, error.to_string()),
                }
            }
        };
        let user = |name: &str| UserId(name.into());
        let (strangers, refused) = as_many_as_may(SocketOf::Stranger([127, 0, 0, 1].into()));
        assert_eq!(strangers.len(), 6);
        assert!(
            refused.starts_with("People who did not sign in have 6 sockets open, as many as limits.sockets_per_codespace allows them;"),
            "{refused}"
        );
        let (guests, refused) = as_many_as_may(SocketOf::Guest(user("bob")));
        assert_eq!(guests.len(), 2);
        assert!(refused.starts_with("This codespace's visitors have 8 sockets open"), "{refused}");
        let (owners, refused) = as_many_as_may(SocketOf::Owner(user("ada")));
        assert_eq!(owners.len(), 2);
        assert!(refused.starts_with("This codespace has 10 sockets open"), "{refused}");
        drop((strangers, guests));
        assert_eq!(as_many_as_may(SocketOf::Guest(user("bob"))).0.len(), 8);
        drop(owners);
        assert_eq!(as_many_as_may(SocketOf::Owner(user("ada"))).0.len(), 10, "an owner may have all");
        assert!(sockets.open.is_empty());
    }
}
