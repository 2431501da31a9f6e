//! What of an agent's reports is believed and kept: every length has a limit.

use crate::protocol::tunnel::{Configured, FromAgent, ListeningPort};

/// Most ports that are kept of a report.
const MAX_PORTS: usize = 512;
/// Most addresses that are kept of a port.
const MAX_ADDRESSES: usize = 16;
/// Longest reason for a recovery container in bytes.
const MAX_RECOVERY: usize = 2048;
/// Longest name of a branch in bytes.
pub const MAX_BRANCH: usize = 512;
/// Most leases that are kept.
const MAX_LEASES: usize = 32;
/// Most kinds of activity in a report; there are fewer.
const MAX_KINDS: usize = 16;

/// Cuts a message down to what is kept; none for one that must not come at this point.
pub fn bound(message: FromAgent) -> Option<FromAgent> {
    match message {
        FromAgent::Hello { .. } | FromAgent::Pong => None,
        FromAgent::Ports { mut ports } => {
            ports.truncate(MAX_PORTS);
            ports.iter_mut().for_each(bound_port);
            Some(FromAgent::Ports { ports })
        }
        FromAgent::Declared { ports } => Some(FromAgent::Declared { ports: ports.bounded() }),
        FromAgent::Step {
            mut name,
            mut state,
            mut detail,
        } => {
            cut(&mut name, 32);
            cut(&mut state, 32);
            cut(&mut detail, 2048);
            Some(FromAgent::Step { name, state, detail })
        }
        FromAgent::DefaultBranch { name } => (name.len() <= MAX_BRANCH).then_some(FromAgent::DefaultBranch { name }),
        FromAgent::Leases { mut leases } => {
            leases.retain(|lease| lease.id.len() <= 64 && lease.id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            leases.truncate(MAX_LEASES);
            leases.iter_mut().for_each(|lease| cut(&mut lease.what, 256));
            Some(FromAgent::Leases { leases })
        }
        FromAgent::Activity { mut kinds } => {
            kinds.truncate(MAX_KINDS);
            Some(FromAgent::Activity { kinds })
        }
        FromAgent::Configured { configured } => Some(FromAgent::Configured {
            configured: bound_configured(configured),
        }),
        other @ (FromAgent::Prepared | FromAgent::Awaits | FromAgent::Editor { .. } | FromAgent::OutOfMemory(_) | FromAgent::Renewed) => {
            Some(other)
        }
    }
}

fn bound_configured(mut configured: Configured) -> Configured {
    configured.notices = configured.notices.bounded();
    if let Some(why) = &mut configured.recovery {
        cut(why, MAX_RECOVERY);
    }
    configured
}

fn bound_port(port: &mut ListeningPort) {
    port.addresses.truncate(MAX_ADDRESSES);
    port.addresses.iter_mut().for_each(|address| cut(address, 64));
    for (text, limit) in [
        (&mut port.process, 64),
        (&mut port.command, 512),
        (&mut port.scheme, 16),
        (&mut port.path, 512),
        (&mut port.noise, 32),
        (&mut port.beside, 64),
    ] {
        if let Some(text) = text {
            cut(text, limit);
        }
    }
}

/// Removes control characters, then cuts to at most so many bytes, never inside a character.
fn cut(text: &mut String, limit: usize) {
    text.retain(|c| !c.is_control() || c == '\n');
    text.truncate(text.floor_char_boundary(limit));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::tunnel::HeldLease;

    #[test]
    fn agt_8_lengths_are_bounded() {
        let port = ListeningPort {
            port: 1,
            addresses: vec!["a".repeat(999); 999],
            pid: None,
            process: Some("\u{1b}[31m\u{e9}".repeat(100)),
            command: Some("c".repeat(9999)),
            scheme: Some("s".repeat(99)),
            path: None,
            noise: None,
            beside: Some("b".repeat(99)),
        };
        let Some(FromAgent::Ports { ports }) = bound(FromAgent::Ports { ports: vec![port; 600] }) else {
            panic!("ports stay ports")
        };
        assert_eq!(ports.len(), MAX_PORTS);
        assert_eq!(ports[0].addresses.len(), MAX_ADDRESSES);
        assert_eq!(ports[0].addresses[0].len(), 64);
        let process = ports[0].process.as_deref().expect("it has one");
        assert!(process.len() <= 64 && !process.contains('\u{1b}'), "{process:?}");
        assert_eq!(ports[0].command.as_ref().map(String::len), Some(512));
        assert_eq!(ports[0].beside.as_ref().map(String::len), Some(64));
        assert_eq!(bound(FromAgent::Pong), None);
        assert_eq!(bound(FromAgent::DefaultBranch { name: "b".repeat(513) }), None);
        let lease = |id: &str| HeldLease {
            inside: false,
            id: id.into(),
            pid: 1,
            what: "w\u{1b}".repeat(999),
            until: 0,
        };
        let leases = std::iter::once(lease("../x")).chain((0..99).map(|_| lease("a1"))).collect();
        let Some(FromAgent::Leases { leases }) = bound(FromAgent::Leases { leases }) else {
            panic!("leases stay leases")
        };
        assert_eq!((leases.len(), &*leases[0].id, leases[0].what.len()), (MAX_LEASES, "a1", 256));
    }
}
