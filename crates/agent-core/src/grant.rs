//! One grant: its tracks and how far each has come. Plain bookkeeping; who runs what and when is decided elsewhere.

use types::{Code, Digest, Millis, Ordinal, Range, TrackSet, is_renewed};

use crate::action::Cause;
use crate::choice::Gated;
use crate::event::{Care, Flush, Found, Granted, Rank};
use crate::mutants::{self, Mutant};
use crate::tracks::{Flushed, Track, Tracks, set_of};
use crate::trials::Trials;
use crate::{DeviceNo, GrantKey, PartNo, Token, WorkerDeath};

/// A grant in hand. It is over when it has no track left.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) key: GrantKey,
    pub(crate) rank: Rank,
    /// Counts grants as they come: among those of a rank earlier ones are worked on first.
    pub(crate) arrival: u64,
    /// None for a part that an earlier life left: nothing of it is run.
    pub(crate) bundle: Option<Digest>,
    pub(crate) shard_tracks: u32,
    pub(crate) care: Care,
    pub(crate) flush: Flush,
    /// Most tracks that may go on to the residual; then it is all or nothing, see [`Grant::is_whole`].
    escalations_max: Option<u32>,
    tracks: Tracks,
    pub(crate) rows: Rows,
    /// The device that works on it, once one does: a part is one device's.
    pub(crate) device: Option<DeviceNo>,
    /// A time at which the coordinator is known to have granted or renewed it, at the earliest.
    pub(crate) renewed: Option<Millis>,
    pub(crate) yielded_at: Option<Ordinal>,
    pub(crate) flushed: Millis,
    /// Nothing of it is begun any more; it goes back with this cause once it is over.
    pub(crate) giving_back: Option<Cause>,
    /// Deaths that no answered beat has told yet.
    pub(crate) deaths: Vec<WorkerDeath>,
}

/// Whether the grant's rows of its list are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// To be asked for, from this time on.
    Wanted { at: Millis, failures: u8 },
    /// Asked for.
    Asked { failures: u8 },
    /// There.
    Here,
}

/// How far a track has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// To be run.
    Queued,
    /// Being decoded and scored.
    InHand(Token),
    /// Its row is made.
    Made {
        /// By the device, rather than for a reason before it.
        screened: bool,
    },
    /// Its row is in a part that is not committed yet.
    InPart(PartNo),
}

impl Grant {
    pub(crate) fn new(granted: Granted, arrival: u64, now: Millis, renewed: Millis) -> Self {
        Self {
            key: granted.key,
            rank: granted.rank,
            arrival,
            bundle: Some(granted.bundle),
            shard_tracks: granted.shard_tracks,
            care: granted.care,
            flush: granted.flush,
            escalations_max: granted.escalations_max,
            tracks: match granted.care {
                Care::Apart => Tracks::of(&granted.tracks, &granted.tracks),
                Care::Normal | Care::Reject => Tracks::of(&granted.tracks, &granted.apart),
            },
            rows: Rows::Wanted {
                at: now,
                failures: 0,
            },
            device: None,
            renewed: Some(renewed),
            yielded_at: None,
            flushed: now,
            giving_back: None,
            deaths: Vec::new(),
        }
    }

    /// A grant of which only a part is known: it may live, and nobody has said so in this life.
    pub(crate) fn found(found: &Found, arrival: u64, now: Millis) -> Self {
        Self {
            key: found.grant.clone(),
            rank: Rank::default(),
            arrival,
            bundle: None,
            shard_tracks: 0,
            care: Care::Normal,
            flush: Flush::AtEnd,
            escalations_max: None,
            tracks: Tracks::default(),
            rows: Rows::Here,
            device: None,
            renewed: None,
            yielded_at: None,
            flushed: now,
            giving_back: None,
            deaths: Vec::new(),
        }
    }

    /// Whether its job has an escalation budget: it is flushed once, when each of its tracks has a row, and given back whole or
    /// not at all.
    pub(crate) const fn is_whole(&self) -> bool {
        self.escalations_max.is_some()
    }

    /// Whether it was begun and must be finished before its rows can go anywhere: its bundle has no turn to wait for.
    pub(crate) fn must_be_finished(&self) -> bool {
        let tracks = &self.tracks;
        self.is_whole() && !(tracks.begun.is_empty() && tracks.made.is_empty())
    }

    /// The first track to run with nothing else on the node.
    pub(crate) fn next_apart(&self) -> Option<Ordinal> {
        self.tracks.apart.first().copied()
    }

    /// The first track to run, among suspects of a worker's death or among the others.
    pub(crate) fn next_queued(&self, suspect: bool) -> Option<Ordinal> {
        let queue = if suspect {
            &self.tracks.suspects
        } else {
            &self.tracks.queued
        };
        queue.first().copied()
    }

