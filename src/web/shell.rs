//! The gateway host's own pages, as routes.
//!
//! Owns which address shows which shell, the redirect to sign-in and the headers around it (FRAME-1). The shells hold no
//! data: their scripts ask the API. Refuses to know how someone is signed in: the caller passes that as a question.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    body::Body,
    extract::{OriginalUri, Path, State},
    routing::get,
};
use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderValue, Request, Response, StatusCode, Uri,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, REFERRER_POLICY, SET_COOKIE, VARY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
};

use super::{
    assets::{self, GATEWAY_PREFIX},
    pages::{self, Page},
};
use crate::{
    auth::{self, Ways},
    domain::ReturnTo,
};

/// Answers whether a request comes from someone who is signed in.
type SignedIn = Arc<dyn Fn(&HeaderMap, &Extensions) -> bool + Send + Sync>;

#[derive(Clone)]
struct Shell {
    signed_in: SignedIn,
    ways: Arc<Ways>,
}

/// The routes of the gateway host's pages and files.
pub fn router(ways: Ways, signed_in: impl Fn(&HeaderMap, &Extensions) -> bool + Send + Sync + 'static) -> Router {
    let shell = Shell {
        signed_in: Arc::new(signed_in),
        ways: Arc::new(ways),
    };
    Router::new()
        .route("/", get(dashboard))
        .route("/new", get(dashboard))
        .route("/settings", get(dashboard))
        .route("/device", get(dashboard))
        .route("/admin", get(dashboard))
        .route("/admin/audit", get(dashboard))
        .route("/admin/certificates", get(dashboard))
        .route("/admin/left-behind", get(dashboard))
        .route("/admin/sharing", get(dashboard))
        .route("/codespaces/{name}", get(dashboard))
        .route("/codespaces/{name}/terminals/{id}", get(dashboard))
        .route("/codespaces/{name}/log/{port}", get(dashboard))
        .route("/sign-in", get(sign_in))
        .route("/setup", get(setup))
        .route("/favicon.ico", get(|headers: HeaderMap| async move { file("mark.svg", &headers) }))
        .route("/static/{*path}", get(static_file))
        .fallback(|| async { not_found() })
        .method_not_allowed_fallback(|| async { respond(pages::method_not_allowed(GATEWAY_PREFIX)) })
        .with_state(shell)
}

fn not_found() -> Response<Body> {
    respond(pages::not_found(GATEWAY_PREFIX))
}

/// A page as the gateway host sends it, with its policy and every header of FRAME-1.
pub fn respond(page: Page) -> Response<Body> {
    document(page.status, page.html)
}

async fn dashboard(State(shell): State<Shell>, OriginalUri(uri): OriginalUri, request: Request<Body>) -> Response<Body> {
    if (shell.signed_in)(request.headers(), request.extensions()) {
        return filled(&App { title: "Codespaces" });
    }
    let here = uri
        .path_and_query()
        .and_then(|here| ReturnTo::parse(here.as_str()))
        .unwrap_or_else(ReturnTo::root);
    see_other(&pages::sign_in_url(&here))
}

async fn sign_in(State(shell): State<Shell>, OriginalUri(uri): OriginalUri, request: Request<Body>) -> Response<Body> {
    let next = next_of(&uri);
    let switching = parameter(&uri, "switch").is_some();
    let signed_in = (shell.signed_in)(request.headers(), request.extensions());
    if signed_in && !switching {
        return see_other(next.as_str());
    }
    let buttons = shell
        .ways
        .providers
        .iter()
        .map(|way| (way.label.as_str(), pages::start_url(&way.id, &next)));
    let mut response = filled(&SignIn {
        next: next.as_str(),
        buttons: buttons.collect(),
        passwords: shell.ways.passwords,
        // Somebody who switches wants to choose.
        header: shell.ways.header && !switching,
    });
    // A cookie that is no longer good only makes the next requests longer (SESS-5).
    if !signed_in
        && request.headers().contains_key(COOKIE)
        && let Ok(clear) = HeaderValue::from_str(&auth::clear_session_cookie())
    {
        response.headers_mut().append(SET_COOKIE, clear);
    }
    response
}

async fn setup() -> Response<Body> {
    filled(&Setup)
}

