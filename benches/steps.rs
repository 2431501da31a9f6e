//! What each pure step of a request costs, one by one. `cargo bench` prints them; nothing fails by being slow.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Request, header};
use portico::{
    auth::{self, Auth},
    clock::SystemClock,
    domain::{CodespaceName, Credential, Identity, Port, Role, Scope, SessionId, UserId, Visibility},
    edge::{AccessLog, Form, Record},
    forward::{
        admission, cookies,
        request::{self, ClientTexts, Facts, HostTexts},
        response,
        world::{Translation, World},
    },
    ops::{Metrics, Purpose},
    policy::{self, Ownership, PortFacts, Presented, browser},
    route::{Authority, Route, Scheme, Sites},
    store::{SessionRecord, SharedStore, UserRecord, memory::MemoryStore},
};
use time::OffsetDateTime;

const HOST: &str = "amber-otter-x7k2-3000.codespaces.localhost:8080";
const ORIGIN: &str = "http://amber-otter-x7k2-3000.codespaces.localhost:8080";
/// Login sessions in memory while a host cookie is checked.
const SESSIONS: usize = 100_000;

criterion_group!(steps, addressing, deciding, heads, removing, credentials, logging);
criterion_main!(steps);

fn addressing(c: &mut Criterion) {
    let sites = sites();
    let authority: Authority = HOST.parse().expect("an authority");
    let route = sites.route(&authority);
    c.bench_function("authority: parse", |b| b.iter(|| black_box(HOST).parse::<Authority>()));
    c.bench_function("route: of an authority", |b| b.iter(|| sites.route(black_box(&authority))));
    c.bench_function("route: origin of it", |b| b.iter(|| sites.origin(black_box(&route))));
    c.bench_function("route: of an Origin header", |b| {
        b.iter(|| sites.route_of_origin(black_box(ORIGIN)))
    });
}

fn deciding(c: &mut Criterion) {
    let sites = sites();
    let route = route();
    let codespace = Ownership {
        name: name(),
        owner: UserId("01990000-0000-7000-8000-000000000000".into()),
    };
    let owner = Presented::Valid(Arc::new(Identity {
        user: codespace.owner.clone(),
        name: "ada".parse().expect("an account name"),
        role: Role::Member,
        credential: Credential::Cookie(SessionId("01990000-0000-7000-8000-000000000001".into())),
        scope: Scope::Port(name(), port()),
    }));
    let facts = |visibility| PortFacts {
        port: port(),
        visibility,
        people: &[],
        same_organisation: false,
    };
    let cause = browser::Cause {
        safe_method: true,
        origin: Some(ORIGIN),
        site: Some("same-origin"),
        mode: Some("cors"),
        dest: Some("empty"),
        ..browser::Cause::default()
    };
    c.bench_function("policy: judge the page", |b| {
        b.iter(|| browser::judge_codespace(black_box(cause), Some(&route), &codespace.name, &route, &sites));
    });
    c.bench_function("policy: private port, its owner", |b| {
        b.iter(|| policy::authorize_port(black_box(&owner), browser::Verdict::Ours, &codespace, facts(Visibility::Private)));
    });
    c.bench_function("policy: public port, nobody", |b| {
        b.iter(|| {
            policy::authorize_port(
                black_box(&Presented::Nothing),
                browser::Verdict::Ours,
                &codespace,
                facts(Visibility::Public),
            )
        });
    });
}

fn heads(c: &mut Criterion) {
    let sites = sites();
    let (name, texts) = (name(), texts(&sites));
    let translation = Translation {
        sites: &sites,
        name: &name,
        app_scheme: Scheme::Http,
    };
    let (small, page) = (small_head(), page_head());
    for (what, head) in [("2 fields", &small), ("16 fields", &page)] {
        let parts = parts(head);
        c.bench_function(&format!("admission: {what}"), |b| b.iter(|| admission::check(black_box(&parts))));
        for (how, world) in [("localhost", World::Localhost), ("preserve", World::Preserve)] {
            c.bench_function(&format!("request head: rebuild {what}, {how}"), |b| {
                b.iter(|| request::rebuild(black_box(head), facts(world, &texts), translation));
            });
        }
    }
    let answered = answer_head();
    c.bench_function("response head: filter", |b| {
        b.iter_batched_ref(
            || answered.clone(),
            |head| response::filter(black_box(head), World::Localhost, translation),
            criterion::BatchSize::SmallInput,
        );
    });
}