    /// Whether any track could be run now.
    pub(crate) fn has_ready(&self) -> bool {
        let tracks = &self.tracks;
        !tracks.queued.is_empty() || !tracks.suspects.is_empty() || !tracks.apart.is_empty()
    }

    /// Whether any track waits to be run.
    pub(crate) fn has_queued(&self) -> bool {
        self.has_ready() || !self.tracks.put_off.is_empty()
    }

    /// Leaves a track out of the queue until then; it is queued already or is put there next.
    pub(crate) fn put_off(&mut self, ordinal: Ordinal, until: Millis) {
        if let Some(track) = self.tracks.all.get_mut(&ordinal) {
            track.from = until;
        }
    }

    /// Queues the tracks whose time has come.
    pub(crate) fn take_up(&mut self, now: Millis) {
        let due = self.tracks.put_off.iter().filter(|(from, _)| *from <= now);
        let due: Vec<Ordinal> = due.map(|(_, ordinal)| *ordinal).collect();
        for ordinal in due {
            self.put_off(ordinal, Millis(0));
            self.set(ordinal, Stage::Queued);
        }
    }

    /// When the next of them is due.
    pub(crate) fn put_off_until(&self) -> Option<Millis> {
        self.tracks.put_off.first().map(|(from, _)| *from)
    }

    /// Whether any row is made and in no part yet.
    pub(crate) fn has_made(&self) -> bool {
        !self.tracks.made.is_empty()
    }

    /// Whether nothing is left to do, write or commit.
    pub(crate) fn is_over(&self) -> bool {
        self.tracks.all.is_empty()
    }

    /// How far a track has come; none where it is committed or given back.
    pub(crate) fn stage(&self, ordinal: Ordinal) -> Option<Stage> {
        self.tracks.all.get(&ordinal).map(|track| track.stage)
    }

    /// A track has its row: made by the device or not, and where it stands if the gate takes it, or might elsewhere.
    pub(crate) fn made(&mut self, ordinal: Ordinal, screened: bool, gated: Option<Gated>) {
        self.set(ordinal, Stage::Made { screened });
        if let Some(gated) = gated.filter(|_| self.stage(ordinal).is_some()) {
            self.tracks.gated.push((ordinal, gated));
        }
    }

    /// Moves a track on or back.
    pub(crate) fn set(&mut self, ordinal: Ordinal, stage: Stage) {
        self.tracks.set(ordinal, stage);
    }

    /// Gives a track back.
    pub(crate) fn remove(&mut self, ordinal: Ordinal) {
        self.tracks.remove(ordinal);
    }

    /// Makes a track a suspect, or clears it. Says whether it was one.
    /// Whether a track is still to be tried alone, or is being tried.
    pub(crate) fn is_suspect(&self, ordinal: Ordinal) -> bool {
        let track = self.tracks.all.get(&ordinal);
        track.is_some_and(|track| {
            track.suspect && matches!(track.stage, Stage::Queued | Stage::InHand(_))
        })
    }

    pub(crate) fn set_suspect(&mut self, ordinal: Ordinal, suspect: bool) -> bool {
        self.tracks.set_suspect(ordinal, suspect)
    }

    /// The counts of what happened to a track.
    pub(crate) fn trials(&mut self, ordinal: Ordinal) -> Option<&mut Trials> {
        self.tracks
            .all
            .get_mut(&ordinal)
            .map(|track| &mut track.trials)
    }

    /// Every track that is neither committed nor given back.
    pub(crate) fn ordinals(&self) -> Vec<Ordinal> {
        self.tracks.all.keys().copied().collect()
    }

