//! Keeps the certificate of our own authority fresh while the gateway runs.

use std::{path::PathBuf, sync::Arc, time::Duration};

use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Files, ensure, validity};
use crate::{
    clock::SharedClock,
    issuance::{
        Ledger, Source, Trouble,
        wait::{LOOK_AGAIN, sleep, until},
    },
};

/// Shortest pause, whatever the certificate says.
const SHORTEST: Duration = Duration::from_secs(60);

/// What to keep fresh.
pub struct Keeper {
    pub data: PathBuf,
    /// The gateway host.
    pub host: String,
    pub domain: String,
    pub clock: SharedClock,
    pub ledger: Ledger,
    /// Told when a certificate was written.
    pub renewed: Arc<Notify>,
}

impl Keeper {
    /// Looks after it until told to close.
    pub async fn run(self, close: CancellationToken) {
        while sleep(self.look(), &self.ledger, &close).await {}
    }

    /// Renews the certificate if it is time, and says what came of it; gives how long to wait for the next look.
    fn look(&self) -> Duration {
        let files = Files::of(&self.data);
        let now = self.clock.now();
        let trouble = match ensure(&self.data, &self.host, &self.domain, now) {
            Ok(made) => {
                if made.authority {
                    let advice = files.advice();
                    tracing::warn!(advice, "the gateway's own authority was made anew and must be trusted again");
                }
                if made.certificate {
                    tracing::info!("the gateway's own authority signed a new certificate");
                    self.renewed.notify_one();
                }
                None
            }
            Err(error) => {
                tracing::error!(%error, "the gateway's own certificate cannot be renewed; it is tried again");
                let text = error.to_string();
                Some(Trouble { text, at: now })
            }
        };
        let renewal = validity(&files.certificate).map(|validity| validity.renewal());
        let pause = match (&trouble, renewal) {
            (None, Some(renewal)) => until(renewal, now).clamp(SHORTEST, LOOK_AGAIN),
            _ => LOOK_AGAIN,
        };
        self.tell(trouble, renewal, now + pause);
        pause
    }

    /// Says what follows, of the certificates that are shown.
    fn tell(&self, trouble: Option<Trouble>, renewal: Option<OffsetDateTime>, again: OffsetDateTime) {
        let next = if trouble.is_some() { again } else { renewal.unwrap_or(again) };
        for name in [self.host.clone(), format!("*.{}", self.domain)] {
            if self.ledger.source(&name).is_none_or(|source| source == Source::Local) {
                self.ledger.tried(&name, trouble.clone());
                self.ledger.planned(&name, Source::Local, next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use futures_util::FutureExt as _;
    use time::{Duration as Span, macros::datetime};

    use super::*;
    use crate::{
        clock::{Clock as _, ManualClock},
        ops::Metrics,
    };

    #[test]
    fn a_certificate_is_renewed_while_the_gateway_runs() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = Files::of(directory.path());
        let clock = ManualClock::at(datetime!(2026-11-22 00:00:00 UTC));
        let renewed = Arc::new(Notify::new());
        let keeper = Keeper {
            data: directory.path().to_owned(),
            host: "portico.localhost".into(),
            domain: "codespaces.localhost".into(),
            clock: Arc::new(clock.clone()),
            ledger: Ledger::new(Metrics::new()),
            renewed: Arc::clone(&renewed),
        };
        let is_told = || renewed.notified().now_or_never().is_some();
        let read = || fs::read(&files.certificate).expect("there");
        assert_eq!((keeper.look(), is_told()), (LOOK_AGAIN, true));
        let first = read();
        clock.advance(Span::days(200));
        assert_eq!((keeper.look(), is_told()), (LOOK_AGAIN, false));
        assert_eq!(read(), first, "young");
        clock.advance(Span::days(100));
        assert_eq!((keeper.look(), is_told()), (LOOK_AGAIN, true));
        assert_ne!(read(), first);
        let due = clock.now() + Span::days(240);
        let records = keeper.ledger.all();
        assert_eq!(records.len(), 2);
        for record in records {
            assert_eq!((record.source, &record.trouble), (Some(Source::Local), &None));
            assert!(record.next.is_some_and(|next| next > due), "{record:?}");
        }
        // What goes wrong is told, and tried again.
        let key = fs::read(&files.authority_key).expect("there");
        fs::write(&files.authority_key, "no key").expect("written");
        keeper.look();
        let again = Some(clock.now() + LOOK_AGAIN);
        assert!(
            keeper
                .ledger
                .all()
                .iter()
                .all(|record| record.trouble.is_some() && record.next == again)
        );
        fs::write(&files.authority_key, key).expect("written");
        keeper.look();
        assert!(keeper.ledger.all().iter().all(|record| record.trouble.is_none()));
    }

    #[test]
    fn what_the_operator_named_is_not_spoken_of() {
        let directory = tempfile::tempdir().expect("a directory");
        let now = datetime!(2026-11-22 00:00:00 UTC);
        let ledger = Ledger::new(Metrics::new());
        let validity = crate::issuance::Validity {
            from: now,
            until: now + Span::days(90),
        };
        ledger.shown("portico.localhost", Some((Source::Files, validity)));
        let keeper = Keeper {
            data: directory.path().to_owned(),
            host: "portico.localhost".into(),
            domain: "codespaces.localhost".into(),
            clock: Arc::new(ManualClock::at(now)),
            ledger: ledger.clone(),
            renewed: Arc::default(),
        };
        keeper.look();
        let records = ledger.all();
        assert_eq!((records[0].source, records[0].next), (Some(Source::Files), None));
        assert_eq!(records[1].source, Some(Source::Local));
    }
}
