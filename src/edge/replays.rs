//! Requests that the owner of a port has made again from its log: the same way as any other request, with the owner's
//! permit instead of a credential.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, request::Parts};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    Body, Edge, Peer,
    addressee::Addressee,
    caller::Caller,
    client::{self, Kind},
    context::{Exchange, Patience},
    failure::Failure,
    proxy::Forwarding,
    recall::Recall,
    upload::Upload,
    visit::{Awake, Visit},
};
use crate::{
    domain::{Identity, UserId},
    forward::{admission, names},
    inspect::{Entry, Orders, Refused, Replay, ReplayOf},
};

/// How long the answer to a replay is read; nobody takes it but the log, which keeps its beginning.
const READ_FOR: Duration = Duration::from_secs(30);
/// Most bytes that are read of it.
const READ_BYTES: usize = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

/// Replays that are under way at once, each until its answer was read; more are refused.
const AT_ONCE: usize = 16;
/// Of one owner: an app that never answers leaves the others their places.
pub(super) const AT_ONCE_EACH: usize = 4;
/// How long one may take in all.
const LIMIT: Duration = Duration::from_secs(60);

/// Replays what is ordered until the gateway drains.
pub async fn serve(edge: Edge, orders: Orders, drain: CancellationToken) {
    serve_within(LIMIT, edge, orders, drain).await;
}

/// The same, with another limit.
pub(super) async fn serve_within(limit: Duration, edge: Edge, mut orders: Orders, drain: CancellationToken) {
    let places = Places::default();
    loop {
        let order = tokio::select! {
            () = drain.cancelled() => return,
            order = orders.recv() => order,
        };
        let Some(order) = order else { return };
        let place = match places.take(&order.who.user) {
            Ok(place) => place,
            Err(why) => {
                // Whoever went away meanwhile does not hear it.
                let _ = order.reply.send(Err(why));
                continue;
            }
        };
        let again = edge.clone();
        edge.tasks.spawn(async move {
            // What takes longer breaks off, and is in the log as that.
            let _ = tokio::time::timeout(limit, again.replay(order)).await;
            drop(place);
        });
    }
}

/// Who has replays under way, and how many.
#[derive(Clone, Debug, Default)]
struct Places(Arc<Mutex<HashMap<UserId, usize>>>);

/// Room for one replay, until it is dropped.
#[derive(Debug)]
struct Place {
    places: Places,
    owner: UserId,
}

impl Places {
    fn take(&self, owner: &UserId) -> Result<Place, Refused> {
        let mut taken = self.0.lock();
        if taken.get(owner).is_some_and(|own| *own >= AT_ONCE_EACH) {
            return Err(Refused::OwnersBusy(AT_ONCE_EACH));
        }
        if taken.values().sum::<usize>() >= AT_ONCE {
            return Err(Refused::Busy);
        }
        *taken.entry(owner.clone()).or_default() += 1;
        Ok(Place {
            places: self.clone(),
            owner: owner.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        if let Some(own) = taken.get_mut(&self.owner) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.owner);
            }
        }
    }
}

impl Edge {
    async fn replay(&self, order: Replay) {
        let Replay {
            codespace,
            port,
            who,
            client,
            entry,
            reply,
        } = order;
        let origin = self.sites.port(&codespace, port);
        let Some(request) = request(&entry, &origin.authority()) else {
            let _ = reply.send(Err(Refused::Denied("what was kept of it is no request any more".into())));
            return;
        };
        let exchange = Exchange::begin(&request, client, &self.inner.books);
        let kind = client::kind(request.method(), request.headers());
        let (mut head, body) = request.into_parts();
        head.extensions.insert(ReplayOf(entry.id));
        let patience = Patience {
            body: PATIENCE,
            write: PATIENCE,
        };
        let peer = Peer::new(Caller::alone(client), None, patience, Arc::new(Recall::default()));
        let awake = match self.admit(&head, kind, &exchange, (Arc::new(peer), who)) {
            Ok(awake) => awake,
            Err(why) => {
                // Whoever goes away meanwhile does not hear it.
                let _ = reply.send(Err(why));
                return;
            }
        };
        let forwarding = Forwarding::prepare(self, awake, head, body);
        // By now it is in the log, where its end can be watched; an app may take as long as it likes.
        let _ = reply.send(Ok(exchange.id().to_owned()));
        let answered = self.forward(forwarding).await;
        let response = answered.unwrap_or_else(|failure| failure.respond(self, &exchange, kind));
        let response = exchange.respond(response);
        let _ = tokio::time::timeout(READ_FOR, read(response.into_body())).await;
    }

    /// Asks policy and the port's limits, as for any request. A codespace that rests is not started for it.
    fn admit(&self, head: &Parts, kind: Kind, exchange: &Arc<Exchange>, (peer, who): (Arc<Peer>, Identity)) -> Result<Awake, Refused> {
        let denied = |_: Failure| Refused::Denied("the port's own rules let no request of yours through".into());
        let written = head
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        let asked = Addressee::parse(written, &self.sites).map_err(|_| Refused::Asleep)?;
        let asked = Arc::new(asked);
        exchange.route(&asked);
        let now = self.clock.now();
        let visit = Visit::begin(self, head, &asked, &peer, exchange, (kind, now)).map_err(denied)?;
        let permitted = visit
            .on_behalf_of(who)
            .authorize(self, now)
            .and_then(|permitted| permitted.within_limits(self, head));
        permitted.map_err(denied)?.awake().map_err(|_| Refused::Asleep)
    }
}

/// The request that was written down, without what is another connection's and what was taken out.
fn request(entry: &Entry, authority: &str) -> Option<Request<Upload>> {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_str(authority).ok()?);
    for field in entry.request.fields.iter().filter(|field| !field.removed) {
        let name: HeaderName = field.name.parse().ok()?;
        let is_framing = matches!(name, header::HOST | header::CONTENT_LENGTH | header::EXPECT);
        if !is_framing && !names::is_hop_by_hop(&name) {
            headers.append(name, HeaderValue::from_bytes(&field.value).ok()?);
        }
    }
    let mut request = Request::new(Upload::whole(entry.sent.kept.clone()));
    *request.method_mut() = entry.method.parse::<Method>().ok()?;
    *request.uri_mut() = entry.target.parse::<Uri>().ok()?;
    *request.headers_mut() = headers;
    let (head, body) = request.into_parts();
    admission::check(&head).ok()?;
    Some(Request::from_parts(head, body))
}

async fn read(mut body: Body) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
        if bytes > READ_BYTES {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_one_owner_and_so_many_in_all() {
        let places = Places::default();
        let take = |owner: &str| places.take(&UserId(owner.into()));
        let mut ada: Vec<Place> = (0..AT_ONCE_EACH).map(|_| take("ada").expect("room")).collect();
        assert_eq!(take("ada").err(), Some(Refused::OwnersBusy(AT_ONCE_EACH)));
        let others = ["bob", "eve", "kim"].map(|owner| [0; AT_ONCE_EACH].map(|_| take(owner).expect("room")));
        assert_eq!(take("zoe").err(), Some(Refused::Busy));
        drop(ada.pop());
        let zoe = take("zoe").expect("room again");
        assert_eq!(take("ada").err(), Some(Refused::Busy));
        drop((ada, others, zoe));
        assert!(places.0.lock().is_empty(), "nobody is remembered");
    }
}
