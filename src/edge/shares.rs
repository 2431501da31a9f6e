//! Share links on a port's host: the page behind a link, the grant that its button gives, and webhooks.
//!
//! Looking at a link's page uses nothing up, so that link previewers cost nothing; its button does. A webhook's secret is
//! taken out of the address before anything else sees it.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, header, request::Parts, uri::PathAndQuery};
use secrecy::SecretString;

use super::{
    Body, Edge,
    failure::{Failure, Reason, html},
    hop::{parameter, read_form, redirect},
    proxy::Forwarding,
    upload::Upload,
    visit::{RESERVED, Visit},
};
use crate::{
    audit::Actor,
    auth::{SharePasswordError, hash_secret},
    codespace::{Codespace, CodespaceError, Share, ShareError, Shown, Snapshot},
    domain::{Exceeded, Phase, ShareEnd, ShareKind},
    forward::{admission::Refusal, request::without_credentials},
    policy::{Denial, Manner, Presented},
    route::Route,
    web::{
        assets::CODESPACE_PREFIX,
        pages::{self, Page, SharePassword, Sharing},
    },
};

/// Length of a secret: 256 bits in base64url.
const SECRET_BYTES: usize = 43;

/// A link that is there, with its codespace.
struct Found {
    codespace: Arc<Codespace>,
    snapshot: Arc<Snapshot>,
    share: Arc<Share>,
}

/// Answers at `P/.portico/s/SECRET`.
pub(super) async fn answer(edge: &Edge, visit: &Visit, request: Request<Upload>, secret: &str) -> Result<Response<Body>, Failure> {
    let Some(found) = find(edge, visit, secret, ShareKind::People) else {
        visit.exchange.note("no such link");
        return Ok(shown(pages::share_unknown()));
    };
    if let Some(end) = found.end(edge) {
        return Ok(ended(visit, &found, end));
    }
    match *request.method() {
        Method::GET | Method::HEAD => Ok(shown(found.page(visit, edge, None))),
        Method::POST => open(edge, visit, request, found).await,
        _ => Err(visit.fail(Reason::Admission(Refusal::Method))),
    }
}

