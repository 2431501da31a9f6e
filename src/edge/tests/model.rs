//! A hundred thousand random decisions against an oracle that was written from what users are promised, not from the code.
//!
//! People, organisations, codespaces, ports with visibility, deadlines and guests, login sessions and tokens change while
//! time goes on; the oracle keeps a plain copy of them and answers by itself who may open what.

use http::HeaderMap;
use time::OffsetDateTime;

use super::*;
use crate::{
    codespace::{PortView, Question, Snapshot},
    domain::{Phase, Port, SessionId, UserId, Visibility},
    policy::{
        Denial, Subject,
        browser::{Cause, judge_codespace},
    },
    store::{CodespaceRecord, IdentityRecord, PortRecord, SessionRecord},
};

const DECISIONS: usize = 100_000;
const SEED: u64 = 0x5eed_0004;
const PEOPLE: [&str; 6] = ["ada", "bob", "eve", "gus", "root", "zoe"];
/// Their owners; `root` is an admin.
const CODESPACES: [(&str, usize); 4] = [("amber-a", 0), ("birch-b", 0), ("cedar-c", 1), ("delta-d", 4)];
const PORTS: [u16; 3] = [3000, 8000, 9000];
const IDLE: i64 = 2 * 3600;
const ABSOLUTE: i64 = 24 * 3600;
const BEGIN: i64 = 1_800_000_000;
const SESSIONS: usize = 600;

/// What a decision is, for oracle and gateway alike.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answer {
    AsSomebody,
    AsAnybody,
    SignIn,
    BadToken,
    OtherPage,
    Missing,
}

/// Random numbers that are the same each time (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).expect("31 bits") % sides
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn seconds(&mut self, most: usize) -> i64 {
        i64::try_from(self.roll(most)).expect("small")
    }
}

/// The oracle's copy of the world.
struct Plain {
    now: i64,
    suspended: [bool; 6],
    /// None: no directory speaks of this person.
    groups: [Option<Vec<usize>>; 6],
    doors: [[Door; 3]; 4],
    logins: Vec<Login>,
    passes: Vec<Pass>,
}

#[derive(Clone, Default)]
struct Door {
    visibility: Visibility,
    until: Option<i64>,
    guests: Vec<usize>,
}

struct Login {
    id: SessionId,
    person: usize,
    created: i64,
    seen: i64,
    ended: bool,
}

struct Pass {
    text: String,
    person: usize,
    reach: Reach,
    until: Option<i64>,
    revoked: bool,
}

#[derive(Clone, Copy, Debug)]
enum Reach {
    All,
    Read,
    Codespace(usize),
    Port(usize, usize),
}

/// A host: a codespace with one of its ports, or with none for its editor.
type Host = (usize, Option<usize>);

#[derive(Clone, Copy, Debug)]
enum Offered {
    Nothing,
    Garbage,
    /// A login's cookie, made for a host.
    Cookie(usize, Host),
    Pass(usize),
}

#[derive(Clone, Copy, Debug)]
struct Request {
    to: Host,
    offered: Offered,
    /// The page that caused it.
    page: Page,
    socket: bool,
}

#[derive(Clone, Copy, Debug)]
enum Page {
    At(Host),
    Gateway,
    Foreign,
}

impl Plain {
    /// `product.md` §5 and §7 in code: who gets what.
    fn answer(&mut self, request: Request) -> Answer {
        let (space, door) = request.to;
        let open_to_all = door.is_some_and(|door| self.visibility(space, door) == Visibility::Public);
        let refused = |answer| if open_to_all { Answer::AsAnybody } else { answer };
        let (person, covered) = match request.offered {
            Offered::Nothing => return refused(Answer::SignIn),
            Offered::Garbage => return Answer::BadToken,
            Offered::Pass(pass) => {
                let pass = &self.passes[pass];
                if pass.revoked || self.suspended[pass.person] || pass.until.is_some_and(|until| self.now >= until) {
                    return Answer::BadToken;
                }
                let covered = match pass.reach {
                    Reach::All => true,
                    Reach::Read => false,
                    Reach::Codespace(only) => only == space,
                    Reach::Port(only, port) => (only, Some(port)) == request.to,
                };
                (pass.person, covered)
            }
            Offered::Cookie(login, made_for) => {
                let (now, suspended) = (self.now, self.suspended);
                let login = &mut self.logins[login];
                let lives = !login.ended && !suspended[login.person] && now - login.seen < IDLE && now - login.created < ABSOLUTE;
                // A browser sends a cookie to its own host alone; one that was carried elsewhere is worth nothing.
                if !lives || made_for != request.to {
                    return refused(Answer::SignIn);
                }
                login.seen = now;
                let own_page = match request.page {
                    Page::At(from) if request.socket && door.is_none() => from == request.to,
                    Page::At((from, _)) => from == space,
                    Page::Gateway | Page::Foreign => false,
                };
                if !own_page {
                    return refused(Answer::OtherPage);
                }
                (login.person, true)
            }
        };
        if covered && self.may_open(person, space, door) {
            return Answer::AsSomebody;
        }
        refused(Answer::Missing)
    }