fn removing(c: &mut Criterion) {
    let foreign = HeaderValue::from_static("theme=dark; _ga=GA1.1.1234567890.1700000000; session=0123456789abcdef0123456789abcdef");
    let ours = HeaderValue::from_static(
        "theme=dark; __Host-portico_access=1.01990000-0000-7000-8000-000000000001.1800000000.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; session=0123456789abcdef",
    );
    let set = HeaderValue::from_static("session=0123456789abcdef; Path=/; Domain=codespaces.localhost; HttpOnly; SameSite=Lax");
    c.bench_function("cookies: none of ours", |b| b.iter(|| cookies::without_ours(black_box(&foreign))));
    c.bench_function("cookies: take ours out", |b| b.iter(|| cookies::without_ours(black_box(&ours))));
    c.bench_function("cookies: narrow a Set-Cookie", |b| b.iter(|| cookies::narrowed(black_box(&set))));
    let (sites, name) = (sites(), name());
    let texts = texts(&sites);
    let translation = Translation {
        sites: &sites,
        name: &name,
        app_scheme: Scheme::Http,
    };
    let mut with_token = page_head();
    with_token.insert(
        "x-portico-token",
        HeaderValue::from_static("portico_0123456789abcdef0123456789abcdef"),
    );
    c.bench_function("token: taken out by the rebuild", |b| {
        b.iter(|| request::rebuild(black_box(&with_token), facts(World::Localhost, &texts), translation));
    });
}

fn credentials(c: &mut Criterion) {
    let now = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let route = route();
    for count in [10, SESSIONS] {
        let auth = auth_with(count, now);
        let set = auth.host_cookie(&session_id(count / 2), &route, now);
        let mut head = page_head();
        let cookie = set.split(';').next().expect("a cookie");
        head.insert(header::COOKIE, HeaderValue::from_str(cookie).expect("a value"));
        assert!(
            matches!(auth.by_host_cookie(&head, &route, now), Presented::Valid(_)),
            "the cookie is good"
        );
        c.bench_function(&format!("host cookie: check, {count} sessions"), |b| {
            b.iter(|| auth.by_host_cookie(black_box(&head), &route, now));
        });
        // As on a connection that sent it before: its signature was checked, its session is looked up again.
        let mut known = None;
        c.bench_function(&format!("host cookie: known, {count} sessions"), |b| {
            b.iter(|| auth.by_known_host_cookie(black_box(&head), &route, now, &mut known));
        });
    }
}

/// The writer's part, with a file that takes all, is in it.
fn logging(c: &mut Criterion) {
    let (route, metrics) = (route(), Metrics::new());
    let record = Record {
        id: "0123456789abcdef",
        client: [192, 0, 2, 7].into(),
        method: "GET",
        host: HOST,
        path: "/static/app.js",
        to: Some(&route),
        account: "ada",
        status: 200,
        sent: 5123,
        received: 0,
        cut_short: false,
        note: "",
        took: Duration::from_micros(321),
    };
    for (what, form) in [("text", Form::Text), ("JSON", Form::Json)] {
        let log = AccessLog::new(form, Arc::new(SystemClock), metrics.clone());
        let (page, reader) = (log.page(), log.clone());
        let writer = std::thread::spawn(move || {
            let (mut batch, mut nowhere) = (Vec::new(), std::fs::File::create("/dev/null").expect("a file"));
            while !reader.take(&mut batch).last {
                std::io::Write::write_all(&mut nowhere, &batch).expect("it takes all");
                batch.clear();
            }
        });
        c.bench_function(&format!("access log: a record in {what}"), |b| {
            b.iter(|| page.write(black_box(&record), Instant::now()));
        });
        log.close();
        writer.join().expect("it ends");
    }
    let tally = metrics.tally();
    c.bench_function("metrics: count an exchange", |b| {
        b.iter(|| tally.exchange(black_box(Purpose::Port), 200))
    });
}

