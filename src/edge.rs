//! The edge: every connection from the outside, and one pipeline from its authority to an upstream and back.
//!
//! `accept → request context → admission → authority → route → identity → permit → running codespace → stream → forward
//! or upgrade → log`. Owns sockets, the pipeline, the sign-in hop on codespace hosts, and the form of every refusal.
//! Refuses to know the store, runtimes, how identities are proved and what is allowed: it asks `auth`, `codespace` and
//! `policy`.

mod access_log;
mod addressee;
mod addresses;
mod answered;
mod asleep;
mod beat;
mod body;
mod caller;
mod chatter;
mod client;
mod connection;
mod context;
mod diagnosis;
mod dialect;
mod failure;
mod flood;
mod gateway;
mod grpc;
mod heard;
mod hop;
mod lease;
mod lent;
mod limits;
pub mod listener;
mod logged;
mod pace;
pub mod plain;
mod proxy;
mod proxy_protocol;
mod recall;
mod redirect;
pub mod replays;
mod reserved;
mod shares;
mod streams;
mod tls;
mod upgrade;
mod upload;
mod upstream;
mod visit;
mod warning;

use std::{sync::Arc, time::Duration};

use axum::Router;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use crate::tunnel::tls::unchecked as unchecked_tls_client;
pub use access_log::{ACCESS_LOG_TARGET, AccessLog, Form, Page, Record, Taken};
pub use body::Body;
pub use caller::Fronts;
pub use context::Peer;
pub use tls::{
    CertificateError, Certificates, Pair, TicketSecret, Tls, shared_secret as shared_ticket_secret, watch as watch_certificates,
};

use self::{
    addressee::Addressee,
    beat::Beat,
    context::{Books, Exchange},
    failure::Failure,
    proxy::Forwarding,
    upload::Upload,
    upstream::Upstreams,
    visit::Visit,
};
use crate::{
    auth::Auth,
    clock::SharedClock,
    codespace::Codespaces,
    doctor::Doctor,
    forward::admission,
    ops::{Metrics, is_probe},
    route::{Origin, Route, Scheme, Sites},
    tunnel::{SharedDialer, Tunnels},
};

/// What the edge works with. Cheap to clone.
#[derive(Clone)]
pub struct Edge {
    inner: Arc<Inner>,
}

/// The services that the edge asks.
#[derive(Clone)]
pub struct Services {
    pub sites: Sites,
    pub fronts: Arc<Fronts>,
    /// For how long browsers are told to use https alone; nothing is said if there is none (TLS-5).
    pub hsts: Option<Duration>,
    pub auth: Auth,
    pub codespaces: Codespaces,
    pub tunnels: Tunnels,
    pub dialer: SharedDialer,
    /// Shared with the API, which tells owners what it remembers.
    pub doctor: Doctor,
    /// Where strangers report what they find on a public port: a web or mail address.
    pub abuse: Option<Arc<str>>,
    /// The JSON API.
    pub api: Router,
    /// The gateway host's pages.
    pub pages: Router,
    pub clock: SharedClock,
    /// Where pages, API and agents' links run: what they begin must outlive the connection and its thread.
    pub control: Handle,
    /// Holds every task that outlives the request that began it.
    pub tasks: TaskTracker,
    /// Cancelled when the gateway drains: upgraded connections end then, and their clients come back.
    pub drain: CancellationToken,
    pub metrics: Metrics,
    /// None if the log's level leaves it out.
    pub access_log: Option<AccessLog>,
}

struct Inner {
    services: Services,
    upstreams: Upstreams,
    books: Arc<Books>,
    beat: Arc<Beat>,
    /// Keeps browsers on https, on all hosts (TLS-5).
    transport_security: Option<HeaderValue>,
}

impl std::ops::Deref for Edge {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.inner.services
    }
}

