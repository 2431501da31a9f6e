//! QR codes: an address for a phone's camera.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

/// Light modules around the code, as the standard asks for.
const QUIET: i32 = 4;

/// Draws a text as an SVG of its own, black on white, for scanners that know nothing of dark mode; none if it is too long.
pub fn svg(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let side = code.size() + 2 * QUIET;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            write!(path, "M{},{}h1v1h-1z", x + QUIET, y + QUIET).ok()?;
        }
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0,0h{side}v{side}h-{side}z\"/><path d=\"{path}\"/></svg>"
    ))
}

/// Draws a text in half blocks for a terminal, light on dark and dark on light alike; none if it is too long.
pub fn blocks(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let dark = |x: i32, y: i32| code.get_module(x, y);
    let mut drawn = String::new();
    for y in (-QUIET / 2..code.size() + QUIET / 2).step_by(2) {
        drawn.push_str("\x1b[30;107m");
        for x in -QUIET / 2..code.size() + QUIET / 2 {
            drawn.push(match (dark(x, y), dark(x, y + 1)) {
                (true, true) => '\u{2588}',
                (true, false) => '\u{2580}',
                (false, true) => '\u{2584}',
                (false, false) => ' ',
            });
        }
        drawn.push_str("\x1b[0m\n");
    }
    Some(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_hold_what_they_are_given_and_nothing_else() {
        let url = "https://amber-otter-3000.example.net/.portico/s/aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29";
        let drawn = svg(url).expect("a code");
        assert!(drawn.starts_with("<svg ") && !drawn.contains(url), "{drawn}");
        assert_eq!(svg(&"x".repeat(5000)), None);
        assert!(blocks(url).expect("a code").lines().count() > 20);
    }
}
