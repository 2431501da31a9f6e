//! Whether a program can run in this image at all: an image with another C library than the program's has no loader for it,
//! and the kernel then says only that there is no such file.

use std::{fs::File, io, io::Read as _, path::Path};

/// How much of a program is looked at: its header and the headers of its segments.
const LOOKED_AT: u64 = 4096;
const PT_INTERP: u32 = 3;
/// What helps.
pub const WHAT_TO_DO: &str = "Name an image with a current glibc (Debian, Ubuntu or Fedora, and what is made of them) in devcontainer.json; terminals, ports and files work in this one too";

/// An error in plain words where the loader that a program asks for is not there.
pub fn fits(program: &Path) -> io::Result<()> {
    let mut head = Vec::new();
    // What is not there or no program at all is told by whoever starts it.
    let read = File::open(program).and_then(|file| file.take(LOOKED_AT).read_to_end(&mut head));
    let loader = read.ok().and_then(|_| loader(&head));
    match loader {
        Some(loader) if !Path::new(&loader).exists() => Err(io::Error::other(format!(
            "this image has no C library that can run the editor: {loader} is not there. {WHAT_TO_DO}"
        ))),
        _ => Ok(()),
    }
}

/// Whether a program's last words say that the C library is an older one than it was built for.
pub fn is_too_old(said: &str) -> bool {
    ["version `GLIBC_", "version `GLIBCXX_", "version `CXXABI_"]
        .iter()
        .any(|start| said.contains(start))
        && said.contains("not found")
}

/// The loader of an ELF program for 64 bits, little endian (`elf(5)`).
fn loader(head: &[u8]) -> Option<String> {
    let number = |at: usize, length: usize| {
        let bytes = head.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let at = |offset: u64| usize::try_from(offset).ok();
    let (table, size, count) = (at(number(32, 8)?)?, at(number(54, 2)?)?, at(number(56, 2)?)?);
    let mut segments = (0..count.min(64)).map(|index| table.checked_add(index * size));
    let interpreter = segments.find_map(|segment| {
        let segment = segment?;
        (number(segment, 4)? == u64::from(PT_INTERP)).then_some((number(segment + 8, 8)?, number(segment + 32, 8)?))
    });
    let (offset, length) = interpreter?;
    let bytes = head.get(at(offset)?..at(offset)?.checked_add(at(length)?)?)?;
    Some(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_loader_is_told() {
        let shell = std::fs::read("/bin/sh").expect("there is a shell");
        let found = loader(&shell[..shell.len().min(4096)]).expect("it has a loader");
        assert!(Path::new(&found).exists() && fits("/bin/sh".as_ref()).is_ok());
        let directory = tempfile::tempdir().expect("a directory");
        let odd = directory.path().join("odd");
        let at = shell
            .windows(found.len())
            .position(|part| part == found.as_bytes())
            .expect("it is named");
        let mut bytes = shell.clone();
        bytes[at + 1] = b'X';
        std::fs::write(&odd, bytes).expect("written");
        let error = fits(&odd).expect_err("it cannot run").to_string();
        assert!(error.contains("no C library") && error.contains("/X"), "{error}");
        assert!(fits("/no/such/program".as_ref()).is_ok() && fits("/etc/passwd".as_ref()).is_ok());
        for length in 0..shell.len().min(200) {
            loader(&shell[..length]);
        }
        assert!(is_too_old("node: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.28' not found"));
        assert!(!is_too_old("GLIBC_2.28"));
    }
}
