//! Parts: rows that were flushed together, as objects for storage. Saved on disk before they are put, so that a part found
//! after a crash has the same bytes, and makes the same claim.

use std::rc::Rc;

use agent_core::{DeviceNo, GrantKey, PartNo};
use scheduler::JobKey;
use scheduler::record::{Made, PartKind};
use types::{Digest, Generation, Millis, NodeId, Ordinal, TrackSet, UnixMillis};

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
        sets: (&TrackSet, &TrackSet, &TrackSet),
        device: Option<DeviceNo>,
    ) {
        let written = self.now + WRITING;
        if !self.agents[who].parts.contains_key(&part) {
            self.judge_sung(who, &grant, device);
            let objects = self.objects(who, part, &grant, sets, device);
            let saved = Saved {
                grant,
                tracks: sets.0.clone(),
                device,
                objects,
                written,
            };
            self.agents[who].parts.insert(part, saved);
        }
        self.agent_timer(who, written, Timer::PutPart(part));
    }

    /// A device whose rows are written has passed a canary of their stage.
    fn judge_sung(&mut self, who: usize, grant: &GrantKey, device: Option<DeviceNo>) {
        let Some(device) = device else { return };
        let bench = self.agents[who].bench.get(device.0 as usize);
        let sung = bench.is_some_and(|bench| bench.sung.contains(&grant.stage()));
        self.hold(sung, "H7", || {
            format!("a{who} writes rows of {grant:?} without a canary of their stage")
        });
    }

    /// The objects of a part: terminal rows, those that the budget holds back among them, and those that go on to the residual.
    fn objects(
        &mut self,
        who: usize,
        part: PartNo,
        grant: &GrantKey,
        (tracks, onward, withheld): (&TrackSet, &TrackSet, &TrackSet),
        device: Option<DeviceNo>,
    ) -> Vec<Rc<Object>> {
        let one = &self.agents[who];
        let held = one.held.get(grant).cloned();
        let row = |ordinal: Ordinal| {
            let (row, at) = one.rows.get(&(grant.clone(), ordinal))?;
            let row = match row {
                Row::Escalated { wrong } if withheld.contains(ordinal) => {
                    Row::Withheld { wrong: *wrong }
                }
                Row::Scored { .. }
                | Row::Escalated { .. }
                | Row::Withheld { .. }
                | Row::Unscannable(_) => *row,
            };
            Some((ordinal, row, *at))
        };
        let rows: Vec<(Ordinal, Row, UnixMillis)> = tracks.iter().filter_map(row).collect();
        let missing = tracks.len() - rows.len() as u64;
        let astray = |(ordinal, row, _): &&(Ordinal, Row, UnixMillis)| {
            matches!(row, Row::Escalated { .. }) != onward.contains(*ordinal)
        };
        let astray = rows.iter().filter(astray).count();
        let (sent, terminal): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|(ordinal, ..)| onward.contains(*ordinal));
        let name = format!("{}/{}/{part:?}/{grant:?}", one.node, one.nonce);
        let about = About {
            generation: held
                .as_ref()
                .map_or(self.generation, |held| held.generation),
            job: self.job_key(&grant.job),
            escalation: held.and_then(|held| held.made_of).map(|part| part.sha256),
            node: one.node.clone(),
            device: device.map(|device| asks::device_name(one, device)),
            name,
        };
        let object = |kind, rows| Rc::new(object(grant, kind, rows, &about));
        let objects = [
            (!terminal.is_empty()).then(|| object(PartKind::Terminal, terminal)),
            (!sent.is_empty()).then(|| object(PartKind::Escalation, sent)),
        ];
        let objects = objects.into_iter().flatten().collect();
        if missing > 0 {
            self.violated("P1", format!("a{who} writes a part without {missing} rows"));
        }
        if astray > 0 {
            let what =
                format!("a{who} sends on {astray} tracks that the gate does not, or not all");
            self.violated("P1", what);
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
    device: Option<String>,
    name: String,
}

fn object(
    grant: &GrantKey,
    kind: PartKind,
    made: Vec<(Ordinal, Row, UnixMillis)>,
    about: &About,
) -> Object {
    let name = &about.name;
    let scored = made.iter();
    let scored = scored.filter(|(_, row, _)| !matches!(row, Row::Unscannable(_)));
    let times: Vec<UnixMillis> = scored.map(|(.., at)| *at).collect();
    let span = times.iter().min().zip(times.iter().max());
    let by = about.device.iter().zip(span);
    let by = by.map(|(device, (from, to))| Made {
        stage: grant.stage(),
        device: device.clone(),
        from: *from,
        to: *to,
    });
    let rows: Vec<(Ordinal, Row)> = made.iter().map(|(o, row, _)| (*o, *row)).collect();
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
        made: by.collect(),
    }
}
