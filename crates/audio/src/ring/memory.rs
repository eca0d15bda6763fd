//! The ring's memory and file descriptors: creation, seals, mapping, and where each shared word lies.
//!
//! Called by the agent (create, clone, observe) and by both ends (map). It never interprets the positions.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// The smallest ring, in samples: below one page of samples, wake-ups cost more than the copy.
pub const SAMPLES_MIN: usize = 1 << 12;
/// The largest ring, in samples (64 MiB): a node with 64 decoders must still fit its rings in memory.
pub const SAMPLES_MAX: usize = 1 << 24;
/// A good size, in samples (4 MiB): 24 seconds of mono at 44.1 kHz decoded ahead. Of a ring of 1 MiB decoder and worker on one core
/// take turns so often that both run a tenth slower; 16 MiB no longer fit the cache that cores share (`bench/path.py`).
pub const SAMPLES_DEFAULT: usize = 1 << 20;

/// One page for the shared words, so that the samples behind it are page aligned.
pub(super) const HEADER_BYTES: usize = 4096;

/// The words shared by both ends, each on a cache line of its own.
#[repr(C)]
pub(super) struct Header {
    /// Samples written since creation; stored by the writer.
    pub(super) head: Line,
    /// Samples read since creation; stored by the reader.
    pub(super) tail: Line,
    /// The head position at which the writer wakes the reader; [`ASLEEP_NEVER`] when nobody waits.
    pub(super) wake_reader_at: Line,
    /// The tail position at which the reader wakes the writer; [`ASLEEP_NEVER`] when nobody waits.
    pub(super) wake_writer_at: Line,
    /// The head position at which the last finished track ended; a hint, never trusted.
    pub(super) ended_at: Line,
}

/// A 64-bit word alone on its cache line.
#[repr(C, align(64))]
pub(super) struct Line(pub(super) AtomicU64);

/// The value of a wake position while nobody sleeps on it.
pub(super) const ASLEEP_NEVER: u64 = u64::MAX;

const _: () = assert!(size_of::<Header>() <= HEADER_BYTES);

/// Why a ring could not be made or attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The wanted capacity is not a power of two within the bounds.
    #[error("a ring of {0} samples is not a power of two between {SAMPLES_MIN} and {SAMPLES_MAX}")]
    Capacity(usize),
    /// The memory is not sealed against resizing, so a page could vanish under the reader.
    #[error("the ring's memory lacks the seals against shrinking and growing")]
    NotSealed,
    /// The memory has a size that no ring has.
    #[error("the ring's memory of {0} bytes is not a header and a power of two of samples")]
    Size(u64),
    /// The system refused one of the steps.
    #[error("cannot {step}")]
    System {
        /// What was attempted.
        step: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The three file descriptors of one ring. Each process that takes part holds a copy.
#[derive(Debug)]
pub struct RingFds {
    /// The sealed memory.
    pub memory: OwnedFd,
    /// Signalled by the writer when the reader waits for samples.
    pub data: OwnedFd,
    /// Signalled by the reader when the writer waits for space.
    pub space: OwnedFd,
}

impl RingFds {
    /// Makes a ring for `samples` values (a power of two), its memory reserved and sealed against any resizing.
    ///
    /// # Errors
    /// [`RingError::Capacity`] for a bad size; [`RingError::System`] when memory or descriptors run out.
    pub fn create(samples: usize) -> Result<Self, RingError> {
        if !samples.is_power_of_two() || !(SAMPLES_MIN..=SAMPLES_MAX).contains(&samples) {
            return Err(RingError::Capacity(samples));
        }
        Ok(Self {
            memory: sealed_memory(HEADER_BYTES + samples * size_of::<f32>())?,
            data: event("create the ring's data eventfd")?,
            space: event("create the ring's space eventfd")?,
        })
    }

    /// Copies the three descriptors, for a child or for sending them to the worker.
    ///
    /// # Errors
    /// [`RingError::System`] when descriptors run out.
    pub fn try_clone(&self) -> Result<Self, RingError> {
        let copy = |fd: &OwnedFd| {
            fd.try_clone()
                .map_err(|source| system("copy a ring's descriptor", source))
        };
        Ok(Self {
            memory: copy(&self.memory)?,
            data: copy(&self.data)?,
            space: copy(&self.space)?,
        })
    }

    /// The descriptors in the order in which they are inherited and sent: memory, data, space.
    #[must_use]
    pub fn as_fds(&self) -> [BorrowedFd<'_>; 3] {
        [self.memory.as_fd(), self.data.as_fd(), self.space.as_fd()]
    }
}

impl From<[OwnedFd; 3]> for RingFds {
    /// Takes descriptors in the order of [`RingFds::as_fds`].
    fn from([memory, data, space]: [OwnedFd; 3]) -> Self {
        Self {
            memory,
            data,
            space,
        }
    }
}

fn sealed_memory(bytes: usize) -> Result<OwnedFd, RingError> {
    let fd = rustix::fs::memfd_create(
        "trackscan-ring",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
    )
    .map_err(|e| system("create the ring's memory", e.into()))?;
    // Reserved now, so that a full machine answers here and not with a SIGBUS at the first touch.
    rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, bytes as u64)
        .map_err(|e| system("reserve the ring's memory", e.into()))?;
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
        .map_err(|e| system("seal the ring's memory", e.into()))?;
    let map = Mapping::of(&fd)?;
    for word in [&map.header().wake_reader_at, &map.header().wake_writer_at] {
        word.0
            .store(ASLEEP_NEVER, std::sync::atomic::Ordering::Relaxed);
    }
    Ok(fd)
}

