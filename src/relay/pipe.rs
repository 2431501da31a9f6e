//! Pipes through which bytes go from socket to socket without being copied into this process (splice(2)).
//!
//! Owns the rule that keeps codespaces apart in here: a pipe is used again only if everything that went in came out.

use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// How much a pipe shall hold. Every user of a machine may have 64 MiB of pipes (pipe(7)), which is [`MOST`] of these.
const BYTES: usize = 256 * 1024;
/// Most pipes at once: stalled readers hold theirs, each two descriptors.
const MOST: usize = 256;
/// Most empty pipes that a thread keeps.
const KEPT: usize = 8;

static OPEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static EMPTY: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A pipe with what is in it.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
    /// Something failed half-way: what is in it is not known for sure.
    spoiled: bool,
}

impl Pipe {
    /// Takes an empty pipe; none if there are too many, or no descriptors for another.
    pub(super) fn take() -> Option<Self> {
        let kept = EMPTY.try_with(|empty| empty.borrow_mut().pop()).ok().flatten();
        kept.or_else(Self::open)
    }

    /// Gives the pipe back; closes it unless it is empty.
    pub(super) fn give_back(self) {
        if self.held > 0 || self.spoiled {
            return;
        }
        // While the thread ends there is nowhere to keep it.
        let _ = EMPTY.try_with(|empty| {
            let mut empty = empty.borrow_mut();
            if empty.len() < KEPT {
                empty.push(self);
            }
        });
    }

    /// How many bytes are in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Moves what a socket has into the empty pipe; 0 at the socket's end. Never waits.
    pub fn fill(&mut self, socket: impl AsFd) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0, "a full pipe would look like a socket without bytes");
        let moved = self.done(splice(socket, None, &self.writer, None, BYTES, SpliceFlags::NONBLOCK))?;
        self.held += moved;
        Ok(moved)
    }

    /// Moves what the pipe holds into a socket, as much as that takes. Never waits.
    pub fn drain(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let moved = self.done(splice(&self.reader, None, socket, None, self.held, SpliceFlags::NONBLOCK))?;
        self.held -= moved.min(self.held);
        Ok(moved)
    }

    fn open() -> Option<Self> {
        if OPEN.fetch_add(1, Relaxed) >= MOST {
            OPEN.fetch_sub(1, Relaxed);
            return None;
        }
        let Ok((reader, writer)) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) else {
            OPEN.fetch_sub(1, Relaxed);
            return None;
        };
        // A smaller one does, too.
        let _ = fcntl_setpipe_size(&writer, BYTES);
        Some(Self {
            reader,
            writer,
            held: 0,
            spoiled: false,
        })
    }

    /// Neither of these moved a byte; any other error says nothing about that.
    fn done(&mut self, spliced: rustix::io::Result<usize>) -> io::Result<usize> {
        use rustix::io::Errno;
        spliced.map_err(|error| {
            self.spoiled |= !matches!(error, Errno::AGAIN | Errno::INTR);
            error.into()
        })
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::{fd::AsRawFd as _, unix::net::UnixStream},
    };

    use super::*;

    /// Names a pipe as long as it is open.
    fn name(pipe: &Pipe) -> i32 {
        pipe.reader.as_raw_fd()
    }

    #[test]
    fn only_empty_pipes_are_used_again() {
        let (mut near, from) = UnixStream::pair().expect("a pair");
        let (to, mut far) = UnixStream::pair().expect("a pair");
        near.write_all(b"secret").expect("it is open");
        let mut pipe = Pipe::take().expect("there are descriptors");
        assert_eq!((pipe.fill(&from).expect("filled"), pipe.held()), (6, 6));
        pipe.give_back();
        EMPTY.with_borrow(|empty| assert!(empty.is_empty(), "a secret is in it"));

        near.write_all(b"public").expect("it is open");
        let mut pipe = Pipe::take().expect("there are descriptors");
        pipe.fill(&from).expect("filled");
        assert_eq!((pipe.drain(&to).expect("drained"), pipe.held()), (6, 0));
        let mut got = [0; 6];
        far.read_exact(&mut got).expect("it is open");
        assert_eq!(&got, b"public");
        let first = name(&pipe);
        pipe.give_back();
        let again = Pipe::take().expect("it is there");
        assert_eq!(name(&again), first);
    }

    #[test]
    fn a_pipe_whose_socket_broke_is_closed() {
        let (mut near, from) = UnixStream::pair().expect("a pair");
        let (to, far) = UnixStream::pair().expect("a pair");
        drop(far);
        near.write_all(b"x").expect("it is open");
        let mut pipe = Pipe::take().expect("there are descriptors");
        pipe.fill(&from).expect("filled");
        pipe.drain(&to).expect_err("nobody reads");
        assert!(pipe.spoiled);
        // Whatever its count says.
        pipe.held = 0;
        pipe.give_back();
        EMPTY.with_borrow(|empty| assert!(empty.is_empty()));
    }

    #[test]
    fn an_end_and_silence_are_told_apart() {
        let (near, from) = UnixStream::pair().expect("a pair");
        let mut pipe = Pipe::take().expect("there are descriptors");
        let silent = pipe.fill(&from).expect_err("nothing was said");
        assert_eq!(silent.kind(), io::ErrorKind::WouldBlock);
        drop(near);
        assert_eq!(pipe.fill(&from).expect("the end"), 0);
        assert!(!pipe.spoiled);
    }
}
