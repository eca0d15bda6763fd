//! The worker's loop: messages and PCM in, scores out, one thread.
//!
//! Each round takes what messages are there, goes round the slots until the batch is full or no slot has anything
//! ready, and runs the batch. It sleeps only with an empty batch, so it never waits for luck. A lie in a ring ends one
//! track; an error of the device or of the bundle ends the worker, after saying which.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use audio::ring::{Reader, RingFds};
use thiserror::Error;
use types::{Code, Stage};

use crate::batch::{Batch, Outcome, Place};
use crate::canary::{sing, sing_residual};
use crate::feed::{Allowance, Batches, PIECE_SAMPLES, Pass, Slot, Step};
use crate::frames::{FrameError, FrameReader, Received, write};
use crate::protocol::{FromWorker, Load, Loaded, SLOTS_MAX, ToWorker, WorkerStats};
use crate::seam::{Engine, EngineError};
use crate::segments::SegmentBatch;
use crate::tally::{Sound, Tally, Used};
use separate::Track;

mod idle;
mod separate;

/// The descriptor at which a worker finds its socket.
const SOCKET_FD: i32 = 3;
/// Steps over the slots between two looks at the socket: about a second of copying, so that an abort is heard soon.
const STEPS_MAX: usize = 4_096;

/// Why a worker ended otherwise than by being told to.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The socket to the agent is of no use.
    #[error("cannot speak with the agent")]
    Socket(#[from] FrameError),
    /// The agent said something that the protocol does not allow at that point.
    #[error("the agent sent {0}")]
    Protocol(String),
    /// The engine could not be loaded or its device failed; the agent was told.
    #[error("the engine is of no more use")]
    Engine(#[from] EngineError),
    /// Waiting for messages and PCM failed.
    #[error("cannot wait for messages and samples")]
    Wait(#[source] io::Error),
}

/// Runs a worker on the socket that it inherited as descriptor 3, until the agent says `Stop` or closes.
///
/// # Errors
/// See [`ServeError`]. The process should end with a status other than 0.
pub fn serve<E: Engine>(
    load: impl FnOnce(&Load) -> Result<E, EngineError>,
) -> Result<(), ServeError> {
    // SAFETY: the agent starts a worker with its socket as descriptor 3, and nothing else in this process owns it;
    // where it is not open, the first read says so.
    let socket = unsafe { OwnedFd::from_raw_fd(SOCKET_FD) };
    serve_on(socket, load)
}

/// Runs a worker's loop on `socket`.
///
/// # Errors
/// See [`ServeError`].
pub fn serve_on<E: Engine>(
    socket: OwnedFd,
    load: impl FnOnce(&Load) -> Result<E, EngineError>,
) -> Result<(), ServeError> {
    let mut socket = FrameReader::new(socket);
    let wanted = match socket.read::<ToWorker>()? {
        Some(ToWorker::Load(wanted)) if wanted.slots <= SLOTS_MAX => wanted,
        Some(other) => {
            return Err(ServeError::Protocol(format!(
                "{other:?} before a valid load"
            )));
        }
        None => return Ok(()),
    };
    match load(&wanted) {
        Ok(engine) => Worker::new(socket, engine, &wanted).run(),
        Err(error) => {
            let bundle = matches!(error, EngineError::Bundle { .. });
            let detail = error.to_string();
            write(socket.fd(), &FromWorker::LoadFailed { detail, bundle }, &[])?;
            Err(error.into())
        }
    }
}

struct Worker<E> {
    socket: FrameReader<OwnedFd>,
    engine: E,
    slots: Vec<Slot>,
    /// The slot at which the next round begins, so that none is always first.
    turn: usize,
    /// The tracks that are neither answered for nor aborted.
    tracks: BTreeMap<u64, Track>,
    batches: Batches,
    scratch: Vec<f32>,
    stats: WorkerStats,
    last_beat: Instant,
}

/// Whether the loop goes on.
#[derive(PartialEq)]
enum Next {
    Go,
    Stop,
}

impl<E: Engine> Worker<E> {
    fn new(socket: FrameReader<OwnedFd>, engine: E, wanted: &Load) -> Self {
        let info = engine.info();
        let wanted_batch = wanted.max_batch.map_or(usize::MAX, |max| max as usize);
        let segments = info.residual.as_ref().map_or(1, |info| info.max_batch);
        let batches = Batches {
            windows: Batch::new(info.window, info.max_batch.min(wanted_batch)),
            segments: SegmentBatch::new(segments),
        };
        let slots = (0..wanted.slots).map(|_| Slot::default()).collect();
        Self {
            socket,
            engine,
            slots,
            turn: 0,
            tracks: BTreeMap::new(),
            batches,
            scratch: vec![0.0; PIECE_SAMPLES],
            stats: WorkerStats::default(),
            last_beat: Instant::now(),
        }
    }

    fn run(mut self) -> Result<(), ServeError> {
        self.greet()?;
        loop {
            if self.hear()? == Next::Stop {
                return Ok(());
            }
            let worked = self.fill()?;
            match self.due() {
                Some(Stage::Residual) => self.separate()?,
                Some(Stage::Screen | Stage::Decode) => self.screen()?,
                None if !worked => self.wait()?,
                None => {}
            }
            self.beat()?;
        }
    }

    /// The stage whose batch is to run: a full one, else whatever is there once the slots have no more. Segments cost the most, so
    /// that windows do not make them run in small batches.
    fn due(&self) -> Option<Stage> {
        let Batches { windows, segments } = &self.batches;
        if segments.is_full() {
            Some(Stage::Residual)
        } else if windows.len() > 0 {
            Some(Stage::Screen)
        } else {
            (segments.len() > 0).then_some(Stage::Residual)
        }
    }

    fn greet(&mut self) -> Result<(), ServeError> {
        let info = self.engine.info();
        let loaded = Loaded {
            bundle: info.bundle,
            device: info.device.clone(),
            dtype: info.dtype,
            max_batch: u32::try_from(info.max_batch).unwrap_or(u32::MAX),
            rate_hz: info.window.rate_hz,
            hop: info.window.hop,
            window_frames: info.window.frames,
            residual: separate::loaded(info),
        };
        self.say(&FromWorker::Loaded(loaded))
    }

    /// Takes every message that is there.
    fn hear(&mut self) -> Result<Next, ServeError> {
        loop {
            match self.socket.try_read::<ToWorker>()? {
                Received::Nothing => return Ok(Next::Go),
                Received::Closed | Received::Message(ToWorker::Stop) => return Ok(Next::Stop),
                Received::Message(message) => self.obey(message)?,
            }
        }
    }

    fn obey(&mut self, message: ToWorker) -> Result<(), ServeError> {
        match message {
            ToWorker::Load(_) => Err(ServeError::Protocol("a second load".to_owned())),
            ToWorker::AttachRing { slot } => self.attach(slot),
            ToWorker::Track {
                slot,
                token,
                samples_max,
                patience_ms,
            } => {
                let allowance = Allowance::of(samples_max, patience_ms);
                let info = self.engine.info();
                let track = Track::Screened(Tally::new(info));
                let pass = Pass::screen(info.window);
                self.begin(slot, token, allowance, pass, track)
            }
            ToWorker::Separate {
                slot,
                token,
                pass,
                samples_max,
                patience_ms,
            } => {
                let allowance = Allowance::of(samples_max, patience_ms);
                self.begin_residual(slot, token, allowance, pass)
            }
            ToWorker::EndOfTrack {
                slot,
                token,
                frames,
            } => {
                self.slot(slot)?.announce(token, frames);
                Ok(())
            }
            ToWorker::Excuse {
                slot,
                token,
                wait_ms,
            } => {
                let wait = Duration::from_millis(wait_ms);
                self.slot(slot)?.excuse(token, wait);
                Ok(())
            }
            ToWorker::AbortTrack { slot, token } => self.abort(slot, token),
            ToWorker::Canary { nonce } => self.canary(nonce, Stage::Screen),
            ToWorker::ResidualCanary { nonce } => self.canary(nonce, Stage::Residual),
            ToWorker::Stop => Ok(()),
        }
    }

    fn slot(&mut self, slot: u32) -> Result<&mut Slot, ServeError> {
        let unknown = || ServeError::Protocol(format!("slot {slot}, which does not exist"));
        self.slots.get_mut(slot as usize).ok_or_else(unknown)
    }

    fn attach(&mut self, slot: u32) -> Result<(), ServeError> {
        let fds = RingFds::from(self.socket.take_fds::<3>()?);
        let ring = Reader::attach(fds)
            .map_err(|error| ServeError::Protocol(format!("a bad ring: {error}")))?;
        if let Some(token) = self.slot(slot)?.attach(ring) {
            self.tracks.remove(&token);
            self.say(&FromWorker::Aborted { token, slot })?;
        }
        self.say(&FromWorker::Ready { slot })
    }

    fn begin(
        &mut self,
        slot: u32,
        token: u64,
        allowance: Allowance,
        pass: Pass,
        track: Track,
    ) -> Result<(), ServeError> {
        if !self.slot(slot)?.begin(token, allowance, pass) {
            return Err(ServeError::Protocol(format!(
                "track {token} to slot {slot}, which is not idle"
            )));
        }
        self.tracks.insert(token, track);
        Ok(())
    }

    fn abort(&mut self, slot: u32, token: u64) -> Result<(), ServeError> {
        self.slot(slot)?.abort(token);
        self.tracks.remove(&token);
        self.say(&FromWorker::Aborted { token, slot })
    }

    /// Goes round the slots until a batch is full or nothing is ready. Says whether anything was done.
    fn fill(&mut self) -> Result<bool, ServeError> {
        let begun = Instant::now();
        let slots = self.slots.len();
        let (mut idle, mut steps) = (0, 0);
        while idle < slots && steps < STEPS_MAX && !self.batches.is_full() {
            let at = self.turn % slots;
            self.turn = at + 1;
            let step = self.slots[at].step(&mut self.batches, &mut self.scratch);
            idle = if step == Step::Nothing { idle + 1 } else { 0 };
            steps += 1;
            self.settle(at, step)?;
        }
        self.stats.read_seconds += begun.elapsed().as_secs_f64();
        Ok(steps > idle)
    }

    fn settle(&mut self, at: usize, step: Step) -> Result<(), ServeError> {
        let slot = u32::try_from(at).expect("slots were counted in u32");
        match step {
            Step::Nothing | Step::Worked => Ok(()),
            Step::Failed {
                token,
                code,
                detail,
            } => {
                self.say(&FromWorker::RingLost { slot, token })?;
                self.fail(token, code, detail)
            }
            Step::Drained { token, sound } => {
                self.say(&FromWorker::Drained { slot, token })?;
                self.end(token, sound)
            }
        }
    }

    /// The track is read to its end: it is through as soon as no batch holds anything of it.
    fn end(&mut self, token: u64, sound: Option<Sound>) -> Result<(), ServeError> {
        match sound {
            None => Ok(()),
            Some(sound) if sound.samples == 0 => self.fail(
                token,
                Code::NoSamples,
                "the decoder gave no sample".to_owned(),
            ),
            Some(sound) => {
                if let Some(track) = self.tracks.get_mut(&token) {
                    track.is_read(sound);
                }
                self.finish(token)
            }
        }
    }

    fn finish(&mut self, token: u64) -> Result<(), ServeError> {
        let whole = self.tracks.get(&token).is_some_and(Track::is_whole);
        if !whole || self.batches.holds(token) {
            return Ok(());
        }
        let Some(track) = self.tracks.remove(&token) else {
            return Ok(());
        };
        self.stats.tracks += 1;
        match self.say(&track.answer(token)) {
            // Nothing of it was written. Bundles and limits are such that no track comes here.
            Err(ServeError::Socket(error @ FrameError::TooLong(_))) => {
                self.say(&FromWorker::TrackFailed {
                    token,
                    code: Code::TooLong,
                    detail: error.to_string(),
                })
            }
            said => said,
        }
    }

    /// Gives a track up; whatever of it is still in its ring is read past. A track that already failed stays as it is.
    fn fail(&mut self, token: u64, code: Code, detail: String) -> Result<(), ServeError> {
        if !self.forget(token) {
            return Ok(());
        }
        self.say(&FromWorker::TrackFailed {
            token,
            code,
            detail,
        })
    }

    /// Forgets a track and reads past the rest of it. False where nothing was known of it any more.
    fn forget(&mut self, token: u64) -> bool {
        let known = self.tracks.remove(&token).is_some();
        for slot in self.slots.iter_mut().filter(|_| known) {
            slot.discard(token);
        }
        known
    }

    fn screen(&mut self) -> Result<(), ServeError> {
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        let outcome = self.batches.windows.run(&mut self.engine);
        let used = Used {
            device_seconds: begun.elapsed().as_secs_f64(),
            cpu_seconds: cpu_seconds() - cpu,
        };
        self.stats.engine_seconds += used.device_seconds;
        let (outcomes, splits) = self.survive(outcome)?;
        self.stats.windows += outcomes.len() as u64;
        self.stats.batches += 1;
        self.stats.splits += splits;
        let each = used.share(outcomes.len());
        let mut tokens: Vec<u64> = outcomes.iter().map(|(place, _)| place.token).collect();
        for (place, outcome) in outcomes {
            self.count(&place, outcome, each)?;
        }
        tokens.dedup();
        tokens.into_iter().try_for_each(|token| self.finish(token))
    }

    fn count(&mut self, place: &Place, outcome: Outcome, used: Used) -> Result<(), ServeError> {
        let Some(Track::Screened(tally)) = self.tracks.get_mut(&place.token) else {
            return Ok(());
        };
        match outcome {
            Err(detail) => self.fail(place.token, Code::DeviceOutOfMemory, detail),
            Ok(score) => match tally.add(place, &score, used, self.engine.info()) {
                Ok(()) => Ok(()),
                Err(code) => self.fail(
                    place.token,
                    code,
                    format!("window at frame {}", place.cut.start),
                ),
            },
        }
    }

    /// Passes a result on; what failed is told to the agent first: the device, or a bundle whose files are not what they were.
    fn survive<T>(&mut self, result: Result<T, EngineError>) -> Result<T, ServeError> {
        if let Err(error) = &result {
            let detail = error.to_string();
            self.say(&match error {
                EngineError::Bundle { .. } => FromWorker::LoadFailed {
                    detail,
                    bundle: true,
                },
                EngineError::Device { .. }
                | EngineError::OutOfMemory { .. }
                | EngineError::NoRoom { .. } => FromWorker::DeviceFailed { detail },
            })?;
        }
        Ok(result?)
    }

    fn canary(&mut self, nonce: u64, stage: Stage) -> Result<(), ServeError> {
        let begun = Instant::now();
        let outcome = match stage {
            Stage::Residual => sing_residual(&mut self.engine),
            Stage::Screen | Stage::Decode => sing(&mut self.engine),
        };
        self.stats.engine_seconds += begun.elapsed().as_secs_f64();
        if let Err(EngineError::NoRoom { detail }) = outcome {
            return self.forget_residuals(detail);
        }
        let (worst, reason) = self.survive(outcome)?;
        let ok = reason.is_empty();
        // What is asked for a canary makes a part next, whose waiting time must be known to its end.
        self.say(&FromWorker::Beat(self.stats))?;
        self.say(&FromWorker::CanaryResult {
            nonce,
            ok,
            worst,
            reason,
        })
    }

    fn say(&mut self, message: &FromWorker) -> Result<(), ServeError> {
        let begun = Instant::now();
        write(self.socket.fd().as_fd(), message, &[])?;
        self.stats.answer_seconds += begun.elapsed().as_secs_f64();
        Ok(())
    }
}

/// Processor time of this process, seconds, all threads: an engine on a CPU works on several.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it waits for"
)]
mod tests;
