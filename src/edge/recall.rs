//! What a connection remembers from one request to the next: clients ask for the same host with the same cookie again
//! and again.
//!
//! Only what follows from bytes that are compared each time. Whether a session lives and what it may open is asked anew.

use std::{net::IpAddr, sync::Arc};

use http::HeaderValue;
use parking_lot::Mutex;

use super::addressee::Addressee;
use crate::{
    auth::KnownCookie,
    forward::{cookies::Stripped, request::ClientTexts},
    route::{AuthorityError, Scheme, Sites},
};

/// The memory of one connection, shared by the streams of HTTP/2.
#[derive(Debug, Default)]
pub(super) struct Recall {
    addressee: Mutex<Option<Arc<Addressee>>>,
    client: Mutex<Option<Arc<ClientTexts>>>,
    stripped: Mutex<Option<Arc<Stripped>>>,
    /// The host cookie that was checked last.
    pub cookie: Mutex<Option<KnownCookie>>,
}

impl Recall {
    /// What an app is told of a client, who may be another one for each request behind a proxy.
    pub(super) fn client_texts(&self, address: IpAddr, scheme: Scheme) -> Arc<ClientTexts> {
        let mut last = self.client.lock();
        if let Some(texts) = last.as_ref().filter(|texts| texts.are_of(address, scheme)) {
            return Arc::clone(texts);
        }
        let texts = Arc::new(ClientTexts::new(address, scheme));
        *last = Some(Arc::clone(&texts));
        texts
    }

    /// What an app gets of a `Cookie` line.
    pub(super) fn stripped(&self, line: &HeaderValue) -> Arc<Stripped> {
        let mut last = self.stripped.lock();
        if let Some(stripped) = last.as_ref().filter(|stripped| stripped.is_of(line)) {
            return Arc::clone(stripped);
        }
        let stripped = Arc::new(Stripped::of(line));
        *last = Some(Arc::clone(&stripped));
        stripped
    }

    /// What an authority addresses.
    pub(super) fn addressee(&self, written: &str, sites: &Sites) -> Result<Arc<Addressee>, AuthorityError> {
        let mut last = self.addressee.lock();
        if let Some(addressee) = last.as_ref().filter(|addressee| addressee.is_written(written)) {
            return Ok(Arc::clone(addressee));
        }
        let addressee = Arc::new(Addressee::parse(written, sites)?);
        *last = Some(Arc::clone(&addressee));
        Ok(addressee)
    }
}
