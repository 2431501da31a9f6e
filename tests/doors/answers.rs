//! What an app answers: passed on to whoever asked, never kept for anybody else.

use std::thread;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    browser::NAVIGATION,
    gateway::{BOBS, PORT, SIBLING, eventually, gateway},
    wire::{Call, Connection},
};

#[test]
fn cache_1_each_request_reaches_the_app() {
    let gateway = gateway();
    let answer = |body: &str| {
        let head =
            "HTTP/1.1 200 S\r\nCache-Control: public, max-age=3600\r\nETag: \"1\"\r\nLast-Modified: Sat, 01 Jan 2000 00:00:00 GMT\r\n";
        let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let call = Call::get(gateway.app(), "/cached.js").token(&gateway.ada.token);
        call.field("X-Answer", BASE64_STANDARD.encode(answer)).send()
    };
    for body in ["first", "second"] {
        let reply = answer(body);
        assert_eq!(
            (reply.body(), reply.fields("cache-control")),
            (body, vec!["public, max-age=3600"]),
            "{}",
            reply.text
        );
    }
    let foreign = Call::get(gateway.app(), "/cached.js").send();
    assert_eq!(
        (foreign.status(), foreign.fields("cache-control")),
        (401, vec!["no-store"]),
        "{}",
        foreign.text
    );
}

/// Random sequences of two tenants run in the fuzz target `tenants`; here each way of leaving a connection dirty is tried.
#[test]
fn pool_1_no_connection_to_an_app_serves_another() {
    let gateway = gateway();
    let spoilers = [
        "HTTP/1.1 200 S\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 S\r\nContent-Length: 4\r\n\r\nADA\nevil",
        "HTTP/1.1 200 S\r\nContent-Length: 50\r\n\r\nADA\nshort",
        "HTTP/1.1 304 S\r\nContent-Length: 4\r\n\r\nADA\n",
        "HTTP/1.1 204 S\r\n\r\nADA\nADA\n",
        "HTTP/1.1 100 S\r\n\r\nHTTP/1.1 200 S\r\nContent-Length: 0\r\n\r\nADA\n",
        "HTTP/1.1 500 S\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nADA\n",
    ];
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            thread::spawn(move || {
                for round in 0..60 {
                    let spoiler = BASE64_STANDARD.encode(spoilers[(thread + round) % spoilers.len()]);
                    let call = Call::get(gateway.app(), "/").token(&gateway.ada.token).field("X-Answer", spoiler);
                    if round % 3 == 0 {
                        // Gone before the answer is.
                        Connection::open().write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
                    }
                    call.send_and_leave();
                    for (person, port, stamp) in [
                        (&gateway.bob, BOBS, "BOB"),
                        (&gateway.ada, SIBLING, "SIBLING"),
                        (&gateway.ada, PORT, "ADA"),
                    ] {
                        let path = format!("/{thread}-{round}");
                        let reply = Call::get(gateway.port(person, port), &path).token(&person.token).send();
                        let all = ["ADA", "BOB", "SIBLING"].map(|stamp| reply.stamps(stamp)).iter().sum::<usize>();
                        assert_eq!((reply.status(), reply.stamps(stamp), all), (200, 1, 1), "{}", reply.text);
                        assert!(reply.text.contains(&format!("{stamp}\nGET {path} ")), "{}", reply.text);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no foreign answer");
    }
}

#[test]
fn csrf_3_private_pages_are_framed_by_their_own_codespace_alone() {
    let gateway = gateway();
    let editor = gateway.editor_cookie(&gateway.session("ada"), &gateway.ada);
    let cookie = gateway.port_cookie(&editor, &gateway.ada, PORT);
    let path = format!("/api/v1/codespaces/{}/ports", gateway.ada.codespace);
    eventually("both apps are seen to listen", || {
        let ports = Call::get(gateway.host(), &path)
            .field("Authorization", format!("Bearer {}", gateway.ada.token))
            .send()
            .json();
        let listens = |number: u16| {
            ports
                .as_array()
                .into_iter()
                .flatten()
                .any(|port| port["port"] == number && port["listening"] == true)
        };
        (listens(PORT) && listens(SIBLING)).then_some(())
    });
    let page = |fields: &str| {
        let answer = format!("HTTP/1.1 200 S\r\nContent-Type: text/html\r\n{fields}Content-Length: 0\r\n\r\n");
        Call::get(gateway.app(), "/")
            .cookie(&cookie)
            .field("X-Answer", BASE64_STANDARD.encode(answer))
    };
    // The first navigation of all makes the detour to the sibling, and so does one that comes half a minute later.
    assert_eq!(page("").fields(&NAVIGATION).send().status(), 303);
    let arrives = |call: Call| {
        eventually("it makes no detour", || {
            let reply = call.send();
            (reply.status() != 303).then_some(reply)
        })
    };
    // A browser too old to say whether it fills a frame, and a new one.
    for marks in [&[("Upgrade-Insecure-Requests", "1"), ("Accept", "text/html")][..], &NAVIGATION] {
        let reply = arrives(page("Content-Security-Policy: default-src 'self'\r\n").fields(marks));
        let policies = reply.fields("content-security-policy");
        assert_eq!(
            (reply.status(), policies.len(), policies[0]),
            (200, 2, "default-src 'self'"),
            "{}",
            reply.text
        );
        let hosts = [gateway.editor(&gateway.ada), gateway.app(), gateway.port(&gateway.ada, SIBLING)];
        assert!(policies[1].starts_with("frame-ancestors 'self' "), "{policies:?}");
        assert!(
            hosts.iter().all(|host| policies[1].contains(&format!("http://{host}"))),
            "{policies:?}"
        );
        assert!(
            !policies[1].contains(&gateway.bob.codespace) && !policies[1].contains('*'),
            "{policies:?}"
        );
    }
    let stricter = arrives(page("X-Frame-Options: DENY\r\n").fields(&NAVIGATION));
    assert_eq!(stricter.fields("content-security-policy").len(), 0, "{}", stricter.text);
    let program = Call::get(gateway.app(), "/").token(&gateway.ada.token).send();
    assert_eq!(program.fields("content-security-policy").len(), 0, "{}", program.text);
}
