//! Framed CBOR messages over a Unix stream socket, with file descriptors beside them.
//!
//! A frame is its payload's length (u32, little-endian) and the payload. Both ends are processes of one node; still a length is checked
//! before anything is allocated, and the side that reads never waits for the rest of a frame unless asked to. Used by the
//! worker's loop and by the agent's end of the socket; knows no message.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use thiserror::Error;

/// Largest payload: the score of the longest track under the densest bundle ([`bundle::TRACK_WINDOWS_MAX`] windows of 20 bytes)
/// with picture and embedding, and a fifth more.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Descriptors that one frame carries at most: a ring and its two eventfds.
pub const FDS_MAX: usize = 3;
/// Bytes asked of the socket at once.
const READ_BYTES: usize = 64 * 1024;

/// Why a socket is of no more use.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The socket itself failed.
    #[error("the socket failed")]
    Socket(#[from] io::Error),
    /// A length above [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes is longer than {FRAME_BYTES_MAX}")]
    TooLong(usize),
    /// The payload is no message of this protocol.
    #[error("a frame of {0} bytes holds no message of this protocol")]
    Message(usize, #[source] minicbor::decode::Error),
    /// The other side closed within a frame.
    #[error("the socket closed within a frame")]
    Torn,
    /// A message came without the descriptors that belong to it.
    #[error("{found} descriptors came where {wanted} belong")]
    Descriptors {
        /// How many the message needs.
        wanted: usize,
        /// How many were there.
        found: usize,
    },
}

/// What reading gave.
#[derive(Debug, PartialEq)]
pub enum Received<M> {
    /// A whole message.
    Message(M),
    /// No whole message is there yet.
    Nothing,
    /// The other side closed after its last frame.
    Closed,
}

/// The reading half of a socket.
#[derive(Debug)]
pub struct FrameReader<S> {
    socket: S,
    bytes: VecDeque<u8>,
    fds: VecDeque<OwnedFd>,
    closed: bool,
}

impl<S: AsFd> FrameReader<S> {
    /// Reads frames from `socket`.
    pub fn new(socket: S) -> Self {
        Self {
            socket,
            bytes: VecDeque::new(),
            fds: VecDeque::new(),
            closed: false,
        }
    }

    /// The socket, for polling.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The next message, if it is there; never waits.
    ///
    /// # Errors
    /// See [`FrameError`]; the socket is of no use afterwards.
    pub fn try_read<M: for<'b> minicbor::Decode<'b, ()>>(
        &mut self,
    ) -> Result<Received<M>, FrameError> {
        loop {
            if let Some(message) = self.take_frame()? {
                return Ok(Received::Message(message));
            }
            match self.fill(RecvFlags::DONTWAIT) {
                Ok(()) if self.closed => return self.at_end(),
                Ok(()) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(Received::Nothing),
                Err(errno) => return Err(FrameError::Socket(errno.into())),
            }
        }
    }

    /// The next message, waiting for it; `None` once the other side has closed.
    ///
    /// # Errors
    /// See [`FrameError`]; the socket is of no use afterwards.
    pub fn read<M: for<'b> minicbor::Decode<'b, ()>>(&mut self) -> Result<Option<M>, FrameError> {
        loop {
            if let Some(message) = self.take_frame()? {
                return Ok(Some(message));
            }
            self.fill(RecvFlags::empty())
                .map_err(|errno| FrameError::Socket(errno.into()))?;
            if self.closed {
                self.at_end::<M>()?;
                return Ok(None);
            }
        }
    }

    /// The descriptors that came with the last message.
    ///
    /// # Errors
    /// [`FrameError::Descriptors`] if fewer than `N` came.
    pub fn take_fds<const N: usize>(&mut self) -> Result<[OwnedFd; N], FrameError> {
        let found = self.fds.len();
        let taken: Vec<OwnedFd> = self.fds.drain(..N.min(found)).collect();
        taken
            .try_into()
            .map_err(|_| FrameError::Descriptors { wanted: N, found })
    }

    fn at_end<M>(&self) -> Result<Received<M>, FrameError> {
        if self.bytes.is_empty() {
            Ok(Received::Closed)
        } else {
            Err(FrameError::Torn)
        }
    }

    fn take_frame<M: for<'b> minicbor::Decode<'b, ()>>(&mut self) -> Result<Option<M>, FrameError> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        if self.bytes.len() < 4 + length {
            return Ok(None);
        }
        self.bytes.drain(..4);
        let payload: Vec<u8> = self.bytes.drain(..length).collect();
        minicbor::decode(&payload)
            .map(Some)
            .map_err(|error| FrameError::Message(length, error))
    }

    /// Length of the frame at the front, once its four bytes are there.
    fn length(&self) -> Result<Option<usize>, FrameError> {
        let mut head = [0; 4];
        if self.bytes.len() < head.len() {
            return Ok(None);
        }
        for (to, from) in head.iter_mut().zip(&self.bytes) {
            *to = *from;
        }
        let length = u32::from_le_bytes(head) as usize;
        if length > FRAME_BYTES_MAX {
            Err(FrameError::TooLong(length))
        } else {
            Ok(Some(length))
        }
    }

    fn fill(&mut self, flags: RecvFlags) -> Result<(), rustix::io::Errno> {
        let mut buffer = [0; READ_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received =
            rustix::io::retry_on_intr(|| recvmsg(&self.socket, &mut parts, &mut control, flags))?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        self.closed = received.bytes == 0;
        self.bytes.extend(&buffer[..received.bytes]);
        Ok(())
    }
}

/// Writes one message, and `fds` beside it, waiting until the socket has taken all of it.
///
/// # Errors
/// [`FrameError::TooLong`] for a message above [`FRAME_BYTES_MAX`]; else the socket's error.
pub fn write<M: minicbor::Encode<()>>(
    socket: impl AsFd,
    message: &M,
    fds: &[BorrowedFd<'_>],
) -> Result<(), FrameError> {
    let mut frame = vec![0; 4];
    minicbor::encode(message, &mut frame).expect("a vector takes what is written");
    let length = frame.len() - 4;
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    let head = u32::try_from(length).expect("checked against the bound");
    frame[..4].copy_from_slice(&head.to_le_bytes());
    send_all(socket.as_fd(), &frame, fds).map_err(|errno| FrameError::Socket(errno.into()))
}

fn send_all(
    socket: BorrowedFd<'_>,
    mut bytes: &[u8],
    mut fds: &[BorrowedFd<'_>],
) -> Result<(), rustix::io::Errno> {
    while !bytes.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            let taken = control.push(SendAncillaryMessage::ScmRights(fds));
            assert!(taken, "a frame carries at most {FDS_MAX} descriptors");
        }
        let parts = [IoSlice::new(bytes)];
        let sent = rustix::io::retry_on_intr(|| {
            sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL)
        })?;
        bytes = &bytes[sent..];
        fds = &[];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    fn pair() -> (UnixStream, FrameReader<UnixStream>) {
        let (here, there) = UnixStream::pair().unwrap();
        (here, FrameReader::new(there))
    }

    #[test]
    fn messages_arrive_whole_and_in_order_with_their_descriptors() {
        let (here, mut there) = pair();
        let file = tempfile::tempfile().unwrap();
        write(&here, &"first", &[]).unwrap();
        write(
            &here,
            &"second",
            &[file.as_fd(), file.as_fd(), file.as_fd()],
        )
        .unwrap();
        assert_eq!(there.read::<String>().unwrap().unwrap(), "first");
        assert_eq!(there.read::<String>().unwrap().unwrap(), "second");
        assert_eq!(there.take_fds::<3>().unwrap().len(), 3);
        assert!(matches!(
            there.take_fds::<1>(),
            Err(FrameError::Descriptors {
                wanted: 1,
                found: 0
            })
        ));
    }

    #[test]
    fn half_a_frame_is_nothing_until_the_rest_comes() {
        let (mut here, mut there) = pair();
        here.write_all(&[2, 0, 0, 0, 0x61]).unwrap();
        assert_eq!(there.try_read::<String>().unwrap(), Received::Nothing);
        here.write_all(b"x").unwrap();
        assert_eq!(
            there.try_read::<String>().unwrap(),
            Received::Message("x".to_owned())
        );
    }

    #[test]
    fn a_close_between_frames_is_an_end_and_within_one_an_error() {
        let (here, mut there) = pair();
        drop(here);
        assert_eq!(there.try_read::<String>().unwrap(), Received::Closed);
        let (mut here, mut there) = pair();
        here.write_all(&[9, 0, 0, 0, 1]).unwrap();
        drop(here);
        assert!(matches!(there.read::<String>(), Err(FrameError::Torn)));
    }

    #[test]
    fn a_length_above_the_bound_is_refused_before_anything_is_allocated() {
        let (mut here, mut there) = pair();
        here.write_all(&[0xff; 4]).unwrap();
        assert!(matches!(
            there.try_read::<String>(),
            Err(FrameError::TooLong(0xffff_ffff))
        ));
        let long = "x".repeat(FRAME_BYTES_MAX);
        assert!(matches!(
            write(&here, &long, &[]),
            Err(FrameError::TooLong(_))
        ));
    }

    #[test]
    fn a_payload_of_another_kind_is_refused() {
        let (here, mut there) = pair();
        write(&here, &7u8, &[]).unwrap();
        assert!(matches!(
            there.read::<String>(),
            Err(FrameError::Message(1, _))
        ));
    }
}
