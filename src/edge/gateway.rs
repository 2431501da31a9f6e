//! The gateway host: pages, API, agents' connections and the gateway's end of the sign-in hop.

use std::sync::Arc;

use http::{HeaderValue, Request, Response, Uri};
use tower::ServiceExt as _;

use super::{Body, Edge, context::Exchange, failure::html, hop, upload::Upload};
use crate::{
    api::{ClientAddress, Door, RequestId},
    tunnel::Client,
    web::{assets::GATEWAY_PREFIX, pages},
};

impl Edge {
    pub(super) async fn gateway_host(&self, mut request: Request<Upload>, exchange: &Arc<Exchange>) -> Response<Body> {
        let path = request.uri().path();
        if path == "/authorize" {
            return unframed(hop::authorize_at_gateway(self, &request, exchange));
        }
        if path.starts_with("/api/v1/agent/") {
            let tunnels = self.tunnels.clone();
            request.extensions_mut().insert(Client {
                address: Some(exchange.client()),
                request_id: Some(exchange.id().to_owned()),
            });
            let link = async move { tunnels.serve(request).await.map(axum::body::Body::new) };
            return self.on_control(link, exchange).await;
        }
        self.gateway_service(request, Door::Gateway, exchange).await
    }

    /// Hands a request to the gateway's own pages and API, through one of their doors.
    pub(super) async fn gateway_service(&self, mut request: Request<Upload>, door: Door, exchange: &Arc<Exchange>) -> Response<Body> {
        if matches!(door, Door::Editor(_)) {
            strip_reserved_prefix(&mut request);
        }
        request.extensions_mut().insert(door);
        request.extensions_mut().insert(ClientAddress(Some(exchange.client())));
        request.extensions_mut().insert(RequestId(exchange.id().to_owned()));
        let router = if request.uri().path().starts_with("/api/") {
            &self.api
        } else {
            &self.pages
        };
        let answer = router.clone().oneshot(request.map(axum::body::Body::new));
        let answer = async move {
            match answer.await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        };
        self.on_control(answer, exchange).await
    }

    /// Has the gateway's own runtime make an answer: codespaces and links that it begins there outlive this thread.
    async fn on_control(
        &self,
        answer: impl Future<Output = Response<axum::body::Body>> + Send + 'static,
        exchange: &Exchange,
    ) -> Response<Body> {
        match self.control.spawn(answer).await {
            Ok(response) => response.map(Body::gateway),
            // A panic has been logged where it happened, or the gateway is going.
            Err(_) => html(pages::internal(GATEWAY_PREFIX, exchange.id()), pages::CSP),
        }
    }
}

/// Keeps a page of the gateway host out of frames and away from other sites' windows (FRAME-1).
fn unframed(mut response: Response<Body>) -> Response<Body> {
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// `/.portico/api/v1/…` on the editor host is `/api/v1/…` of the API.
fn strip_reserved_prefix(request: &mut Request<Upload>) {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    if let Some(uri) = target.strip_prefix("/.portico").and_then(|rest| rest.parse::<Uri>().ok()) {
        *request.uri_mut() = uri;
    }
}
