//! From what a client wrote to what is meant, where that is more than a word.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::model::CreateUser;
use crate::{
    auth::NewUser,
    domain::{Role, Scope, ScopeError, UserNameError},
    store::AuditQuestion,
};

/// Reads what an account is to be.
pub fn new_user(sent: CreateUser) -> Result<NewUser, UserNameError> {
    Ok(NewUser {
        name: sent.name.parse()?,
        role: if sent.admin { Role::Admin } else { Role::Member },
        password: sent.password.map(Into::into),
        email: None,
    })
}

/// Parses a scope that a person may give to a token; `inside:NAME` is the gateway's alone to give.
pub fn personal_scope(text: &str) -> Result<Scope, ScopeError> {
    match text.parse()? {
        Scope::Inside(_) | Scope::Workbench(_) => Err(ScopeError),
        scope => Ok(scope),
    }
}

/// Parses `30d` and the like; the text of the error is public.
pub fn expiry(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    let lasting = humantime::parse_duration(text).map_err(|_| "Write a duration such as 30d or 12h.".to_owned())?;
    let lasting = time::Duration::try_from(lasting).map_err(|_| "That is too long.".to_owned())?;
    let at = now.checked_add(lasting).filter(|at| at.year() < 10_000);
    at.filter(|at| *at > now)
        .ok_or_else(|| "It must end in the future, and before the year 10000.".to_owned())
}

/// Most audit events of one answer, and as many as there are where nobody says.
const AUDIT_LIMITS: (u32, u32) = (1000, 100);
/// Longest text of a question; no name of ours is longer.
const MAX_ASKED_BYTES: usize = 100;

/// Reads which audit events are asked for; the text of the error is public.
pub fn audit_question(query: &str, now: OffsetDateTime) -> Result<AuditQuestion, String> {
    let mut question = AuditQuestion {
        limit: AUDIT_LIMITS.1,
        ..AuditQuestion::default()
    };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if value.is_empty() {
            continue;
        }
        if value.len() > MAX_ASKED_BYTES {
            return Err(format!("{name} is too long."));
        }
        match name.as_ref() {
            "user" => question.user = Some(value.into_owned()),
            "codespace" => question.codespace = Some(value.into_owned()),
            "event" => question.action = Some(value.trim_end_matches(".*").to_owned()),
            "since" => question.since = Some(moment(&value, now)?),
            "until" => question.until = Some(moment(&value, now)?),
            "cursor" => question.before = Some(value.parse().map_err(|_| "cursor is the id of an event.".to_owned())?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=AUDIT_LIMITS.0).contains(limit));
                question.limit = limit.ok_or_else(|| format!("limit is a number from 1 to {}.", AUDIT_LIMITS.0))?;
            }
            _ => return Err("It takes user, codespace, event, since, until, cursor and limit.".to_owned()),
        }
    }
    Ok(question)
}

/// A time, or how long ago it was.
fn moment(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(at);
    }
    let ago = humantime::parse_duration(text)
        .ok()
        .and_then(|ago| time::Duration::try_from(ago).ok());
    ago.and_then(|ago| now.checked_sub(ago))
        .ok_or_else(|| "Write a time as in 2026-01-31T12:00:00Z, or how long ago, as in 7d.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audit_questions() {
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::days(100);
        let read = |query: &str| audit_question(query, now);
        assert_eq!(read("").map(|question| question.limit), Ok(100));
        let question = read("user=ada&event=session.*&since=7d&until=1970-03-01T00:00:00Z&cursor=12&limit=1000").expect("a question");
        assert_eq!(
            (question.user.as_deref(), question.action.as_deref()),
            (Some("ada"), Some("session"))
        );
        assert_eq!(question.since, Some(now - time::Duration::days(7)));
        assert_eq!((question.before, question.limit), (Some(12), 1000));
        for bad in [
            "limit=0",
            "limit=1001",
            "since=yesterday",
            "cursor=x",
            "actor=ada",
            "since=99999999999999999y",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&format!("user={}", "x".repeat(101))).is_err());
    }

    #[test]
    fn expiries() {
        let now = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(expiry("30d", now), Ok(now + time::Duration::days(30)));
        for bad in ["", "30", "-1d", "0s", "9999999y", "99999999999999999999s", "tomorrow"] {
            assert!(expiry(bad, now).is_err(), "{bad}");
        }
    }
}
