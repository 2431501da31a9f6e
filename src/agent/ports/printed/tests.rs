//! What servers really print, and what must not be taken for a server.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Checks that a text, at once and byte by byte, says these addresses: `http 3000 /path`, `? 3000 /` where nothing says
/// how the server speaks, `debugger 9229`.
#[track_caller]
fn check(printed: &str, expected: &[&str]) {
    let shown = |found: Vec<Printed>| {
        let shown = found.into_iter().map(|found| match found {
            Printed::Server(url) => format!("{} {} {}", url.scheme.unwrap_or("?"), url.port, url.path),
            Printed::Debugger(port) => format!("debugger {port}"),
        });
        shown.collect::<Vec<_>>()
    };
    assert_eq!(shown(Detector::default().feed(printed.as_bytes())), expected, "{printed:?} at once");
    let mut detector = Detector::default();
    let pieces = printed.as_bytes().iter().flat_map(|byte| detector.feed(&[*byte])).collect();
    assert_eq!(shown(pieces), expected, "{printed:?} byte by byte");
}

#[test]
fn what_servers_print() {
    // Vite 6
    check(
        "\r\n  \u{1b}[32m\u{1b}[1mVITE\u{1b}[22m v6.0.3\u{1b}[39m  \u{1b}[2mready in \u{1b}[0m\u{1b}[1m312\u{1b}[22m\u{1b}[2m\u{1b}[0m ms\u{1b}[22m\r\n\r\n  \u{1b}[32m➜\u{1b}[39m  \u{1b}[1mLocal\u{1b}[22m:   \u{1b}[36mhttp://localhost:\u{1b}[1m5173\u{1b}[22m/\u{1b}[39m\r\n  \u{1b}[2m\u{1b}[32m➜\u{1b}[39m  \u{1b}[1mNetwork\u{1b}[22m\u{1b}[2m: use \u{1b}[22m\u{1b}[1m--host\u{1b}[22m\u{1b}[2m to expose\u{1b}[22m\r\n",
        &["http 5173 /"],
    );
    // webpack-dev-server 5
    check(
        "<i> [webpack-dev-server] Project is running at:\n<i> [webpack-dev-server] Loopback: http://localhost:8080/, http://[::1]:8080/\n<i> [webpack-dev-server] On Your Network (IPv4): http://192.168.1.5:8080/\n",
        &["http 8080 /", "http 8080 /"],
    );
    // Next 15
    check(
        "   \u{1b}[1m\u{1b}[38;2;173;127;168m▲ Next.js 15.1.0\u{1b}[39m\u{1b}[22m\n   - Local:        http://localhost:3000\n   - Network:      http://10.0.0.7:3000\n\n ✓ Ready in 1203ms\n",
        &["http 3000 /"],
    );
    // Django 5
    check(
        "Django version 5.1.4, using settings 'mysite.settings'\nStarting development server at http://127.0.0.1:8000/\nQuit the server with CONTROL-C.\n",
        &["http 8000 /"],
    );
    // Flask 3
    check(
        " * Serving Flask app 'app'\n * Debug mode: on\n\u{1b}[31m\u{1b}[1mWARNING: This is a development server.\u{1b}[0m\n * Running on http://127.0.0.1:5000\n\u{1b}[33mPress CTRL+C to quit\u{1b}[0m\n * Debugger is active!\n * Debugger PIN: 123-456-789\n",
        &["http 5000 /"],
    );
    // Rails 8 with Puma, and an old Puma
    check(
        "=> Booting Puma\n* Puma version: 6.5.0\n* Listening on http://127.0.0.1:3000\n* Listening on http://[::1]:3000\nUse Ctrl-C to stop\n",
        &["http 3000 /", "http 3000 /"],
    );
    check(
        "* Listening on tcp://0.0.0.0:3000\n* Listening on ssl://0.0.0.0:9292?cert=x\n",
        &["? 3000 /", "https 9292 /"],
    );
    // Spring Boot 3 and 2
    check(
        "2026-11-22T10:00:00.000Z  INFO 1 --- [           main] o.s.b.w.embedded.tomcat.TomcatWebServer  : Tomcat started on port 8080 (http) with context path '/'\n",
        &["? 8080 /"],
    );
    check("Tomcat started on port(s): 8081 (http) with context path ''\n", &["? 8081 /"]);
    // python -m http.server
    check(
        "Serving HTTP on 0.0.0.0 port 8000 (http://0.0.0.0:8000/) ...\n",
        &["? 8000 /", "http 8000 /"],
    );
    check(
        "Serving HTTP on :: port 8001 (http://[::]:8001/) ...\n",
        &["? 8001 /", "http 8001 /"],
    );
    // Go: log.Println, gin, echo
    check("2026/11/22 10:00:00 Listening on :8080\n", &["? 8080 /"]);
    check("[GIN-debug] Listening and serving HTTP on :8082\n", &["? 8082 /"]);
    check("⇨ http server started on \u{1b}[32m[::]:1323\u{1b}[0m\n", &["? 1323 /"]);
    // JupyterLab 4
    check(
        "[I 2026-11-22 10:00:00.000 ServerApp] http://localhost:8888/lab?token=0123abcd\n        http://127.0.0.1:8889/lab?token=0123abcd\n",
        &["http 8888 /lab?token=0123abcd", "http 8889 /lab?token=0123abcd"],
    );
    // php -S
    check(
        "[Sun Nov 22 10:00:00 2026] PHP 8.2.7 Development Server (http://localhost:8000) started\n",
        &["http 8000 /"],
    );
    // Jekyll 4
    check(
        "    Server address: http://127.0.0.1:4000/blog/\n  Server running... press ctrl-c to stop.\n",
        &["http 4000 /blog/"],
    );
    // ASP.NET Core 9
    check(
        "\u{1b}[40m\u{1b}[32minfo\u{1b}[39m\u{1b}[22m\u{1b}[49m: Microsoft.Hosting.Lifetime[14]\n      Now listening on: https://localhost:7001\ninfo: Microsoft.Hosting.Lifetime[14]\n      Now listening on: http://localhost:5001\n",
        &["https 7001 /", "http 5001 /"],
    );
    // Express, Fastify, uvicorn, Fiber, Node's own habits
    check("Example app listening on port 3000\n", &["? 3000 /"]);
    check(
        "{\"level\":30,\"time\":1,\"msg\":\"Server listening at http://127.0.0.1:3001\"}\n",
        &["http 3001 /"],
    );
    check(
        "\u{1b}[32mINFO\u{1b}[0m:     Uvicorn running on \u{1b}[1mhttp://127.0.0.1:8000\u{1b}[0m (Press CTRL+C to quit)\n",
        &["http 8000 /"],
    );
    check(" │ (bound on host 0.0.0.0 and port 3002) │ \n", &["? 3002 /"]);
    check(
        "level=info msg=listening port=3003\nserver up, port: 3004.\n",
        &["? 3003 /", "? 3004 /"],
    );
    check(
        "listening on :::3005\nlistening on *:3006\nopen localhost:3007/app\n",
        &["? 3005 /", "? 3006 /", "? 3007 /app"],
    );
}

