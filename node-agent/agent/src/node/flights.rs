//! Tracks between grant and row: beginning, aborting, landing, and the rows they end in. Called by the node's loop only.

use agent_core::{Escalation, Spared};
use audio::protocol::Summary;
use types::{Ledger, Ordinal, TrackRow};

use super::*;
use crate::news::{Reading, Refusal};
use crate::rows::AtGate;

impl Node {
    pub(super) fn begin(
        &mut self,
        token: Token,
        (device, slot): (DeviceNo, SlotNo),
        grant: GrantKey,
        ordinal: Ordinal,
    ) {
        let flight = Flight::new((grant.clone(), ordinal), (device, slot), self.clock.now());
        self.flights.insert(token, flight);
        let Some(work) = self.work_for(token, device, &grant, ordinal) else {
            return self.end_unbegun(token, device, slot);
        };
        if let Some((_, slot)) = self.slots.get(&slot) {
            slot.work(work);
        }
    }

    /// What a slot is to do for a track; none where something of it is not to be had here at the moment.
    fn work_for(
        &self,
        token: Token,
        device: DeviceNo,
        grant: &GrantKey,
        ordinal: Ordinal,
    ) -> Option<slot::Work> {
        let seat = self.devices.get(device.0 as usize)?;
        let book = self.books.get(grant)?;
        let track = book.list.get(&ordinal)?;
        let (bytes, residual) = match grant.stage() {
            Stage::Decode | Stage::Screen => (track.bytes, None),
            Stage::Residual => {
                let screened = book.screened.get(&ordinal)?;
                let served = seat.residual().inspect_err(
                    |why| tracing::error!(bundle = %book.info.spec.bundle, why, "the core was told that this is not served here"),
                );
                let (residual, loaded) = served.ok()?;
                let pass = screened.pass(residual, loaded);
                (track.bytes.or(screened.row.bytes), Some((loaded, pass)))
            }
        };
        let source = self.sources.get(&track.source);
        let source = source.inspect_err(
            |error| tracing::warn!(source = %track.source, %error, "no such source here"),
        );
        Some(slot::Work {
            token: token.0,
            source: source.ok()?,
            key: track.key.clone(),
            bytes,
            content_id: track.content_id.clone(),
            rate_hz: seat.rate_hz()?,
            residual,
        })
    }

    /// Ends a try of which its slot was never told: the slot is ready as it was.
    fn end_unbegun(&mut self, token: Token, device: DeviceNo, slot: SlotNo) {
        self.end_soon(token, TrackOutcome::Unreachable);
        let seat = self.devices.get(device.0 as usize);
        if let Some(link) = seat.and_then(Seat::ready).cloned() {
            self.tell_soon(News::SlotReady { slot, link });
        }
    }

    /// Ends a try without a row; as news, since the core is at work.
    pub(super) fn end_soon(&mut self, token: Token, outcome: TrackOutcome) {
        self.flights.remove(&token);
        self.tell_soon(News::Core(Event::TrackEnded { token, outcome }));
    }

    pub(super) fn abort(&mut self, token: Token) {
        if let Some(flight) = self.flights.remove(&token)
            && let Some((_, slot)) = self.slots.get(&flight.slot)
        {
            slot.interrupt(token.0);
        }
    }

    pub(super) fn reject(&mut self, grant: &GrantKey, ordinal: Ordinal, code: Code) {
        let Some(book) = self.books.get_mut(grant) else {
            return;
        };
        let Some(track) = book.list.get(&ordinal) else {
            return;
        };
        let screened = book.screened.get(&ordinal);
        let row = screened
            .and_then(|screened| screened.failed(code, "", 0))
            .unwrap_or_else(|| rows::rejected(track, &book.info.spec, code, None));
        let now = self.clock.now();
        let made = MadeRow {
            row,
            ledger: Ledger::default(),
            from: now,
            to: now,
            scored_from: None,
        };
        book.made.insert(ordinal, made);
    }

    pub(super) fn land(&mut self, token: Token, step: impl FnOnce(&mut Flight) -> Option<Landing>) {
        let Some(flight) = self.flights.get_mut(&token) else {
            return;
        };
        let Some(landing) = step(flight) else { return };
        let Some(flight) = self.flights.remove(&token) else {
            return;
        };
        let outcome = match landing {
            Landing::Lost(outcome) => outcome,
            Landing::Scored(told) => self.make_scored(&flight, *told),
            Landing::Unscannable(refusal, reading) => {
                self.make_unscannable(&flight, refusal, &reading)
            }
        };
        self.tell_core(Event::TrackEnded { token, outcome });
    }

