//! Names for new codespaces: three words and four characters, such as `amber-quiet-otter-x7k2`.

mod words;

use rand::RngExt;

use self::words::{ADJECTIVES, ANIMALS, COLOURS};
use crate::domain::CodespaceName;

/// Letters that are not misread; digits stand between them, so they spell nothing.
const LETTERS: &[u8] = b"bcdfghjkmnpqrstvwxyz";
/// Digits that are not misread as letters.
const DIGITS: &[u8] = b"23456789";

/// Makes a name. Names are not secrets; the store says whether one was ever used.
pub fn fresh() -> CodespaceName {
    loop {
        if let Ok(name) = draw(&mut rand::rng()).parse() {
            return name;
        }
    }
}

/// Draws three words and a tail that holds letters, so that the name never reads as a port's (HOST-8).
fn draw(random: &mut impl RngExt) -> String {
    let words = [&COLOURS[..], &ADJECTIVES, &ANIMALS].map(|words| words[random.random_range(..words.len())]);
    let tail: String = [LETTERS, DIGITS, LETTERS, DIGITS]
        .map(|from| char::from(from[random.random_range(..from.len())]))
        .iter()
        .collect();
    format!("{}-{tail}", words.join("-"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn words_are_short_and_plain() {
        let all = [&COLOURS[..], &ADJECTIVES, &ANIMALS].concat();
        for word in &all {
            assert!(word.len() <= 7 && word.bytes().all(|byte| byte.is_ascii_lowercase()), "{word}");
        }
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "a word is there twice");
    }

    #[test]
    fn names_parse_and_differ() {
        for _ in 0..100 {
            let drawn = draw(&mut rand::rng());
            drawn.parse::<CodespaceName>().expect("a name");
            assert_eq!(drawn.split('-').count(), 4, "{drawn}");
        }
        assert_ne!(fresh(), fresh());
    }
}
