//! A small world: one coordinator that keeps the rules of grants and commits, one node's processes, and dice.

use std::collections::{BTreeMap, BTreeSet};

use agent_core::{
    Action, Actions, CallError, Config, Core, Death, DeviceNo, Event, Found, GrantKey, PartNo,
    SlotNo, Token, TrackOutcome, Unready,
};
use types::{Code, Millis, Ordinal};

use crate::coordinator::{Coordinator, Nature, Part, Row, SHARD};

/// Processes killed from outside in one storm: below what convicts a track on purpose.
const KILLS_MAX: u32 = 5;

/// Chances in a thousand per step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Odds {
    lose_call: u32,
    lose_answer: u32,
    kill_worker: u32,
    kill_decoder: u32,
    fail_storage: u32,
    restart_agent: u32,
    withdraw: u32,
    ask_to_yield: u32,
}

impl Odds {
    pub(crate) const CALM: Self = Self {
        lose_call: 0,
        lose_answer: 0,
        kill_worker: 0,
        kill_decoder: 0,
        fail_storage: 0,
        restart_agent: 0,
        withdraw: 0,
        ask_to_yield: 0,
    };
    pub(crate) const STORMY: Self = Self {
        lose_call: 60,
        lose_answer: 60,
        kill_worker: 3,
        kill_decoder: 5,
        fail_storage: 50,
        restart_agent: 2,
        withdraw: 3,
        ask_to_yield: 10,
    };
}

/// Something asked for that has not happened yet.
#[derive(Clone, Debug)]
enum Pending {
    Call(Action),
    Effect(Action),
    Track(Token),
    Slot(DeviceNo, SlotNo),
}

pub(crate) struct World {
    now: Millis,
    dice: u64,
    devices: u32,
    slots: u32,
    core: Core,
    coordinator: Coordinator,
    pending: Vec<Pending>,
    rows: BTreeMap<(GrantKey, Ordinal), Row>,
    parts: BTreeMap<PartNo, Part>,
    running: BTreeMap<Token, (DeviceNo, SlotNo, GrantKey, Ordinal)>,
    kills: u32,
    left: bool,
    draining: bool,
    begun: BTreeSet<Ordinal>,
}

impl World {
    pub(crate) fn new(natures: Vec<Nature>, seed: u64, devices: u32, slots: u32) -> Self {
        Self {
            now: Millis(0),
            dice: seed | 1,
            devices,
            slots,
            core: Core::new(Config {
                devices,
                ..Config::default()
            }),
            coordinator: Coordinator::of(natures),
            pending: Vec::new(),
            rows: BTreeMap::new(),
            parts: BTreeMap::new(),
            running: BTreeMap::new(),
            kills: 0,
            left: false,
            draining: false,
            begun: BTreeSet::new(),
        }
    }

