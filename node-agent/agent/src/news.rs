//! What threads and tasks tell the shell. One bounded queue carries all of it; whoever tells waits for room, and the
//! shell never waits for whoever tells.

use std::sync::Arc;

use agent_core::{Death, DeviceNo, Event, GrantKey, PartNo, SlotNo, Unready};
use audio::protocol::Summary;
use engine::FromWorker;
use tokio::sync::mpsc;
use types::{Code, Digest, Problem, Provenance};

use crate::coordinator::Work;
use crate::fetch::Rows;
use crate::parts::Saved;
use crate::worker::Link;

/// News that wait at most: a few for each slot and device; more than that means that the shell is stuck.
const NEWS_MAX: usize = 1_024;

/// The telling end.
pub(crate) type Teller = mpsc::Sender<News>;

/// A queue for news.
pub(crate) fn queue() -> (Teller, mpsc::Receiver<News>) {
    mpsc::channel(NEWS_MAX)
}

/// Something that happened outside the shell.
#[derive(Debug)]
pub(crate) enum News {
    /// An event for the core as it is.
    Core(Event),
    /// The answer to a pull.
    Worked {
        /// The session that the pull named.
        session: types::Session,
        /// The pull's number.
        number: types::PullNo,
        /// The answer.
        answer: Result<Work, agent_core::CallError>,
    },
    /// A grant's rows of its list, and of its escalation part, were read, or not.
    Listed {
        /// The grant.
        grant: GrantKey,
        /// The rows.
        rows: Result<Rows, Unready>,
    },
    /// A bundle is on disk and verified, or not.
    Fetched {
        /// The device that wants it.
        device: DeviceNo,
        /// Its digest.
        bundle: Digest,
        /// The bundle.
        outcome: Result<Arc<bundle::Bundle>, Unready>,
    },
    /// A worker said something.
    Said {
        /// Its device.
        device: DeviceNo,
        /// Its life.
        life: u64,
        /// What.
        message: Box<FromWorker>,
    },
    /// A worker ended.
    Ended {
        /// Its device.
        device: DeviceNo,
        /// Its life.
        life: u64,
        /// How, as far as its status tells.
        death: Death,
    },
    /// A slot's decoder and ring are idle and known to the worker.
    SlotReady {
        /// The slot.
        slot: SlotNo,
        /// The worker's link.
        link: Arc<Link>,
    },
    /// The decoding of a track ended.
    Decoded {
        /// The try.
        token: u64,
        /// How.
        outcome: Box<Decoded>,
    },
    /// The whole object was hashed, or could not be.
    Hashed {
        /// The try.
        token: u64,
        /// The digest, or why the track ends without one.
        outcome: Result<Digest, Box<Decoded>>,
    },
    /// A part was made and put, or not.
    Part {
        /// The part.
        part: PartNo,
        /// The part as saved, with the code of why storage does not have it where it does not.
        outcome: Result<(Arc<Saved>, Result<(), Code>), Problem>,
    },
    /// The node cannot work at all.
    Fatal(Problem),
}

/// How the decoding of a track ended.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// All its samples went to the worker.
    Whole(Summary, Reading),
    /// It ends in a code.
    Failed(Refusal, Reading),
    /// Its source is out of reach at the moment.
    Unreachable,
    /// Its bytes cannot be had at the moment, others of its source can.
    Unreadable,
    /// The decoder died.
    Died {
        /// How.
        death: Death,
        /// What that means for the track.
        code: Code,
    },
}

/// Why a track has no score.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The row's code.
    pub(crate) code: Code,
    /// The particulars.
    pub(crate) detail: String,
    /// Tags that claim a provenance.
    pub(crate) provenance: Vec<Provenance>,
    /// Processor time of the decoder, microseconds.
    pub(crate) cpu_us: u64,
    /// SHA-256 of the object, where all of it was read before it was refused.
    pub(crate) sha256: Option<Digest>,
}

/// What reading a track's bytes came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// Length of the object; none where it could not be opened.
    pub(crate) bytes: Option<u64>,
    /// Bytes served to the decoder.
    pub(crate) served: u64,
    /// Time spent waiting for the source, microseconds.
    pub(crate) wait_us: u64,
    /// From the start of the track to the decoder's last word, microseconds.
    pub(crate) wall_us: u64,
    /// Of that, what the decoder says that it waited for room in its ring, microseconds.
    pub(crate) room_us: u64,
    /// From the decoder's last word to the worker's, that it has read the ring to its end, microseconds.
    pub(crate) drain_us: u64,
}