fn sites() -> Sites {
    Sites::new("http://portico.localhost:8080".parse().expect("an origin"), "codespaces.localhost")
}

fn name() -> CodespaceName {
    "amber-otter-x7k2".parse().expect("a name")
}

fn port() -> Port {
    Port::new(3000).expect("a port")
}

fn route() -> Route {
    Route::Port(name(), port())
}

fn texts(sites: &Sites) -> (HostTexts, ClientTexts) {
    let origin = sites.port(&name(), port());
    let host = HostTexts::new(HOST, Some(&origin), Some(port()));
    (host, ClientTexts::new([192, 0, 2, 7].into(), Scheme::Http))
}

fn facts<'a>(world: World, texts: &'a (HostTexts, ClientTexts)) -> Facts<'a> {
    Facts {
        world,
        host: &texts.0,
        client: &texts.1,
        cookie: None,
        request_id: "0123456789abcdef",
        upgrade: None,
    }
}

fn parts(head: &HeaderMap) -> http::request::Parts {
    let mut request = Request::get("/static/app.js?v=3").body(()).expect("a request");
    *request.headers_mut() = head.clone();
    request.into_parts().0
}

/// What a load generator sends.
fn small_head() -> HeaderMap {
    fields(&[("host", HOST), ("accept", "*/*")])
}

/// What a browser sends for a script of a page.
fn page_head() -> HeaderMap {
    fields(&[
        ("host", HOST),
        ("connection", "keep-alive"),
        ("sec-ch-ua", "\"Chromium\";v=\"142\", \"Not_A Brand\";v=\"99\""),
        ("sec-ch-ua-mobile", "?0"),
        ("sec-ch-ua-platform", "\"Linux\""),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        ),
        ("accept", "*/*"),
        ("origin", ORIGIN),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-dest", "empty"),
        (
            "referer",
            "http://amber-otter-x7k2-3000.codespaces.localhost:8080/projects/7/board?view=week",
        ),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "en-GB,en;q=0.9"),
        ("if-none-match", "\"5f3b-18c2\""),
        ("cookie", "theme=dark; session=0123456789abcdef"),
    ])
}

fn answer_head() -> HeaderMap {
    fields(&[
        ("date", "Sat, 21 Nov 2026 12:00:00 GMT"),
        ("server", "app"),
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "5123"),
        ("connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("etag", "\"5f3b-18c2\""),
        ("cache-control", "no-cache"),
        ("vary", "Accept-Encoding"),
        ("location", "http://localhost:3000/login"),
        ("set-cookie", "session=0123456789abcdef; Path=/; HttpOnly"),
    ])
}

fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn session_id(index: usize) -> SessionId {
    SessionId(format!("01990000-0000-7000-8000-{index:012x}").into())
}

/// Auth with one user who is signed in so many times.
fn auth_with(sessions: usize, now: OffsetDateTime) -> Auth {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store: SharedStore = Arc::new(MemoryStore::new());
        let user = UserRecord {
            id: UserId("01990000-0000-7000-8000-000000000000".into()),
            name: "ada".parse().expect("an account name"),
            role: Role::Member,
            password: None,
            email: None,
            suspended: false,
            created_at: now,
            made_by: None,
        };
        store.add_user(&user).await.expect("a user");
        for index in 0..sessions {
            let mut secret_hash = [0; 32];
            secret_hash[..8].copy_from_slice(&(index as u64).to_be_bytes());
            let session = SessionRecord {
                id: session_id(index),
                user: user.id.clone(),
                secret_hash,
                created_at: now,
                last_seen_at: now,
                agent: String::new(),
                address: None,
                expires_at: None,
                origin: None,
            };
            store.put_session(&session).await.expect("a session");
        }
        let options = auth::Options {
            sites: sites(),
            session_idle: Duration::from_secs(12 * 3600),
            session_absolute: Duration::from_secs(7 * 24 * 3600),
            tokens_per_user: 100,
            attempts: Default::default(),
            outside: auth::OutsideOptions::default(),
        };
        Auth::load(store, options, now).await.expect("auth")
    })
}
