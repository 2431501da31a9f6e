//! Netlink, as much of it as the fence needs: messages put together, sent, and acknowledged.
//!
//! Owns the kernel's framing (netlink(7)) and one exchange. Refuses to know what a message asks for.

use std::{io, time::Duration};

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

/// A request.
const REQUEST: u16 = 0x1;
/// It is to be acknowledged.
const ACKNOWLEDGED: u16 = 0x4;
/// What is there already is an error.
pub const EXCLUSIVE: u16 = 0x200;
/// What is there already is replaced.
pub const REPLACE: u16 = 0x100;
/// What is not there is made.
pub const CREATE: u16 = 0x400;
/// It comes after what is there.
pub const APPEND: u16 = 0x800;

const NLMSG_ERROR: u16 = 2;
/// An attribute whose value is attributes.
const NESTED: u16 = 0x8000;
/// Bytes of a message's header.
const HEAD: usize = 16;
/// How long the kernel may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// A message that is put together.
#[derive(Debug)]
pub struct Message(Vec<u8>);

impl Message {
    /// Begins one of a kind, with its own fixed part behind the header.
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend([0; 4]);
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | REQUEST).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(fixed);
        Self(bytes)
    }

    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        put(&mut self.0, kind, |bytes| bytes.extend(value));
        self
    }

    /// An attribute that holds others.
    pub fn nested(mut self, kind: u16, inside: impl FnOnce(Nest<'_>) -> Nest<'_>) -> Self {
        put(&mut self.0, kind | NESTED, |bytes| {
            inside(Nest(bytes));
        });
        self
    }

    /// Asks for an answer in the good case too.
    pub fn acknowledged(mut self) -> Self {
        self.0[6] |= ACKNOWLEDGED.to_ne_bytes()[0];
        self.0[7] |= ACKNOWLEDGED.to_ne_bytes()[1];
        self
    }

    fn finished(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or_default();
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// The inside of an attribute.
pub struct Nest<'a>(&'a mut Vec<u8>);

impl Nest<'_> {
    /// A fixed part, before any attribute.
    pub fn fixed(self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub fn attribute(self, kind: u16, value: &[u8]) -> Self {
        put(self.0, kind, |bytes| bytes.extend(value));
        self
    }

    pub fn nested(self, kind: u16, inside: impl FnOnce(Nest<'_>) -> Nest<'_>) -> Self {
        put(self.0, kind | NESTED, |bytes| {
            inside(Nest(bytes));
        });
        self
    }
}

/// Appends an attribute: its length, its kind, its value, and zeroes up to the next four bytes.
fn put(bytes: &mut Vec<u8>, kind: u16, value: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend([0; 2]);
    bytes.extend(kind.to_ne_bytes());
    value(bytes);
    let length = u16::try_from(bytes.len() - start).unwrap_or_default();
    bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Sends messages as one and reads the kernel's first answer: what went wrong, or what the last one, which asks for it, is
/// told. A `protocol` of none is routing's.
pub fn ask(protocol: Option<Protocol>, messages: impl IntoIterator<Item = Message>) -> io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, protocol)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    let bytes: Vec<u8> = (1..).zip(messages).flat_map(|(at, message)| message.finished(at)).collect();
    send(&socket, &bytes, SendFlags::empty())?;
    let mut buffer = [0; 1024];
    let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
    answer(&buffer[..length.min(1024)])
}

/// Reads an acknowledgement: an error's number, negative, or zero.
fn answer(bytes: &[u8]) -> io::Result<()> {
    let kind = bytes.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
    let code = bytes
        .get(HEAD..HEAD + 4)
        .map(|code| i32::from_ne_bytes([code[0], code[1], code[2], code[3]]));
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
pub fn bytes_of(message: Message) -> Vec<u8> {
    message.finished(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_aligned_and_nested() {
        let message = Message::new(7, CREATE, &[9; 4])
            .attribute(1, b"abc\0d")
            .nested(2, |inside| inside.fixed(&[8; 4]).attribute(3, &[1]));
        let bytes = bytes_of(message);
        assert_eq!(bytes.len(), 16 + 4 + 12 + 4 + 4 + 8);
        assert_eq!(bytes[..4], 48_u32.to_ne_bytes());
        assert_eq!(bytes[4..8], [7_u16.to_ne_bytes(), (CREATE | 1).to_ne_bytes()].concat());
        assert_eq!(
            bytes[20..32],
            [&9_u16.to_ne_bytes()[..], &1_u16.to_ne_bytes(), b"abc\0d\0\0\0"].concat()
        );
        assert_eq!(bytes[32..36], [16_u16.to_ne_bytes(), 0x8002_u16.to_ne_bytes()].concat());
        assert_eq!(bytes[36..], [8, 8, 8, 8, 5, 0, 3, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn what_the_kernel_answers() {
        let message = |kind: u16, code: i32| [&36_u32.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], &code.to_ne_bytes()].concat();
        assert!(answer(&message(2, 0)).is_ok());
        assert_eq!(answer(&message(2, -1)).expect_err("refused").raw_os_error(), Some(1));
        assert!(answer(&message(3, 0)).is_err());
        assert!(answer(&[]).is_err());
    }
}
