//! The limits that a port's owner set, asked of each request that has a permit.

use std::time::Instant;

use http::{header, request::Parts};

use super::{
    Edge,
    context::GaveUp,
    failure::{Failure, Reason},
    upload::TooLarge,
    visit::Permitted,
};
use crate::{
    domain::{Exceeded, Port},
    route::Route,
};

impl Permitted {
    /// Goes on only within what the operator lets strangers cost, and within the limits that the owner set; the place that
    /// it takes is free when the exchange ends.
    pub fn within_limits(self, edge: &Edge, head: &Parts) -> Result<Self, Failure> {
        let length = head
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        self.within(edge, length)
    }

    /// The same of a request whose body the app does not get.
    pub(super) fn within_limits_but_body(self, edge: &Edge) -> Result<Self, Failure> {
        self.within(edge, None)
    }

    fn within(self, edge: &Edge, length: Option<u64>) -> Result<Self, Failure> {
        let Route::Port(_, port) = self.visit.route else { return Ok(self) };
        if self.permit.subject().identity().is_none() {
            self.count_stranger(edge, port)?;
        }
        let Some(limited) = self.snapshot.ports.get(&port).and_then(|view| view.limited.as_ref()) else {
            return Ok(self);
        };
        let entered = limited
            .check_length(length)
            .and_then(|()| limited.enter(self.visit.exchange.client(), Instant::now()));
        match entered {
            Ok(room) => {
                self.visit.exchange.keep(room);
                Ok(self)
            }
            Err(exceeded) => {
                let reason = Reason::Limited(port, exceeded, self.snapshot.record.owner.clone());
                Err(self.visit.fail(reason))
            }
        }
    }

    fn count_stranger(&self, edge: &Edge, port: Port) -> Result<(), Failure> {
        let exchange = &self.visit.exchange;
        let counted = edge
            .codespaces
            .count_stranger(&self.visit.name, port, exchange.client(), Instant::now());
        match counted {
            Ok(counted) => {
                counted.into_iter().for_each(|counted| exchange.count_by(counted));
                Ok(())
            }
            Err(too_much) => Err(self.visit.fail(Reason::TooMuch(too_much))),
        }
    }

    /// Most bytes of a request's body, if its port limits them.
    pub(super) fn body_limit(&self) -> Option<u64> {
        let Route::Port(_, port) = self.visit.route else { return None };
        self.snapshot.ports.get(&port)?.limited.as_ref()?.limits().body
    }

    /// The refusal of a request whose body did not come to its end.
    pub(super) fn gave_up(&self) -> Reason {
        match (self.visit.exchange.gave_up(), &self.visit.route) {
            (Some(GaveUp::TooLarge(TooLarge(most))), Route::Port(_, port)) => {
                Reason::Limited(*port, Exceeded::Body(most), self.snapshot.record.owner.clone())
            }
            _ => Reason::BadRequest("the request's body broke off or stood still"),
        }
    }
}
