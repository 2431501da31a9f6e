//! What ends sockets that are open, through a port and at the gateway itself (SESS-3): those of whoever lost access, and
//! nobody else's.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use serde_json::{Value, json};

use super::{
    gateway::{Gateway, PASSWORD, Person, gateway, run},
    lone::Lone,
    wire::{Call, Connection, Reply},
};

/// The ports of the apps here.
const ENDED: u16 = 28_467;
const DELETED: u16 = 28_469;
const MEMBERS: u16 = 28_470;

/// Something that is open and echoes.
enum Socket {
    /// Through a port.
    Port(Connection),
    /// A command that the gateway itself hands to an agent.
    Command(Connection),
}

impl Socket {
    fn port(connection: Connection, call: Call) -> Self {
        Self::Port(opened(connection, &call.socket()))
    }

    fn command(connection: Connection, call: Call) -> Self {
        let mut connection = opened(connection, &call.socket());
        connection.write(&frame(0x81, br#"{"command":["cat"]}"#));
        Self::Command(connection)
    }

    fn echoes(&mut self) {
        let word = b"still there";
        match self {
            Self::Port(connection) => {
                connection.write(word);
                connection.until(word);
            }
            Self::Command(connection) => {
                connection.write(&frame(0x82, &[b"\0", &word[..]].concat()));
                connection.until(word);
            }
        }
    }

    fn ends(self) {
        let (Self::Port(mut connection) | Self::Command(mut connection)) = self;
        connection.rest();
    }
}

fn opened(mut connection: Connection, call: &Call) -> Connection {
    let reply = connection.exchange(call);
    assert_eq!(reply.status(), 101, "{}", reply.text);
    connection
}

/// A client's frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("it is short");
    assert!(length < 126);
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// The sockets that are open, by name.
#[derive(Default)]
struct Open(BTreeMap<&'static str, Socket>);

impl Open {
    fn add(&mut self, name: &'static str, mut socket: Socket) {
        eprintln!("{name} is opened");
        socket.echoes();
        self.0.insert(name, socket);
    }

    /// These end, and all others go on.
    fn lose(&mut self, names: &[&'static str]) {
        for name in names {
            eprintln!("{name} is to end");
            self.0.remove(*name).expect("it is open").ends();
        }
        for (name, socket) in &mut self.0 {
            eprintln!("{name} is to go on");
            socket.echoes();
        }
    }
}

fn api(gateway: &Gateway, who: &Person, method: &'static str, path: &str, body: &Value) -> Reply {
    let call = Call::new(method, gateway.host(), &format!("/api/v1/{path}")).json(body);
    let reply = call.field("Authorization", format!("Bearer {}", who.token)).send();
    assert!(matches!(reply.status(), 200..=204), "{method} {path}: {}", reply.text);
    reply
}

fn exec(host: String, prefix: &str, person: &Person) -> Call {
    Call::get(host, &format!("{prefix}/api/v1/codespaces/{}/exec", person.codespace))
}

fn by_token(gateway: &Gateway, person: &Person) -> Socket {
    let call = exec(gateway.host(), "", person);
    Socket::command(Connection::open(), call.field("Authorization", format!("Bearer {}", person.token)))
}

fn through(host: &str, token: Option<&str>) -> Socket {
    let call = Call::get(host.to_owned(), "/socket");
    Socket::port(Connection::open(), token.into_iter().fold(call, Call::token))
}

#[test]
fn sess_3_a_socket_ends_with_what_let_it_in_and_no_other_does() {
    let gateway = gateway();
    let (cyd, dee) = (gateway.newcomer("cyd"), gateway.newcomer("dee"));
    gateway.leave_app(&cyd, ENDED, "CYD");
    let mut dees_app = gateway.serve_app(&dee, DELETED, "DEE");
    let (host, dees) = (gateway.port(&cyd, ENDED), gateway.port(&dee, DELETED));
    let set = |what: Value| {
        api(
            gateway,
            &cyd,
            "PATCH",
            &format!("codespaces/{}/ports/{ENDED}", cyd.codespace),
            &what,
        )
    };
    let mut open = Open::default();

    // Her own by token and by session, through the port, at the editor's host and at the gateway's; others' on both.
    let session = gateway.session("cyd");
    let editor = gateway.editor_cookie(&session, &cyd);
    let cookie = gateway.port_cookie(&editor, &cyd, ENDED);
    set(json!({ "visibility": "public", "users": ["bob"] }));
    let of_session = Call::get(host.clone(), "/socket").cookie(&cookie);
    let at_editor = exec(gateway.editor(&cyd), "/.portico", &cyd).cookie(&editor);
    let at_gateway = exec(gateway.host(), "", &cyd).cookie(&session);
    let origin = |call: Call, host: &str| call.field("Origin", format!("http://{host}"));
    open.add("port by session", Socket::port(Connection::open(), origin(of_session, &host)));
    open.add(
        "editor by session",
        Socket::command(Connection::open(), origin(at_editor, &gateway.editor(&cyd))),
    );
    open.add(
        "gateway by session",
        Socket::command(Connection::open(), origin(at_gateway, &gateway.host())),
    );
    open.add("port by token", through(&host, Some(&cyd.token)));
    open.add("gateway by token", by_token(gateway, &cyd));
    open.add("port by name", through(&host, Some(&gateway.bob.token)));
    open.add("port by anybody", through(&host, None));
    open.add("another's gateway", by_token(gateway, &gateway.bob));
    open.add("another's port", through(&dees, Some(&dee.token)));
    open.add("another's command", by_token(gateway, &dee));

    set(json!({ "visibility": "private" }));
    open.lose(&["port by anybody"]);
    set(json!({ "users": [] }));
    open.lose(&["port by name"]);
    let out = Call::post(gateway.host(), "/api/v1/sign-out").json(&json!({})).cookie(&session);
    assert_eq!(origin(out, &gateway.host()).send().status(), 204);
    open.lose(&["port by session", "editor by session", "gateway by session"]);

    // What she shared ends with her account, though her app goes on.
    set(json!({ "visibility": "public", "users": ["bob"] }));
    open.add("port by name", through(&host, Some(&gateway.bob.token)));
    open.add("port by anybody", through(&host, None));
    api(gateway, &gateway.ada, "POST", "users/cyd/suspend", &json!({}));
    open.lose(&["port by token", "gateway by token", "port by name", "port by anybody"]);
    let own = Call::get(host.clone(), "/").token(&cyd.token);
    assert_eq!(own.send().status(), 401);
    let app = SocketAddr::from((Ipv4Addr::LOCALHOST, ENDED));
    assert_eq!(Call::get(host.clone(), "/").at(app).send().stamps("CYD"), 1);
    // Resumed, she comes in as before.
    api(gateway, &gateway.ada, "POST", "users/cyd/resume", &json!({}));
    assert_eq!(own.send().stamps("CYD"), 1);
    open.add("port by token", through(&host, Some(&cyd.token)));
    open.add("gateway by token", by_token(gateway, &cyd));

    let path = format!("codespaces/{}", dee.codespace);
    api(gateway, &dee, "DELETE", &format!("{path}?force=true"), &json!({}));
    open.lose(&["another's port", "another's command"]);
    open.lose(&[]);
    drop(dees_app.kill());
    drop(dees_app.wait());
}

/// Signs somebody in as the proxy does that knows everybody's groups.
fn signs_in(gateway: &Lone, name: &str, group: &str) {
    let call = Call::post(gateway.host(), "/api/v1/sign-in/header").json(&json!({}));
    let call = call.field("Origin", format!("http://{}", gateway.host()));
    let call = call.fields(&[("X-Sso-User", name), ("X-Sso-Groups", group)]);
    let reply = call.at(gateway.address).send();
    assert_eq!(reply.status(), 204, "{}", reply.text);
}

#[test]
fn sess_3_a_membership_that_ends_ends_the_sockets_of_that_member() {
    let gateway = Lone::start(
        "http://portico.localhost",
        &[
            ("PORTICO_TRUSTED_HEADER_USER", "x-sso-user"),
            ("PORTICO_TRUSTED_HEADER_GROUPS", "x-sso-groups"),
            ("PORTICO_TRUSTED_HEADER_PROXIES", "127.0.0.1"),
            ("PORTICO_TRUSTED_HEADER_SIGN_UP", "true"),
        ],
    );
    run(
        gateway.data.path(),
        &["user", "create", "first", "--admin", "--password-stdin"],
        PASSWORD,
    );
    for name in ["ada", "bob", "cyd"] {
        signs_in(&gateway, name, "eng");
    }
    let mut ada = gateway.person("ada");
    let host = ada.serve_app(MEMBERS, "ADA");
    let path = format!("/api/v1/codespaces/{}/ports/{MEMBERS}", ada.person.codespace);
    let shared = Call::new("PATCH", gateway.host(), &path).json(&json!({ "visibility": "org" }));
    let shared = shared
        .field("Authorization", format!("Bearer {}", ada.person.token))
        .at(gateway.address);
    assert_eq!(shared.send().status(), 200);
    let tokens = ["bob", "cyd"].map(|name| gateway.token(name));
    let asks = |token: &str| Call::get(host.clone(), "/").token(token).at(gateway.address).send().status();
    let through = |token: &str| {
        let call = Call::get(host.clone(), "/socket").token(token);
        Socket::port(Connection::open_at(gateway.address), call)
    };
    let mut open = Open::default();
    open.add("the owner's", through(&ada.person.token));
    open.add("bob's", through(&tokens[0]));
    open.add("cyd's", through(&tokens[1]));

    signs_in(&gateway, "bob", "ops");
    open.lose(&["bob's"]);
    assert_eq!([asks(&tokens[0]), asks(&tokens[1])], [404, 200]);
    // The owner leaves, and with her whoever came as her colleague.
    signs_in(&gateway, "ada", "ops");
    open.lose(&["cyd's"]);
    open.add("bob's", through(&tokens[0]));
    // An account that is suspended is none of its organisation's.
    run(gateway.data.path(), &["user", "suspend", "bob"], "");
    open.lose(&["bob's"]);
}
