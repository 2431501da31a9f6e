//! Asking the gateway of this machine whether it is well, for containers and supervisors that have no HTTP client.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use crate::{edge::unchecked_tls_client, route::Origin};

/// How long each step of the question may take.
const STEP_TIME: Duration = Duration::from_secs(3);
/// How much of the answer is read; its first line decides.
const ANSWER_BYTES: u64 = 1024;

/// Asks for `/healthz` where the gateway listens, under the authority that it goes by.
///
/// # Errors
/// If nobody answers in time, or with anything but 200.
pub fn ask(listen: SocketAddr, gateway: &Origin, tls: bool) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(&reachable(listen), STEP_TIME)?;
    stream.set_read_timeout(Some(STEP_TIME))?;
    stream.set_write_timeout(Some(STEP_TIME))?;
    if !tls {
        return ask_over(stream, gateway);
    }
    // Whether the gateway answers, not who it is: its certificate is not looked at.
    let config = unchecked_tls_client().map_err(io::Error::other)?;
    let name = ServerName::try_from(gateway.host.clone()).map_err(io::Error::other)?;
    let client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    ask_over(StreamOwned::new(client, stream), gateway)
}

fn ask_over(mut stream: impl Read + Write, gateway: &Origin) -> io::Result<()> {
    let gateway = gateway.authority();
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {gateway}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    if answer.starts_with(b"HTTP/1.1 200 ") {
        return Ok(());
    }
    let line = String::from_utf8_lossy(&answer);
    Err(io::Error::other(format!(
        "it answered: {}",
        line.lines().next().unwrap_or_default()
    )))
}

/// The address to dial for one that is listened on: loopback in place of "every address".
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[track_caller]
    fn check(answer: &'static str, healthy: bool) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let mut asked = [0; 256];
            let length = stream.read(&mut asked).expect("a question");
            stream.write_all(answer.as_bytes()).expect("they listen");
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        let gateway = "https://portico.example.com".parse().expect("an origin");
        let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
        assert_eq!(ask(everywhere, &gateway, false).is_ok(), healthy, "{answer}");
        let asked = server.join().expect("the server ends");
        assert!(
            asked.starts_with("GET /healthz HTTP/1.1\r\nHost: portico.example.com\r\n"),
            "{asked}"
        );
    }

    #[test]
    fn only_200_is_healthy() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true);
        check("HTTP/1.1 503 Service Unavailable\r\n\r\n", false);
        check("", false);
    }
}
