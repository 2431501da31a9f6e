//! Errors as a client reads them: `application/problem+json` (RFC 9457).
//!
//! Owns what a refusal looks like on the wire. The text here is public; what the log should know goes to `tracing`.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A problem on the wire.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ProblemBody {
    /// `urn:portico:SLUG`; what programs compare.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// The status code of the answer.
    pub status: u16,
    /// This very problem, and what to do next, in plain words.
    pub detail: String,
    /// What the kind of problem adds, for instance `uncommitted_files`.
    #[serde(flatten)]
    #[schema(additional_properties, value_type = Object)]
    pub extra: Map<String, Value>,
}

/// A refusal on its way to the client.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    detail: String,
    extra: Map<String, Value>,
    headers: HeaderMap,
    denied: bool,
}

/// Marks an answer for the audit log: what was asked for is there, and not for whoever asked. A response extension.
#[derive(Clone, Copy, Debug)]
pub struct Denied;

impl Problem {
    /// Makes a problem; `detail` is public.
    pub fn new(status: StatusCode, slug: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            slug,
            title,
            detail: detail.into(),
            extra: Map::new(),
            headers: HeaderMap::new(),
            denied: false,
        }
    }

    /// Notes that something is kept from whoever asked, which the answer itself does not tell.
    #[must_use]
    pub fn denied(mut self) -> Self {
        self.denied = true;
        self
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Missing, or not to be known to exist: one answer for both (decision 10).
    pub fn no_such_codespace() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-such-codespace",
            "No such codespace",
            "It does not exist, or is not shared with you. Check the name, or ask whoever sent it to you.",
        )
    }

    /// Nothing at this path.
    pub fn not_found(what: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", what)
    }

    /// Nobody is signed in.
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "sign-in-required",
            "Sign in first",
            "Send `Authorization: Bearer TOKEN`, or sign in with a browser. `portico token create` makes a token.",
        )
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// A credential was sent and is not good.
    pub fn invalid_credential() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid-credential",
            "That credential is not valid",
            "The token or the session was revoked, has expired, or never was. Sign in again or make a new token.",
        )
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""))
    }

    /// Known, but not allowed.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// A well-formed request that asks for something that cannot be.
    pub fn unprocessable(slug: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, slug, title, detail)
    }

    /// The codespace's agent did not answer as it should.
    pub fn agent(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "agent", "The codespace did not answer", detail)
    }

    /// A fault of ours; the cause goes to the log, not to the client.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "the API failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong in the gateway",
            "It is not your fault. Try again; if it stays, tell your operator what you did, and the request id.",
        )
    }

    /// The body as it goes out.
    pub fn body(&self) -> ProblemBody {
        ProblemBody {
            kind: format!("urn:portico:{}", self.slug),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            extra: self.extra.clone(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body()).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if self.denied {
            response.extensions_mut().insert(Denied);
        }
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response
    }
}
