//! The request log of a port, for the codespace's owner alone: read, cleared, replayed. It is turned on and off where the
//! rest of a port is set.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{RawQuery, State},
};
use http::StatusCode;

use super::{
    Services,
    identify::{By, From, Params, Who, ownership},
    model::{Exchange, ExchangeDetail, ExchangeField, ExchangePart, VisitHour, VisitNamed},
    problem::{Problem, ProblemBody},
};
use crate::{
    codespace::Codespace,
    domain::{Access, Identity, Port, PortError},
    inspect::{self, Entry, Head, Hour, Named, Part, PortLog, Refused, Replay, Visitor},
    policy::grants,
};

/// A log that may be read.
struct Open {
    codespace: Arc<Codespace>,
    port: Port,
    /// None while it is off.
    log: Option<Arc<PortLog>>,
}

/// Lists what was lately asked of a port and answered, the newest first; empty while its log is off. Set `log_entries` of
/// the port to turn it on.
#[utoipa::path(get, path = "/api/v1/codespaces/{name}/ports/{port}/log", tag = "log", params(
    ("name" = String, Path), ("port" = u16, Path), ("limit" = Option<u16>, Query, description = "1 to 1000; 100 if left out"),
), responses(
    (status = 200, body = [Exchange]), (status = 401, body = ProblemBody),
    (status = 403, body = ProblemBody, description = "Only the codespace's owner may read it"), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody),
))]
pub async fn list(
    State(services): State<Services>,
    Who(who): Who,
    Params((name, port)): Params<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Exchange>>, Problem> {
    let open = services.open_log(&who, &name, &port)?;
    let most = limit(&query.unwrap_or_default())?;
    let newest = open.log.map(|log| log.newest(most)).unwrap_or_default();
    Ok(Json(newest.iter().map(exchange).collect()))
}

/// Shows one exchange with all that is kept of it.
#[utoipa::path(get, path = "/api/v1/codespaces/{name}/ports/{port}/log/{id}", tag = "log",
    params(("name" = String, Path), ("port" = u16, Path), ("id" = u64, Path)), responses(
    (status = 200, body = ExchangeDetail), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody),
))]
pub async fn view(
    State(services): State<Services>,
    Who(who): Who,
    Params((name, port, id)): Params<(String, String, String)>,
) -> Result<Json<ExchangeDetail>, Problem> {
    let open = services.open_log(&who, &name, &port)?;
    let entry = open.entry(&id)?;
    Ok(Json(services.detail(&open, &entry)))
}

/// Forgets all exchanges of a port's log, which stays on.
#[utoipa::path(delete, path = "/api/v1/codespaces/{name}/ports/{port}/log", tag = "log",
    params(("name" = String, Path), ("port" = u16, Path)), responses(
    (status = 204), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody),
))]
pub async fn clear(
    State(services): State<Services>,
    Who(who): Who,
    Params((name, port)): Params<(String, String)>,
) -> Result<StatusCode, Problem> {
    if let Some(log) = services.open_log(&who, &name, &port)?.log {
        log.clear();
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Asks the app for the same once more, as a request of the owner's. What was taken out stays out. The answer is the new
/// exchange, which is in the log before it has ended.
#[utoipa::path(post, path = "/api/v1/codespaces/{name}/ports/{port}/log/{id}/replay", tag = "log",
    params(("name" = String, Path), ("port" = u16, Path), ("id" = u64, Path)), responses(
    (status = 201, body = Exchange), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody, description = "It was not kept whole, or the codespace does not run"),
    (status = 422, body = ProblemBody), (status = 429, body = ProblemBody, description = "Too many replays are under way"),
))]
pub async fn replay(
    State(services): State<Services>,
    Who(who): Who,
    By(actor): By,
    from: From,
    Params((name, port, id)): Params<(String, String, String)>,
) -> Result<(StatusCode, Json<Exchange>), Problem> {
    let open = services.open_log(&who, &name, &port)?;
    let entry = open.entry(&id)?;
    let refused = |detail: String| Problem::new(StatusCode::CONFLICT, "not-replayable", "It cannot be replayed", detail);
    entry
        .repeatable()
        .map_err(|why| refused(format!("It cannot be asked for again as it was: {why}.")))?;
    let target = format!("{}:{}", open.codespace.name(), open.port);
    let detail = format!("{} {}", entry.method, entry.target.split('?').next().unwrap_or_default());
    let client = from.0.address.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let trace = services.replays.replay(|reply| Replay {
        codespace: open.codespace.name().clone(),
        port: open.port,
        who,
        client,
        entry,
        reply,
    });
    let busy = |detail: String| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-replays",
            "Too many replays are under way",
            detail,
        )
    };
    let trace = trace.await.map_err(|why| match why {
        Refused::Busy => busy("Others take all the places there are. Try again in a moment.".to_owned()),
        Refused::OwnersBusy(most) => busy(format!(
            "{most} of yours are, and no more may be at once. Try again when one has ended."
        )),
        Refused::Asleep => Problem::new(
            StatusCode::CONFLICT,
            "not-running",
            "The codespace does not run",
            "Its codespace does not run, or its agent is away. Start it and try again.",
        ),
        Refused::Denied(why) => refused(format!("Nothing was asked: {why}.")),
    })?;
    services.audit.record("port.replayed", &actor, target, detail);
    let made = open.log.and_then(|log| {
        log.newest(usize::from(inspect::MOST_ENTRIES))
            .into_iter()
            .find(|entry| entry.trace == trace)
    });
    let made = made.ok_or_else(|| Problem::not_found("It was asked, and the log has forgotten it already, or was turned off."))?;
    Ok((StatusCode::CREATED, Json(exchange(&made))))
}