    fn may_open(&self, person: usize, space: usize, door: Option<usize>) -> bool {
        let owner = CODESPACES[space].1;
        let Some(door) = door else { return person == owner };
        let colleagues = match (&self.groups[person], &self.groups[owner]) {
            (None, None) => true,
            (Some(mine), Some(theirs)) => mine.iter().any(|group| theirs.contains(group)),
            _ => false,
        };
        person == owner
            || self.doors[space][door].guests.contains(&person)
            || self.visibility(space, door) == Visibility::Org && (colleagues)
    }

    fn visibility(&self, space: usize, door: usize) -> Visibility {
        let door = &self.doors[space][door];
        match door.until {
            Some(until) if self.now >= until => Visibility::Private,
            _ => door.visibility,
        }
    }
}

/// The gateway's own side, and the oracle's.
struct World {
    dice: Dice,
    plain: Plain,
    sites: Sites,
    auth: Auth,
    users: Vec<UserId>,
    snapshots: Vec<Snapshot>,
}

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).expect("a time")
}

impl World {
    async fn new() -> Self {
        let store: SharedStore = Arc::new(MemoryStore::new());
        let sites = Sites::new("https://portico.test".parse().expect("an origin"), "codespaces.example");
        let seconds = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
        let options = || auth::Options {
            sites: sites.clone(),
            session_idle: seconds(IDLE),
            session_absolute: seconds(ABSOLUTE),
            tokens_per_user: 100_000,
            attempts: Default::default(),
            outside: Default::default(),
        };
        let auth = Auth::load(Arc::clone(&store), options(), at(BEGIN)).await.expect("an empty store");
        let mut users = Vec::new();
        for name in PEOPLE {
            let user = NewUser {
                name: name.parse().expect("a name"),
                role: if name == "root" { Role::Admin } else { Role::Member },
                password: None,
                email: None,
            };
            users.push(
                auth.create_user(user, &Actor::default(), at(BEGIN))
                    .await
                    .expect("it is free")
                    .id
                    .clone(),
            );
        }
        let mut logins = Vec::new();
        for number in 0..SESSIONS {
            let login = Login {
                id: SessionId(format!("session-{number}").into()),
                person: number % PEOPLE.len(),
                // They begin one after the other, all through the test.
                created: BEGIN + i64::try_from(number).expect("small") * 700,
                seen: BEGIN + i64::try_from(number).expect("small") * 700,
                ended: false,
            };
            let record = SessionRecord {
                id: login.id.clone(),
                user: users[login.person].clone(),
                secret_hash: auth::hash_secret(&format!("secret-{number}")),
                created_at: at(login.created),
                last_seen_at: at(login.created),
                agent: String::new(),
                address: None,
                expires_at: None,
                origin: None,
            };
            store.put_session(&record).await.expect("it is kept");
            logins.push(login);
        }
        let auth = Auth::load(store, options(), at(BEGIN)).await.expect("a good store");
        let plain = Plain {
            now: BEGIN,
            suspended: [false; 6],
            groups: Default::default(),
            doors: Default::default(),
            logins,
            passes: Vec::new(),
        };
        let snapshots = CODESPACES.iter().map(|(name, owner)| snapshot(name, &users[*owner])).collect();
        Self {
            dice: Dice(SEED),
            plain,
            sites,
            auth,
            users,
            snapshots,
        }
    }

    /// Changes one thing, here and there.
    async fn change(&mut self) {
        let now = at(self.plain.now);
        let person = self.dice.roll(PEOPLE.len());
        match self.dice.roll(16) {
            0..=9 => self.share(),
            10 => {
                let groups = (!self.dice.one_in(3)).then(|| (0..3).filter(|_| self.dice.one_in(2)).collect::<Vec<usize>>());
                let named = |group: &usize| crate::domain::Organisation::parse(&format!("group-{group}")).expect("a name");
                let identity = IdentityRecord {
                    issuer: "https://id.example".into(),
                    subject: PEOPLE[person].into(),
                    user: self.users[person].clone(),
                    provider: "id".into(),
                    shown: String::new(),
                    organisations: groups.as_ref().map(|groups| groups.iter().map(named).collect()),
                    withheld: false,
                    linked_at: now,
                    used_at: now,
                };
                self.auth.keep_identity(identity).await.expect("nobody else's");
                self.plain.groups[person] = groups;
            }
            11 => {
                let begun = self
                    .plain
                    .logins
                    .iter()
                    .position(|login| login.created + 3 * IDLE > self.plain.now)
                    .unwrap_or(0);
                let ended = (begun + self.dice.roll(20)).min(SESSIONS - 1);
                self.auth
                    .sign_out(&self.plain.logins[ended].id, &Actor::default(), now)
                    .await
                    .expect("the store is well");
                self.plain.logins[ended].ended = true;
            }
            12..=14 => self.pass(person).await,
            _ => {
                // It ends all their sessions, those to come among them: the others' are left to themselves.
                let (person, suspend) = ([3, 5][person % 2], self.dice.one_in(3));
                self.auth
                    .suspend(&self.users[person], suspend, &Actor::default(), now)
                    .await
                    .expect("the store is well");
                self.plain.suspended[person] = suspend;
                for login in self.plain.logins.iter_mut().filter(|login| suspend && login.person == person) {
                    login.ended = true;
                }
            }
        }
    }

