//! A slot's thread: keeps a decoder whose ring the worker knows, has tracks decoded, and says how each ended.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use audio::child::Spawner;
use audio::protocol::{Decode, Failure, FrameError, FromDecoder, Summary, ToDecoder};
use engine::ToWorker;
use storage::{SourceError, SourceFile};
use types::{Code, Problem};

use super::decoder::{Decoder, StartError, back_off};
use super::talk::{Talk, check, is_consistent, micros, refused, serve, source_failed};
use super::{Command, Shared, SlotOptions, Work};
use crate::hasher::Hasher;
use crate::news::{Decoded, News, Reading, Refusal, Teller};
use crate::worker::{Link, SlotEar, SlotNews};

/// Longest wait for a worker's answer about a slot: it reads the rest of a ring first, which holds half a minute of sound
/// at the lowest rates, while the slowest device serves the slots in turn. A hanging worker is found long before.
const ANSWER_WITHIN: Duration = Duration::from_secs(3_600);
/// Waits for a source that are excused together: shorter ones are within any patience, and each excuse is a message.
const EXCUSE_FROM: Duration = Duration::from_secs(1);

/// The thread's state.
pub(super) struct Thread {
    pub(super) options: SlotOptions,
    pub(super) spawner: Spawner,
    pub(super) news: Teller,
    pub(super) shared: Arc<Shared>,
    pub(super) hasher: Hasher,
    pub(super) decoder: Option<Decoder>,
    pub(super) worker: Option<(Arc<Link>, SlotEar)>,
}

