//! The audit log, for admins: as a list, or as JSON lines for machines.

use axum::{
    body::Body,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};

use super::{
    Services,
    identify::Who,
    model::AuditEvent,
    parse,
    problem::{Problem, ProblemBody},
    views,
};

/// The media type of JSON lines: one event in each line.
const LINES: &str = "application/jsonl";

/// Lists audit events, the newest first. `Link: <…>; rel="next"` leads to the events before these, while there are some.
/// With `Accept: application/jsonl` each event is a line.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(
    ("user" = Option<String>, Query, description = "Those that an account did or that were done to it"),
    ("codespace" = Option<String>, Query, description = "Those about a codespace or one of its ports"),
    ("event" = Option<String>, Query, description = "`session.created`, or `session` for all of its kind"),
    ("since" = Option<String>, Query, description = "A time such as 2026-01-31T12:00:00Z, or how long ago, such as 7d"),
    ("until" = Option<String>, Query, description = "As `since`; events at that time and later are left out"),
    ("cursor" = Option<i64>, Query, description = "Events before the one of this id"),
    ("limit" = Option<u32>, Query, description = "1 to 1000; 100 if left out"),
), responses(
    (status = 200, body = [AuditEvent]), (status = 422, body = ProblemBody),
))]
pub async fn list(State(services): State<Services>, who: Who, RawQuery(query): RawQuery, headers: HeaderMap) -> Result<Response, Problem> {
    who.into_admin()?;
    let query = query.unwrap_or_default();
    let question = parse::audit_question(&query, services.clock.now())
        .map_err(|said| Problem::unprocessable("bad-query", "That is no question", said))?;
    let entries = services.audit.read(&question).await?;
    let events: Vec<AuditEvent> = entries.into_iter().map(views::audit_event).collect();
    let full = u32::try_from(events.len()).is_ok_and(|count| count >= question.limit);
    let next = events.last().filter(|_| full).map(|last| next_page(&query, last.id));
    let lines = headers.get(header::ACCEPT).is_some_and(|accept| accept == LINES);
    let mut response = if lines {
        as_lines(&events)
    } else {
        axum::Json(&events).into_response()
    };
    if let Some(next) = next.and_then(|next| HeaderValue::try_from(next).ok()) {
        response.headers_mut().insert(header::LINK, next);
    }
    Ok(response)
}

fn as_lines(events: &[AuditEvent]) -> Response {
    let lines = events.iter().filter_map(|event| serde_json::to_string(event).ok());
    let text = lines.fold(String::new(), |text, line| text + &line + "\n");
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(LINES));
    response
}

/// The same question, from the last event on (RFC 8288).
fn next_page(query: &str, last: i64) -> String {
    let kept = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "cursor");
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .append_pair("cursor", &last.to_string())
        .finish();
    format!("</api/v1/audit?{query}>; rel=\"next\"")
}