    /// Runs for so many steps, or until all tracks have their rows.
    pub(crate) fn run(&mut self, steps: u32, odds: Odds) {
        for _ in 0..steps {
            if self.left || (self.coordinator.is_done() && !self.draining) {
                return;
            }
            self.step(odds);
        }
    }

    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.tell(Event::Drain);
    }

    pub(crate) fn assert_each_track_has_its_row(&self) {
        for (ordinal, nature) in (0..).zip(&self.coordinator.natures) {
            let expected = match nature {
                Nature::Sound => None,
                Nature::Unscannable => Some(Code::Damaged),
                Nature::KillsWorker => Some(Code::WorkerDied),
                Nature::KillsDecoder => Some(Code::DecodeCrash),
            };
            let row = self.coordinator.rows.get(&ordinal);
            assert_eq!(
                row,
                Some(&expected),
                "track {ordinal} ({nature:?}); {:?}",
                self.core
            );
        }
    }

    pub(crate) fn assert_left_in_peace(&self) {
        assert!(self.left, "the agent ended: {:?}", self.core);
        let lost: Vec<_> = self
            .begun
            .iter()
            .filter(|track| !self.coordinator.rows.contains_key(track))
            .collect();
        assert!(lost.is_empty(), "begun and not committed: {lost:?}");
    }

    fn roll(&mut self, below: u64) -> u64 {
        // xorshift64*: enough for dice, and the same everywhere.
        self.dice ^= self.dice >> 12;
        self.dice ^= self.dice << 25;
        self.dice ^= self.dice >> 27;
        (self.dice.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below.max(1)
    }

    fn happens(&mut self, per_thousand: u32) -> bool {
        self.roll(1_000) < u64::from(per_thousand)
    }

    fn step(&mut self, odds: Odds) {
        self.now = self.now + Millis(self.roll(50));
        self.trouble(odds);
        if !self.pending.is_empty() && self.roll(10) < 8 {
            let at = usize::try_from(self.roll(self.pending.len() as u64)).unwrap();
            let pending = self.pending.swap_remove(at);
            self.happen(pending, odds);
        } else if let Some(deadline) = self.core.next_deadline() {
            // Nothing else to do: time passes to the next deadline, never far.
            let quiet = self.pending.is_empty();
            self.now = if quiet {
                self.now.max(deadline)
            } else {
                self.now
            };
            self.tell(Event::Tick);
        }
    }

    fn trouble(&mut self, odds: Odds) {
        if self.kills < KILLS_MAX && self.happens(odds.kill_worker) {
            self.kills += 1;
            let device = DeviceNo(u32::try_from(self.roll(u64::from(self.devices))).unwrap());
            self.worker_dies(device, Death::Killed);
        }
        if self.happens(odds.restart_agent) {
            self.restart();
        }
        if self.happens(odds.withdraw) {
            self.coordinator.withdraw_first();
        }
        if self.happens(odds.ask_to_yield) {
            let at = self.roll(u64::from(SHARD));
            self.coordinator.ask_to_yield(u32::try_from(at).unwrap());
        }
    }

    fn tell(&mut self, event: Event) {
        let mut actions = Actions::new();
        self.core.handle(self.now, event, &mut actions);
        for action in actions {
            self.take(action);
        }
    }

    fn take(&mut self, action: Action) {
        match action {
            Action::Join
            | Action::Pull(_)
            | Action::Beat(_)
            | Action::Commit { .. }
            | Action::Leave { .. } => {
                self.pending.push(Pending::Call(action));
            }
            Action::Prepare { .. } | Action::Load { .. } | Action::Sing { .. } => {
                self.pending.push(Pending::Effect(action))
            }
            Action::WritePart {
                part,
                ref grant,
                ref tracks,
                ..
            } => {
                if !self.parts.contains_key(&part) {
                    let row = |ordinal| (ordinal, self.rows[&(grant.clone(), ordinal)]);
                    let rows = tracks.iter().map(row).collect();
                    self.parts.insert(
                        part,
                        Part {
                            grant: grant.clone(),
                            rows,
                            saved: false,
                        },
                    );
                }
                self.pending.push(Pending::Effect(action));
            }
            Action::Start {
                token,
                device,
                slot,
                grant,
                ordinal,
            } => {
                assert!(
                    !self
                        .running
                        .values()
                        .any(|(d, s, ..)| (*d, *s) == (device, slot)),
                    "the slot was idle"
                );
                self.begun.insert(ordinal);
                self.running.insert(token, (device, slot, grant, ordinal));
                self.pending.push(Pending::Track(token));
            }
            Action::Abort { token } => {
                if let Some((device, slot, ..)) = self.running.remove(&token) {
                    self.pending.push(Pending::Slot(device, slot));
                }
            }
            Action::Reject {
                grant,
                ordinal,
                code,
            } => _ = self.rows.insert((grant, ordinal), Some(code)),
            Action::ForgetPart { part } => _ = self.parts.remove(&part),
            Action::Forget { grant } => self.rows.retain(|(key, _), _| *key != grant),
            Action::TakeOut { device, code } => panic!("{device:?} went out: {code}"),
            Action::Exit => self.left = true,
        }
    }

    fn happen(&mut self, pending: Pending, odds: Odds) {
        match pending {
            Pending::Call(action) => self.call(action, odds),
            Pending::Effect(action) => self.effect(action, odds),
            Pending::Slot(device, slot) => self.tell(Event::SlotReady { device, slot }),
            Pending::Track(token) => self.track(token, odds),
        }
    }

    fn call(&mut self, action: Action, odds: Odds) {
        let arrives = !self.happens(odds.lose_call);
        let answered = arrives && !self.happens(odds.lose_answer);
        let event = match action {
            Action::Join => {
                let answer = if arrives {
                    Ok(self.coordinator.join())
                } else {
                    Err(CallError::Unanswered)
                };
                Event::Joined(or_lost(answered, answer))
            }
            Action::Pull(call) => {
                let (session, number) = (call.session, call.number);
                let answer = if arrives {
                    self.coordinator.pull(&call)
                } else {
                    Err(CallError::Unanswered)
                };
                Event::Pulled {
                    session,
                    number,
                    answer: or_lost(answered, answer),
                }
            }
            Action::Beat(call) => {
                let (session, number) = (call.session, call.number);
                let answer = if arrives {
                    self.coordinator.beat(&call)
                } else {
                    Err(CallError::Unanswered)
                };
                Event::Beaten {
                    session,
                    number,
                    answer: or_lost(answered, answer),
                }
            }
            Action::Commit { part, session } => {
                let answer = match self.parts.get(&part) {
                    Some(made) if arrives => self.coordinator.commit(session, made),
                    Some(_) => Err(CallError::Unanswered),
                    // The core has forgotten the part while the call was under way; so has the shell.
                    None => return,
                };
                Event::Committed {
                    part,
                    answer: or_lost(answered, answer),
                }
            }
            Action::Leave { .. } => Event::Left(or_lost(answered, Ok(()))),
            other => panic!("{other:?} is no call"),
        };
        self.tell(event);
    }

    fn effect(&mut self, action: Action, odds: Odds) {
        let fails = self.happens(odds.fail_storage);
        match action {
            Action::Prepare { grant } => {
                let outcome = if fails { Err(Unready::Later) } else { Ok(()) };
                self.tell(Event::Prepared { grant, outcome });
            }
            Action::Load { device, bundle } => {
                self.tell(Event::DeviceReady { device, bundle });
                (0..self.slots)
                    .for_each(|slot| self.pending.push(Pending::Slot(device, SlotNo(slot))));
            }
            Action::Sing { device, nonce, .. } => self.tell(Event::CanarySung {
                device,
                nonce,
                good: true,
            }),
            Action::WritePart { part, .. } => {
                if let Some(part) = self.parts.get_mut(&part) {
                    part.saved = true;
                }
                self.tell(Event::PartWritten {
                    part,
                    outcome: if fails {
                        Err(Code::StorageUnavailable)
                    } else {
                        Ok(())
                    },
                });
            }
            other => panic!("{other:?} is no effect"),
        }
    }

    fn track(&mut self, token: Token, odds: Odds) {
        let Some((device, slot, grant, ordinal)) = self.running.get(&token).cloned() else {
            return;
        };
        let nature = self.coordinator.natures[ordinal as usize];
        if nature == Nature::KillsWorker {
            return self.worker_dies(device, Death::Own);
        }
        self.running.remove(&token);
        let killed = self.kills < KILLS_MAX && self.happens(odds.kill_decoder);
        let died = |death| TrackOutcome::DecoderDied {
            death,
            code: Code::DecodeCrash,
        };
        let (row, outcome) = match nature {
            Nature::Sound | Nature::Unscannable if killed => (None, died(Death::Killed)),
            Nature::Sound if self.happens(odds.fail_storage) => (None, TrackOutcome::Unreachable),
            Nature::Sound => (None, TrackOutcome::Scored),
            Nature::Unscannable => (Some(Code::Damaged), TrackOutcome::Unscannable),
            Nature::KillsDecoder => (None, died(Death::Own)),
            Nature::KillsWorker => unreachable!("it was looked at above"),
        };
        self.kills += u32::from(killed);
        self.rows.insert((grant, ordinal), row);
        self.tell(Event::TrackEnded { token, outcome });
        self.pending.push(Pending::Slot(device, slot));
    }

    fn worker_dies(&mut self, device: DeviceNo, death: Death) {
        self.running.retain(|_, (of, ..)| *of != device);
        self.pending.retain(|pending| match pending {
            Pending::Slot(of, _) => *of != device,
            Pending::Effect(Action::Load { device: of, .. } | Action::Sing { device: of, .. }) => {
                *of != device
            }
            Pending::Effect(_) | Pending::Call(_) | Pending::Track(_) => true,
        });
        self.tell(Event::WorkerDied { device, death });
    }

    /// The agent is killed and started again: only what is on disk stays.
    fn restart(&mut self) {
        self.core = Core::new(Config {
            devices: self.devices,
            ..Config::default()
        });
        self.pending.clear();
        self.running.clear();
        self.rows.clear();
        let parts = std::mem::take(&mut self.parts);
        let kept = parts.into_values().filter(|part| part.saved);
        for (number, part) in (0..).map(PartNo).zip(kept) {
            let tracks = part.tracks();
            let grant = part.grant.clone();
            self.parts.insert(number, part);
            let mut actions = Actions::new();
            self.core.handle(
                self.now,
                Event::Found(Found {
                    grant,
                    tracks,
                    part: number,
                }),
                &mut actions,
            );
            actions.into_iter().for_each(|action| self.take(action));
        }
        self.tell(Event::Tick);
    }
}

fn or_lost<T>(answered: bool, answer: Result<T, CallError>) -> Result<T, CallError> {
    if answered {
        answer
    } else {
        Err(CallError::Unanswered)
    }
}
