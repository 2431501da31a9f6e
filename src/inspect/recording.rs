//! An exchange while it goes on, and after: written by the edge, read by the log.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use http::{HeaderMap, Version, header};
use parking_lot::Mutex;
use time::OffsetDateTime;

use super::{Entry, Head, MAX_BODY, Part, Visitor, redact};

/// What an entry takes besides its texts, in bytes, about.
const ENTRY_BYTES: usize = 600;
/// What a field takes besides its texts, in bytes, about.
const FIELD_BYTES: usize = 56;

/// A request that has a permit and goes to the app.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    pub at: OffsetDateTime,
    pub trace: &'a str,
    pub method: &'a str,
    /// Path and query as the client wrote them.
    pub target: &'a str,
    pub version: Version,
    pub who: &'a Visitor,
    pub client: IpAddr,
    pub replay_of: Option<u64>,
    pub headers: &'a HeaderMap,
}

/// Bytes that a log holds, and that all logs hold together.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub own: AtomicUsize,
    pub all: Arc<AtomicUsize>,
}

/// One exchange as it is written down.
#[derive(Debug)]
pub struct Recording {
    pub(super) id: u64,
    began: Instant,
    account: Arc<Account>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    entry: Entry,
    sent: Taken,
    received: Taken,
    /// Bytes that are on the account.
    charged: usize,
    /// Nothing more is kept.
    forgotten: bool,
}

/// What is done with a body.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    is_form: bool,
    over: bool,
}

/// The response's side of a recording: when it goes, the exchange is over.
#[derive(Debug)]
pub struct Recorded {
    recording: Arc<Recording>,
    complete: bool,
}

impl Account {
    fn charge(&self, bytes: usize) {
        self.own.fetch_add(bytes, Relaxed);
        self.all.fetch_add(bytes, Relaxed);
    }

    fn release(&self, bytes: usize) {
        self.own.fetch_sub(bytes, Relaxed);
        self.all.fetch_sub(bytes, Relaxed);
    }
}

/// An exchange without its secrets, before it is in a log.
pub(super) struct Draft {
    entry: Entry,
    sent: Taken,
}

impl Draft {
    pub(super) fn of(opening: Opening<'_>) -> Self {
        let target = redact::target(opening.target);
        let entry = Entry {
            id: 0,
            at: opening.at,
            trace: opening.trace.to_owned(),
            method: opening.method.to_owned(),
            target_removed: target.is_some(),
            target: target.unwrap_or_else(|| opening.target.to_owned()),
            protocol: protocol(opening.version),
            who: opening.who.clone(),
            client: opening.client,
            replay_of: opening.replay_of,
            request: redact::head(opening.headers),
            sent: Part {
                text: redact::is_text(opening.headers),
                ..Part::default()
            },
            status: None,
            response: Head::default(),
            received: Part::default(),
            websocket: false,
            first_byte: None,
            took: None,
            trouble: None,
        };
        let sent = Taken {
            is_form: is_form(opening.headers),
            over: false,
        };
        Self { entry, sent }
    }
}

impl Recording {
    pub(super) fn begin(id: u64, draft: Draft, account: Arc<Account>) -> Arc<Self> {
        let Draft { mut entry, sent } = draft;
        entry.id = id;
        let charged = ENTRY_BYTES + entry.trace.len() + entry.target.len() + size(&entry.request);
        account.charge(charged);
        Arc::new(Self {
            id,
            began: Instant::now(),
            account,
            state: Mutex::new(State {
                entry,
                sent,
                received: Taken::default(),
                charged,
                forgotten: false,
            }),
        })
    }

    /// Takes a piece of the request's body.
    pub fn sent(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        let is_over = state.forgotten || state.sent.over;
        let kept = state.entry.sent.take(bytes, is_over);
        state.charge(&self.account, kept);
    }

    /// The request's body came to its end.
    pub fn sent_all(&self) {
        self.finish(true, State::sent, |_| {});
    }

    /// Takes the secrets out of a body that is over. They are looked for without the lock; meanwhile none of it is there.
    /// What else is to be said is said together with it.
    fn finish(&self, complete: bool, side: impl Fn(&mut State) -> (&mut Part, &mut Taken), say: impl FnOnce(&mut Entry)) {
        let begun = {
            let mut state = self.state.lock();
            let (part, taken) = side(&mut state);
            (!std::mem::replace(&mut taken.over, true)).then(|| (std::mem::take(&mut part.kept), taken.is_form))
        };
        let ended = begun.map(|(kept, is_form)| (kept.len(), without_secrets(kept, is_form)));
        let mut state = self.state.lock();
        let forgotten = state.forgotten;
        let mut grown = 0;
        if let Some((before, (kept, removed, cut))) = ended.filter(|_| !forgotten) {
            let (part, _) = side(&mut state);
            grown = kept.len().saturating_sub(before);
            (part.kept, part.removed, part.cut) = (kept, removed, part.cut | cut);
            part.whole = complete && !part.removed && part.size == part.kept.len() as u64;
        }
        say(&mut state.entry);
        state.charge(&self.account, grown);
    }

