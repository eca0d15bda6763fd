//! The coordinator's pure core: events in, actions out.
//!
//! The coordinator's shell feeds [`Core::handle`] with what happened (a call came, a write came back, a page was
//! read, time passed) and carries out the [`Action`]s it gets, in their order; [`Core::next_deadline`] says when the
//! core wants to be asked again. The tests are another shell around the same core.
//!
//! The core decides every write and every answer. An answer is held until each write it depends on has come back,
//! so nothing leaves the process before what it rests on is stored. It never reads a clock, draws no random numbers,
//! knows neither wire nor storage formats, and iterates ordered maps only: the same events give the same actions.
//!
//! Where to read on, in the order in which things happen:
//!
//! - The conversation: `event` and `action`; what the store holds: [`record`], under the keys of `key`; every bound:
//!   [`limits`]; what must hold of every change: [`invariants`].
//! - The machine: `reign` (all state of one leadership, and who handles what), `state`, `desk` (changes that wait for
//!   the store), `stage`, `settle` (what became of writes), `held` (what answers show against memory), `audit`, `install`
//!   (what follows from a stored record) with `backoff`, `reply`, `recover`.
//! - The rules: `submit`, `cancel`, `join`, `pull` with `grant` and `pulled`, `share`, `quota` and `routing` for who
//!   is served with what, `budget` for what is never divided, `beat` with `chores`, `preempt`, `tail` and `suspects`,
//!   `commit`, `publish`, `trim`, `revoke` with `revoking`, `orphans` with `collect`; [`rebuild`] after a restore.
//! - Following: `mirror`, what a coordinator knows that does not lead.
//! - Looking: `views`, `explain` with `blocked`, `tally`, `looks`; [`journal`] for what happened, so that it can be repeated.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod action;
mod audit;
mod backoff;
mod beat;
mod blocked;
mod budget;
mod cancel;
mod chores;
mod collect;
mod commit;
mod config;
mod desk;
mod event;
mod explain;
mod grant;
mod held;
mod install;
pub mod invariants;
mod join;
pub mod journal;
mod key;
pub mod limits;
mod looks;
mod mirror;
pub mod mutants;
mod orphans;
mod pace;
mod preempt;
mod publish;
mod pull;
mod pulled;
mod quota;
pub mod rebuild;
pub mod record;
mod recover;
mod reign;
mod reply;
mod revoke;
mod revoking;
mod routing;
mod settle;
mod share;
mod stage;
mod state;
mod submit;
mod suspects;
mod tail;
mod tally;
mod trim;
mod views;

pub use action::{
    Action, Actions, Answer, BeatAnswer, CommitAnswer, CommitOutcome, Compare, Escalation, Flush,
    GrantOrder, Granted, JoinAnswer, ManifestPart, ManifestPlan, Op, Order, PullAnswer, Reading,
    StepDown, Txn,
};
pub use blocked::{Blocked, Reason};
pub use collect::{Collector, Listed};
pub use config::{Config, Quota};
pub use event::{
    AgentInfo, Beat, CallId, Caller, Canary, CanaryVerdict, Cause, Commit, Event, Held, Outcome,
    PartClaim, Pull, ReadId, ReadOutcome, Refusal, Released, Request, Revision, Revoke,
    StorageOutcome, StoredEntry, Submission, WorkerDeath, WriteId,
};
pub use invariants::{Change, What};
pub use key::{JobKey, KeyError, NodeKey, RecordKey, RevocationKey};
pub use mirror::{Mirror, StoredChange, Want};
pub use orphans::{Fate, PartName};
pub use reign::Core;
pub use views::{HeldView, JobView, NodeView, RevocationView, ShardView};