    /// Tries under way.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        let stages = self
            .tracks
            .begun
            .iter()
            .filter_map(|ordinal| self.stage(*ordinal));
        let token = |stage| match stage {
            Stage::InHand(token) => Some(token),
            Stage::Queued | Stage::Made { .. } | Stage::InPart(_) => None,
        };
        stages.filter_map(token).collect()
    }

    /// Tracks that are being worked on or stand in an unanswered part.
    pub(crate) fn in_hand(&self) -> TrackSet {
        set_of(&self.tracks.begun)
    }

    /// Tracks whose rows are made and not committed.
    pub(crate) fn unflushed(&self) -> u32 {
        let made = self.tracks.made.len() + self.tracks.in_parts;
        u32::try_from(made).unwrap_or(u32::MAX)
    }

    /// Tracks that are not through: queued or in hand.
    pub(crate) fn open(&self) -> usize {
        let tracks = &self.tracks;
        tracks.all.len() - tracks.made.len() - tracks.in_parts
    }

    /// Gives back what is wanted from `at` on and not begun. What is begun stays, and all before it. True if that is news.
    pub(crate) fn yield_from(&mut self, at: Ordinal) -> bool {
        if self.is_whole() {
            return self.yield_whole(at);
        }
        let last = self.tracks.begun.last().max(self.tracks.made.last());
        let end = at.max(last.map_or(0, |ordinal| ordinal.saturating_add(1)));
        let before = self.yielded_at;
        self.yielded_at = Some(before.map_or(end, |before| before.min(end)));
        self.drop_queued_from(end);
        self.yielded_at != before
    }

    /// Gives all of it back where that is wanted and nothing is begun; else nothing, and says so.
    fn yield_whole(&mut self, at: Ordinal) -> bool {
        let tracks = &self.tracks;
        let begun = !tracks.begun.is_empty() || !tracks.made.is_empty();
        let all = !begun && tracks.all.keys().all(|ordinal| at <= *ordinal);
        if all {
            self.tracks = Tracks::default();
        }
        let end = if all { at } else { Ordinal::MAX };
        self.yielded_at.replace(end) != Some(end)
    }

    /// Gives back all that is not begun, without being asked. What is all or nothing stays until it is released.
    pub(crate) fn drop_queued(&mut self) {
        if !self.is_whole() {
            self.drop_queued_from(0);
        }
    }

    fn drop_queued_from(&mut self, end: Ordinal) {
        let queues = self
            .tracks
            .queued
            .range(end..)
            .chain(self.tracks.suspects.range(end..))
            .chain(self.tracks.apart.range(end..));
        let put_off = self.tracks.put_off.iter().map(|(_, ordinal)| ordinal);
        let dropped: Vec<Ordinal> = queues
            .chain(put_off.filter(|ordinal| **ordinal >= end))
            .copied()
            .collect();
        dropped.into_iter().for_each(|ordinal| self.remove(ordinal));
    }

    /// Puts all made rows into a part.
    pub(crate) fn take_made(&mut self, part: PartNo, now: Millis) -> Flushed {
        if mutants::on(Mutant::EscalationRowLost) {
            let gated = std::mem::take(&mut self.tracks.gated);
            gated.iter().for_each(|(ordinal, _)| self.remove(*ordinal));
        }
        let made = std::mem::take(&mut self.tracks.made);
        let screened =
            |ordinal: &Ordinal| self.stage(*ordinal) == Some(Stage::Made { screened: true });
        let screened = made.iter().any(screened);
        let most = self
            .escalations_max
            .map_or(usize::MAX, |most| most as usize);
        let chosen = self.tracks.choose(&made, most);
        for &ordinal in &made {
            self.set(ordinal, Stage::InPart(part));
        }
        self.flushed = now;
        Flushed {
            tracks: set_of(&made),
            chosen,
            screened,
        }
    }

    /// Queues the tracks again that the device scored and no canary proved: those whose rows are in no part, or in one of
    /// these. Rows of these parts that no device made are in no part any more.
    pub(crate) fn unmake(&mut self, unproven: &[PartNo]) {
        for ordinal in self.ordinals() {
            let screened = self.tracks.was_screened(ordinal);
            let back = if screened {
                Stage::Queued
            } else {
                Stage::Made { screened }
            };
            match self.stage(ordinal) {
                Some(Stage::InPart(part)) if !unproven.contains(&part) => {}
                Some(Stage::Made { .. } | Stage::InPart(_)) => {
                    self.set(ordinal, back);
                    // What is granted to be tried apart is never run otherwise.
                    if screened && self.tracks.is_apart(ordinal) {
                        self.set_suspect(ordinal, true);
                    }
                }
                Some(Stage::Queued | Stage::InHand(_)) | None => {}
            }
        }
    }

    /// Removes the tracks of a part that counts, or is given up.
    pub(crate) fn settle(&mut self, part: PartNo, tracks: &TrackSet) {
        for ordinal in tracks.iter() {
            if self.stage(ordinal) == Some(Stage::InPart(part)) {
                self.remove(ordinal);
            }
        }
    }

    /// Takes a track into a part of an earlier life.
    pub(crate) fn adopt(&mut self, ordinal: Ordinal, part: PartNo) {
        self.tracks.all.entry(ordinal).or_insert_with(Track::queued);
        self.tracks.queued.insert(ordinal);
        self.set(ordinal, Stage::InPart(part));
    }

    /// Whether the grant lives as far as this node can know.
    pub(crate) fn lives(&self, now: Millis, grant_lives: Millis) -> bool {
        let known = is_renewed(now, self.renewed, grant_lives);
        known || mutants::on(Mutant::CommitUnrenewed)
    }
}

/// The range of one track.
pub(crate) fn one(ordinal: Ordinal) -> Range {
    Range {
        first: ordinal,
        end: ordinal.saturating_add(1),
    }
}

/// The code of a track that killed its workers.
pub(crate) const CONVICTED: Code = Code::WorkerDied;
