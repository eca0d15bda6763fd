//! Exact actions for exact events. A `Node` answers what is not the matter of a test.

mod apart;
mod blame;
mod escalation;
mod faults;
mod parts;
mod session;
mod turns;
mod unserved;
mod work;

use super::*;
use types::{Code, Digest, Millis, Ordinal, PullNo, Range, Session, TrackSet};

const DEVICE: DeviceNo = DeviceNo(0);
const BUNDLE: Digest = Digest([7; 32]);

struct Node {
    core: Core,
    now: Millis,
}

impl Node {
    /// A node in session 1 whose first beat and pull are out.
    fn joined() -> Self {
        let mut node = Self {
            core: Core::new(Config::default()),
            now: Millis(0),
        };
        assert_eq!(node.tell(Event::Tick), [Action::Join]);
        node.tell(Event::Joined(Ok(joined(1))));
        node.beat(Vec::new());
        node
    }

    /// The same with one grant of `tracks` tracks, a loaded device and `slots` idle slots that are filled at once.
    fn at_work(tracks: u32, slots: u32) -> Self {
        let mut node = Self::joined();
        node.grant(granted(1, tracks));
        node.tell(Event::Prepared {
            grant: key(1),
            outcome: Ok(()),
        });
        node.tell(Event::DeviceReady {
            device: DEVICE,
            bundle: BUNDLE,
        });
        (0..slots).for_each(|slot| node.slot(slot));
        node
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Actions::new();
        self.core.handle(self.now, event, &mut actions);
        actions
    }

    /// Tells an event and leaves out the node's routine: beats and pulls.
    fn told(&mut self, event: Event) -> Vec<Action> {
        let mut actions = self.tell(event);
        actions.retain(|action| !matches!(action, Action::Beat(_) | Action::Pull(_)));
        actions
    }

    fn grant(&mut self, granted: Granted) -> Vec<Action> {
        let answer = Ok(Pulled {
            grants: vec![granted],
            again_after: Millis(1_000),
        });
        let session = Session(1);
        self.tell(Event::Pulled {
            session,
            number: PullNo(1),
            answer,
        })
    }

    fn slot(&mut self, slot: u32) {
        self.tell(Event::SlotReady {
            device: DEVICE,
            slot: SlotNo(slot),
        });
    }

    /// Answers the beat that is out, or else the next one, with these orders.
    fn beat(&mut self, orders: Vec<GrantOrder>) -> Vec<Action> {
        let (session, number) = self.next_beat();
        let answer = Ok(Beaten {
            orders,
            pull_now: false,
            drain: false,
        });
        self.tell(Event::Beaten {
            session,
            number,
            answer,
        })
    }

    /// Session and number of the beat that is out, or of the next one.
    fn next_beat(&mut self) -> (Session, u64) {
        match self.core.beat_out() {
            Some(number) => (Session(1), number),
            None => {
                let call = self.beat_call();
                (call.session, call.number)
            }
        }
    }

    /// A beat that tells all news: the one out is answered first.
    fn beat_call(&mut self) -> BeatCall {
        let mut actions = Vec::new();
        if let Some(number) = self.core.beat_out() {
            let answer = Err(CallError::Unanswered);
            actions = self.tell(Event::Beaten {
                session: Session(1),
                number,
                answer,
            });
        }
        if self.core.beat_out().is_none() {
            self.now = self.now + Millis(2_000);
            actions = self.tell(Event::Tick);
        }
        let beat = actions.into_iter().find_map(|action| match action {
            Action::Beat(call) => Some(call),
            _ => None,
        });
        beat.expect("a beat is due every two seconds")
    }

    fn end(&mut self, token: u64, outcome: TrackOutcome) -> Vec<Action> {
        self.told(Event::TrackEnded {
            token: Token(token),
            outcome,
        })
    }

    fn die(&mut self, death: Death) -> Vec<Action> {
        self.told(Event::WorkerDied {
            device: DEVICE,
            death,
        })
    }

    /// Waits out the worker's restart and brings it up with one idle slot.
    fn revive(&mut self) -> Vec<Action> {
        self.now = self.now + Millis(30_000);
        self.tell(Event::Tick);
        let mut actions = self.told(Event::DeviceReady {
            device: DEVICE,
            bundle: BUNDLE,
        });
        actions.extend(self.told(Event::SlotReady {
            device: DEVICE,
            slot: SlotNo(0),
        }));
        actions
    }

    fn sung(&mut self, nonce: u64, good: bool) -> Vec<Action> {
        self.told(Event::CanarySung {
            device: DEVICE,
            nonce,
            good,
        })
    }
}

fn blank_beat() -> BeatCall {
    let (held, released, devices_out) = (Vec::new(), Vec::new(), Vec::new());
    BeatCall {
        session: Session(1),
        number: 0,
        held,
        released,
        devices_out,
        storage_trouble: None,
        draining: false,
    }
}

fn joined(session: u64) -> Joined {
    Joined {
        session: Session(session),
        beat_every: Millis(2_000),
        grant_lives: Millis(20_000),
    }
}

fn key(attempt: u32) -> GrantKey {
    GrantKey {
        job: JobId::new("job").unwrap(),
        shard: ShardId::Root(0),
        attempt: Attempt(attempt),
    }
}

fn set(first: Ordinal, end: Ordinal) -> TrackSet {
    let mut set = TrackSet::new();
    set.insert(Range { first, end });
    set
}

fn granted(attempt: u32, tracks: u32) -> Granted {
    Granted {
        key: key(attempt),
        range: Range {
            first: 0,
            end: tracks,
        },
        tracks: set(0, tracks),
        bundle: BUNDLE,
        shard_tracks: tracks,
        care: Care::Normal,
        apart: TrackSet::new(),
        flush: Flush::AsConfigured,
        escalations_max: None,
        rank: Rank::default(),
    }
}

fn order(order: Order) -> Vec<GrantOrder> {
    vec![GrantOrder {
        key: key(1),
        order,
        flush: Flush::AsConfigured,
    }]
}

fn start(token: u64, slot: u32, ordinal: Ordinal) -> Action {
    Action::Start {
        token: Token(token),
        device: DEVICE,
        slot: SlotNo(slot),
        grant: key(1),
        ordinal,
    }
}

fn sing(nonce: u64) -> Action {
    Action::Sing {
        device: DEVICE,
        stage: types::Stage::Screen,
        nonce,
    }
}

fn write(part: u64, tracks: TrackSet) -> Action {
    Action::WritePart {
        part: PartNo(part),
        grant: key(1),
        tracks,
        onward: TrackSet::new(),
        withheld: TrackSet::new(),
        borderline: TrackSet::new(),
        device: Some(DEVICE),
    }
}

fn commit(part: u64) -> Action {
    Action::Commit {
        part: PartNo(part),
        session: Session(1),
    }
}

fn reject(ordinal: Ordinal, code: Code) -> Action {
    Action::Reject {
        grant: key(1),
        ordinal,
        code,
    }
}

fn counted(part: u64) -> Event {
    let answer = Ok(Committed {
        outcome: CommitOutcome::Counted,
        order: Order::Continue,
    });
    Event::Committed {
        part: PartNo(part),
        answer,
    }
}

fn refused(part: u64, error: CallError) -> Event {
    Event::Committed {
        part: PartNo(part),
        answer: Err(error),
    }
}

fn stored(part: u64) -> Event {
    Event::PartWritten {
        part: PartNo(part),
        outcome: Ok(()),
    }
}

fn forgotten() -> Vec<Action> {
    vec![
        Action::ForgetPart { part: PartNo(0) },
        Action::Forget { grant: key(1) },
    ]
}