async fn static_file(Path(path): Path<String>, OriginalUri(uri): OriginalUri, headers: HeaderMap) -> Response<Body> {
    match uri.query() {
        Some(query) => file(&format!("{path}?{query}"), &headers),
        None => file(&path, &headers),
    }
}

/// The place that a sign-in page is to come back to; the front page where it names none or none that is allowed.
fn next_of(uri: &Uri) -> ReturnTo {
    parameter(uri, "next")
        .and_then(|next| ReturnTo::parse(&next))
        .unwrap_or_else(ReturnTo::root)
}

fn parameter(uri: &Uri, wanted: &str) -> Option<String> {
    form_urlencoded::parse(uri.query()?.as_bytes())
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value.into_owned())
}

fn file(target: &str, headers: &HeaderMap) -> Response<Body> {
    assets::serve(target, headers).map(Body::from)
}

fn filled(template: &impl Template) -> Response<Body> {
    match template.render() {
        Ok(html) => document(StatusCode::OK, html),
        Err(_) => respond(pages::internal(GATEWAY_PREFIX, "")),
    }
}

fn document(status: StatusCode, html: String) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(html)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(pages::CSP));
    harden(headers);
    response
}

/// Sends the browser on with a GET.
pub fn see_other(location: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("/")));
    harden(headers);
    response
}

/// What every page of the gateway host carries besides its policy (FRAME-1).
fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        (X_FRAME_OPTIONS, "DENY"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
        (VARY, "cookie"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
}

#[derive(Template)]
#[template(path = "shell.html")]
struct App {
    title: &'static str,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    next: &'a str,
    /// What each provider's button says, and where it leads.
    buttons: Vec<(&'a str, String)>,
    passwords: bool,
    /// Whether the page asks by itself whether a proxy says who this is.
    header: bool,
}

#[derive(Template)]
#[template(path = "setup.html")]
struct Setup;

/// The URL of a file, for templates.
macro_rules! has_assets {
    ($($type:ty),+) => {
        $(impl $type {
            fn asset(&self, name: &str) -> String {
                assets::url(GATEWAY_PREFIX, name)
            }
        })+
    };
}

has_assets!(App, SignIn<'_>, Setup);

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;

    async fn get(target: &str, signed_in: bool) -> Response<Body> {
        let request = Request::get(target).body(Body::empty()).expect("a request");
        let ways = Ways {
            passwords: true,
            header: false,
            providers: Vec::new(),
        };
        router(ways, move |_, _| signed_in).oneshot(request).await.expect("an answer")
    }

    #[tokio::test]
    async fn strangers_are_sent_to_sign_in() {
        #[track_caller]
        fn check(response: &Response<Body>, location: &str) {
            assert_eq!(response.status(), StatusCode::SEE_OTHER);
            assert_eq!(response.headers()[LOCATION], location);
        }
        check(&get("/", false).await, "/sign-in?next=%2F");
        check(
            &get("/new?repository=https://git.example/a&ref=x", false).await,
            "/sign-in?next=%2Fnew%3Frepository%3Dhttps%3A%2F%2Fgit.example%2Fa%26ref%3Dx",
        );
        check(
            &get("/codespaces/amber/terminals/1", false).await,
            "/sign-in?next=%2Fcodespaces%2Famber%2Fterminals%2F1",
        );
        check(&get("/sign-in?next=%2Fsettings", true).await, "/settings");
        check(&get("/sign-in?next=%2F%2Fevil.example", true).await, "/");
        assert_eq!(get("/sign-in?switch=1", true).await.status(), StatusCode::OK);
        assert_eq!(get("/nowhere", true).await.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn every_page_is_hardened() {
        for (target, signed_in) in [
            ("/", true),
            ("/codespaces/amber", true),
            ("/sign-in", false),
            ("/setup", false),
            ("/", false),
        ] {
            let response = get(target, signed_in).await;
            let headers = response.headers();
            assert_eq!(headers[X_FRAME_OPTIONS], "DENY", "{target}");
            assert_eq!(headers["cross-origin-opener-policy"], "same-origin", "{target}");
            if response.status() == StatusCode::OK {
                assert_eq!(headers[CONTENT_SECURITY_POLICY], pages::CSP, "{target}");
            }
        }
    }
}
