//! A fuzz target: whatever frames an agent sends on its control connection, in whatever pieces, are understood alike, kept
//! within bounds, and speak for nobody else (`fuzz/README.md`).

use std::mem::{Discriminant, discriminant};

use super::*;
use crate::{
    fuzz_driver as driver,
    relay::tests::{Pieces, pieces},
};

/// Most bytes that are kept of a message as it would be written: a report of so many ports with all their texts.
const MOST_KEPT: usize = 2 * 1024 * 1024;

/// What is understood of such pieces, in order, and with which code the connection ends.
async fn said(pieces: &[&[u8]]) -> (Vec<Option<FromAgent>>, u16) {
    let stream = tokio::io::join(Pieces::of(pieces), tokio::io::sink());
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(bounds())).await;
    let codespace = "amber-x".parse().expect("a name");
    let mut said = Vec::new();
    loop {
        let message = match socket.next().await {
            Some(message) => message.map_err(Over::from),
            None => Err(Over::Closed),
        };
        match message.and_then(|message| understood(message, &codespace, Generation(3))) {
            Ok(message) => said.push(message),
            Err(over) => return (said, over.code()),
        }
    }
}

async fn check(input: &[u8]) -> (Vec<Option<Discriminant<FromAgent>>>, u16) {
    let (whole, code) = said(&[input]).await;
    assert_eq!(said(&pieces(input, 0)).await, (whole.clone(), code), "pieces change nothing");
    for message in whole.iter().flatten() {
        assert!(!matches!(message, FromAgent::Hello { .. } | FromAgent::Pong), "{message:?}");
        let written = serde_json::to_string(message).expect("it is JSON");
        assert!(written.len() <= MOST_KEPT);
        assert!(
            !claims::are_foreign(&written, &"amber-x".parse().expect("a name"), Generation(3)),
            "{written}"
        );
        assert_eq!(bound(message.clone()).as_ref(), Some(message), "bounds hold, and once is enough");
    }
    (whole.iter().take(3).map(|said| said.as_ref().map(discriminant)).collect(), code)
}

#[test]
fn agt_8_control_frames() {
    let words = [
        "\u{0}\u{0}\u{0}\u{0}",
        "\"type\":",
        "\"prepared\"",
        "\"codespace\":\"birch-x\",",
        "\"generation\":4,",
        "\"user\":\"bob\",",
        "{",
        "}",
        "[",
        "]",
        ",",
        "null",
        "65536",
        "-1",
        "1e9",
        "\\u0000",
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    driver::fuzz("control_frames", &words, |input| runtime.block_on(check(input)));
}
