//! Tracks in flight and rows made: what decoder, hash and worker say of one try comes together here, in any order.

use std::collections::BTreeMap;
use std::time::Instant;

use agent_core::{DeviceNo, GrantKey, SlotNo, TrackOutcome};
use engine::{TrackResidual, TrackScore};
use types::{CatalogRow, Code, Digest, Ordinal, UnixMillis};

use crate::coordinator::GrantInfo;
use crate::news::{Decoded, Reading, Refusal};
use crate::residual::ScreenRow;
use crate::rows::MadeRow;
use crate::slot::talk::micros;
use audio::protocol::Summary;

/// A grant's rows: of its list, those that its escalation part has of them, and those made.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) info: GrantInfo,
    pub(crate) list: BTreeMap<Ordinal, CatalogRow>,
    /// Of a grant of an escalation shard only.
    pub(crate) screened: BTreeMap<Ordinal, ScreenRow>,
    pub(crate) made: BTreeMap<Ordinal, MadeRow>,
}

impl Book {
    pub(crate) fn new(info: GrantInfo) -> Self {
        Self {
            info,
            list: BTreeMap::new(),
            screened: BTreeMap::new(),
            made: BTreeMap::new(),
        }
    }
}

/// One try of one track.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) grant: GrantKey,
    pub(crate) ordinal: Ordinal,
    pub(crate) device: DeviceNo,
    pub(crate) slot: SlotNo,
    pub(crate) begun: UnixMillis,
    decoded: Option<(Summary, Reading)>,
    decoded_at: Option<Instant>,
    hashed: Option<Digest>,
    measured: Option<Measured>,
    /// Why the worker gave the track up.
    refused: Option<(Code, String)>,
}

/// What the worker measured of a track, by the pass that it was there for.
#[derive(Debug)]
pub(crate) enum Measured {
    Screen(TrackScore),
    Residual(TrackResidual),
}

/// What a flight has come to.
#[derive(Debug)]
pub(crate) enum Landing {
    /// All that makes a scored row is there.
    Scored(Box<(Summary, Reading, Digest, Measured)>),
    /// The track has no score, and this is why.
    Unscannable(Refusal, Reading),
    /// Nothing is said of the track; the core decides what becomes of it.
    Lost(TrackOutcome),
}

impl Flight {
    pub(crate) fn new(
        (grant, ordinal): (GrantKey, Ordinal),
        (device, slot): (DeviceNo, SlotNo),
        begun: UnixMillis,
    ) -> Self {
        Self {
            grant,
            ordinal,
            device,
            slot,
            begun,
            decoded: None,
            decoded_at: None,
            hashed: None,
            measured: None,
            refused: None,
        }
    }

    /// Takes the decoder's last word. Some once the flight has landed.
    pub(crate) fn decoded(&mut self, outcome: Decoded) -> Option<Landing> {
        match outcome {
            Decoded::Whole(summary, reading) => {
                self.decoded = Some((summary, reading));
                self.decoded_at = Some(Instant::now());
                self.land()
            }
            Decoded::Failed(refusal, reading) => Some(Landing::Unscannable(refusal, reading)),
            Decoded::Unreachable => Some(Landing::Lost(TrackOutcome::Unreachable)),
            Decoded::Unreadable => Some(Landing::Lost(TrackOutcome::Unreadable)),
            Decoded::Died { death, code } => {
                Some(Landing::Lost(TrackOutcome::DecoderDied { death, code }))
            }
        }
    }

    /// Takes the digest of the whole object.
    pub(crate) fn hashed(&mut self, outcome: Result<Digest, Box<Decoded>>) -> Option<Landing> {
        match outcome.map_err(|without| *without) {
            Ok(digest) => {
                self.hashed = Some(digest);
                self.land()
            }
            Err(Decoded::Failed(refusal, _)) => Some(self.refuse(refusal.code, refusal.detail)),
            Err(without) => self.decoded(without),
        }
    }

    /// Learns that the worker has read the ring to its end: until now the decoder could not begin another track.
    pub(crate) fn drained(&mut self) {
        if let (Some((_, reading)), Some(since)) = (&mut self.decoded, self.decoded_at) {
            reading.drain_us = micros(since.elapsed());
        }
    }

    /// Takes what the worker measured.
    pub(crate) fn measured(&mut self, measured: Measured) -> Option<Landing> {
        self.measured = Some(measured);
        self.land()
    }

    /// The worker gives the track up. Where all of it was decoded its digest is on the way, and belongs into the row.
    pub(crate) fn failed(&mut self, code: Code, detail: String) -> Option<Landing> {
        self.refused = Some((code, detail));
        self.land()
    }

    fn refuse(&mut self, code: Code, detail: String) -> Landing {
        let (provenance, cpu_us, reading) = match self.decoded.take() {
            Some((summary, reading)) => (summary.provenance, summary.cpu_us, reading),
            None => (Vec::new(), 0, Reading::default()),
        };
        Landing::Unscannable(
            Refusal {
                code,
                detail,
                provenance,
                cpu_us,
                sha256: self.hashed,
            },
            reading,
        )
    }

    fn land(&mut self) -> Option<Landing> {
        let all_there = self.decoded.is_none() || self.hashed.is_some();
        if let Some((code, detail)) = self.refused.take_if(|_| all_there) {
            return Some(self.refuse(code, detail));
        }
        match (self.decoded.take(), self.hashed, self.measured.take()) {
            (Some((summary, reading)), Some(digest), Some(measured)) => Some(Landing::Scored(
                Box::new((summary, reading, digest, measured)),
            )),
            (decoded, _, measured) => {
                (self.decoded, self.measured) = (decoded, measured);
                None
            }
        }
    }
}