    /// As it is by now.
    pub fn entry(&self) -> Entry {
        let (mut entry, sent, received) = {
            let state = self.state.lock();
            (state.entry.clone(), state.sent, state.received)
        };
        for (part, taken) in [(&mut entry.sent, sent), (&mut entry.received, received)] {
            if !taken.over {
                let (kept, removed, cut) = without_secrets(std::mem::take(&mut part.kept), taken.is_form);
                (part.kept, part.removed, part.cut) = (kept, removed, part.cut | cut);
            }
        }
        entry
    }

    /// The same without fields and bodies, for lists.
    pub fn brief(&self) -> Entry {
        let state = self.state.lock();
        let Entry { sent, received, .. } = &state.entry;
        let (sent, received) = (sent.brief(), received.brief());
        let entry = &state.entry;
        Entry {
            trace: entry.trace.clone(),
            method: entry.method.clone(),
            target: entry.target.clone(),
            who: entry.who.clone(),
            request: Head::default(),
            sent,
            response: Head::default(),
            received,
            trouble: entry.trouble.clone(),
            ..*entry
        }
    }

    /// Keeps nothing of it any more.
    pub(super) fn forget(&self) {
        let mut state = self.state.lock();
        state.forgotten = true;
        (state.entry.sent.kept, state.entry.received.kept) = (Vec::new(), Vec::new());
        self.account.release(std::mem::take(&mut state.charged));
    }

    fn answered(&self, status: u16, headers: &HeaderMap) {
        let elapsed = self.began.elapsed();
        let head = redact::head(headers);
        let mut state = self.state.lock();
        if state.forgotten {
            return;
        }
        let entry = &mut state.entry;
        entry.first_byte = Some(elapsed);
        entry.status = Some(status);
        entry.response = head;
        entry.received.text = redact::is_text(headers);
        let size = size(&entry.response);
        state.received.is_form = is_form(headers);
        state.charge(&self.account, size);
    }

    fn received(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        let is_over = state.forgotten || state.received.over;
        let kept = state.entry.received.take(bytes, is_over);
        state.charge(&self.account, kept);
    }

    fn end(&self, complete: bool) {
        let elapsed = self.began.elapsed();
        self.finish(complete, State::received, |entry| {
            entry.took = Some(elapsed);
            if !complete && entry.trouble.is_none() {
                entry.trouble = Some(match entry.status {
                    Some(_) => "It broke off before the end.".to_owned(),
                    None => "It ended before the app answered.".to_owned(),
                });
            }
        });
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.account.release(self.state.get_mut().charged);
    }
}

impl State {
    fn sent(&mut self) -> (&mut Part, &mut Taken) {
        (&mut self.entry.sent, &mut self.sent)
    }

    fn received(&mut self) -> (&mut Part, &mut Taken) {
        (&mut self.entry.received, &mut self.received)
    }

    fn charge(&mut self, account: &Account, bytes: usize) {
        self.charged += bytes;
        account.charge(bytes);
    }
}

impl Part {
    /// Counts a piece and keeps as much of it as there is room for; tells how much.
    fn take(&mut self, bytes: &[u8], is_over: bool) -> usize {
        self.size += bytes.len() as u64;
        if !self.text || is_over {
            return 0;
        }
        let kept = bytes.len().min(MAX_BODY.saturating_sub(self.kept.len()));
        self.cut |= kept < bytes.len();
        self.kept.extend_from_slice(&bytes[..kept]);
        kept
    }

    /// What is kept of it without its head's and its own texts, for lists.
    fn brief(&self) -> Self {
        Self { kept: Vec::new(), ..*self }
    }
}

impl Recorded {
    pub(super) fn new(recording: Arc<Recording>) -> Self {
        Self {
            recording,
            complete: false,
        }
    }

    /// The request's side.
    pub fn recording(&self) -> &Arc<Recording> {
        &self.recording
    }

    /// The app answered.
    pub fn answered(&self, status: u16, headers: &HeaderMap) {
        self.recording.answered(status, headers);
    }

    /// The app took it for a WebSocket.
    pub fn upgraded(&self) {
        self.recording.state.lock().entry.websocket = true;
    }

    /// Takes a piece of the response's body.
    pub fn received(&self, bytes: &[u8]) {
        self.recording.received(bytes);
    }

    /// A WebSocket ended; so many bytes went to the app and came from it.
    pub fn relayed(&self, forth: u64, back: u64) {
        let mut state = self.recording.state.lock();
        (state.entry.sent.size, state.entry.received.size) = (forth, back);
    }

    /// Nobody answered; why, in plain words.
    pub fn failed(&self, trouble: String) {
        self.recording.state.lock().entry.trouble = Some(trouble);
    }

    /// It came to its end as it should.
    pub fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.recording.end(self.complete);
    }
}

/// What is kept without its secrets, whether there were some, and whether that cut it: what stands in their place must not
/// make more of it than may be kept.
fn without_secrets(kept: Vec<u8>, is_form: bool) -> (Vec<u8>, bool, bool) {
    match redact::body(&kept, is_form) {
        Some(mut without) => {
            let cut = without.len() > MAX_BODY;
            without.truncate(MAX_BODY);
            (without, true, cut)
        }
        None => (kept, false, false),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map(http::HeaderValue::as_bytes)
        .unwrap_or_default();
    let form = b"application/x-www-form-urlencoded";
    kind.get(..form.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(form))
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn size(head: &Head) -> usize {
    let fields = head.fields.iter().map(|field| FIELD_BYTES + field.name.len() + field.value.len());
    fields.sum()
}
