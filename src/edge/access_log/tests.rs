use std::net::IpAddr;

use proptest::prelude::*;
use time::{OffsetDateTime, macros::datetime};

use super::*;
use crate::{clock::ManualClock, domain::Port, route::Route};

const NOON: OffsetDateTime = datetime!(2026-11-21 12:00:00.25 UTC);

fn log(form: Form) -> (AccessLog, Metrics) {
    let metrics = Metrics::new();
    (AccessLog::new(form, Arc::new(ManualClock::at(NOON)), metrics.clone()), metrics)
}

fn record<'a>(to: &'a Route, path: &'a str) -> Record<'a> {
    Record {
        id: "0123456789abcdef",
        client: IpAddr::from([192, 0, 2, 7]),
        method: "GET",
        host: "amber-x7k2-3000.codespaces.localhost:8080",
        path,
        to: Some(to),
        account: "ada",
        status: 200,
        sent: 18_446_744_073_709_551_615,
        received: 0,
        cut_short: false,
        note: "",
        took: Duration::from_micros(1_234),
    }
}

fn port() -> Route {
    Route::Port("amber-x7k2".parse().expect("a name"), Port::new(3000).expect("a port"))
}

/// What is written of one record, half a second after the page's first.
fn written(form: Form, record: &Record<'_>) -> String {
    let (log, _) = log(form);
    let (page, now) = (log.page(), Instant::now());
    page.write(record, now);
    page.write(record, now + Duration::from_millis(500));
    log.close();
    let mut batch = Vec::new();
    assert_eq!(log.take(&mut batch), Taken { lost: 0, last: true });
    let text = String::from_utf8(batch).expect("text");
    text.split_inclusive('\n').nth(1).expect("a second line").to_owned()
}

#[test]
fn records_look_as_those_of_tracing() {
    let (route, gateway) = (port(), Route::Gateway);
    let check = |form, record: &Record<'_>, expected: &str| assert_eq!(written(form, record), expected);
    check(
        Form::Text,
        &record(&route, "/a\"b%20\\"),
        "2026-11-21T12:00:00.750000Z  INFO portico::access: id=\"0123456789abcdef\" client=192.0.2.7 method=\"GET\" \
         host=\"amber-x7k2-3000.codespaces.localhost:8080\" path=\"/a\\\"b%20\\\\\" to=\"port:amber-x7k2:3000\" account=\"ada\" \
         status=200 sent=18446744073709551615 received=0 cut_short=false note=\"\" micros=1234\n",
    );
    check(
        Form::Json,
        &Record {
            client: IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
            cut_short: true,
            ..record(&gateway, "/")
        },
        "{\"timestamp\":\"2026-11-21T12:00:00.750000Z\",\"level\":\"INFO\",\"id\":\"0123456789abcdef\",\"client\":\"2001:db8::1\",\
         \"method\":\"GET\",\"host\":\"amber-x7k2-3000.codespaces.localhost:8080\",\"path\":\"/\",\"to\":\"gateway\",\
         \"account\":\"ada\",\"status\":200,\"sent\":18446744073709551615,\"received\":0,\"cut_short\":true,\"note\":\"\",\
         \"micros\":1234,\"target\":\"portico::access\"}\n",
    );
    let coloured = written(Form::Colours, &record(&route, "/"));
    let start = "\x1b[2m2026-11-21T12:00:00.750000Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2mportico::access\x1b[0m\x1b[2m:\x1b[0m \
                 \x1b[3mid\x1b[0m\x1b[2m=\x1b[0m\"0123456789abcdef\" \x1b[3mclient\x1b[0m\x1b[2m=\x1b[0m192.0.2.7 ";
    assert!(coloured.starts_with(start), "{coloured:?}");
}

#[test]
fn a_clock_that_is_set_is_followed_within_a_second() {
    let clock = ManualClock::at(NOON);
    let log = AccessLog::new(Form::Text, Arc::new(clock.clone()), Metrics::new());
    let (page, now, route) = (log.page(), Instant::now(), port());
    page.write(&record(&route, "/"), now);
    clock.advance(time::Duration::hours(-3));
    page.write(&record(&route, "/"), now + Duration::from_millis(749));
    page.write(&record(&route, "/"), now + Duration::from_millis(750));
    log.close();
    let mut batch = Vec::new();
    log.take(&mut batch);
    let text = String::from_utf8(batch).expect("text");
    let stamps: Vec<_> = text.lines().filter_map(|line| line.get(11..26)).collect();
    assert_eq!(stamps, ["12:00:00.250000", "12:00:00.999000", "09:00:00.250000"]);
}

#[test]
fn what_nobody_takes_is_bounded_and_counted() {
    let (log, metrics) = log(Form::Text);
    let (page, now, route) = (log.page(), Instant::now(), port());
    let path = "x".repeat(2 * 2048);
    let mut batch = Vec::new();
    for _ in 0..1000 {
        page.write(&record(&route, &path), now);
    }
    let taken = log.take(&mut batch);
    let kept = batch.split(|byte| *byte == b'\n').count() - 1;
    assert_eq!(kept as u64 + taken.lost, 1000);
    assert!(
        taken.lost > 0 && !taken.last && batch.len() < OVERFULL + 4096,
        "{taken:?}, {} bytes",
        batch.len()
    );
    let text = String::from_utf8_lossy(&batch);
    assert!(
        text.contains(&"x".repeat(2048)) && !text.contains(&"x".repeat(2049)),
        "a field is bounded"
    );
    let told = format!("portico_access_log_lost_total {}\n", taken.lost);
    assert!(metrics.text(std::iter::empty()).contains(&told));
    batch.clear();
    page.write(&record(&route, "/after"), now);
    assert_eq!(log.take(&mut batch), Taken { lost: 0, last: false });
    assert!(String::from_utf8_lossy(&batch).contains("/after"));
}

proptest! {
    #[test]
    fn whatever_a_field_holds_is_one_harmless_line(path in "(\\PC|[\\x00-\\x1f\\x7f-\\x9f\"\\\\'\u{202e}\u{2066}\u{feff}]){0,60}") {
        let route = port();
        let record = Record { note: &path, ..record(&route, &path) };
        for form in [Form::Text, Form::Colours, Form::Json] {
            let line = written(form, &record);
            let line = line.strip_suffix('\n').expect("a line");
            let plain = line.replace("\x1b[0m", "").replace("\x1b[2m", "").replace("\x1b[3m", "").replace("\x1b[32m", "");
            let harmful = |char: char| char.is_control() || ('\u{202a}'..='\u{202e}').contains(&char) || ('\u{2066}'..='\u{2069}').contains(&char);
            prop_assert!(!plain.contains(harmful), "{plain:?}");
            if form == Form::Json {
                let json: serde_json::Value = serde_json::from_str(line).expect("JSON");
                prop_assert_eq!(json["path"].as_str(), Some(&*path));
                prop_assert_eq!(json["note"].as_str(), Some(&*path));
            }
        }
    }
}