impl Thread {
    /// Obeys until it is told to quit or nobody can tell it anything.
    pub(super) fn run(mut self, inbox: &Receiver<Command>) {
        let mut failures = 0;
        let mut ready = false;
        loop {
            // Commands come first: one of them may be the last.
            let command = if ready || self.worker.is_none() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(back_off(failures))
            };
            match command {
                Ok(Command::Worker(link, ear)) => {
                    self.worker = Some((link, ear));
                    (ready, failures) = (false, 0);
                }
                Ok(Command::Work(work)) => {
                    self.work(&work);
                    (ready, failures) = (false, 0);
                }
                Ok(Command::Quit) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    ready = self.make_ready();
                    failures = if ready { 0 } else { failures + 1 };
                }
            }
        }
    }

    /// Sees to a decoder whose ring the worker knows, and says so. False if that failed for now.
    fn make_ready(&mut self) -> bool {
        // A ring serves one reader from its first sample on: a new worker gets a new one.
        let life = self.worker.as_ref().map(|(link, _)| link.life);
        self.decoder
            .take_if(|decoder| decoder.attached.is_some() && decoder.attached != life);
        if let Err(error) = self.start_decoder() {
            tracing::warn!(slot = self.options.slot.0, %error, "no decoder");
            if matches!(error, StartError::Sandbox) {
                self.tell(News::Fatal(Problem::new(
                    Code::SandboxUnavailable,
                    "start a decoder",
                )));
            }
            return false;
        }
        let Some((link, ear)) = &self.worker else {
            return false;
        };
        let Some(decoder) = &mut self.decoder else {
            return false;
        };
        if decoder.attached != Some(link.life) {
            let attached = link.attach(ear, &decoder.child.ring)
                && await_slot(ear, |news| news == SlotNews::Ready).is_some();
            if !attached {
                // The worker is gone, the next one will come; or another thread has the slot.
                self.worker = None;
                return true;
            }
            decoder.attached = Some(link.life);
        }
        let news = News::SlotReady {
            slot: self.options.slot,
            link: Arc::clone(link),
        };
        self.tell(news);
        true
    }

    fn work(&mut self, work: &Work) {
        let begun = Instant::now();
        self.enter(work.token);
        let open = || {
            work.source
                .open_version(&work.key, work.content_id.as_deref())
        };
        let opened = self.shared.reading.timed(open);
        if self.shared.is_given_up(work.token) {
            // Nothing was begun, so the worker is told nothing; the decoder's socket may be closed already.
            self.decoder = None;
            return self.leave();
        }
        let file = match opened.and_then(|file| check(file, work.bytes, &self.options.limits)) {
            Ok(file) => Arc::new(file),
            Err(error) => {
                self.leave();
                // Whoever interrupts meanwhile closes the decoder's socket.
                self.decoder
                    .take_if(|_| self.shared.is_given_up(work.token));
                let outcome = self.failed_to_read(work, &error, Reading::default());
                return self.tell_decoded(work.token, outcome);
            }
        };
        self.hasher
            .begin(Arc::clone(&work.source), Arc::clone(&file));
        let mut reading = Reading {
            bytes: Some(file.len()),
            ..Reading::default()
        };
        let talk = self.talk(work, &file, &mut reading);
        self.leave();
        reading.wall_us = micros(begun.elapsed());
        self.conclude(work, talk, reading);
    }

    fn enter(&self, token: u64) {
        let socket = self
            .decoder
            .as_ref()
            .and_then(|decoder| decoder.child.control.try_clone().ok());
        *self.shared.current() = Some((token, socket));
    }

    fn leave(&self) {
        *self.shared.current() = None;
    }

    fn failed_to_read(&self, work: &Work, error: &SourceError, reading: Reading) -> Decoded {
        self.shared
            .reading
            .timed(|| source_failed(error, reading, &work.source, &work.key))
    }

    /// Has the track decoded, serving its bytes.
    fn talk(&mut self, work: &Work, file: &SourceFile, reading: &mut Reading) -> Talk {
        let (Some((link, ear)), Some(decoder)) = (&self.worker, &mut self.decoder) else {
            return Talk::Broken("no decoder".to_owned());
        };
        decoder.tracks += 1;
        let patience_ms = millis(self.options.patience);
        let track = work.begin(self.options.slot, &self.options.limits, patience_ms);
        if !link.say_as(ear, &track) {
            return Talk::Unheard;
        }
        let order = ToDecoder::Decode(Decode {
            token: work.token,
            bytes: file.len(),
            name: work.key.rsplit('/').next().unwrap_or(&work.key).to_owned(),
            output: work.output(),
            limits: self.options.limits,
        });
        if let Err(error) = decoder.channel.send(&order) {
            return Talk::Broken(error.to_string());
        }
        let mut excused_us = 0;
        loop {
            let is_given_up = || self.shared.is_given_up(work.token);
            match decoder.await_word(self.options.silence, is_given_up) {
                Ok(true) => {}
                Ok(false) => return Talk::Broken("it was silent for too long".to_owned()),
                Err(error) => return Talk::Broken(error.to_string()),
            }
            match decoder.channel.receive::<FromDecoder>() {
                Ok(Some(FromDecoder::ReadAt { offset, length })) => {
                    let served = serve(
                        &mut decoder.channel,
                        &mut self.hasher,
                        &self.shared,
                        file,
                        offset,
                        length,
                        reading,
                    );
                    if let Err(end) = served {
                        return end;
                    }
                    let wait = Duration::from_micros(reading.wait_us - excused_us);
                    if wait >= EXCUSE_FROM {
                        excused_us = reading.wait_us;
                        let excuse = ToWorker::Excuse {
                            slot: self.options.slot.0,
                            token: work.token,
                            wait_ms: millis(wait),
                        };
                        let _its_end_is_heard_of_soon = link.say_as(ear, &excuse);
                    }
                }
                Ok(Some(FromDecoder::Done(summary))) => {
                    return Talk::Done(Box::new(summary.cleaned()));
                }
                Ok(Some(FromDecoder::Failed(failure))) => return Talk::Failed(failure.cleaned()),
                Ok(Some(FromDecoder::Hello { .. })) => {
                    return Talk::Nonsense("a second hello".to_owned());
                }
                Ok(None) => return Talk::Broken("it closed".to_owned()),
                Err(error @ FrameError::Message(..)) => return Talk::Nonsense(error.to_string()),
                Err(error @ FrameError::TooLong(_)) => return Talk::Nonsense(error.to_string()),
                Err(error) => return Talk::Broken(error.to_string()),
            }
        }
    }

    /// Settles decoder, worker and shell after a track.
    fn conclude(&mut self, work: &Work, talk: Talk, mut reading: Reading) {
        let token = work.token;
        if self.shared.is_given_up(token) {
            return self.give_up(token);
        }
        match talk {
            Talk::Done(summary) if is_consistent(&summary, work) => {
                reading.room_us = summary.room_us;
                self.hand_over(token, *summary, reading)
            }
            Talk::Done(_) => {
                self.give_up(token);
                let detail = "the decoder's summary is of another track or form";
                self.tell_decoded(token, refused(Code::RingViolation, detail, reading));
            }
            Talk::Nonsense(what) => {
                self.give_up(token);
                self.tell_decoded(
                    token,
                    refused(
                        Code::RingViolation,
                        &format!("the decoder: {what}"),
                        reading,
                    ),
                );
            }
            Talk::Failed(failure) => {
                self.abort(token);
                self.retire_if(failure.retire);
                let Failure {
                    code,
                    detail,
                    provenance,
                    cpu_us,
                    room_us,
                    ..
                } = failure;
                reading.room_us = room_us;
                let refusal = Refusal {
                    code,
                    detail,
                    provenance,
                    cpu_us,
                    sha256: reading.bytes.and_then(|bytes| self.hasher.whole(bytes)),
                };
                self.tell_decoded(token, Decoded::Failed(refusal, reading));
            }
            Talk::Source(error) => {
                self.give_up(token);
                let outcome = self.failed_to_read(work, &error, reading);
                self.tell_decoded(token, outcome);
            }
            Talk::Shrunk => {
                self.give_up(token);
                let detail = format!("`{}` became shorter while it was read", work.key);
                self.tell_decoded(token, refused(Code::SourceChanged, &detail, reading));
            }
            // With its worker the try is over; whoever replaces either knows.
            Talk::Unheard => (self.worker, self.decoder) = (None, None),
            Talk::Broken(how) => {
                let outcome = self.post_mortem(&how);
                self.give_up(token);
                self.tell_decoded(token, outcome);
            }
        }
    }

    /// All samples are in the ring: the worker is told how many, and says when it has read them.
    fn hand_over(&mut self, token: u64, summary: Summary, reading: Reading) {
        let slot = self.options.slot.0;
        let (frames, retire) = (summary.frames, summary.retire);
        self.hasher.end(token);
        self.tell_decoded(token, Decoded::Whole(summary, reading));
        let Some((link, ear)) = &self.worker else {
            return;
        };
        let end = ToWorker::EndOfTrack {
            slot,
            token,
            frames,
        };
        if !link.say_as(ear, &end) {
            (self.worker, self.decoder) = (None, None);
            return;
        }
        let begun = Instant::now();
        let ends = [
            SlotNews::Drained(token),
            SlotNews::Violated(token),
            SlotNews::Aborted(token),
        ];
        let end = await_slot(ear, |news| ends.contains(&news));
        metrics::counter!("trackscan_stage_wait_microseconds", "stage" => "drain")
            .increment(micros(begun.elapsed()));
        match end {
            Some(SlotNews::Drained(_)) => self.retire_if(retire),
            Some(SlotNews::Violated(_)) => self.decoder = None,
            Some(SlotNews::Aborted(_) | SlotNews::Ready) => {
                // Nobody here asked for that: the track is tried again, unless its try is over anyway.
                self.decoder = None;
                self.tell_decoded(token, Decoded::Unreachable);
            }
            None => {
                self.worker = None;
                self.decoder = None;
            }
        }
    }

    /// The worker forgets the track; its ring stays in use.
    fn abort(&mut self, token: u64) {
        let Some((link, ear)) = &self.worker else {
            return;
        };
        let abort = ToWorker::AbortTrack {
            slot: self.options.slot.0,
            token,
        };
        let said = link.say_as(ear, &abort);
        let mut violated = false;
        let answer = |news| {
            violated |= news == SlotNews::Violated(token);
            news == SlotNews::Aborted(token)
        };
        let end = await_slot(ear, answer).filter(|_| said);
        if end.is_none() {
            self.worker = None;
        }
        if violated || end.is_none() {
            self.decoder = None;
        }
    }

    /// The worker forgets the track, and the decoder with its ring is done with.
    fn give_up(&mut self, token: u64) {
        if let Some((link, ear)) = &self.worker {
            let abort = ToWorker::AbortTrack {
                slot: self.options.slot.0,
                token,
            };
            let _gone_or_not_ours = link.say_as(ear, &abort);
        }
        self.decoder = None;
    }

    fn tell_decoded(&self, token: u64, outcome: Decoded) {
        self.tell(News::Decoded {
            token,
            outcome: Box::new(outcome),
        });
    }

    fn tell(&self, news: News) {
        let _shell_gone = self.news.blocking_send(news);
    }
}

/// Waits for news of a kind, passing over others; none once the worker is gone, the slot another's, or no answer comes.
fn await_slot(ear: &SlotEar, mut wanted: impl FnMut(SlotNews) -> bool) -> Option<SlotNews> {
    loop {
        let news = ear.news.recv_timeout(ANSWER_WITHIN).ok()?;
        if wanted(news) {
            return Some(news);
        }
    }
}

/// A span in milliseconds.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
