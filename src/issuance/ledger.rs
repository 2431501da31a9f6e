//! What is known of each certificate: for whom and how long it is good, what went wrong last, and when it is tried next.
//!
//! Written by who reads certificates and who gets them; read by the API, and copied into the metrics at each change.

use std::{collections::BTreeMap, fmt, sync::Arc};

use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::sync::Notify;

use super::Validity;
use crate::ops::Metrics;

/// The two groups of hosts, which may have a certificate each.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Hosts {
    Gateway,
    Codespaces,
}

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// Files that the operator named.
    Files,
    /// The authority of this machine's own.
    Local,
    Acme,
}

/// One certificate, or the want of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    pub hosts: Hosts,
    /// A host, or `*.DOMAIN`.
    pub name: String,
    /// None where nobody gives one.
    pub source: Option<Source>,
    /// Of the certificate that is shown; none if there is none.
    pub validity: Option<Validity>,
    /// What went wrong at the last try; none if that went well.
    pub trouble: Option<Trouble>,
    /// When it is renewed, or tried again; none where that is not ours to do.
    pub next: Option<OffsetDateTime>,
}

/// What went wrong, for the operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trouble {
    pub text: String,
    pub at: OffsetDateTime,
}

/// Every certificate's record. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pages: Arc<Mutex<Pages>>,
    asked: Arc<Notify>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Pages {
    records: BTreeMap<Hosts, Record>,
    /// Why the files are not as they are shown.
    unread: Option<Trouble>,
}

impl Hosts {
    /// Which hosts a certificate's name is for.
    pub fn of(name: &str) -> Self {
        if name.starts_with("*.") { Self::Codespaces } else { Self::Gateway }
    }

    /// The word for them, in metrics and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Codespaces => "codespaces",
        }
    }
}

impl Source {
    /// Whether the gateway gets it by itself, so that there may be none yet.
    pub fn is_own(self) -> bool {
        self != Self::Files
    }

    /// The word for it, in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Local => "local",
            Self::Acme => "acme",
        }
    }
}

impl Ledger {
    /// Knows nothing yet.
    pub fn new(metrics: Metrics) -> Self {
        Self {
            pages: Arc::default(),
            asked: Arc::default(),
            metrics,
        }
    }

    /// Asks whoever waits to try again what is due to try at once.
    pub fn try_now(&self) {
        self.asked.notify_waiters();
    }

    /// Waits until somebody asks for that.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Every record, the gateway's first.
    pub fn all(&self) -> Vec<Record> {
        let pages = self.pages.lock();
        let with_unread = |record: &Record| Record {
            trouble: record.trouble.clone().or_else(|| pages.unread.clone()),
            ..record.clone()
        };
        pages.records.values().map(with_unread).collect()
    }

    /// Where the certificate for a name comes from, as far as is known.
    pub fn source(&self, name: &str) -> Option<Source> {
        self.pages.lock().records.get(&Hosts::of(name))?.source
    }

    /// Notes which certificate is shown for a name.
    pub fn shown(&self, name: &str, certificate: Option<(Source, Validity)>) {
        self.change(name, |record| {
            record.validity = certificate.map(|(_, validity)| validity);
            record.source = certificate.map_or(record.source, |(source, _)| Some(source));
        });
    }

    /// Notes when a certificate is renewed or, if there is none, tried.
    pub fn planned(&self, name: &str, source: Source, next: OffsetDateTime) {
        self.change(name, |record| {
            record.source = Some(source);
            record.next = Some(next);
        });
    }

    /// Notes how a try went; `planned` says what follows.
    pub fn tried(&self, name: &str, trouble: Option<Trouble>) {
        self.change(name, |record| record.trouble = trouble);
    }

    /// Notes whether the files could be read.
    pub fn read(&self, trouble: Option<Trouble>) {
        let mut pages = self.pages.lock();
        pages.unread = trouble;
        self.publish(&pages);
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Record)) {
        let mut pages = self.pages.lock();
        let record = pages.records.entry(Hosts::of(name)).or_insert_with(|| Record::of(name));
        change(record);
        self.publish(&pages);
    }

    fn publish(&self, pages: &Pages) {
        for record in pages.records.values() {
            let seconds = |time: Option<OffsetDateTime>| time.map_or(0, OffsetDateTime::unix_timestamp);
            let hosts = record.hosts.as_str();
            let fails = record.trouble.is_some() || pages.unread.is_some();
            let expires = seconds(record.validity.map(|validity| validity.until));
            self.metrics.certificate(hosts, expires, seconds(record.next), fails);
        }
    }
}

impl Record {
    fn of(name: &str) -> Self {
        Self {
            hosts: Hosts::of(name),
            name: name.to_owned(),
            source: None,
            validity: None,
            trouble: None,
            next: None,
        }
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 00:00:00 UTC);

    #[test]
    fn what_is_written_is_read_and_counted() {
        let metrics = Metrics::new();
        let ledger = Ledger::new(metrics.clone());
        let trouble = |text: &str| {
            Some(Trouble {
                text: text.into(),
                at: NOW,
            })
        };
        let has = |line: &str| {
            let text = metrics.text(std::iter::empty());
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        };
        ledger.planned("portico.example", Source::Acme, NOW);
        ledger.tried("portico.example", trouble("the authority is away"));
        has("portico_certificate_failing{hosts=\"gateway\"} 1");
        let validity = Validity {
            from: NOW,
            until: NOW + Duration::days(90),
        };
        ledger.shown("*.codespaces.example", Some((Source::Files, validity)));
        let [gateway, codespaces] = &ledger.all()[..] else { panic!("two") };
        assert_eq!(
            (gateway.source, gateway.validity, gateway.next),
            (Some(Source::Acme), None, Some(NOW))
        );
        assert_eq!(gateway.trouble, trouble("the authority is away"));
        assert_eq!((codespaces.source, codespaces.trouble.clone()), (Some(Source::Files), None));
        has("portico_certificate_failing{hosts=\"codespaces\"} 0");
        ledger.read(trouble("x.pem holds no certificate"));
        assert_eq!(ledger.all()[1].trouble, trouble("x.pem holds no certificate"));
        has("portico_certificate_failing{hosts=\"codespaces\"} 1");
        ledger.read(None);
        ledger.tried("portico.example", None);
        ledger.shown("portico.example", Some((Source::Acme, validity)));
        assert!(
            ledger
                .all()
                .iter()
                .all(|record| record.trouble.is_none() && record.validity.is_some())
        );
        has("portico_certificate_failing{hosts=\"gateway\"} 0");
        has("portico_certificate_expires_seconds{hosts=\"gateway\"} 1803081600");
        ledger.shown("portico.example", None);
        assert_eq!(ledger.all()[0].validity, None, "gone");
    }
}
