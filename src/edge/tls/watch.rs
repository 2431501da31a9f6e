//! Reading certificates again when their files change, and saying when they grow old (TLS-2).
//!
//! Files are looked at, not watched by the kernel: what a volume of Kubernetes, a bind mount or a network does to them
//! looks the same.

use std::{fs, os::unix::fs::MetadataExt as _, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Pair, Tls};
use crate::{
    clock::SharedClock,
    issuance::{Ledger, Trouble, Urgency},
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Looks between two words on a certificate that grows old: a day.
const LOOKS_BETWEEN_WORDS: u32 = 24 * 3600 / 2;

/// What files look like from outside.
pub(super) type Looks = Vec<Option<(i64, i64, u64, u64)>>;

/// What is known of the files.
#[derive(Debug)]
struct Watcher {
    /// As they were when they were read last, well or not.
    read: Looks,
    /// As they were at the last look.
    seen: Looks,
}

impl Watcher {
    /// Whether they are to be read: they changed, and have stood still since the last look, so that a certificate is not
    /// read without its key.
    fn look(&mut self, looks: Looks) -> bool {
        let settled = looks == self.seen;
        self.seen = looks;
        let read = settled && self.seen != self.read;
        if read {
            self.read.clone_from(&self.seen);
        }
        read
    }
}

/// Watches until told to close; `poke` has the files read at once.
pub async fn watch(tls: Tls, poke: &Notify, clock: SharedClock, ledger: Ledger, close: CancellationToken) {
    let mut watcher = Watcher {
        read: tls.shown.looks.clone(),
        seen: tls.shown.looks.clone(),
    };
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    for number in 0_u32.. {
        let poked = tokio::select! {
            _ = ticks.tick() => false,
            () = poke.notified() => true,
            () = close.cancelled() => return,
        };
        let looks = of(&tls.shown.pairs);
        let changed = watcher.look(looks);
        if poked || changed {
            ledger.read(reload(&tls).map(|text| Trouble { text, at: clock.now() }));
        }
        if poked || changed || number.is_multiple_of(LOOKS_BETWEEN_WORDS) {
            tell(&tls, &clock, &ledger);
        }
    }
}

/// Reads the files again; gives why they cannot be used.
fn reload(tls: &Tls) -> Option<String> {
    match tls.reload() {
        Ok(()) => {
            tracing::info!("certificates were read again; new connections get them");
            None
        }
        Err(error) => {
            tracing::error!(%error, "new certificates cannot be used; the old ones are kept");
            Some(format!("New files cannot be used, the old ones are kept: {error}"))
        }
    }
}

/// Says when each certificate ends, aloud if that is soon.
fn tell(tls: &Tls, clock: &SharedClock, ledger: &Ledger) {
    let now = clock.now();
    for (name, certificate) in tls.certificates().by_name() {
        ledger.shown(&name, certificate);
        let Some((_, validity)) = certificate else { continue };
        let (until, days) = (validity.until, (validity.until - now).whole_days());
        match validity.urgency(now) {
            Some(Urgency::Expired) => tracing::error!(name, %until, "the certificate has expired: browsers refuse it"),
            Some(Urgency::NotYet) => {
                tracing::error!(name, from = %validity.from, "the certificate is not good yet, or this machine's clock is wrong")
            }
            Some(Urgency::Soon) => tracing::warn!(name, %until, days, "the certificate expires soon and has not been renewed"),
            None => {}
        }
    }
}

/// Looks at files; a link counts as what it leads to.
pub(super) fn of(pairs: &[Pair]) -> Looks {
    let files = pairs.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
    files
        .map(|file| {
            let metadata = fs::metadata(file).ok()?;
            Some((metadata.mtime(), metadata.mtime_nsec(), metadata.len(), metadata.ino()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_when_they_stand_still() {
        let looks = |number: i64| vec![Some((number, 0, 0, 0))];
        let mut watcher = Watcher {
            read: looks(0),
            seen: looks(0),
        };
        for (look, expected) in [
            (0, false),
            (1, false),
            (2, false),
            (2, true),
            (2, false),
            (0, false),
            (0, true),
            (0, false),
        ] {
            assert_eq!(watcher.look(looks(look)), expected, "{look}");
        }
        assert!(!watcher.look(vec![None]));
        assert!(watcher.look(vec![None]), "gone is a change as well");
    }
}
