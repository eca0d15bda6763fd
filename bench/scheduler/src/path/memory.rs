//! The memory and processor time of every process of the path over time, by what the process is. Asked once a second by the path itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::machine;

/// What a process is here, by the name that the system has for it.
const KINDS: [(&str, &str); 5] = [
    ("coordinator", "coordinator"),
    ("etcd", "etcd"),
    ("node-agent", "agent"),
    ("trackscan-decod", "decoders"),
    ("stub-worker", "worker"),
];

/// Every process, at one moment.
#[derive(Clone, Debug, Default)]
struct Sample {
    done: u64,
    resident: BTreeMap<&'static str, u64>,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    samples: Vec<Sample>,
    /// Processor time by process; one that has ended keeps its last.
    cpu: BTreeMap<(&'static str, u32), Duration>,
    decoders: BTreeSet<u32>,
}

impl Seen {
    /// Looks at every process below this one, when so many tracks are done.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(super) fn look(&mut self, done: u64) -> anyhow::Result<()> {
        let mut sample = Sample {
            done,
            ..Sample::default()
        };
        for (pid, name) in machine::below(std::process::id())? {
            let known = KINDS.into_iter().find(|(own, _)| *own == name);
            // One that ends meanwhile was seen a second ago.
            if let (Some((_, kind)), Ok(usage)) = (known, machine::usage(pid)) {
                *sample.resident.entry(kind).or_default() += usage.resident;
                self.cpu.insert((kind, pid), usage.cpu);
                if kind == "decoders" {
                    self.decoders.insert(pid);
                }
            }
        }
        self.samples.push(sample);
        Ok(())
    }

    /// Each kind of process, with its resident memory at a quarter of the tracks, at its most before that and after, and its processor time.
    pub(super) fn kinds(&self, tracks: u64) -> Vec<(&'static str, Course)> {
        let course = |kind: &'static str| {
            let of = |sample: &Sample| sample.resident.get(kind).copied().unwrap_or(0);
            let early = self.samples.iter().filter(|s| s.done * 2 <= tracks);
            let late = self.samples.iter().filter(|s| s.done * 2 > tracks);
            let cpu = self.cpu.iter().filter(|((own, _), _)| *own == kind);
            Course {
                early_most: early.map(of).max().unwrap_or(0),
                late_most: late.map(of).max().unwrap_or(0),
                tenths: (1..=10)
                    .map(|tenth| self.at(tracks * tenth / 10, kind))
                    .collect(),
                cpu: cpu.map(|(_, cpu)| *cpu).sum(),
            }
        };
        KINDS
            .into_iter()
            .map(|(_, kind)| (kind, course(kind)))
            .collect()
    }

    /// Decoders that were seen, one after another.
    pub(super) fn decoders(&self) -> usize {
        self.decoders.len()
    }

    fn at(&self, done: u64, kind: &'static str) -> u64 {
        let sample = self.samples.iter().find(|sample| sample.done >= done);
        let sample = sample.or(self.samples.last());
        sample
            .and_then(|sample| sample.resident.get(kind).copied())
            .unwrap_or(0)
    }
}

/// One kind of process, from the first track to the last.
#[derive(Clone, Debug)]
pub(super) struct Course {
    /// The most of the first half.
    pub(super) early_most: u64,
    /// The most of the second.
    pub(super) late_most: u64,
    /// After each tenth of the tracks.
    pub(super) tenths: Vec<u64>,
    /// Processor time, as it was last seen.
    pub(super) cpu: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grew_in_the_second_half_is_told_apart_from_the_first() {
        let sample = |done, bytes| Sample {
            done,
            resident: BTreeMap::from([("agent", bytes)]),
        };
        let seen = Seen {
            samples: vec![sample(0, 1), sample(50, 5), sample(60, 4), sample(100, 9)],
            ..Seen::default()
        };
        let kinds = seen.kinds(100);
        let (_, agent) = kinds.iter().find(|(kind, _)| *kind == "agent").unwrap();
        assert_eq!((agent.early_most, agent.late_most), (5, 9));
        assert_eq!((agent.tenths[0], agent.tenths[9]), (5, 9));
    }
}
