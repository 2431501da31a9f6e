//! One exchange with an app: the request rebuilt, sent, and its response on the way back.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, Version, header, request::Parts};
use http_body::Body as _;

use super::{
    Body, Edge,
    body::Manner,
    diagnosis::Ear,
    failure::{Failure, Reason},
    hop, logged,
    upload::Upload,
    upstream::{Key, RequestBody},
    visit::{Awake, Visit},
};
use crate::{
    codespace::Snapshot,
    doctor::Trouble,
    domain::Protocol,
    forward::{
        request::{self, Facts},
        response,
        trailers::{self, Trailers},
        world::{Translation, World},
    },
    inspect::{PortLog, Recorded},
    policy::Subject,
    protocol::tunnel::Endpoint,
    route::{Route, Scheme},
};

/// How the app or editor of a visit is addressed.
pub(super) struct Target {
    pub key: Key,
    pub world: World,
    pub app_scheme: Scheme,
    /// Where the port's owner has its exchanges written down, if they do.
    pub log: Option<Arc<PortLog>>,
}

impl Target {
    pub(super) fn of(visit: &Visit, snapshot: &Snapshot) -> Self {
        let key = |endpoint, protocol| Key {
            codespace: visit.name.clone(),
            generation: snapshot.generation(),
            endpoint,
            protocol,
        };
        let Route::Port(_, port) = visit.route else {
            return Self {
                key: key(Endpoint::Editor, Protocol::Http),
                world: World::Preserve,
                app_scheme: Scheme::Http,
                log: None,
            };
        };
        let view = snapshot.ports.get(&port);
        let protocol = view.map_or(Protocol::Http, |view| Protocol::of(view.protocol()));
        let preserve = view.is_some_and(|view| view.settings.host_header == "preserve");
        Self {
            key: key(snapshot.endpoint(port), protocol),
            world: if preserve { World::Preserve } else { World::Localhost },
            app_scheme: match protocol {
                Protocol::Https => Scheme::Https,
                Protocol::Http | Protocol::Http2 => Scheme::Http,
            },
            log: view.and_then(|view| view.log.clone()),
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
        let cookie = head.headers.get(header::COOKIE).map(|line| visit.peer.recall.stripped(line));
        let facts = Facts {
            world: self.world,
            host: &visit.asked.texts,
            client: &visit.peer.recall.client_texts(visit.exchange.client(), visit.origin.scheme),
            cookie: cookie.as_deref(),
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
    /// Whether the client takes trailers.
    trailers: bool,
    recorded: Option<Recorded>,
}

impl Forwarding {
    /// Makes the app's request of a client's.
    pub(super) fn prepare(edge: &Edge, awake: Awake, head: Parts, mut body: Upload) -> Self {
        let visit = &awake.permitted.visit;
        let target = Target::of(visit, &awake.permitted.snapshot);
        if let Some(activity) = awake.permitted.counts_as(target.key.endpoint) {
            awake.permitted.codespace.touch(activity);
        }
        body.attend(awake.permitted.attention_of_body(target.key.endpoint));
        if let Some(most) = awake.permitted.body_limit() {
            body.at_most(most);
        }
        let headers = target.head(edge, visit, &head, None);
        if target.key.protocol != Protocol::Http && trailers::is_grpc(&headers) {
            body.may_rest();
        }
        let trailers = headers.contains_key(header::TE);
        let recorded = logged::begin(edge, &awake, target.log.as_ref(), &head);
        let request = rebuilt(headers, &head, visit, Some(body), recorded.as_ref());
        Self {
            awake,
            target,
            request,
            trailers,
            recorded,
        }
    }
}

impl Edge {
    pub(super) async fn forward(&self, forwarding: Forwarding) -> Result<Response<Body>, Failure> {
        let Forwarding {
            awake,
            target,
            request,
            trailers,
            recorded,
        } = forwarding;
        let visit = &awake.permitted.visit;
        let answered = tokio::select! {
            biased;
            answered = self.inner.upstreams.send(target.key.clone(), request) => answered,
            () = awake.fallen_later(self) => return Err(visit.fail(Reason::Revoked)),
        };
        let (response, upstream) = match answered {
            Ok(answered) => answered,
            Err(error) => {
                logged::fail(recorded, &error);
                return Err(Box::pin(self.diagnose(&awake.permitted, &target, error)).await);
            }
        };
        if let Some(recorded) = &recorded {
            recorded.answered(response.status().as_u16(), response.headers());
        }
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(visit.fail(awake.permitted.broken(Trouble::Switched)));
        }
        if response::check_framing(response.headers()).is_err() {
            return Err(visit.fail(awake.permitted.broken(Trouble::AmbiguousLength)));
        }
        let (mut parts, incoming) = response.into_parts();
        let manner = Manner {
            trailers: Trailers::of(trailers, &parts.headers),
            ear: Ear::for_refusal(self, &awake.permitted, &target, parts.status, &parts.headers),
            recorded,
            attention: awake.permitted.attention_of_body(target.key.endpoint),
        };
        let announced = trailers.then(|| trailers::announced(&parts.headers)).flatten();
        let narrowed = response::filter(&mut parts.headers, target.world, target.translation(self, visit));
        visit.exchange.narrowed(narrowed);
        if let Some(announced) = announced {
            response::announce_trailers(&mut parts.headers, announced);
        }
        if let Some(ancestors) = hop::ancestors(self, &awake.permitted) {
            response::confine_frames(&mut parts.headers, &ancestors);
        }
        if matches!(awake.permitted.permit.subject(), Subject::Anyone | Subject::Link(_)) {
            response::hide_from_search(&mut parts.headers);
        }
        parts.version = Version::HTTP_11;
        Ok(Response::from_parts(
            parts,
            Body::upstream(incoming, (self.clone(), awake), upstream, manner),
        ))
    }
}

/// Puts a request for the app together.
pub(super) fn rebuilt(
    mut headers: HeaderMap,
    head: &Parts,
    visit: &Visit,
    body: Option<Upload>,
    recorded: Option<&Recorded>,
) -> Request<RequestBody> {
    match body.as_ref().filter(|body| !body.is_end_stream()) {
        Some(body) if body.size_hint().exact().is_none() => request::announce_chunks(&mut headers),
        Some(_) => {}
        None => request::expect_nothing(&mut headers),
    }
    let recording = recorded.map(|recorded| Arc::clone(recorded.recording()));
    let mut request = Request::new(RequestBody::new(body, Arc::clone(&visit.exchange), recording));
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = request::target(&head.uri);
    *request.headers_mut() = headers;
    request
}