fn event(step: &'static str) -> Result<OwnedFd, RingError> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| system(step, e.into()))
}

fn system(step: &'static str, source: io::Error) -> RingError {
    RingError::System { step, source }
}

/// A ring's memory in this process, unmapped when dropped.
pub(super) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping is plain memory owned by this value; all shared words are atomics.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps a ring's memory after checking its seals and its size.
    pub(super) fn of(fd: &OwnedFd) -> Result<Self, RingError> {
        let seals = rustix::fs::fcntl_get_seals(fd)
            .map_err(|e| system("read the ring's seals", e.into()))?;
        if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(RingError::NotSealed);
        }
        let size = rustix::fs::fstat(fd)
            .map_err(|e| system("read the ring's size", e.into()))?
            .st_size as u64;
        let bytes = checked_size(size).ok_or(RingError::Size(size))?;
        let flags = MapFlags::SHARED;
        // SAFETY: a fresh shared mapping at an address of the kernel's choice; the seals keep every page in place.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
                fd,
                0,
            )
        }
        .map_err(|e| system("map the ring's memory", e.into()))?;
        let base = NonNull::new(base.cast())
            .ok_or_else(|| system("map the ring's memory", io::ErrorKind::Other.into()))?;
        Ok(Self { base, bytes })
    }

    /// How many samples the ring holds; a power of two.
    pub(super) fn capacity(&self) -> usize {
        (self.bytes - HEADER_BYTES) / size_of::<f32>()
    }

    /// The shared words.
    pub(super) fn header(&self) -> &Header {
        // SAFETY: the mapping is page aligned, at least a header long, lives as long as `self`, and holds only atomics.
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    /// The address of the sample at `index`, which must be below the capacity.
    pub(super) fn sample(&self, index: usize) -> NonNull<f32> {
        assert!(index < self.capacity(), "a sample's index lies in the ring");
        // SAFETY: the index was checked against the mapped size.
        unsafe { self.base.add(HEADER_BYTES).cast::<f32>().add(index) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `of` mapped; nothing borrowed from it outlives `self`.
        let _unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// The size in bytes when it is that of a ring.
fn checked_size(size: u64) -> Option<usize> {
    let bytes = usize::try_from(size).ok()?;
    let samples = bytes.checked_sub(HEADER_BYTES)? / size_of::<f32>();
    let exact = HEADER_BYTES + samples * size_of::<f32>() == bytes;
    (exact && samples.is_power_of_two() && (SAMPLES_MIN..=SAMPLES_MAX).contains(&samples))
        .then_some(bytes)
}

/// Adds one to an eventfd. A full counter already wakes its poller, so that refusal is success.
pub(super) fn signal(fd: &OwnedFd) {
    let _full_is_fine = rustix::io::write(fd, &1u64.to_ne_bytes());
}

/// Takes an eventfd back to zero; nothing to take is fine.
pub(super) fn clear(fd: &OwnedFd) {
    let _empty_is_fine = rustix::io::read(fd, &mut [0u8; 8]);
}
