//! Health, which says that the process answers, and readiness, which says that it may be sent work.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, StatusCode, header};
use tower_http::set_header::SetResponseHeaderLayer;

/// Whether the gateway may be sent work; not yet while it starts, no more while it drains. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says that it is ready, or no more.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    /// Whether it is ready.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a path of the gateway host asks whether it is well.
pub fn is_probe(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

/// `/healthz` and `/readyz`, for everyone.
pub fn router(readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .layer(SetResponseHeaderLayer::overriding(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        ))
        .with_state(readiness)
}

async fn healthy() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok" }))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    if readiness.is_ready() {
        Json(serde_json::json!({ "status": "ready" })).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(serde_json::json!({ "status": "not ready" }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn readiness_follows_what_was_said() {
        let readiness = Readiness::default();
        let status = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            router(readiness.clone())
                .oneshot(request)
                .await
                .expect("an answer")
                .status()
                .as_u16()
        };
        assert_eq!((status("/healthz").await, status("/readyz").await), (200, 503));
        readiness.set(true);
        assert_eq!(status("/readyz").await, 200);
        readiness.set(false);
        assert_eq!((status("/healthz").await, status("/readyz").await), (200, 503));
    }
}