/// The button was pressed: takes one use, and gives this browser its grant.
async fn open(edge: &Edge, visit: &Visit, request: Request<Upload>, found: Found) -> Result<Response<Body>, Failure> {
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    if matches!(site, Some(b"cross-site" | b"same-site")) {
        return Ok(shown(pages::forbidden_origin(CODESPACE_PREFIX)));
    }
    let port = found.share.terms.port;
    if !found.snapshot.admits(port, visit.exchange.client()) {
        // Before its password is tried and one of its uses spent.
        return Err(visit.fail(Reason::Limited(port, Exceeded::Address, found.snapshot.record.owner.clone())));
    }
    let form = read_form(visit, request).await?;
    if let Some(hash) = &found.share.password {
        let password = SecretString::from(parameter(Some(&form), "password").unwrap_or_default());
        let (client, now) = (visit.client(), edge.clock.now());
        let checked = edge.auth.check_share_password(&found.share.id, password, hash, &client, now).await;
        if let Err(error) = checked {
            visit.exchange.note(format!("link: {error}"));
            return Ok(refused(found.page(visit, edge, Some(trouble(error))), error));
        }
    }
    let used = match found.codespace.use_share(&found.share.id, &actor(visit)).await {
        Ok(used) => used,
        Err(CodespaceError::Share(ShareError::Ended(end))) => return Ok(ended(visit, &found, end)),
        Err(error) => {
            tracing::error!(%error, "a link was not opened");
            return Ok(shown(pages::internal(CODESPACE_PREFIX, visit.exchange.id())));
        }
    };
    let mut response = redirect(&format!("{}{}", visit.origin, used.terms.path));
    let cookie = edge
        .auth
        .grant_cookie(&used.id, &visit.route, used.terms.expires_at, edge.clock.now());
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The link whose secret stands in an address. One of another port or kind is not there.
fn find(edge: &Edge, visit: &Visit, secret: &str, kind: ShareKind) -> Option<Found> {
    let Route::Port(name, port) = &visit.route else { return None };
    if secret.len() != SECRET_BYTES {
        return None;
    }
    let codespace = edge.codespaces.find(name)?;
    let snapshot = codespace.snapshot();
    edge.auth.user(&snapshot.record.owner).filter(|owner| !owner.suspended)?;
    let share = Arc::clone(snapshot.share_of(&hash_secret(secret))?);
    let here = share.terms.port == *port && share.terms.kind == kind && snapshot.is_for(&share) && snapshot.phase() != Phase::Deleting;
    here.then_some(Found {
        codespace,
        snapshot,
        share,
    })
}

impl Found {
    fn end(&self, edge: &Edge) -> Option<ShareEnd> {
        let closed = !self.snapshot.allows_links(self.share.terms.port);
        self.share.end(edge.clock.now()).or(closed.then_some(ShareEnd::Closed))
    }

    fn owner(&self, edge: &Edge) -> Option<String> {
        edge.auth.user(&self.snapshot.record.owner).map(|user| user.name.to_string())
    }

    fn page(&self, visit: &Visit, edge: &Edge, trouble: Option<SharePassword>) -> Page {
        let terms = &self.share.terms;
        let label = self.snapshot.ports.get(&terms.port).and_then(|view| view.settings.label.clone());
        let lasts = terms.expires_at.map(|at| remaining(at - edge.clock.now()));
        let path = Some(terms.path.as_str()).filter(|path| *path != "/");
        let sharing = Sharing {
            who: &self.owner(edge).unwrap_or_else(|| "Somebody".to_owned()),
            what: &label.unwrap_or_else(|| format!("port {}", terms.port)),
            host: &visit.origin.host,
            path,
            asks_password: self.share.password.is_some(),
            lasts: lasts.as_deref(),
            abuse: edge.abuse.as_deref(),
        };
        pages::share(sharing, trouble)
    }
}

/// How long something still lasts, in its largest unit.
fn remaining(left: time::Duration) -> String {
    let minutes = (left.whole_seconds().max(0) + 59) / 60;
    let (count, unit) = match minutes {
        0..=119 => (minutes.max(1), "minute"),
        120..=2879 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

fn trouble(error: SharePasswordError) -> SharePassword {
    match error {
        SharePasswordError::TooMany { retry_after } => SharePassword::TooMany(seconds(retry_after)),
        SharePasswordError::Busy => SharePassword::TooMany(2),
        SharePasswordError::Wrong | SharePasswordError::TooShort | SharePasswordError::TooLong => SharePassword::Wrong,
    }
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs().max(1)
}

fn refused(page: Page, error: SharePasswordError) -> Response<Body> {
    let mut response = shown(page);
    if let SharePasswordError::TooMany { retry_after } = error {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds(retry_after)));
    }
    response
}

fn ended(visit: &Visit, found: &Found, end: ShareEnd) -> Response<Body> {
    visit.exchange.note(format!("link: {end:?}"));
    shown(pages::share_ended(end, Some(&found.share.created_by), None))
}

/// A page about a link: for people and previewers alike, and in no frame.
fn shown(page: Page) -> Response<Body> {
    html(page, pages::CSP)
}

fn actor(visit: &Visit) -> Actor {
    Actor {
        name: String::new(),
        address: Some(visit.exchange.client().to_string()),
        request_id: Some(visit.exchange.id().to_owned()),
    }
}

/// A webhook's call, its secret taken out of the address.
pub(super) struct Call {
    visit: Box<Visit>,
    share: Arc<Share>,
}

/// Reads a call of a webhook link: `/.portico/in/SECRET/hooks/x` becomes `/hooks/x`. None if the address is none.
pub(super) fn call(edge: &Edge, mut visit: Box<Visit>, head: &mut Parts) -> Result<Result<Call, Failure>, Box<Visit>> {
    let target = visit.target.as_str();
    let Some(rest) = target.strip_prefix(RESERVED).and_then(|path| path.strip_prefix("in/")) else {
        return Err(visit);
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (secret, rest) = rest.split_at(end);
    let found = find(edge, &visit, secret, ShareKind::Webhook);
    let inner = if rest.starts_with('/') {
        rest.to_owned()
    } else {
        format!("/{rest}")
    };
    // What is ours under one name is not the app's under another.
    let inner = inner
        .parse::<PathAndQuery>()
        .ok()
        .filter(|inner| !inner.path().starts_with(RESERVED));
    visit.target = inner.clone().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let (Some(found), Some(inner)) = (found, inner) else {
        return Ok(Err(visit.fail(Reason::NoSuchLink)));
    };
    visit.who = Presented::Nothing;
    visit.may_detour = false;
    // The secret in its address is a credential that no browser adds by itself.
    visit.manner = Manner::Token;
    visit.shown = Some(Arc::new(Shown {
        kind: ShareKind::Webhook,
        ids: vec![found.share.id.clone()],
        method: head.method.clone(),
        path: inner.path().into(),
    }));
    head.uri = inner.into();
    without_credentials(&mut head.headers);
    Ok(Ok(Call { visit, share: found.share }))
}

impl Edge {
    /// Passes a webhook's call on to the app.
    pub(super) async fn call_hook(&self, call: Call, head: Parts, body: Upload) -> Result<Response<Body>, Failure> {
        let Call { visit, share } = call;
        let awake = match visit.authorize(self, self.clock.now())?.within_limits(self, &head)?.awake() {
            Ok(awake) => awake,
            Err(asleep) => return self.asleep(asleep, Request::from_parts(head, body)).await,
        };
        let permitted = &awake.permitted;
        if awake.wants_upgrade() {
            return Err(permitted
                .visit
                .fail(Reason::BadRequest("a webhook link carries requests, no WebSockets")));
        }
        if share.max_uses.is_none() {
            permitted.codespace.count_share(&share.id);
        } else if let Err(error) = permitted.codespace.use_share(&share.id, &actor(&permitted.visit)).await {
            return Err(permitted.visit.fail(match error {
                CodespaceError::Share(ShareError::Ended(end)) => Reason::Denied(Denial::ShareEnded(end)),
                _ => Reason::Internal,
            }));
        }
        self.forward(Forwarding::prepare(self, awake, head, body)).await
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn what_remains_is_told_in_words() {
        for (seconds, expected) in [
            (-5, "1 minute"),
            (1, "1 minute"),
            (61, "2 minutes"),
            (7080, "118 minutes"),
            (7199, "2 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(remaining(time::Duration::seconds(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn statuses_of_pages() {
        assert_eq!(pages::share_unknown().status, StatusCode::NOT_FOUND);
        assert_eq!(pages::share_ended(ShareEnd::Revoked, None, None).status, StatusCode::GONE);
    }
}
