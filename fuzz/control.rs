//! What an agent says: hostile code with a key to one codespace.

use std::mem::discriminant;

use portico::protocol::tunnel::{Endpoint, FromAgent, ToAgent};

use super::driver::fuzz;

/// What arrives in a link is fuzzed in `src/tunnel/tests.rs`; here is the grammar.
#[test]
fn control() {
    let words = [
        "\"type\":",
        "\"ports\"",
        "{",
        "}",
        "[",
        "]",
        "null",
        "65536",
        "-1",
        "1e9",
        "\\u0000",
        "\"codespace\":\"other-y\",",
        "\"id\":1,",
    ];
    fuzz("control", &words, |input| {
        if let Some(Ok(bytes)) = input.get(..4).map(<[u8; 4]>::try_from)
            && let Some(endpoint) = Endpoint::decode(bytes)
        {
            assert_eq!(endpoint.encode(), bytes, "one spelling");
        }
        if let Ok(said) = serde_json::from_slice::<ToAgent>(input) {
            let again = serde_json::to_vec(&said).expect("it is JSON");
            assert_eq!(serde_json::from_slice::<ToAgent>(&again).ok(), Some(said));
        }
        let Ok(said) = serde_json::from_slice::<FromAgent>(input) else {
            return None;
        };
        let again = serde_json::to_vec(&said).expect("it is JSON");
        assert_eq!(serde_json::from_slice::<FromAgent>(&again).ok().as_ref(), Some(&said));
        assert!(
            !String::from_utf8_lossy(&again).contains("\"codespace\":"),
            "it can name no codespace"
        );
        Some(discriminant(&said))
    });
}
