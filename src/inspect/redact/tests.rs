use std::cell::Cell;

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

thread_local! {
    /// Bytes that were looked at.
    pub(super) static EXAMINED: Cell<usize> = const { Cell::new(0) };
}

fn shown(fields: &[(&'static str, &str)]) -> Vec<String> {
    let headers = fields.iter().map(|(name, value)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        (http::HeaderName::from_static(name), value)
    });
    let head = head(&headers.collect());
    head.fields
        .iter()
        .map(|field| format!("{}: {}", field.name, String::from_utf8_lossy(&field.value)))
        .collect()
}

#[test]
fn heads_lose_their_secrets_and_what_is_ours() {
    #[track_caller]
    fn check(name: &'static str, value: &str, expected: &str) {
        let expected: Vec<String> = (!expected.is_empty()).then(|| format!("{name}: {expected}")).into_iter().collect();
        assert_eq!(shown(&[(name, value)]), expected, "{name}: {value}");
    }
    check("accept", "text/html", "text/html");
    check("authorization", "Bearer canary", REMOVED);
    check("proxy-authorization", "Basic canary", REMOVED);
    check("x-portico-token", "pt_canary", "");
    check("x-forwarded-for", "192.0.2.1", "");
    check("x-api-key", "canary", REMOVED);
    check("ocp-apim-subscription-key", "canary", REMOVED);
    check("x-csrftoken", "canary", REMOVED);
    check("x-auth-email", "canary", REMOVED);
    check("x-author", "Ada", "Ada");
    check("www-authenticate", "Basic realm=\"x\"", "Basic realm=\"x\"");
    check("cookie", "a=canary; __Host-portico_access=canary; b", "a=REMOVED; REMOVED");
    check("cookie", "__Host-portico_access=canary", "");
    check("set-cookie", "sid=canary; Path=/; HttpOnly", "sid=REMOVED; Path=/; HttpOnly");
    check(
        "referer",
        "http://a.example/x?token=canary&q=1#f",
        "http://a.example/x?token=REMOVED&q=1#f",
    );
    check("location", "/cb?code=canary&state=canary", "/cb?code=REMOVED&state=REMOVED");
    check("x-odd", "Bearer canary", REMOVED);
    check("x-odd", "see eyJhbGciOi.eyJzdWIi.canary now", "see REMOVED now");
    check("x-odd", "pt_canarycanarycanary", REMOVED);
    check("x-odd", "caf\u{e9}", "caf\u{e9}");
    check("location", "/cb#access_token=canary&n=1", "/cb#access_token=REMOVED&n=1");
    check("location", "/#/cb?code=canary", "/#/cb?code=REMOVED");
    check("location", "https://ada:canary@a.example/x", "https://REMOVED@a.example/x");
    check("location", "/.portico/s/canary?a=1", "/.portico/s/REMOVED?a=1");
    check("location", "/reset/4f9d2c7b1e8a4c0d9f3e/now", "/reset/REMOVED/now");
    check(
        "referer",
        "http://a.example/x;jsessionid=canary",
        "http://a.example/x;jsessionid=REMOVED",
    );
    check("x-odd", "see postgres://ada:canary@db/x.", "see postgres://REMOVED@db/x.");
    check("etag", "\"4f9d2c7b1e8a4c0d9f3e\"", "\"4f9d2c7b1e8a4c0d9f3e\"");
    check("sec-websocket-protocol", "bearer, canary", "bearer, REMOVED");
    check("sec-websocket-protocol", "mqtt,access_token,canary", "mqtt, access_token, REMOVED");
    check(
        "sec-websocket-protocol",
        "v4.k8s.io, base64url.bearer.k8s.io.canary",
        "v4.k8s.io, base64url.bearer.k8s.io.REMOVED",
    );
    check("sec-websocket-protocol", "graphql-transport-ws", "graphql-transport-ws");
    check("x-tokens", "12", "12");
}

#[test]
fn a_head_is_bounded() {
    let long = "x".repeat(MAX_HEAD);
    let headers = shown(&[("a", "1"), ("b", &long), ("c", "3")]);
    assert_eq!(headers, ["a: 1", "c: 3"]);
}

#[test]
fn addresses_lose_the_values_of_secrets() {
    #[track_caller]
    fn check(given: &str, expected: &str) {
        assert_eq!(target(given).as_deref().unwrap_or(given), expected);
    }
    check("/a", "/a");
    check(
        "/a?page=2&author=ada&q=long+words+of+a+question",
        "/a?page=2&author=ada&q=long+words+of+a+question",
    );
    check("/a?token=canary&b=1", "/a?token=REMOVED&b=1");
    check("/a?%74oken=canary", "/a?%74oken=REMOVED");
    check("/a?user[password]=canary", "/a?user[password]=REMOVED");
    check("/a?code=canary&X-Amz-Signature=canary", "/a?code=REMOVED&X-Amz-Signature=REMOVED");
    check("/a?x=4f9d2c7b1e8a4c0d9f3e", "/a?x=REMOVED");
    check(
        "/a?id=550e8400-e29b-41d4-a716-446655440000",
        "/a?id=550e8400-e29b-41d4-a716-446655440000",
    );
    check("/a?4f9d2c7b1e8a4c0d9f3e", "/a?REMOVED");
    check("/a?token", "/a?token");
    check("/a?token=", "/a?token=");
    check("/a?max_tokens=100", "/a?max_tokens=100");
    check("/a?next=%2Fcb%3Ftoken%3Dcanary", "/a?next=REMOVED");
    check("/a/pt_canarycanarycanary/b", "/a/REMOVED/b");
    check("/a/pt%5Fcanarycanarycanary", "/a/REMOVED");
    check("/a/eyJhbGciOi.eyJzdWIi.canary", "/a/REMOVED");
    check("/reset/4f9d2c7b1e8a4c0d9f3e", "/reset/REMOVED");
    check("/reset/Ab3dEf6hIj_lMn0pQrStUv-xYz1234567", "/reset/REMOVED");
    check("/.portico/s/canary", "/.portico/s/REMOVED");
    check("/a;jsessionid=canary/b", "/a;jsessionid=REMOVED/b");
    for harmless in [
        "/assets/index-4f9d2c7b1e8a4c0d9f3e.js",
        "/items/507f1f77bcf86cd799439011",
        "/items/550e8400-e29b-41d4-a716-446655440000",
        "/posts/how-to-install-debian-12-on-a-laptop",
        "/tokens/12",
        "/@vite/client",
    ] {
        check(harmless, harmless);
    }
}

#[test]
fn bodies_lose_the_values_of_secrets() {
    #[track_caller]
    fn check(given: &str, expected: &str) {
        let found = body(given.as_bytes(), false);
        assert_eq!(String::from_utf8_lossy(found.as_deref().unwrap_or(given.as_bytes())), expected);
    }
    check(r#"{"name":"ada","age":36}"#, r#"{"name":"ada","age":36}"#);
    check(r#"{"password" : "can\"ary", "n": 1}"#, r#"{"password" : "REMOVED", "n": 1}"#);
    check(r#"{"access_token":"canary","ok":true}"#, r#"{"access_token":"REMOVED","ok":true}"#);
    check(
        r#"{"credentials":{"a":"}canary","b":[1]},"n":1}"#,
        r#"{"credentials":"REMOVED","n":1}"#,
    );
    check(
        r#"{"pin":1234,"isSession":true,"max_tokens":5}"#,
        r#"{"pin":"REMOVED","isSession":true,"max_tokens":5}"#,
    );
    check(r#"{"a":[{"secret":"cana"#, r#"{"a":[{"secret":"REMOVED""#);
    check("see Bearer canarycanary.", "see REMOVED");
    check(r#"{"tokens":{"access":"canary"},"n":1}"#, r#"{"tokens":"REMOVED","n":1}"#);
    check(r#"{"tokens":["canary"]}"#, r#"{"tokens":"REMOVED"}"#);
    check(r#"{"tokens": 12, "max_tokens":5}"#, r#"{"tokens": 12, "max_tokens":5}"#);
    check(
        r#"{"body":"{\"password\":\"canary\"}"}"#,
        r#"{"body":"{\"password\":\"REMOVED\"}"}"#,
    );
    check(r#"a 5" disk, "password": "canary""#, r#"a 5" disk, "password": "REMOVED""#);
    check("{'password': 'canary'}", "{'password': \"REMOVED\"}");
    check("A=1\nDB_PASSWORD=canary\nB=2\n", "A=1\nDB_PASSWORD=REMOVED\nB=2\n");
    check("export API_KEY='canary'\n", "export API_KEY=REMOVED\n");
    check(
        "db:\n  - user: ada\n    password: canary\n",
        "db:\n  - user: ada\n    password: REMOVED\n",
    );
    check("secret: |\n  canary\n  canary\nb: 1\n", "secret: REMOVED\nb: 1\n");
    check("tokens:\n  access: canary\nb: 1", "tokens:REMOVED\nb: 1");
    check("  tokens: 12\n", "  tokens: 12\n");
    for (given, expected) in [
        ("signed in with token=canary, user=ada", "signed in with token=REMOVED user=ada"),
        ("tried password='can ary' twice", "tried password='REMOVED' twice"),
        ("tried password=\"can ary", "tried password=\"REMOVED"),
        ("run --db.password=can$ary! now", "run --db.password=REMOVED now"),
        (
            "a login failed, password: canary for ada",
            "a login failed, password: REMOVED for ada",
        ),
        ("run x=1=token=canary now", "run x=1=token=REMOVED now"),
        ("{password:\"canary\",n:1}", "{password:\"REMOVED\",n:1}"),
        ("it gave key=canarycanary then", "it gave key=REMOVED then"),
        (
            "it ended with code=200 state=open max_tokens=12",
            "it ended with code=200 state=open max_tokens=12",
        ),
        ("it has tokens: 12, no key: none", "it has tokens: 12, no key: none"),
        ("sent authorization: Bearer can/ary to it", "sent authorization: REMOVED to it"),
        ("pt_canarycanarycanary=token=1 went", "REMOVED went"),
        ("see session://a/b and password= nothing", "see session://a/b and password= nothing"),
    ] {
        check(given, expected);
    }
    check("<password>canary</password>", "<password>REMOVED</password>");
    check(
        "<w:Password t=\"x\">canary</w:Password>",
        "<w:Password t=\"x\">REMOVED</w:Password>",
    );
    check("<secret><![CDATA[canary]]></secret>", "<secret>REMOVED</secret>");
    check("<p>see <code>x</code></p>", "<p>see <code>x</code></p>");
    check("<tokens>12</tokens>", "<tokens>12</tokens>");
    check(
        "GET / HTTP/1.1\r\ncookie: canary\r\nhost: a\r\n",
        "GET / HTTP/1.1\r\ncookie: REMOVED\r\nhost: a\r\n",
    );
    check("<a href=\"/x?token=canary&b=1\">", "<a href=\"/x?token=REMOVED&b=1\">");
    assert_eq!(
        body(b"user=ada&password=canary", true).as_deref(),
        Some(&b"user=ada&password=REMOVED"[..])
    );
    assert_eq!(body(b"user=ada", true), None);
}

#[test]
fn kinds_of_bodies() {
    #[track_caller]
    fn check(kind: &str, encoding: Option<&str>, expected: bool) {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_str(kind).expect("a value"));
        if let Some(encoding) = encoding {
            headers.insert("content-encoding", HeaderValue::from_str(encoding).expect("a value"));
        }
        assert_eq!(is_text(&headers), expected, "{kind} {encoding:?}");
    }
    check("text/html; charset=utf-8", None, true);
    check("Application/JSON", Some("identity"), true);
    check("application/vnd.api+json", None, true);
    check("application/json", Some("gzip"), false);
    check("image/png", None, false);
    check("multipart/form-data; boundary=x", None, false);
    check("application/octet-stream", None, false);
}

/// What is looked at grows with the bytes and no faster, whatever they are.
#[test]
fn no_byte_is_looked_at_often() {
    #[track_caller]
    fn check(piece: &str) {
        let examined = |size: usize| {
            let text = piece.repeat(size / piece.len());
            EXAMINED.set(0);
            let value = HeaderValue::from_bytes(text.replace(['\n', '\r'], " ").as_bytes()).expect("a value");
            for name in ["x-odd", "location", "sec-websocket-protocol"] {
                drop(head(&HeaderMap::from_iter([(http::HeaderName::from_static(name), value.clone())])));
            }
            drop(target(&text));
            drop(body(text.as_bytes(), false));
            drop(body(text.as_bytes(), true));
            EXAMINED.get()
        };
        let (small, large) = (examined(16 * 1024), examined(64 * 1024));
        assert!(small > 0 && small <= 100 * 16 * 1024, "{piece:?}: {small}");
        assert!(large <= 4 * small + small / 8, "{piece:?}: {small}, {large}");
    }
    for piece in [
        "-",
        "a",
        "/",
        "//",
        "//a:",
        "@",
        ".",
        "=",
        "%",
        "%2",
        "%25",
        "?",
        "#",
        "?#",
        "&",
        "&amp;",
        ";",
        "\"",
        "'",
        "\\",
        "\\\"",
        "{",
        "[",
        "<",
        "<a",
        "<password",
        "<password>",
        "<password> ",
        "\n",
        "\r\n",
        " ",
        ":",
        "pt_",
        "-pt_",
        "eyJ",
        "-eyJ",
        "-eyJ.",
        "bearer ",
        "Bearer a",
        "-bearer",
        "\"token\":",
        "\"token\":{",
        "\"token\":-",
        "\"tokens\":1",
        "'tokens':1 ",
        "token:",
        "token:\n",
        " token:\n",
        "token:\n ",
        "tokens: 1\n",
        "tokens=1\n",
        "- ",
        "- token=\n",
        "export ",
        "/.portico/s/",
        "?a=",
        "?token=x",
        "%3f",
        "tokens,",
        "auth.",
        "a1B",
        "a=",
        "token=",
        "-token=!",
        "a token=\"1",
        "a token='",
        "a tokens=\"1",
        "a code=! ",
        "a token: ",
        "a token:/",
        "a token :",
    ] {
        check(piece);
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_taken_and_done_once(text in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'{'), Just(b']'), Just(b':'), Just(b'?'), Just(b'\n'), any::<u8>()], 0..200), form: bool) {
        if let Some(once) = body(&text, form) {
            prop_assert!(once.len() <= text.len() * 10 + 10);
        }
    }

    #[test]
    fn no_secret_stays_whatever_is_around_it(
        before in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\''), Just(b'<'), Just(b'{'), Just(b':'), Just(b'?'), Just(b'#'), Just(b'/'), Just(b' '), any::<u8>()], 0..60),
        secret in prop_oneof![
            Just("pt_canarycanarycanary"),
            Just("eyJhbGciOi.eyJzdWIi.canary"),
            Just("Bearer canarycanary"),
            Just("https://ada:canary@a.example/"),
            Just("/.portico/s/canary"),
            Just("\nDB_PASSWORD=canary\n"),
            Just("\n  password: canary\n"),
            Just("<password>canary</password>"),
            Just("see password=canary! now"),
            Just("see token='canary canary' now"),
        ],
        after in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let text = [&before[..], b" \n", secret.as_bytes(), b" \n", &after].concat();
        let without = body(&text, false);
        let without = without.unwrap_or(text);
        prop_assert!(!String::from_utf8_lossy(&without).contains("canary"));
        let _ = (target(&String::from_utf8_lossy(&without)), body(&without, true));
        if let Ok(value) = HeaderValue::from_bytes(&before) {
            let _ = head(&HeaderMap::from_iter([(http::header::LOCATION, value.clone()), (http::header::SEC_WEBSOCKET_PROTOCOL, value)]));
        }
    }
}
