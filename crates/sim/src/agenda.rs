//! What will happen, in the order of (time, number). Numbers are given as things are planned, so that two at one time keep
//! their order and a run has one history.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use agent_core::{DeviceNo, GrantKey, PartNo, SlotNo, Token};
use scheduler::{Answer, Caller, Request};
use store_model::LateId;
use types::{Digest, Millis, Problem, Stage};

use crate::depot::{DepotAsk, DepotBack};
use crate::faults::Relief;
use crate::shelf::{StoreAsk, StoreBack};

/// A process or service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Coordinator(usize),
    Agent(usize),
    Client,
    Store,
    Storage,
}

/// What goes over a link between processes.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Call {
        no: u64,
        caller: Caller,
        request: Box<Request>,
    },
    Reply {
        no: u64,
        answer: Box<Result<Answer, Problem>>,
    },
}

/// Something that a process waits for by itself.
#[derive(Clone, Debug)]
pub(crate) enum Timer {
    /// The core's deadline.
    Wake,
    /// A coordinator's leadership is to be tried or renewed.
    Lead,
    /// A coordinator looks for orphans.
    Sweep,
    /// A call, or a request to store or storage, has waited long enough.
    Overdue(u64),
    /// The process starts again.
    Start,
    /// A worker has loaded its bundle, or could not.
    Loaded(DeviceNo, u64, Digest),
    SlotReady(DeviceNo, u64, SlotNo),
    TrackEnded(Token),
    /// The whole machine goes down with a track.
    Killed(Token),
    Sung(DeviceNo, u64, Stage, u64),
    Prepared(GrantKey),
    /// A part is on disk, and is put from now on.
    PutPart(PartNo),
}

/// What is planned.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// A message arrives.
    Arrives {
        from: Who,
        to: Who,
        message: Message,
    },
    /// A timer of one life of a process.
    Timer { who: Who, life: u64, timer: Timer },
    /// A request reaches the store.
    Store {
        who: usize,
        life: u64,
        no: u64,
        ask: StoreAsk,
    },
    /// Its answer arrives.
    StoreBack {
        who: usize,
        life: u64,
        no: u64,
        back: StoreBack,
    },
    /// A write whose answer was lost lands.
    Lands { id: LateId, again: bool },
    /// A request reaches storage.
    Depot {
        who: Who,
        life: u64,
        no: u64,
        ask: DepotAsk,
    },
    /// Its answer arrives.
    DepotBack {
        who: Who,
        life: u64,
        no: u64,
        back: DepotBack,
    },
    /// The operators do something.
    Operate,
    /// A fault is drawn.
    Fault,
    /// The store is lost, and operators restore it.
    StoreLost,
    /// A fault ends.
    Relief(Relief),
    /// All faults stop.
    Calm,
}

#[derive(Debug)]
struct Item {
    at: Millis,
    number: u64,
    what: Happening,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// All that is planned.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    items: BinaryHeap<Reverse<Item>>,
    last: u64,
}

impl Agenda {
    pub(crate) fn plan(&mut self, at: Millis, what: Happening) {
        self.last += 1;
        let number = self.last;
        self.items.push(Reverse(Item { at, number, what }));
    }

    pub(crate) fn next(&mut self) -> Option<(Millis, Happening)> {
        self.items.pop().map(|Reverse(item)| (item.at, item.what))
    }
}
