//! The devices' workers: loading bundles, starting, hearing and replacing workers, taking a device out. Called by the node's
//! loop only.

use super::*;

impl Node {
    // Devices.

    pub(super) fn seat(&mut self, device: DeviceNo) -> Option<&mut Seat> {
        self.devices.get_mut(device.0 as usize)
    }

    pub(super) fn say(&self, device: DeviceNo, message: &ToWorker) {
        if let Some(link) = self
            .devices
            .get(device.0 as usize)
            .and_then(|seat| seat.state.link())
        {
            link.say(message);
        }
    }

    /// Asks for a canary of a stage.
    pub(super) fn sing(&self, device: DeviceNo, stage: Stage, nonce: u64) {
        let message = match stage {
            Stage::Decode | Stage::Screen => ToWorker::Canary { nonce },
            Stage::Residual => ToWorker::ResidualCanary { nonce },
        };
        self.say(device, &message);
    }

    /// Empties a seat: its worker is stopped, and the decoders are taken off what it will never hear.
    pub(super) fn vacate(&mut self, device: DeviceNo) {
        let Some(seat) = self.seat(device) else {
            return;
        };
        seat.wait_told = 0.0;
        seat.stats = WorkerStats::default();
        if let State::Loading(link, ..) | State::Ready(link, ..) =
            std::mem::replace(&mut seat.state, State::Empty)
        {
            link.stop();
        }
        self.flights.retain(|_, flight| flight.device != device);
        for (_, slot) in self.slots.values().filter(|(of, _)| *of == device) {
            slot.interrupt_any();
        }
    }

    pub(super) fn load(&mut self, device: DeviceNo, bundle: Digest) {
        self.vacate(device);
        if let Some(seat) = self.seat(device) {
            seat.state = State::Fetching(bundle);
        }
        let fetcher = Arc::clone(&self.fetcher);
        self.spawn_news(async move {
            let outcome = fetcher.bundle(bundle).await;
            News::Fetched {
                device,
                bundle,
                outcome,
            }
        });
    }

    pub(super) fn fetched(
        &mut self,
        device: DeviceNo,
        bundle: Digest,
        outcome: Result<Arc<Bundle>, Unready>,
    ) {
        let Some(Seat {
            state: State::Fetching(wanted),
            ..
        }) = self.seat(device)
        else {
            return;
        };
        if *wanted != bundle {
            return;
        }
        match outcome {
            Ok(opened) => self.start_worker(device, &opened),
            Err(why) => self.tell_core(Event::BundleUnready {
                device,
                bundle,
                why,
            }),
        }
    }

    pub(super) fn start_worker(&mut self, device: DeviceNo, bundle: &Arc<Bundle>) {
        self.lives += 1;
        let (binary, life) = (self.settings.worker.clone(), self.lives);
        let (slots, dtype) = (self.settings.decoders, self.settings.dtype);
        let started = Link::start(
            &self.spawner,
            &binary,
            device,
            life,
            slots,
            self.tell.clone(),
        );
        let Some(seat) = self.seat(device) else {
            return;
        };
        match started {
            Ok(link) => {
                tracing::info!(device = %seat.device, pid = link.pid, bundle = %bundle.digest.short(), "worker started");
                link.say(&ToWorker::Load(Load {
                    bundle_dir: bundle.dir.display().to_string(),
                    bundle: bundle.digest,
                    device: seat.device.kind,
                    index: seat.device.index,
                    dtype: Some(dtype),
                    slots,
                    max_batch: None,
                }));
                seat.state = State::Loading(link, Arc::clone(bundle));
            }
            Err(error) => {
                tracing::error!(device = %seat.device, %error, "no worker");
                seat.state = State::Empty;
                self.tell_core(Event::WorkerDied {
                    device,
                    death: Death::Own,
                });
            }
        }
    }

    /// The worker has loaded its bundle: slots may attach their rings.
    pub(super) fn loaded(&mut self, device: DeviceNo, loaded: Loaded) {
        let Some(seat) = self.seat(device) else {
            return;
        };
        match std::mem::replace(&mut seat.state, State::Empty) {
            State::Loading(link, bundle) if loaded.bundle == bundle.digest => {
                let digest = bundle.digest;
                tracing::info!(device = %seat.device, dtype = %loaded.dtype, batch = loaded.max_batch, "bundle loaded");
                seat.state = State::Ready(Arc::clone(&link), bundle, loaded);
                self.tell_unserved(device, digest);
                self.tell_core(Event::DeviceReady {
                    device,
                    bundle: digest,
                });
                for (number, (of, slot)) in &self.slots {
                    if *of == device
                        && let Some(ear) = link.ear(number.0)
                    {
                        slot.meet(Arc::clone(&link), ear);
                    }
                }
            }
            other @ (State::Empty | State::Fetching(_) | State::Loading(..) | State::Ready(..)) => {
                seat.state = other;
                tracing::error!(device = device.0, "a worker loaded what it was not told to");
                self.say(device, &ToWorker::Stop);
            }
        }
    }