/// Tells who visited a port, for each hour of the last week in which somebody came, the latest first; counted while its
/// log is on.
#[utoipa::path(get, path = "/api/v1/codespaces/{name}/ports/{port}/visits", tag = "log",
    params(("name" = String, Path), ("port" = u16, Path)), responses(
    (status = 200, body = [VisitHour]), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody),
))]
pub async fn visits(
    State(services): State<Services>,
    Who(who): Who,
    Params((name, port)): Params<(String, String)>,
) -> Result<Json<Vec<VisitHour>>, Problem> {
    let open = services.open_log(&who, &name, &port)?;
    let hours = open.log.map(|log| log.visits(services.clock.now())).unwrap_or_default();
    Ok(Json(hours.into_iter().map(visit_hour).collect()))
}

impl Services {
    /// Finds a log for the owner of its codespace; to everybody else it is closed, or not there.
    fn open_log(&self, who: &Identity, name: &str, port: &str) -> Result<Open, Problem> {
        let codespace = self.codespace(who, name, Access::View)?;
        if !grants(who, &ownership(&codespace)).allow(Access::Share) {
            return Err(Problem::forbidden(
                "Only its owner may read what is asked of its ports: no admin may, and neither its editor nor its own token.",
            ));
        }
        let port = port
            .parse()
            .map_err(|error: PortError| Problem::unprocessable("bad-port", "That is no port", error.to_string()))?;
        let log = codespace.snapshot().ports.get(&port).and_then(|view| view.log.clone());
        Ok(Open { codespace, port, log })
    }

    fn detail(&self, open: &Open, entry: &Entry) -> ExchangeDetail {
        let origin = self.sites.port(open.codespace.name(), open.port).to_string();
        ExchangeDetail {
            exchange: exchange(entry),
            request: part(&entry.request, &entry.sent),
            response: part(&entry.response, &entry.received),
            curl: inspect::command(entry, &origin),
            not_replayable: entry.repeatable().err().map(|why| why.to_string()),
        }
    }
}

impl Open {
    fn entry(&self, id: &str) -> Result<Entry, Problem> {
        let id = id.parse().ok();
        let found = id.zip(self.log.as_ref()).and_then(|(id, log)| log.find(id));
        found.ok_or_else(|| {
            Problem::not_found("There is no such exchange: newer ones took its place, or the log was cleared or turned off.")
        })
    }
}

fn limit(query: &str) -> Result<usize, Problem> {
    let bad = |said: &str| Problem::unprocessable("bad-query", "That is no question", said);
    let mut most = inspect::DEFAULT_ENTRIES;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name != "limit" {
            return Err(bad("It takes limit."));
        }
        let limit = value.parse().ok().filter(|limit| (1..=inspect::MOST_ENTRIES).contains(limit));
        most = limit.ok_or_else(|| bad("limit is a number from 1 to 1000."))?;
    }
    Ok(usize::from(most))
}

fn exchange(entry: &Entry) -> Exchange {
    let (kind, who) = match &entry.who {
        Visitor::Owner(name) => ("owner", name.as_str()),
        Visitor::User(name) => ("user", name.as_str()),
        Visitor::Link(_, name) => ("link", name.as_str()),
        Visitor::Anyone => ("anyone", ""),
    };
    Exchange {
        id: entry.id,
        at: entry.at,
        trace_id: entry.trace.clone(),
        method: entry.method.clone(),
        target: entry.target.clone(),
        protocol: entry.protocol.to_owned(),
        kind: kind.to_owned(),
        who: who.to_owned(),
        address: entry.client.to_string(),
        status: entry.status,
        websocket: entry.websocket,
        replay_of: entry.replay_of,
        sent_bytes: entry.sent.size,
        received_bytes: entry.received.size,
        first_byte_ms: entry.first_byte.map(milliseconds),
        took_ms: entry.took.map(milliseconds),
        trouble: entry.trouble.clone(),
    }
}

fn part(head: &Head, body: &Part) -> ExchangePart {
    let fields = head.fields.iter().map(|field| ExchangeField {
        name: field.name.clone(),
        value: String::from_utf8_lossy(&field.value).into_owned(),
        removed: field.removed,
    });
    ExchangePart {
        fields: fields.collect(),
        fields_cut: head.cut,
        body: (body.text && body.size > 0).then(|| String::from_utf8_lossy(&body.kept).into_owned()),
        body_cut: body.cut,
        body_removed: body.removed,
    }
}

fn visit_hour(hour: Hour) -> VisitHour {
    let named = |list: Vec<Named>| {
        let named = list.into_iter().map(|Named { name, requests }| VisitNamed { name, requests });
        named.collect()
    };
    VisitHour {
        hour: hour.start,
        requests: hour.requests,
        users: named(hour.users),
        links: named(hour.links),
        strangers: hour.strangers,
        more: hour.more,
    }
}

/// With so many digits as anybody reads.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}