impl Edge {
    /// Puts the edge of one thread together.
    pub fn new(services: Services) -> Self {
        let upstreams = Upstreams::new(Arc::clone(&services.dialer), services.tasks.clone(), services.drain.clone());
        let books = Books {
            tally: services.metrics.tally(),
            log: services.access_log.as_ref().map(AccessLog::page),
        };
        let transport_security = transport_security(services.sites.gateway(), services.hsts);
        Self {
            inner: Arc::new(Inner {
                beat: Beat::start(&services.control),
                services,
                upstreams,
                books: Arc::new(books),
                transport_security,
            }),
        }
    }

    /// Answers one request; the answer's body keeps the access-log record open until its last byte.
    ///
    /// What can be decided without waiting is decided before the future is made: it is moved for every request, and holds
    /// no more than forwarding needs.
    pub fn handle(&self, request: Request<Incoming>, peer: &Arc<Peer>) -> impl Future<Output = Response<Body>> + Send + use<> {
        let mut request = request.map(|body| Upload::new(body, peer.patience.body));
        let said = dialect::translate(&mut request);
        let client = peer.caller.client(request.headers(), &self.fronts);
        let exchange = Exchange::begin(&request, client.address, &self.inner.books);
        let kind = client::kind(request.method(), request.headers());
        let answer = self.answer(request, (client.scheme, kind), peer, &exchange);
        let edge = self.clone();
        async move {
            let answered = match answer {
                Ok(Answer::Now(response)) => Ok(*response),
                Ok(Answer::Later(response)) => response.await,
                Ok(Answer::Forwarded(forwarding)) => edge.forward(forwarding).await,
                Err(failure) => Err(failure),
            };
            let response = answered.unwrap_or_else(|failure| failure.respond(&edge, &exchange, kind));
            edge.dress(exchange.respond(response), said)
        }
    }

    /// Gives a response what all have.
    fn dress(&self, mut response: Response<Body>, said: dialect::Said) -> Response<Body> {
        dialect::answer(said, &mut response);
        if let Some(security) = self.inner.transport_security.clone() {
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, security);
        }
        response
    }

    fn answer(
        &self,
        request: Request<Upload>,
        (spoken, kind): (Option<Scheme>, client::Kind),
        peer: &Arc<Peer>,
        exchange: &Arc<Exchange>,
    ) -> Result<Answer, Failure> {
        let (mut head, body) = request.into_parts();
        admission::check(&head).map_err(|refusal| self.refused(refusal, &head))?;
        // Off every request, so that no app and no page sees what anybody could have written.
        if let Some(vouched) = self.auth.take_trusted_headers(&mut head.headers, Some(peer.caller.address)) {
            head.extensions.insert(vouched);
        }
        let asked = self.addressee(&head, peer)?;
        let route = &asked.route;
        exchange.route(&asked);
        exchange.count(&peer.caller).map_err(|_| Failure::new(failure::Reason::Crowded))?;
        if spoken == Some(Scheme::Http)
            && let Some(location) = redirect::location(&self.sites, route, &head.uri)
        {
            return Ok(Answer::now(redirect::to(location)));
        }
        if self.is_misdirected(peer, route, &head.uri) {
            // The browser took a connection to one side for the other's, under a certificate of both: it must open its own.
            return Err(Failure::new(failure::Reason::Misdirected(asked.authority.to_string())));
        }
        if let Some(file) = reserved::file(&head, route) {
            return Ok(Answer::now(file));
        }
        let edge = self.clone();
        if *route == Route::Gateway {
            let (request, exchange) = (Request::from_parts(head, body), Arc::clone(exchange));
            return Ok(Answer::later(async move { Ok(edge.gateway_host(request, &exchange).await) }));
        }
        let now = self.clock.now();
        let mut visit = Visit::begin(self, &head, &asked, peer, exchange, (kind, now))?;
        if visit.is_reserved() {
            visit = match shares::call(self, visit, &mut head) {
                Ok(call) => {
                    let call = call?;
                    return Ok(Answer::later(async move { edge.call_hook(call, head, body).await }));
                }
                Err(visit) => visit,
            };
            let request = Request::from_parts(head, body);
            return Ok(Answer::later(async move { edge.reserved(*visit, request).await }));
        }
        let awake = match visit
            .authorize(self, now)?
            .warned(self, &head, now)?
            .within_limits(self, &head)?
            .awake()
        {
            Ok(awake) => awake,
            Err(asleep) => {
                let request = Request::from_parts(head, body);
                return Ok(Answer::later(async move { edge.asleep(asleep, request).await }));
            }
        };
        if awake.wants_upgrade() {
            let request = Request::from_parts(head, body);
            return Ok(Answer::later(async move { edge.upgrade(awake, request).await }));
        }
        Ok(Answer::Forwarded(Forwarding::prepare(self, awake, head, body)))
    }

    /// Whether a connection's server name is not one for this host (HOST-7). A proxy that the operator named and a probe
    /// connect to an address or by a name of their own, and are no browsers: neither is misled.
    fn is_misdirected(&self, peer: &Peer, route: &Route, uri: &http::Uri) -> bool {
        let Some(named) = peer.named.filter(|named| !named.reaches(route, &self.sites)) else {
            return false;
        };
        let is_ours = matches!(named, tls::Named::Ours(_));
        is_ours || !(peer.caller.is_proxy() || (*route == Route::Gateway && is_probe(uri.path())))
    }

    fn addressee(&self, head: &http::request::Parts, peer: &Peer) -> Result<Arc<Addressee>, admission::Refusal> {
        let written = authority_of(head)?;
        peer.recall.addressee(written, &self.sites).map_err(|_| admission::Refusal::Host)
    }

    /// A head that its cookies made too large for a codespace's host: the answer takes them away (HDR-10). Not if anything
    /// else did, or a page could sign people out with fields of its own making.
    fn refused(&self, refusal: admission::Refusal, head: &http::request::Parts) -> Failure {
        let of_codespace = authority_of(head)
            .and_then(|written| Addressee::parse(written, &self.sites).map_err(|_| admission::Refusal::Host))
            .is_ok_and(|asked| !matches!(asked.route, Route::Gateway | Route::Foreign));
        if of_codespace && refusal == admission::Refusal::HeadTooLarge && admission::is_small_but_for_cookies(head) {
            return Failure::new(failure::Reason::Overgrown);
        }
        refusal.into()
    }
}

