//! Names of container images, as registries and engines write them. Pure.

/// Longest name in bytes.
const MAX_NAME: usize = 255;

/// Whether a text is the name of an image and nothing besides: `[DOMAIN[:PORT]/]PATH[:TAG][@DIGEST]`. What passes is part
/// of an engine's addresses, so nothing that could end a path, or leave it, passes.
pub fn is_image_name(text: &str) -> bool {
    if text.len() > MAX_NAME {
        return false;
    }
    let (rest, digest) = split(text, text.find('@'));
    // A colon before a slash begins a port.
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = split(rest, rest[slash..].find(':').map(|at| at + slash));
    let path = match name.split_once('/') {
        Some((first, path)) if is_domain(first) => path,
        _ => name,
    };
    path.split('/').all(is_component) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest)
}

fn split(text: &str, at: Option<usize>) -> (&str, Option<&str>) {
    at.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])))
}

/// The first part of a name is a domain where it could be no part of a path on the default registry.
fn is_domain(first: &str) -> bool {
    let (host, port) = split(first, first.find(':'));
    let is_label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_port = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

/// Lower-case words, with one of `.`, `_`, `__` or some `-` between them.
fn is_component(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let between = |gap: &str| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|byte| byte == b'-');
    part.starts_with(is_word) && part.ends_with(is_word) && part.split(is_word).all(between)
}

fn is_tag(tag: &str) -> bool {
    let starts = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    starts && tag.len() <= 128 && tag.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn is_digest(digest: &str) -> bool {
    let is_hex = |digits: &str| digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match digest.split_once(':') {
        Some(("sha256", digits)) => digits.len() == 64 && is_hex(digits),
        Some(("sha512", digits)) => digits.len() == 128 && is_hex(digits),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_what_is_none() {
        let digest = "0".repeat(64);
        for name in [
            "debian",
            "debian:12",
            "mcr.microsoft.com/devcontainers/base:debian",
            "registry.example.com:5000/team/base",
            "localhost/x",
            "Registry.Example.com/x:V1.2-rc_3",
            "a__b/c--d/e.f_g",
            &format!("debian@sha256:{digest}"),
            &format!("debian:12@sha256:{digest}"),
        ] {
            assert!(is_image_name(name), "{name}");
        }
        for text in [
            "",
            "/debian",
            "debian/",
            "a//b",
            "../x",
            "a/../b",
            "a/..",
            "..",
            ".",
            "debian?all=1",
            "debian#x",
            "debian%2f",
            "Debian",
            "a/B",
            "debian:",
            "debian:-x",
            "debian:a/b",
            "debian:1:2",
            "debian@sha256:00",
            "debian@x",
            "a b",
            "a\nb",
            "a\\b",
            "a..b",
            "a___b",
            "-a",
            "$X",
            "é",
            "x:y:5000/a",
            "x.y:port/a",
            "https://x/a",
            &"a".repeat(256),
            &format!("a:{}", "b".repeat(129)),
        ] {
            assert!(!is_image_name(text), "{text:?}");
        }
    }
}