    fn share(&mut self) {
        let (space, door) = (self.dice.roll(CODESPACES.len()), self.dice.roll(PORTS.len()));
        let new = Door {
            visibility: [Visibility::Private, Visibility::Org, Visibility::Public][self.dice.roll(3)],
            until: self.dice.one_in(2).then(|| self.plain.now + self.dice.seconds(3000)),
            guests: (0..PEOPLE.len()).filter(|_| self.dice.one_in(5)).collect(),
        };
        let port = Port::new(PORTS[door]).expect("a port");
        let settings = PortRecord {
            codespace: self.snapshots[space].record.name.clone(),
            port,
            label: None,
            visibility: new.visibility,
            expires_at: new.until.map(at),
            protocol: None,
            host_header: "localhost".into(),
            users: new.guests.iter().map(|guest| self.users[*guest].clone()).collect(),
            limits: Default::default(),
            log_entries: None,
            woken_by: None,
            beside: None,
        };
        let view = PortView::new(settings);
        self.snapshots[space].ports.insert(port, Arc::new(view));
        self.plain.doors[space][door] = new;
    }

    async fn pass(&mut self, person: usize) {
        if !self.plain.passes.is_empty() && self.dice.one_in(3) {
            let pass = self.dice.roll(self.plain.passes.len());
            let owner = &self.users[self.plain.passes[pass].person];
            if let Presented::Valid(identity) = self.auth.by_token(&self.plain.passes[pass].text, at(self.plain.now))
                && let crate::domain::Credential::Token(id) = &identity.credential
            {
                assert!(
                    self.auth
                        .revoke_token(owner, id, &Actor::default(), at(self.plain.now))
                        .await
                        .expect("the store is well")
                );
                self.plain.passes[pass].revoked = true;
            }
            return;
        }
        let (space, door) = (self.dice.roll(CODESPACES.len()), self.dice.roll(PORTS.len()));
        let name = CODESPACES[space].0.parse().expect("a name");
        let (reach, scope) = match self.dice.roll(4) {
            0 => (Reach::All, Scope::All),
            1 => (Reach::Read, Scope::Read),
            2 => (Reach::Codespace(space), Scope::Codespace(name)),
            _ => (Reach::Port(space, door), Scope::Port(name, Port::new(PORTS[door]).expect("a port"))),
        };
        let until = self.dice.one_in(2).then(|| self.plain.now + self.dice.seconds(9000));
        let made = self
            .auth
            .create_token(
                &self.users[person],
                "model",
                scope,
                until.map(at),
                &Actor::default(),
                at(self.plain.now),
            )
            .await
            .expect("the store is well");
        self.plain.passes.push(Pass {
            text: secrecy::ExposeSecret::expose_secret(&made.plain).to_owned(),
            person,
            reach,
            until,
            revoked: false,
        });
    }

    fn host(&mut self) -> Host {
        let door = (!self.dice.one_in(4)).then(|| self.dice.roll(PORTS.len()));
        (self.dice.roll(CODESPACES.len()), door)
    }

    fn request(&mut self) -> Request {
        let to = self.host();
        let offered = match self.dice.roll(8) {
            0 => Offered::Nothing,
            1 if self.dice.one_in(3) => Offered::Garbage,
            1..=3 if !self.plain.passes.is_empty() => Offered::Pass(self.dice.roll(self.plain.passes.len())),
            _ => {
                let begun = self.plain.logins.partition_point(|login| login.created <= self.plain.now).max(1);
                let recent = begun.min(60);
                let made_for = if self.dice.one_in(8) { self.host() } else { to };
                Offered::Cookie(begun - 1 - self.dice.roll(recent), made_for)
            }
        };
        let page = match self.dice.roll(8) {
            0 => Page::Gateway,
            1 => Page::Foreign,
            2 => Page::At(self.host()),
            3 => Page::At((to.0, Some(self.dice.roll(PORTS.len())))),
            4 => Page::At((to.0, None)),
            _ => Page::At(to),
        };
        Request {
            to,
            offered,
            page,
            socket: self.dice.one_in(3),
        }
    }