/// What a request leads to.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and a box for it would be made for every request"
)]
enum Answer {
    /// An answer of our own that is there already.
    Now(Box<Response<Body>>),
    /// An answer of our own that takes its time, or an upgrade.
    Later(BoxFuture<'static, Result<Response<Body>, Failure>>),
    /// An exchange with an app or an editor.
    Forwarded(Forwarding),
}

impl Answer {
    fn now(response: Response<Body>) -> Self {
        Self::Now(Box::new(response))
    }

    fn later(answer: impl Future<Output = Result<Response<Body>, Failure>> + Send + 'static) -> Self {
        Self::Later(Box::pin(answer))
    }
}

/// What keeps browsers on https. Not under `localhost`, where it would lock people out of whatever else they run there
/// on any port.
fn transport_security(gateway: &Origin, hsts: Option<Duration>) -> Option<HeaderValue> {
    let local = gateway.host == "localhost" || gateway.host.ends_with(".localhost");
    let seconds = hsts.filter(|_| gateway.scheme == Scheme::Https && !local)?.as_secs();
    HeaderValue::from_str(&format!("max-age={seconds}")).ok()
}

/// Takes the one authority of a request: `Host` on HTTP/1.1, equal to the target's if that is absolute (HOST-1, HOST-4).
fn authority_of(head: &http::request::Parts) -> Result<&str, admission::Refusal> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    if hosts.next().is_some() {
        return Err(admission::Refusal::Host);
    }
    let target = head.uri.authority().map(http::uri::Authority::as_str);
    let agree = match (host, target) {
        (Some(host), Some(target)) => host.eq_ignore_ascii_case(target),
        (host, target) => host.is_some() || (target.is_some() && head.version >= http::Version::HTTP_2),
    };
    host.or(target).filter(|_| agree).ok_or(admission::Refusal::Host)
}

#[cfg(test)]
mod tests;
