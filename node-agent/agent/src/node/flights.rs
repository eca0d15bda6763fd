//! Tracks between grant and row: beginning, aborting, landing, and the rows they end in. Called by the node's loop only.

use super::*;

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
        let track = self
            .books
            .get(&grant)
            .and_then(|book| book.list.get(&ordinal))
            .cloned();
        let rate_hz = self.devices.get(device.0 as usize).and_then(Seat::rate_hz);
        let (Some(track), Some(rate_hz)) = (track, rate_hz) else {
            return self.end_unbegun(token, device, slot);
        };
        match self.sources.get(&track.source) {
            Ok(source) => {
                let work = slot::Work {
                    token: token.0,
                    source,
                    key: track.key,
                    bytes: track.bytes,
                    rate_hz,
                    residual: None,
                };
                if let Some((_, slot)) = self.slots.get(&slot) {
                    slot.work(work);
                }
            }
            Err(error) => {
                tracing::warn!(source = %track.source, %error, "no such source here");
                self.end_unbegun(token, device, slot);
            }
        }
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
        let row = rows::rejected(track, &book.info.spec, code, None);
        let now = self.clock.now();
        let made = MadeRow {
            row,
            ledger: types::Ledger::default(),
            from: now,
            to: now,
            screened_from: None,
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

    pub(super) fn make_scored(
        &mut self,
        flight: &Flight,
        (summary, reading, digest, score): (
            audio::protocol::Summary,
            crate::news::Reading,
            Digest,
            engine::TrackScore,
        ),
    ) -> TrackOutcome {
        let Some((bundle, scorer)) = self
            .devices
            .get(flight.device.0 as usize)
            .and_then(Seat::scorer)
        else {
            return TrackOutcome::Unreachable;
        };
        let Some(book) = self.books.get_mut(&flight.grant) else {
            return TrackOutcome::Unreachable;
        };
        let Some(track) = book.list.get(&flight.ordinal) else {
            return TrackOutcome::Unreachable;
        };
        let (row, ledger) = rows::scored(
            track,
            &book.info.spec,
            &bundle,
            &scorer,
            (&summary, &reading, digest),
            score,
        );
        let device = scorer.device;
        metrics::counter!("trackscan_tracks", "device" => device, "verdict" => row.verdict.as_str()).increment(1);
        metrics::counter!("trackscan_stage_wait_microseconds", "stage" => "source")
            .increment(reading.wait_us);
        metrics::counter!("trackscan_stage_wait_microseconds", "stage" => "room")
            .increment(reading.room_us);
        let made = MadeRow {
            row,
            ledger,
            from: flight.begun,
            to: self.clock.now().max(flight.begun),
            screened_from: Some(flight.begun),
        };
        book.made.insert(flight.ordinal, made);
        TrackOutcome::Scored
    }

    pub(super) fn make_unscannable(
        &mut self,
        flight: &Flight,
        refusal: crate::news::Refusal,
        reading: &crate::news::Reading,
    ) -> TrackOutcome {
        let Some(book) = self.books.get_mut(&flight.grant) else {
            return TrackOutcome::Unreachable;
        };
        let Some(track) = book.list.get(&flight.ordinal) else {
            return TrackOutcome::Unreachable;
        };
        tracing::info!(source = %track.source, key = track.key, code = %refusal.code, detail = refusal.detail, "unscannable");
        metrics::counter!("trackscan_unscannable", "code" => refusal.code.as_str()).increment(1);
        let (row, ledger) = rows::unscannable(track, &book.info.spec, refusal, reading);
        let made = MadeRow {
            row,
            ledger,
            from: flight.begun,
            to: self.clock.now().max(flight.begun),
            screened_from: None,
        };
        book.made.insert(flight.ordinal, made);
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