    /// Makes the row of a track that the worker has measured, by whichever pass.
    fn make_scored(
        &mut self,
        flight: &Flight,
        (summary, reading, digest, measured): (Summary, Reading, Digest, Measured),
    ) -> TrackOutcome {
        let Some((bundle, scorer)) = self
            .devices
            .get(flight.device.0 as usize)
            .and_then(Seat::scorer)
        else {
            return TrackOutcome::Unreachable;
        };
        let Some(book) = self.books.get(&flight.grant) else {
            return TrackOutcome::Unreachable;
        };
        let (track, screened) = (
            book.list.get(&flight.ordinal),
            book.screened.get(&flight.ordinal),
        );
        let (spec, told) = (&book.info.spec, (&summary, &reading, digest));
        let made = match (measured, screened) {
            (Measured::Screen(score), None) => {
                let Some(track) = track else {
                    return TrackOutcome::Unreachable;
                };
                let made = rows::scored(track, spec, &bundle, &scorer, told, score);
                Ok((made.row, made.ledger, made.gate))
            }
            (Measured::Residual(residual), Some(screened)) => screened
                .separated(spec, &bundle, &scorer, told, residual)
                .map(|(row, ledger)| (row, ledger, AtGate::Past)),
            (Measured::Screen(_), Some(_)) | (Measured::Residual(_), None) => {
                tracing::error!(device = scorer.device, "an answer of the other stage");
                return TrackOutcome::Unreachable;
            }
        };
        let (row, ledger, gate) = match made {
            Ok(made) => made,
            Err(refusal) => return self.make_unscannable(flight, refusal, &reading),
        };
        count(&scorer.device, &row, gate.is_onward(), &reading);
        let track = row.track_id.clone();
        self.keep(flight, row, ledger, true);
        match gate {
            AtGate::Onward { distance, reach } => TrackOutcome::Escalated(Escalation {
                distance,
                track,
                reach,
            }),
            AtGate::Spared { nearest } => TrackOutcome::Spared(Spared { nearest, track }),
            AtGate::Past => TrackOutcome::Scored,
        }
    }

    /// Keeps a row until a part takes it.
    fn keep(&mut self, flight: &Flight, row: TrackRow, ledger: Ledger, scored: bool) {
        let made = MadeRow {
            row,
            ledger,
            from: flight.begun,
            to: self.clock.now().max(flight.begun),
            scored_from: scored.then_some(flight.begun),
        };
        if let Some(book) = self.books.get_mut(&flight.grant) {
            book.made.insert(flight.ordinal, made);
        }
    }

    fn make_unscannable(
        &mut self,
        flight: &Flight,
        refusal: Refusal,
        reading: &Reading,
    ) -> TrackOutcome {
        let Some(book) = self.books.get(&flight.grant) else {
            return TrackOutcome::Unreachable;
        };
        let Some(track) = book.list.get(&flight.ordinal) else {
            return TrackOutcome::Unreachable;
        };
        let screened = book.screened.get(&flight.ordinal);
        let refusal = match screened {
            Some(screened) => screened.refused(refusal),
            None => refusal,
        };
        tracing::info!(source = %track.source, key = track.key, code = %refusal.code, detail = refusal.detail, "unscannable");
        metrics::counter!("trackscan_unscannable", "code" => refusal.code.as_str()).increment(1);
        let (code, cpu_us) = (refusal.code, refusal.cpu_us);
        let kept = screened.and_then(|screened| screened.failed(code, &refusal.detail, cpu_us));
        let (row, ledger) = match kept {
            Some(row) => (row, rows::decoding(cpu_us, 0, reading)),
            None => rows::unscannable(track, &book.info.spec, refusal, reading),
        };
        self.keep(flight, row, ledger, false);
        TrackOutcome::Unscannable
    }

    pub(super) fn decoded(&mut self, token: u64, outcome: Decoded) {
        self.land(Token(token), |flight| flight.decoded(outcome));
    }

    pub(super) fn track_failed(&mut self, token: u64, code: Code, detail: String) {
        let broke_its_bounds = matches!(
            code,
            Code::RingViolation | Code::TooLong | Code::DecodeStalled
        );
        if let Some(flight) = self.flights.get(&Token(token))
            && broke_its_bounds
            && let Some((_, slot)) = self.slots.get(&flight.slot)
        {
            // Its decoder is not to be trusted with another word.
            slot.interrupt(token);
        }
        self.land(Token(token), |flight| flight.failed(code, detail));
    }
}

/// Counts a track that a device has scored, and what held it up. One that goes on is counted by its verdict when it has one.
fn count(device: &str, row: &TrackRow, goes_on: bool, reading: &Reading) {
    let device = device.to_owned();
    if goes_on {
        metrics::counter!("trackscan_escalated", "device" => device).increment(1);
    } else {
        metrics::counter!("trackscan_tracks", "device" => device, "verdict" => row.verdict.as_str())
            .increment(1);
    }
    for (stage, micros) in [("source", reading.wait_us), ("room", reading.room_us)] {
        metrics::counter!("trackscan_stage_wait_microseconds", "stage" => stage).increment(micros);
    }
}
