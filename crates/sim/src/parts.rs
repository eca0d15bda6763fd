//! Parts: rows that were flushed together, as objects for storage. Saved on disk before they are put, so that a part found
//! after a crash has the same bytes, and makes the same claim.

use std::rc::Rc;

use agent_core::{DeviceNo, GrantKey, PartNo};
use scheduler::JobKey;
use scheduler::record::{Made, PartKind};
use types::{Digest, Generation, Millis, NodeId, Ordinal, ShardId, Stage, TrackSet, UnixMillis};

use crate::agenda::Timer;
use crate::asks;
use crate::depot::Object;
use crate::truth::Row;
use crate::world::World;

/// A part on a node's disk.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    pub(crate) grant: GrantKey,
    pub(crate) tracks: TrackSet,
    pub(crate) device: Option<DeviceNo>,
    /// A terminal part, an escalation part, or both.
    pub(crate) objects: Vec<Rc<Object>>,
    /// Written to disk by then.
    written: Millis,
}

/// Time that writing to disk takes.
const WRITING: Millis = Millis(20);

impl Saved {
    pub(crate) fn is_on_disk(&self, now: Millis) -> bool {
        self.written <= now
    }
}

impl World {
    pub(crate) fn write_part(
        &mut self,
        who: usize,
        part: PartNo,
        grant: GrantKey,
        tracks: &TrackSet,
        device: Option<DeviceNo>,
    ) {
        let written = self.now + WRITING;
        if !self.agents[who].parts.contains_key(&part) {
            let objects = self.objects(who, part, &grant, tracks, device);
            let saved = Saved {
                grant,
                tracks: tracks.clone(),
                device,
                objects,
                written,
            };
            self.agents[who].parts.insert(part, saved);
        }
        self.agent_timer(who, written, Timer::PutPart(part));
    }

    /// The objects of a part: terminal rows, and those that go on to the residual.
    fn objects(
        &mut self,
        who: usize,
        part: PartNo,
        grant: &GrantKey,
        tracks: &TrackSet,
        device: Option<DeviceNo>,
    ) -> Vec<Rc<Object>> {
        let one = &self.agents[who];
        let held = one.held.get(grant).cloned();
        let to = UnixMillis(i64::try_from(one.shown(self.now).0).unwrap_or(0));
        let row = |ordinal: Ordinal| {
            let row = one.rows.get(&(grant.clone(), ordinal));
            row.map(|row| (ordinal, *row))
        };
        let rows: Vec<(Ordinal, Row)> = tracks.iter().filter_map(row).collect();
        let missing = tracks.len() - rows.len() as u64;
        let escalated = |(_, row): &(Ordinal, Row)| matches!(row, Row::Escalated { .. });
        let (onward, terminal): (Vec<_>, Vec<_>) = rows.into_iter().partition(escalated);
        let name = format!("{}/{}/{part:?}/{grant:?}", one.node, one.nonce);
        let stage = match grant.shard {
            ShardId::Root(_) => Stage::Screen,
            ShardId::Escalation { .. } => Stage::Residual,
        };
        let from = held.as_ref().map_or(to, |held| held.since);
        let made = |device: DeviceNo| Made {
            stage,
            device: asks::device_name(one, device),
            from,
            to,
        };
        let about = About {
            generation: held
                .as_ref()
                .map_or(self.generation, |held| held.generation),
            job: self.job_key(&grant.job),
            escalation: held.and_then(|held| held.escalation),
            node: one.node.clone(),
            made: device.into_iter().map(made).collect(),
            name,
        };
        let object = |kind, rows| Rc::new(object(grant, kind, rows, &about));
        let objects = [
            (!terminal.is_empty()).then(|| object(PartKind::Terminal, terminal)),
            (!onward.is_empty()).then(|| object(PartKind::Escalation, onward)),
        ];
        let objects = objects.into_iter().flatten().collect();
        if missing > 0 {
            self.violated("P1", format!("a{who} writes a part without {missing} rows"));
        }
        objects
    }
}

/// What the objects of one flush have in common.
struct About {
    generation: Generation,
    job: JobKey,
    escalation: Option<Digest>,
    node: NodeId,
    made: Vec<Made>,
    name: String,
}

fn object(grant: &GrantKey, kind: PartKind, rows: Vec<(Ordinal, Row)>, about: &About) -> Object {
    let name = &about.name;
    Object {
        generation: about.generation,
        job: about.job.clone(),
        shard: grant.shard,
        attempt: grant.attempt,
        kind,
        tracks: rows.iter().map(|(ordinal, _)| *ordinal).collect(),
        sha256: Digest::of(format!("{name}/{kind:?}/{rows:?}").as_bytes()),
        rows,
        escalation: about.escalation,
        node: about.node.clone(),
        made: about.made.clone(),
    }
}
