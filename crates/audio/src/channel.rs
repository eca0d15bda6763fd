//! The control socket with blocking calls: what the decoder uses, and any parent without a runtime. Knows no track.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use minicbor::{Decode, Encode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::protocol::{FrameError, frame, parse, payload_length};

/// One end of a control socket.
#[derive(Debug)]
pub struct Channel {
    socket: UnixStream,
    payload: Vec<u8>,
}

impl Channel {
    /// Speaks over `socket`, which must be blocking.
    #[must_use]
    pub fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            payload: Vec::new(),
        }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// [`FrameError::Socket`] when the other side is gone.
    pub fn send<M: Encode<()>>(&mut self, message: &M) -> Result<(), FrameError> {
        Ok(self.socket.write_all(&frame(message))?)
    }

    /// Sends one message and raw bytes behind it.
    ///
    /// # Errors
    /// [`FrameError::Socket`] when the other side is gone.
    pub fn send_with<M: Encode<()>>(
        &mut self,
        message: &M,
        bytes: &[u8],
    ) -> Result<(), FrameError> {
        self.send(message)?;
        Ok(self.socket.write_all(bytes)?)
    }

    /// Waits until [`Channel::receive`] has something to begin with, be it the other side's end. False where nothing came in time;
    /// it may also come early.
    ///
    /// # Errors
    /// [`FrameError::Socket`] when the system refuses to wait.
    pub fn await_word(&self, timeout: Duration) -> Result<bool, FrameError> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        match poll(&mut fds, Timespec::try_from(timeout).ok().as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(FrameError::Socket(error.into())),
        }
    }

    /// The next message; `None` once the other side has closed.
    ///
    /// # Errors
    /// See [`FrameError`]; the socket is of no use afterwards.
    pub fn receive<M: for<'b> Decode<'b, ()>>(&mut self) -> Result<Option<M>, FrameError> {
        let mut head = [0; 4];
        if !self.read_head(&mut head)? {
            return Ok(None);
        }
        self.payload.resize(payload_length(head)?, 0);
        self.socket.read_exact(&mut self.payload).map_err(torn)?;
        parse(&self.payload).map(Some)
    }

    /// The raw bytes behind the last message.
    ///
    /// # Errors
    /// [`FrameError::Torn`] when the other side closed before all of them had come.
    pub fn receive_bytes(&mut self, bytes: &mut [u8]) -> Result<(), FrameError> {
        self.socket.read_exact(bytes).map_err(torn)
    }

    /// False when the other side closed before the first byte.
    fn read_head(&mut self, head: &mut [u8; 4]) -> Result<bool, FrameError> {
        loop {
            match self.socket.read(&mut head[..1]) {
                Ok(0) => return Ok(false),
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        self.socket.read_exact(&mut head[1..]).map_err(torn)?;
        Ok(true)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn torn(error: std::io::Error) -> FrameError {
    if error.kind() == ErrorKind::UnexpectedEof {
        FrameError::Torn
    } else {
        error.into()
    }
}