#[test]
fn escapes_are_taken_out() {
    check(
        "\u{1b}]8;;http://localhost:1\u{7}http://localhost:3000/a\u{1b}]8;;\u{1b}\\\n",
        &["http 3000 /a"],
    );
    check("\u{1b}]0;http://localhost:2\u{7}'http://localhost:3000'\u{1b}[2K", &["http 3000 /"]);
    check("listening\u{1b}[5Con\u{1b}[20Gport\u{1b}[1C3000\n", &["? 3000 /"]);
    check("port\u{1b}[10;1H3000 listening on port\n3000\n", &[]);
}

#[test]
fn debuggers() {
    check("Debugger listening on ws://127.0.0.1:9229/0f2c936f-b1cd\n", &["debugger 9229"]);
    check("Listening for transport dt_socket at address: 5005\n", &["debugger 5005"]);
    check("DEBUGGER: Debugger can attach via TCP/IP (127.0.0.1:12345)\n", &["debugger 12345"]);
}

#[test]
fn what_is_none() {
    for text in [
        "http://example.com:80/",
        "http://localhost/",
        "http://localhost:0/",
        "http://localhost:70000/",
        "ftp://localhost:21/",
        "http://localhost.evil:3000/",
        "Error: listen EADDRINUSE: address already in use",
        "Port 3000 is in use",
        "src/main.rs:10:5 error",
        "docker run -p localhost:3000:3000",
        "at 10:30 the 8080 people left port",
        "pid=3000 :8080",
    ] {
        check(&format!("{text}\n"), &[]);
    }
    check(&format!("http://localhost:3000/{}\n", "a".repeat(600)), &[]);
    check(&format!("{}listening on port 3000\n", "a ".repeat(100)), &[]);
}

#[test]
fn memory_is_bounded() {
    let mut detector = Detector::default();
    detector.feed(&[b'x'; 100_000]);
    assert!(detector.word.len() <= MAX_WORD);
}

proptest! {
    #[test]
    fn pieces_change_nothing(bytes in vec(prop_oneof![any::<u8>(), Just(b'h'), Just(0x1b), Just(b':'), Just(b' ')], 0..300), at in 0_usize..300) {
        let (first, rest) = bytes.split_at(at.min(bytes.len()));
        let whole = Detector::default().feed(&bytes);
        let mut detector = Detector::default();
        let mut pieces = detector.feed(first);
        pieces.extend(detector.feed(rest));
        prop_assert_eq!(whole, pieces);
    }
}
