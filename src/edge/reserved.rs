//! Paths under `/.portico/` on codespace hosts: ours, and never an app's.

use http::{Method, Request, Response, request::Parts};

use super::{
    Body, Edge,
    failure::{Failure, Reason},
    hop, shares,
    upload::Upload,
    visit::{RESERVED, Visit},
    warning,
};
use crate::{api::Door, forward::admission, route::Route, web::assets};

/// Answers a request for a file behind our pages. On every host of ours, so that a page looks like one of ours where no
/// codespace can be either.
pub(super) fn file(head: &Parts, route: &Route) -> Option<Response<Body>> {
    let safe = head.method == Method::GET || head.method == Method::HEAD;
    let target = head.uri.path_and_query()?.as_str().strip_prefix(assets::CODESPACE_PREFIX)?;
    (safe && *route != Route::Foreign).then(|| assets::serve(target, &head.headers).map(Body::full))
}

impl Edge {
    pub(super) async fn reserved(&self, visit: Visit, request: Request<Upload>) -> Result<Response<Body>, Failure> {
        let path = visit.target.path().strip_prefix(RESERVED).unwrap_or_default();
        let at_editor = matches!(visit.route, Route::Editor(_));
        if let Some(secret) = path.strip_prefix("s/").filter(|_| !at_editor) {
            return shares::answer(self, &visit, request, secret).await;
        }
        match (request.method().clone(), path) {
            (Method::GET, "authorize") if at_editor => hop::authorize(self, &visit, request.uri().query()),
            (Method::POST, "arrive") if at_editor => hop::arrive(&visit, request).await,
            (Method::GET, "sign-in") if !at_editor => hop::sign_in_on_demand(self, &visit, request.uri().query()),
            (Method::POST, "warning") if !at_editor => warning::read(self, &visit, request).await,
            (Method::POST, "wake") => self.wake_button(visit, request).await,
            (Method::POST, "redeem") => hop::redeem(self, &visit, request)
                .await
                .map(|response| self.readable_by_editor(&visit, response)),
            (_, path) if at_editor && path.starts_with("api/v1/") => {
                let door = Door::Editor(visit.name.clone());
                Ok(self.gateway_service(request, door, &visit.exchange).await)
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
