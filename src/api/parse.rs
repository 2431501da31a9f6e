//! From what a client wrote to what is meant, where that is more than a word.

use time::OffsetDateTime;

use super::model::CreateUser;
use crate::{
    auth::NewUser,
    domain::{Role, Scope, ScopeError, UserNameError},
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries() {
        let now = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(expiry("30d", now), Ok(now + time::Duration::days(30)));
        for bad in ["", "30", "-1d", "0s", "9999999y", "99999999999999999999s", "tomorrow"] {
            assert!(expiry(bad, now).is_err(), "{bad}");
        }
    }
}
