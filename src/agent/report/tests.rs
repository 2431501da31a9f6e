//! Tests of [`super`].

use super::*;
use crate::agent::ports::printed::PrintedUrl;

fn listening(port: u16) -> ListeningPort {
    ListeningPort {
        port,
        addresses: vec!["127.0.0.1".into()],
        pid: None,
        process: None,
        command: None,
        scheme: None,
        path: None,
        noise: None,
        beside: None,
    }
}

fn server(port: u16, scheme: Option<&'static str>, path: &str) -> Printed {
    Printed::Server(PrintedUrl {
        port,
        scheme,
        path: path.into(),
    })
}

fn https(path: &str) -> ListeningPort {
    ListeningPort {
        scheme: Some("https".into()),
        path: Some(path.into()),
        ..listening(3000)
    }
}

#[test]
fn only_changes_are_told() {
    let (reporter, now) = (Reporter::new(), Instant::now());
    let nothing = State::default();
    assert!(reporter.watch().borrow().since(&nothing).is_empty());

    reporter.step(StepName::Clone, StepState::Done, "");
    reporter.prepared();
    reporter.editor(EditorState::Ready);
    reporter.ports(Vec::new(), now);
    let first = reporter.watch().borrow().clone();
    assert_eq!(first.since(&nothing).len(), 4, "an empty list of ports is told too");
    assert!(first.since(&first).is_empty());

    let what = OutOfMemory {
        processes: 1,
        allowed: None,
    };
    reporter.out_of_memory(what);
    let first = {
        let starved = reporter.watch().borrow().clone();
        assert_eq!(starved.since(&first), [FromAgent::OutOfMemory(what)]);
        starved
    };

    reporter.printed(server(3000, Some("https"), "/app"), now);
    assert!(reporter.watch().borrow().since(&first).is_empty(), "nobody listens there yet");
    reporter.ports(vec![listening(3000)], now);
    let second = reporter.watch().borrow().clone();
    assert_eq!(
        second.since(&first),
        [FromAgent::Ports {
            ports: vec![https("/app")]
        }]
    );

    reporter.ports(Vec::new(), now);
    reporter.ports(vec![listening(3000)], now);
    assert_eq!(
        reporter.listening(),
        [listening(3000)],
        "the next program on that port printed nothing"
    );
}

#[test]
fn what_a_server_says_of_itself_stays() {
    let (reporter, start) = (Reporter::new(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    reporter.printed(server(3000, Some("http"), "/readme"), at(0));
    reporter.ports(vec![listening(3000)], at(60));
    reporter.printed(server(3000, None, "/"), at(61));
    assert_eq!(
        reporter.listening()[0].path,
        None,
        "what was printed a minute before was no server's"
    );
    reporter.printed(server(3000, Some("https"), "/app"), at(62));
    assert_eq!(reporter.listening(), [https("/app")], "now it says how it speaks");
    reporter.printed(server(3000, Some("http"), "/api/typed"), at(63));
    assert_eq!(reporter.listening(), [https("/app")], "somebody typed another address of it");
}

#[test]
fn a_debugger_is_noise_and_an_announced_server_is_none() {
    let (reporter, now) = (Reporter::new(), Instant::now());
    let noisy = |port, why: Option<&str>| ListeningPort {
        noise: why.map(str::to_owned),
        ..listening(port)
    };
    reporter.ports(vec![noisy(40_001, Some("editor")), noisy(4000, None)], now);
    reporter.printed(server(40_001, None, "/"), now);
    reporter.printed(Printed::Debugger(4000), now);
    assert_eq!(reporter.listening(), [noisy(4000, Some("debugger")), noisy(40_001, None)]);
}

#[tokio::test]
async fn a_port_that_is_announced_is_looked_for_at_once() {
    let reporter = Reporter::new();
    reporter.printed(server(3000, None, "/"), Instant::now());
    reporter.announced().await;
}
