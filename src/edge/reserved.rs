//! Paths under `/.portico/` on codespace hosts: ours, and never an app's.

use http::{Method, Request, Response};

use super::{
    Body, Edge,
    failure::{Failure, Reason},
    hop,
    upload::Upload,
    visit::{RESERVED, Visit},
};
use crate::{api::Door, forward::admission, route::Route, web::assets};

impl Edge {
    pub(super) async fn reserved(&self, visit: Visit, request: Request<Upload>) -> Result<Response<Body>, Failure> {
        let path = visit.path.strip_prefix(RESERVED).unwrap_or_default();
        let at_editor = matches!(visit.route, Route::Editor(_));
        match (request.method().clone(), path) {
            (Method::GET | Method::HEAD, path) if path.starts_with("static/") => {
                let target = visit.target.strip_prefix(assets::CODESPACE_PREFIX).unwrap_or_default();
                Ok(assets::serve(target, request.headers()).map(Body::full))
            }
            (Method::GET, "authorize") if at_editor => hop::authorize(self, &visit, request.uri().query()),
            (Method::POST, "arrive") if at_editor => hop::arrive(&visit, request).await,
            (Method::POST, "redeem") => hop::redeem(self, &visit, request)
                .await
                .map(|response| self.readable_by_editor(&visit, response)),
            (_, path) if at_editor && path.starts_with("api/v1/") => {
                let door = Door::Editor(visit.name.clone());
                Ok(self.gateway_service(request, door, &visit.peer, &visit.exchange).await)
            }
            (_, "authorize" | "arrive" | "redeem") => Err(visit.fail(Reason::Admission(admission::Refusal::Method))),
            _ => Err(visit.fail(Reason::NotFound)),
        }
    }

    /// Lets the editor host's page read whether its ticket went through.
    fn readable_by_editor(&self, visit: &Visit, mut response: Response<Body>) -> Response<Body> {
        if visit.from == Some(Route::Editor(visit.name.clone()))
            && let Ok(origin) = self.sites.editor(&visit.name).to_string().parse()
        {
            response.headers_mut().insert(http::header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            response.headers_mut().insert(
                http::header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                http::HeaderValue::from_static("true"),
            );
        }
        response
    }
}