    /// Tells the core, before its worker is ready, where a device serves no residual with what it has loaded.
    fn tell_unserved(&mut self, device: DeviceNo, bundle: Digest) {
        let seat = self.devices.get(device.0 as usize);
        let Some(Err(why)) = seat.map(Seat::residual) else {
            return;
        };
        tracing::info!(device = device.0, bundle = %bundle.short(), why, "no residual is served here");
        let stage = Stage::Residual;
        self.tell_core(Event::StageUnserved {
            device,
            bundle,
            stage,
        });
    }

    pub(super) fn take_out(&mut self, device: DeviceNo, code: Code) {
        if let Some(seat) = self.devices.get(device.0 as usize) {
            tracing::error!(device = %seat.device, %code, "the device is out of service");
            metrics::gauge!("trackscan_device_out", "device" => seat.device.to_string()).set(1.0);
        }
        self.vacate(device);
    }

    pub(super) fn ended(&mut self, device: DeviceNo, life: u64, death: Death) {
        let current = self
            .seat(device)
            .is_some_and(|seat| seat.state.link().is_some_and(|link| link.life == life));
        if !current {
            return;
        }
        metrics::counter!("trackscan_worker_deaths", "device" => device.0.to_string()).increment(1);
        self.vacate(device);
        self.tell_core(Event::WorkerDied { device, death });
    }

    // Slots and tracks.

    pub(super) fn seat_slot(&mut self, number: SlotNo, device: DeviceNo) -> std::io::Result<()> {
        let options = SlotOptions {
            slot: number,
            decoder: self.settings.decoder.clone(),
            tracks_per_decoder: self.settings.tracks_per_decoder,
            limits: Limits::default(),
            silence: self.settings.decoder_silence,
            // A wait for a source is excused when it is over, which it is by then.
            patience: self.settings.decoder_silence + self.settings.source_silence,
        };
        let slot = Slot::start(options, self.spawner.clone(), self.tell.clone())?;
        self.slots.insert(number, (device, slot));
        Ok(())
    }

    pub(super) fn slot_ready(&mut self, slot: SlotNo, link: &Link) {
        let current = self
            .devices
            .get(link.device.0 as usize)
            .and_then(|seat| seat.state.link());
        if current.is_some_and(|current| current.life == link.life) {
            self.tell_core(Event::SlotReady {
                device: link.device,
                slot,
            });
        }
    }

    pub(super) fn said(&mut self, device: DeviceNo, life: u64, message: FromWorker) {
        let current = self
            .seat(device)
            .is_some_and(|seat| seat.state.link().is_some_and(|link| link.life == life));
        if !current {
            return;
        }
        match message {
            FromWorker::Loaded(loaded) => self.loaded(device, loaded),
            FromWorker::LoadFailed { detail, bundle } => self.load_failed(device, &detail, bundle),
            FromWorker::Scored { token, score } => self.land(Token(token), |flight| {
                flight.measured(Measured::Screen(score))
            }),
            FromWorker::Separated { token, residual } => self.land(Token(token), |flight| {
                flight.measured(Measured::Residual(residual))
            }),
            FromWorker::TrackFailed {
                token,
                code,
                detail,
            } => self.track_failed(token, code, detail),
            FromWorker::CanaryResult {
                nonce,
                ok,
                worst,
                reason,
            } => {
                tracing::info!(device = device.0, ok, worst, reason, "canary");
                self.tell_core(Event::CanarySung {
                    device,
                    nonce,
                    good: ok,
                });
            }
            FromWorker::Beat(stats) => self.note_stats(device, stats),
            FromWorker::NoRoom { detail } => {
                tracing::error!(
                    device = device.0,
                    detail,
                    "the residual's network has no room on the device; its tracks go back"
                );
                self.tell_core(Event::NoRoom { device });
            }
            FromWorker::DeviceFailed { detail } => {
                tracing::error!(device = device.0, detail, "the device failed")
            }
            FromWorker::Drained { token, .. } => {
                if let Some(flight) = self.flights.get_mut(&Token(token)) {
                    flight.drained();
                }
            }
            FromWorker::Ready { .. } | FromWorker::Aborted { .. } | FromWorker::RingLost { .. } => {
            }
        }
    }

