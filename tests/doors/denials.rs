//! What a private port answers to whom it does not open for, in the language of each kind of client.

use serde_json::json;

use super::{
    browser::NAVIGATION,
    gateway::{Gateway, PASSWORD, gateway, run},
    secrecy::faceless,
    wire::{Call, Reply},
};

/// A port of ada's on which nothing listens: who may open it is all that counts here.
const QUIET: u16 = 28_466;

/// Who asks. Each once held what opened the port, but for the anonymous.
struct Visitors {
    /// Of a login session that is over.
    over: Credentials,
    /// Signed in, and not allowed any more.
    stranger: Credentials,
    suspended: Credentials,
}

struct Credentials {
    cookie: String,
    token: String,
}

/// What carries the credential of a client.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Cookie,
    Token,
}

const CLIENTS: [(&str, By); 8] = [
    ("navigation", By::Cookie),
    ("fetch of a sibling", By::Cookie),
    ("XHR", By::Cookie),
    ("EventSource", By::Cookie),
    ("WebSocket", By::Cookie),
    ("curl", By::Token),
    ("a program that wants JSON", By::Token),
    ("gRPC", By::Token),
];

fn call(gateway: &Gateway, client: &str) -> Call {
    let host = gateway.port(&gateway.ada, QUIET);
    let own = format!("http://{host}");
    let page = [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")];
    let own_page = |accept| {
        Call::get(host.clone(), "/a")
            .fields(&page)
            .fields(&[("Sec-Fetch-Site", "same-origin"), ("Accept", accept)])
    };
    match client {
        "navigation" => Call::get(host, "/a").fields(&NAVIGATION),
        "fetch of a sibling" => Call::post(host, "/a")
            .json(&json!({}))
            .fields(&page)
            .field("Sec-Fetch-Site", "same-site")
            .field("Origin", format!("http://{}", gateway.app())),
        "XHR" => own_page("*/*").field("X-Requested-With", "XMLHttpRequest"),
        "EventSource" => own_page("text/event-stream"),
        "WebSocket" => Call::get(host, "/a").socket().field("Origin", own),
        "curl" => Call::get(host, "/a").fields(&[("User-Agent", "curl/8.5.0"), ("Accept", "*/*")]),
        "gRPC" => Call::post(host, "/echo.Echo/Say").fields(&[("Content-Type", "application/grpc+proto"), ("TE", "trailers")]),
        _ => Call::get(host, "/a").field("Accept", "application/json"),
    }
}

fn visitors(gateway: &Gateway) -> Visitors {
    let command = |arguments: &[&str], input: &str| run(&gateway.data, arguments, input);
    command(&["user", "create", "sam", "--password-stdin"], PASSWORD);
    let token = |name: &str| command(&["token", "create", "--user", name, "--scope", "all"], "");
    share_with(gateway, &["bob", "sam"]);
    let sessions = ["ada", "bob", "sam"].map(|name| gateway.session(name));
    let [over, stranger, suspended] = [0, 1, 2].map(|at| {
        let editor = gateway.editor_cookie(&sessions[at], &gateway.ada);
        Credentials {
            cookie: gateway.port_cookie(&editor, &gateway.ada, QUIET),
            token: token(["ada", "bob", "sam"][at]),
        }
    });
    for who in [&over, &stranger, &suspended] {
        for by in [By::Cookie, By::Token] {
            let reply = with(call(gateway, "XHR"), who, by).send();
            assert_eq!(reply.status(), 502, "it opens the port, behind which is nothing: {}", reply.text);
        }
    }
    let out = Call::post(gateway.host(), "/api/v1/sign-out").json(&json!({})).cookie(&sessions[0]);
    assert_eq!(out.field("Origin", format!("http://{}", gateway.host())).send().status(), 204);
    let bearer = |token: &str| format!("Bearer {token}");
    let own = Call::new("DELETE", gateway.host(), "/api/v1/token").field("Authorization", bearer(&over.token));
    assert_eq!(own.send().status(), 204);
    share_with(gateway, &[]);
    command(&["user", "suspend", "sam"], "");
    Visitors { over, stranger, suspended }
}

fn share_with(gateway: &Gateway, people: &[&str]) {
    let path = format!("/api/v1/codespaces/{}/ports/{QUIET}", gateway.ada.codespace);
    let change = Call::new("PATCH", gateway.host(), &path).json(&json!({ "users": people }));
    let changed = change.field("Authorization", format!("Bearer {}", gateway.ada.token)).send();
    assert_eq!(changed.status(), 200, "{}", changed.text);
}

fn with(call: Call, who: &Credentials, by: By) -> Call {
    match by {
        By::Cookie => call.cookie(&who.cookie),
        By::Token => call.token(&who.token),
    }
}

#[test]
fn auth_1_and_enum_2_each_client_is_denied_in_its_own_language() {
    let gateway = gateway();
    let visitors = visitors(gateway);
    for (client, by) in CLIENTS {
        let anonymous = call(gateway, client).send();
        denied(gateway, client, &anonymous, 401);
        for (who, credentials) in [("over", &visitors.over), ("suspended", &visitors.suspended)] {
            let reply = with(call(gateway, client), credentials, by).send();
            denied(gateway, &format!("{client} {who}"), &reply, 401);
            assert_eq!(
                faceless(&reply, &[]),
                faceless(&anonymous, &[]),
                "{client} {who}: nothing tells that the credential was good once"
            );
        }
        let stranger = with(call(gateway, client), &visitors.stranger, by).send();
        denied(gateway, &format!("{client} stranger"), &stranger, 404);
        assert!(
            percent_decoded(&stranger.text).contains("is not shared with bob"),
            "{client}: {}",
            stranger.text
        );
    }
    let away = call(gateway, "gRPC").token(&gateway.ada.token).send();
    assert_eq!((away.status(), away.fields("grpc-status")), (200, vec!["14"]), "{}", away.text);
    assert!(away.body().is_empty(), "{}", away.text);
}

/// Checks a denial of 401 or 404 as the client reads it.
fn denied(gateway: &Gateway, client: &str, reply: &Reply, status: u16) {
    let seen = |name| reply.fields(name);
    for (name, expected) in [
        ("cache-control", "no-store"),
        ("vary", "*"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(seen(name), [expected], "{client}: {}", reply.text);
    }
    assert_eq!(seen("x-request-id").len(), 1, "{client}");
    let siblings = [format!("http://{}", gateway.app())];
    let readable: &[String] = if client.starts_with("fetch") { &siblings } else { &[] };
    assert_eq!(
        seen("access-control-allow-origin").len(),
        usize::from(readable.len() == 1 || client.starts_with("WebSocket")),
        "{client}"
    );
    let content_type = seen("content-type");
    if client.starts_with("gRPC") {
        let code = if status == 401 { "16" } else { "5" };
        assert_eq!(
            (reply.status(), content_type, seen("grpc-status")),
            (200, vec!["application/grpc"], vec![code]),
            "{client}"
        );
        assert!(
            !seen("grpc-message")[0].is_empty() && reply.body().is_empty(),
            "{client}: {}",
            reply.text
        );
        return;
    }
    if client.starts_with("navigation") && status == 401 {
        let editor = format!("http://{}/.portico/authorize?", gateway.editor(&gateway.ada));
        assert_eq!((reply.status(), seen("location").len()), (303, 1), "{client}: {}", reply.text);
        assert!(seen("location")[0].starts_with(&editor), "{client}: {}", reply.text);
        return;
    }
    assert_eq!(
        (reply.status(), seen("location").len(), seen("set-cookie").len()),
        (status, 0, 0),
        "{client}: {}",
        reply.text
    );
    if client.starts_with("navigation") {
        assert_eq!(content_type, ["text/html; charset=utf-8"], "{client}");
        assert!(
            reply.body().contains("<html lang=\"en\"") && reply.body().contains("Switch account"),
            "{client}: {}",
            reply.text
        );
        return;
    }
    assert_eq!(content_type, ["application/problem+json"], "{client}");
    let problem = reply.json();
    assert_eq!(problem["status"], status, "{client}: {problem}");
    for name in ["type", "title", "detail"] {
        assert!(problem[name].as_str().is_some_and(|text| !text.is_empty()), "{client}: {problem}");
    }
    let challenge = if status == 401 { vec!["X-Portico-Token"] } else { vec![] };
    assert_eq!(seen("www-authenticate"), challenge, "{client}");
}

/// A text whose `%20` and their like may stand for something.
fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