    fn route(&self, (space, door): Host) -> Route {
        let name = self.snapshots[space].record.name.clone();
        match door {
            Some(door) => Route::Port(name, Port::new(PORTS[door]).expect("a port")),
            None => Route::Editor(name),
        }
    }

    /// The gateway's own answer.
    fn decide(&self, request: Request) -> Answer {
        let now = at(self.plain.now);
        let route = self.route(request.to);
        let who = match request.offered {
            Offered::Nothing => Presented::Nothing,
            Offered::Garbage => self.auth.by_token("pt_garbage", now),
            Offered::Pass(pass) => self.auth.by_token(&self.plain.passes[pass].text, now),
            Offered::Cookie(login, made_for) => {
                let login = &self.plain.logins[login];
                let cookie = self.auth.host_cookie(&login.id, &self.route(made_for), at(login.created));
                let mut headers = HeaderMap::new();
                let pair = cookie.split(';').next().expect("a pair");
                headers.insert(header::COOKIE, pair.parse().expect("a value"));
                match self.auth.by_host_cookie(&headers, &route, now) {
                    Presented::Invalid => Presented::Nothing,
                    presented => presented,
                }
            }
        };
        let origin = match request.page {
            Page::At(host) => self.sites.origin(&self.route(host)).expect("ours").to_string(),
            Page::Gateway => self.sites.gateway().to_string(),
            Page::Foreign => "https://evil.example".to_owned(),
        };
        let cause = Cause {
            safe_method: request.socket,
            websocket: request.socket,
            origin: Some(&origin),
            ..Cause::default()
        };
        let snapshot = &self.snapshots[request.to.0];
        let page = {
            let from = cause.origin.and_then(|origin| self.sites.route_of_origin(origin));
            judge_codespace(cause, from.as_ref(), &snapshot.record.name, &route, &self.sites)
        };
        let port = match route {
            Route::Port(_, port) => Some(port),
            _ => None,
        };
        match Question::new(who, page, port).ask(snapshot, &self.auth, now) {
            Ok(permit) if *permit.subject() == Subject::Anyone => Answer::AsAnybody,
            Ok(_) => Answer::AsSomebody,
            Err(Denial::SignIn) => Answer::SignIn,
            Err(Denial::BadToken) => Answer::BadToken,
            Err(Denial::ForeignPage) => Answer::OtherPage,
            Err(Denial::NotShared(_)) => Answer::Missing,
            Err(Denial::ShareEnded(_) | Denial::BeyondShare) => panic!("nobody shows a link here"),
        }
    }
}

fn snapshot(name: &str, owner: &UserId) -> Snapshot {
    let record = CodespaceRecord {
        name: name.parse().expect("a name"),
        owner: owner.clone(),
        display_name: name.into(),
        repository: "https://git.example/a".into(),
        reference: None,
        default_branch: None,
        pull_request: None,
        devcontainer_path: None,
        runtime: "fake".into(),
        phase: Phase::Running,
        reason: None,
        generation: Generation(1),
        agent_hash: None,
        agent_next_hash: None,
        prepared: true,
        work: None,
        idle_timeout_minutes: 30,
        woken_by: Default::default(),
        personal: true,
        started_at: None,
        traffic_counts: false,
        announced_at: None,
        created_at: at(BEGIN),
        last_used_at: at(BEGIN),
    };
    Snapshot {
        record,
        ports: Default::default(),
        declaration: Default::default(),
        decided: Default::default(),
        shares: Default::default(),
        ceiling: Default::default(),
        closures: Default::default(),
        steps: Vec::new(),
        configured: Default::default(),
        editor: None,
        connected: true,
        awake_because: Vec::new(),
        stopped_because: None,
        restarted_because: None,
        away_because: None,
        out_of_memory: None,
        idle_at: None,
        starts_again: false,
        stops_soon: false,
        stops_anyway: false,
        leases: Vec::new(),
    }
}

#[tokio::test]
async fn share_2_sess_3_a_hundred_thousand_decisions_are_as_promised() {
    let mut world = World::new().await;
    let mut seen = [0; 6];
    for number in 0..DECISIONS {
        world.plain.now += world.dice.seconds(9);
        if world.dice.one_in(20) {
            world.change().await;
        }
        let request = world.request();
        let decided = world.decide(request);
        let promised = world.plain.answer(request);
        assert_eq!(decided, promised, "decision {number} at {}: {request:?}", world.plain.now);
        seen[decided as usize] += 1;
    }
    assert!(
        seen.iter().all(|count| *count > DECISIONS / 100),
        "each kind of answer came often: {seen:?}"
    );
}