    /// The worker could not load its bundle, or not what it needed of it later.
    pub(super) fn load_failed(&mut self, device: DeviceNo, detail: &str, bundle: bool) {
        tracing::error!(device = device.0, detail, "the bundle was not loaded");
        let Some(Seat {
            state: State::Loading(_, loading) | State::Ready(_, loading, _),
            ..
        }) = self.seat(device)
        else {
            return;
        };
        let digest = loading.digest;
        self.vacate(device);
        self.tell_core(if bundle {
            Event::BundleUnready {
                device,
                bundle: digest,
                why: Unready::Never,
            }
        } else {
            Event::WorkerDied {
                device,
                death: Death::Own,
            }
        });
    }

    pub(super) fn note_stats(&mut self, device: DeviceNo, stats: WorkerStats) {
        let Some(seat) = self.seat(device) else {
            return;
        };
        seat.stats = stats;
        let name = seat.device.to_string();
        for (stage, seconds) in [
            ("screen_wait", stats.wait_seconds),
            ("screen_read", stats.read_seconds),
            ("screen", stats.engine_seconds),
            ("screen_answer", stats.answer_seconds),
        ] {
            metrics::gauge!("trackscan_worker_seconds", "device" => name.clone(), "stage" => stage)
                .set(seconds);
        }
        metrics::gauge!("trackscan_worker_windows", "device" => name.clone())
            .set(stats.windows as f64);
        metrics::gauge!("trackscan_worker_segments", "device" => name.clone())
            .set(stats.segments as f64);
        metrics::gauge!("trackscan_worker_batches", "device" => name).set(stats.batches as f64);
    }

    /// Gives up what a slot has in hand whose thread waits for a source that does not answer. Another thread takes the slot,
    /// unless too many wait already; the old one ends when it is answered, or goes on with its slot.
    pub(super) fn give_up_slot(&mut self, number: SlotNo, device: DeviceNo) {
        self.abandoned.retain(|life| life.strong_count() > 0);
        let replaced = self.abandoned.len() < ABANDONED_MAX && self.replace_slot(number, device);
        if !replaced && let Some((_, slot)) = self.slots.get(&number) {
            slot.interrupt_any();
        }
        // Only who has the slot's place from now on can begin a track in it.
        let seat = self.devices.get(device.0 as usize);
        let met = seat.filter(|_| replaced).and_then(Seat::ready);
        let met = met.and_then(|link| link.ear(number.0).map(|ear| (Arc::clone(link), ear)));
        self.end_tries_of(number, device);
        if let Some((link, ear)) = met
            && let Some((_, slot)) = self.slots.get(&number)
        {
            slot.meet(link, ear);
        }
    }

    /// Seats a new thread for a slot. False if there is none to be had.
    fn replace_slot(&mut self, number: SlotNo, device: DeviceNo) -> bool {
        let life = self.slots.get(&number).map(|(_, slot)| slot.life());
        match self.seat_slot(number, device) {
            Ok(()) => {
                self.abandoned.extend(life);
                true
            }
            Err(error) => {
                tracing::error!(%error, "no new slot");
                false
            }
        }
    }

    fn end_tries_of(&mut self, number: SlotNo, device: DeviceNo) {
        let tries = self.flights.iter();
        let tries: Vec<Token> = tries
            .filter(|(_, flight)| flight.slot == number)
            .map(|(token, _)| *token)
            .collect();
        for token in tries {
            tracing::warn!(slot = number.0, token = token.0, "a source does not answer");
            self.say(
                device,
                &ToWorker::AbortTrack {
                    slot: number.0,
                    token: token.0,
                },
            );
            self.end_soon(token, TrackOutcome::Unreachable);
        }
    }

    pub(super) fn name_of(&self, device: DeviceNo) -> Option<String> {
        self.devices
            .get(device.0 as usize)
            .map(|seat| seat.device.to_string())
    }

    /// The device's waiting time with a track in hand since its last part, microseconds.
    pub(super) fn take_wait(&mut self, device: DeviceNo) -> u64 {
        let Some(seat) = self.seat(device) else {
            return 0;
        };
        let since = (seat.stats.wait_seconds - seat.wait_told).max(0.0);
        seat.wait_told = seat.stats.wait_seconds;
        (since * 1e6) as u64
    }

    pub(super) fn stop_workers(&mut self) {
        for seat in &mut self.devices {
            if let State::Loading(link, ..) | State::Ready(link, ..) =
                std::mem::replace(&mut seat.state, State::Empty)
            {
                link.say(&ToWorker::Stop);
            }
        }
    }
}
