//! Names for new codespaces: three words and four characters, such as `amber-quiet-otter-x7k2`.

use crate::domain::CodespaceName;

/// Base32 without what is easily misread (RFC 4648's alphabet in lower case, less `l` and `o`, plus `8` and `9`).
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Makes a name. Names are not secrets; the store says whether one was ever used.
pub fn fresh() -> CodespaceName {
    loop {
        let words = petname::petname(3, "-").unwrap_or_else(|| "amber-quiet-otter".into());
        if let Ok(name) = format!("{words}-{}", tail(rand::random())).parse() {
            return name;
        }
    }
}

/// Four characters, of which at least one is a letter, so that the name never reads as a port's (HOST-8).
fn tail(mut random: u32) -> String {
    let mut text = String::with_capacity(4);
    for _ in 0..4 {
        text.push(char::from(ALPHABET[(random & 31) as usize]));
        random >>= 5;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.pop();
        text.push(char::from(ALPHABET[(random % 24) as usize]));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tails_hold_a_letter(random: u32) {
            let tail = tail(random);
            prop_assert_eq!(tail.len(), 4);
            prop_assert!(tail.bytes().any(|byte| byte.is_ascii_lowercase()));
        }
    }

    #[test]
    fn names_parse_and_differ() {
        assert_ne!(fresh(), fresh());
        assert_eq!(fresh().as_str().split('-').count(), 4);
    }
}
