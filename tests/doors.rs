//! The security rules, attacked from outside: the real gateway, raw sockets, and an app that says every byte it gets.
//!
//! One gateway serves all tests; each test is named by the rule it tries. Two people have a codespace each: `ada`, an admin,
//! and `bob`, a member.

#[path = "doors/accounts.rs"]
mod accounts;
#[path = "doors/agents.rs"]
mod agents;
#[path = "doors/answers.rs"]
mod answers;
#[path = "doors/app.rs"]
mod app;
#[path = "doors/audit.rs"]
mod audit;
#[path = "doors/browser.rs"]
mod browser;
#[path = "doors/closures.rs"]
mod closures;
#[path = "doors/denials.rs"]
mod denials;
#[path = "doors/directives.rs"]
mod directives;
#[path = "../fuzz/driver.rs"]
mod driver;
#[path = "doors/endings.rs"]
mod endings;
#[path = "doors/faults.rs"]
mod faults;
#[path = "doors/fences.rs"]
mod fences;
#[path = "doors/framing.rs"]
mod framing;
#[path = "doors/fronts.rs"]
mod fronts;
#[path = "doors/gateway.rs"]
mod gateway;
#[path = "doors/guesses.rs"]
mod guesses;
#[path = "doors/headers.rs"]
mod headers;
#[path = "doors/holding.rs"]
mod holding;
#[path = "doors/hosts.rs"]
mod hosts;
#[path = "doors/http_2.rs"]
mod http_2;
#[path = "doors/identity.rs"]
mod identity;
#[path = "doors/judges.rs"]
mod judges;
#[path = "doors/limits.rs"]
mod limits;
#[path = "doors/links.rs"]
mod links;
#[path = "doors/log.rs"]
mod log;
#[path = "doors/lone.rs"]
mod lone;
#[path = "doors/metrics.rs"]
mod metrics;
#[path = "doors/operator.rs"]
mod operator;
#[path = "doors/origins.rs"]
mod origins;
#[path = "doors/pages.rs"]
mod pages;
#[path = "doors/reach.rs"]
mod reach;
#[path = "doors/secrecy.rs"]
mod secrecy;
#[path = "doors/secure.rs"]
mod secure;
#[path = "doors/sessions.rs"]
mod sessions;
#[path = "doors/shares.rs"]
mod shares;
#[path = "doors/sockets.rs"]
mod sockets;
#[path = "doors/stamped.rs"]
mod stamped;
#[path = "doors/streams.rs"]
mod streams;
#[path = "doors/tenants.rs"]
mod tenants;
#[path = "doors/tls.rs"]
mod tls;
#[path = "doors/transport.rs"]
mod transport;
#[path = "doors/tunnel.rs"]
mod tunnel;
#[path = "doors/upstreams.rs"]
mod upstreams;
#[path = "doors/waking.rs"]
mod waking;
#[path = "doors/wire.rs"]
mod wire;
#[path = "doors/worlds.rs"]
mod worlds;
