//! One exchange with an app: the request rebuilt, sent, and its response on the way back.

use http::{HeaderMap, HeaderValue, Request, Response, Uri, Version, request::Parts};
use http_body::Body as _;

use super::{
    Body, Edge,
    failure::{Failure, Reason},
    hop,
    upload::Upload,
    upstream::{Key, RequestBody, UpstreamError},
    visit::{Awake, Visit},
};
use crate::{
    codespace::{Activity, Snapshot},
    forward::{
        request::{self, Facts},
        response,
        world::{Translation, World},
    },
    protocol::tunnel::Endpoint,
    route::{Route, Scheme},
};

/// How the app or editor of a visit is addressed.
pub(super) struct Target {
    pub key: Key,
    pub world: World,
    pub app_scheme: Scheme,
}

impl Target {
    pub(super) fn of(visit: &Visit, snapshot: &Snapshot) -> Self {
        let key = |endpoint, tls| Key {
            codespace: visit.name.clone(),
            generation: snapshot.generation(),
            endpoint,
            tls,
        };
        let Route::Port(_, port) = visit.route else {
            return Self {
                key: key(Endpoint::Editor, false),
                world: World::Preserve,
                app_scheme: Scheme::Http,
            };
        };
        let settings = snapshot.ports.get(&port).map(|view| &view.settings);
        let tls = settings.is_some_and(|settings| settings.protocol == "https");
        let preserve = settings.is_some_and(|settings| settings.host_header == "preserve");
        Self {
            key: key(Endpoint::Port(port), tls),
            world: if preserve { World::Preserve } else { World::Localhost },
            app_scheme: if tls { Scheme::Https } else { Scheme::Http },
        }
    }

    pub(super) fn translation<'a>(&self, edge: &'a Edge, visit: &'a Visit) -> Translation<'a> {
        Translation {
            sites: &edge.sites,
            name: &visit.name,
            app_scheme: self.app_scheme,
        }
    }

    /// The head for the app.
    pub(super) fn head(&self, edge: &Edge, visit: &Visit, head: &Parts, upgrade: Option<&HeaderValue>) -> HeaderMap {
        let facts = Facts {
            world: self.world,
            host: &visit.asked.texts,
            client: &visit.peer.recall.client_texts(visit.exchange.client(), visit.origin.scheme),
            request_id: visit.exchange.id(),
            upgrade,
        };
        request::rebuild(&head.headers, facts, self.translation(edge, visit))
    }
}

/// An exchange that is about to begin.
pub(super) struct Forwarding {
    awake: Awake,
    target: Target,
    request: Request<RequestBody>,
}

impl Forwarding {
    /// Makes the app's request of a client's.
    pub(super) fn prepare(edge: &Edge, awake: Awake, head: Parts, body: Upload) -> Self {
        let visit = &awake.permitted.visit;
        let target = Target::of(visit, &awake.permitted.snapshot);
        if target.key.endpoint == Endpoint::Editor {
            awake.permitted.codespace.touch(Activity::Editor);
        }
        let request = rebuilt(target.head(edge, visit, &head, None), &head, visit, Some(body));
        Self { awake, target, request }
    }
}

impl Edge {
    pub(super) async fn forward(&self, forwarding: Forwarding) -> Result<Response<Body>, Failure> {
        let Forwarding { awake, target, request } = forwarding;
        let lease = awake.lease(self);
        let visit = &awake.permitted.visit;
        let answered = tokio::select! {
            biased;
            answered = self.inner.upstreams.send(target.key.clone(), request) => answered,
            () = lease.fallen_later() => return Err(visit.fail(Reason::Revoked)),
        };
        let (response, upstream) = answered.map_err(|error| failed(visit, &target, error, &awake.permitted.snapshot))?;
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(visit.fail(broken(visit, "the app switched protocols without being asked".to_owned())));
        }
        response::check_framing(response.headers()).map_err(|error| visit.fail(broken(visit, error.to_string())))?;
        let (mut parts, incoming) = response.into_parts();
        response::filter(&mut parts.headers, target.world, target.translation(self, visit));
        if let Some(ancestors) = hop::ancestors(self, &awake.permitted) {
            response::confine_frames(&mut parts.headers, &ancestors);
        }
        parts.version = Version::HTTP_11;
        Ok(Response::from_parts(parts, Body::upstream(incoming, lease, upstream)))
    }
}

/// Puts a request for the app together; path and query stay as they are, byte by byte (PATH-3).
pub(super) fn rebuilt(mut headers: HeaderMap, head: &Parts, visit: &Visit, body: Option<Upload>) -> Request<RequestBody> {
    let of_unknown_length = |body: &Upload| !body.is_end_stream() && body.size_hint().exact().is_none();
    if body.as_ref().is_some_and(of_unknown_length) {
        request::announce_chunks(&mut headers);
    }
    let mut request = Request::new(RequestBody::new(body, std::sync::Arc::clone(&visit.exchange)));
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
    *request.headers_mut() = headers;
    request
}

/// An upstream's failure in the visitor's terms.
pub(super) fn failed(visit: &Visit, target: &Target, error: UpstreamError, snapshot: &std::sync::Arc<Snapshot>) -> Failure {
    let what = match error {
        UpstreamError::Dial(error) => return visit.fail(Reason::Dial(target.key.endpoint, error, std::sync::Arc::clone(snapshot))),
        UpstreamError::Tls(error) => format!("it does not speak TLS as this port is set to ({error}). Set the port's protocol to http"),
        UpstreamError::Exchange(error) if error.is_parse() => {
            "what listens there did not answer in HTTP. If it speaks TLS, set the port's protocol to https".to_owned()
        }
        UpstreamError::Exchange(error) if error.is_user() => {
            return visit.fail(Reason::BadRequest("the request's body broke off or stood still"));
        }
        UpstreamError::Chatter => "the app sent word that it is at work, again and again, and no answer".to_owned(),
        UpstreamError::Exchange(_) => "the app closed the connection before it answered. Look at its output in the terminal".to_owned(),
    };
    match target.key.endpoint {
        Endpoint::Port(port) => visit.fail(Reason::Upstream(port, what)),
        Endpoint::Editor | Endpoint::Agent => visit.fail(Reason::Editor),
    }
}

/// An app that broke the rules of HTTP: its answer is not passed on, and its connection is closed.
pub(super) fn broken(visit: &Visit, what: String) -> Reason {
    match visit.route {
        Route::Port(_, port) => Reason::Upstream(port, what),
        _ => Reason::Editor,
    }
}
