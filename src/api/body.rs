//! Reading a JSON body: bounded, strict, and with errors that say where and what else.

use axum::extract::{FromRequest, Request};
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;

use super::{identify::Caller, problem::Problem};
use crate::policy::Presented;

/// Longest body of a request to the API in bytes (LIM-3).
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Longest body of somebody who is not signed in: a name and a password, or a link's secret (LIM-2).
pub const MAX_STRANGERS_BYTES: usize = 16 * 1024;

/// A JSON body of type `T`; unknown fields are refused by the type itself.
pub struct Sent<T>(pub T);

/// A JSON body that may be left out, with the type's default.
pub struct MaybeSent<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let typed = is_json(request.headers());
        let bytes = collect(request).await?;
        if !typed {
            return Err(not_json());
        }
        parse(&bytes).map(Self)
    }
}

impl<S: Sync, T: Default + DeserializeOwned> FromRequest<S> for MaybeSent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let typed = is_json(request.headers());
        let bytes = collect(request).await?;
        match bytes.is_empty() {
            true => Ok(Self(T::default())),
            false if typed => parse(&bytes).map(Self),
            false => Err(not_json()),
        }
    }
}

/// Tells whether a body says that it is JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"))
}

fn not_json() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "not-json",
        "The body must be JSON",
        "Send `Content-Type: application/json`.",
    )
}

async fn collect(request: Request) -> Result<Vec<u8>, Problem> {
    let known = matches!(request.extensions().get(), Some(Caller(Presented::Valid(_))));
    let limit = if known { MAX_BODY_BYTES } else { MAX_STRANGERS_BYTES };
    let limited = Limited::new(request.into_body(), limit);
    match limited.collect().await {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The body is too large",
            format!("The API takes at most {limit} bytes of you."),
        )),
        Err(_) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "incomplete",
            "The body did not arrive",
            "The connection ended, or the framing of the body is broken.",
        )),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        if !error.is_data() {
            let detail = format!("{} at {place}.", without_place(&error));
            return Problem::new(StatusCode::BAD_REQUEST, "bad-json", "The body is not valid JSON", detail);
        }
        let said = without_place(&error);
        let detail = match nearest_field(&said) {
            Some((unknown, nearest)) => format!("There is no field `{unknown}` ({place}). Did you mean `{nearest}`?"),
            None => format!("{said} ({place})."),
        };
        Problem::unprocessable("invalid-field", "A field is not right", detail)
    })
}

fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let said = text.rsplit_once(" at line ").map_or(text.as_str(), |(said, _)| said);
    // What a client sent is echoed inside; keep it short.
    said.chars().take(300).collect()
}

/// Reads serde's words on an unknown field; gives the field and the known one nearest to it.
fn nearest_field(said: &str) -> Option<(String, String)> {
    let rest = said.strip_prefix("unknown field `")?;
    let (unknown, expected) = rest.split_once('`')?;
    let known = expected.split('`').skip(1).step_by(2);
    let nearest = known.max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)))?;
    (strsim::jaro_winkler(unknown, nearest) > 0.6).then(|| (unknown.to_owned(), nearest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Sample {
        repository: String,
        idle_timeout_minutes: Option<u16>,
    }

    #[test]
    fn errors_say_where_and_what_else() {
        #[track_caller]
        fn check(body: &str, status: u16, detail: &str) {
            let problem = parse::<Sample>(body.as_bytes()).expect_err(body).body();
            assert_eq!((problem.status, problem.detail.as_str()), (status, detail));
        }
        check(
            r#"{"repositroy":"x"}"#,
            422,
            "There is no field `repositroy` (line 1, column 13). Did you mean `repository`?",
        );
        check(
            r#"{"zzz":1}"#,
            422,
            "unknown field `zzz`, expected `repository` or `idle_timeout_minutes` (line 1, column 6).",
        );
        check("{}", 422, "missing field `repository` (line 1, column 2).");
        check("{\"repository\"", 400, "EOF while parsing an object at line 1, column 13.");
        check("{\n  nope}", 400, "key must be a string at line 2, column 3.");
        check("", 400, "EOF while parsing a value at line 1, column 0.");
    }
}
