//! One decoder slot: a decoder process, its ring, and the track that goes through them. A thread of its own, since all of
//! it waits.
//!
//! The decoder asks for bytes, this thread reads them from the source and passes them on; the PCM goes past this process,
//! through the ring to the worker. Whatever a decoder says is checked against the little that must hold; a decoder that
//! breaks that, dies, or is taken off its track is replaced, with a new ring.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_core::{Death, SlotNo};
use audio::Channel;
use audio::child::{DecoderChild, EXIT_SANDBOX, SpawnError, Spawner, code_of_death};
use audio::limits::Limits;
use audio::protocol::{
    ChannelRule, Decode, Failure, FrameError, FromDecoder, OutputSpec, READ_BYTES_MAX, Summary,
    ToDecoder,
};
use audio::ring::SAMPLES_DEFAULT;
use engine::ToWorker;
use storage::{Source, SourceError, SourceFile};
use types::{Code, Problem};

use crate::hasher::Hasher;
use crate::news::{Decoded, News, Reading, Refusal, Teller};
use crate::worker::{Link, SlotEar, SlotNews, death_of};

/// Commands that wait: a worker's life, a track, and an end, with room for a life that ends at once.
const COMMANDS_MAX: usize = 8;
/// Longest silence of a decoder that has a track: it watches its own processor time, so this only ends one that sleeps.
/// A megabyte of the lowest bitrates is an hour of sound, which a slow device may take minutes to hear.
const DECODER_SILENCE: Duration = Duration::from_secs(600);
/// Longest time until a decoder has sandboxed itself and said hello.
const HELLO_WITHIN: Duration = Duration::from_secs(20);
/// First wait after a decoder did not start; doubles up to [`START_BACK_OFF_MAX`].
const START_BACK_OFF: Duration = Duration::from_millis(100);
/// Longest such wait.
const START_BACK_OFF_MAX: Duration = Duration::from_secs(10);

/// What a slot's thread needs for its life.
#[derive(Clone, Debug)]
pub(crate) struct SlotOptions {
    /// Its number.
    pub(crate) slot: SlotNo,
    /// The decoder's binary.
    pub(crate) decoder: PathBuf,
    /// Tracks after which its decoder is replaced.
    pub(crate) tracks_per_decoder: u32,
    /// What one track may cost.
    pub(crate) limits: Limits,
}

/// One track to decode.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// The try.
    pub(crate) token: u64,
    /// Where it is read.
    pub(crate) source: Arc<Source>,
    /// Its key there.
    pub(crate) key: String,
    /// Its size as the snapshot has it.
    pub(crate) bytes: Option<u64>,
    /// The rate at which the worker hears.
    pub(crate) rate_hz: u32,
}

enum Command {
    Worker(Arc<Link>, SlotEar),
    Work(Box<Work>),
    Quit,
}

/// The handle of a slot's thread.
#[derive(Debug)]
pub(crate) struct Slot {
    commands: SyncSender<Command>,
    shared: Arc<Shared>,
}

/// What handle and thread share.
#[derive(Debug, Default)]
struct Shared {
    /// The try in hand with a copy of its decoder's socket, so that the decoder can be taken off it.
    current: Mutex<Option<(u64, Option<UnixStream>)>>,
    /// The last try that was interrupted.
    interrupted: AtomicU64,
    /// When it began to wait for a source, while it does.
    reading: Mutex<Option<Instant>>,
}

impl Shared {
    /// Does something that waits for a source, and lets that be seen.
    fn timed<T>(&self, wait: impl FnOnce() -> T) -> T {
        let mark = |since| *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = since;
        mark(Some(Instant::now()));
        let done = wait();
        mark(None);
        done
    }
}

/// No try: tokens count from 0 far below it.
const NONE: u64 = u64::MAX;

impl Slot {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when no thread can be made.
    pub(crate) fn start(
        options: SlotOptions,
        spawner: Spawner,
        news: Teller,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = sync_channel(COMMANDS_MAX);
        let shared = Arc::new(Shared {
            interrupted: AtomicU64::new(NONE),
            ..Shared::default()
        });
        let hasher = Hasher::start(news.clone())?;
        let thread = Thread {
            options,
            spawner,
            news,
            shared: Arc::clone(&shared),
            hasher,
            decoder: None,
            worker: None,
        };
        std::thread::Builder::new()
            .name("slot".into())
            .spawn(move || thread.run(&inbox))?;
        Ok(Self { commands, shared })
    }

    /// A new worker serves the device: rings are to be attached to it.
    pub(crate) fn meet(&self, link: Arc<Link>, ear: SlotEar) {
        self.send(Command::Worker(link, ear));
    }

    /// Decodes a track. The slot must have said that it is ready.
    pub(crate) fn work(&self, work: Work) {
        self.send(Command::Work(Box::new(work)));
    }

    /// Takes the decoder off this try, if it is on it. The slot says when it is ready again.
    pub(crate) fn interrupt(&self, token: u64) {
        let current = self
            .shared
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, socket)) = current.as_ref().filter(|(of, _)| *of == token) {
            self.shared.interrupted.store(token, Ordering::Release);
            hang_up(socket.as_ref());
        }
    }

    /// Takes the decoder off whatever it does.
    pub(crate) fn interrupt_any(&self) {
        let current = self
            .shared
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((token, socket)) = current.as_ref() {
            self.shared.interrupted.store(*token, Ordering::Release);
            hang_up(socket.as_ref());
        }
    }

    /// How long its thread has been waiting for a source.
    pub(crate) fn waits_for_source(&self) -> Option<Duration> {
        let reading = self
            .shared
            .reading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        reading.map(|since| since.elapsed())
    }

    fn send(&self, command: Command) {
        match self.commands.try_send(command) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                tracing::error!("a slot was told more than it can have asked for")
            }
            Err(TrySendError::Disconnected(_)) => tracing::error!("a slot's thread is gone"),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.interrupt_any();
        let _thread_gone = self.commands.try_send(Command::Quit);
    }
}

fn hang_up(socket: Option<&UnixStream>) {
    if let Some(socket) = socket {
        let _already_gone = socket.shutdown(Shutdown::Both);
    }
}

struct Thread {
    options: SlotOptions,
    spawner: Spawner,
    news: Teller,
    shared: Arc<Shared>,
    hasher: Hasher,
    decoder: Option<Decoder>,
    worker: Option<(Arc<Link>, SlotEar)>,
}

/// A decoder that has said hello.
struct Decoder {
    child: DecoderChild,
    channel: Channel,
    tracks: u32,
    /// The worker's life that knows its ring.
    attached: Option<u64>,
}

/// Why no decoder is there.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("the decoder's socket cannot be set up")]
    Socket(#[from] std::io::Error),
    #[error("the decoder did not say hello: {0}")]
    Hello(String),
    #[error("the kernel refuses the decoder's sandbox")]
    Sandbox,
}

/// How a conversation with a decoder ended.
enum Talk {
    Done(Box<Summary>),
    Failed(Failure),
    /// A source failed.
    Source(SourceError),
    /// The file became shorter while it was read.
    Shrunk,
    /// The socket closed.
    Broken(String),
    /// The decoder said what no decoder of ours says.
    Nonsense(String),
}

impl Thread {
    fn run(mut self, inbox: &Receiver<Command>) {
        let mut failures = 0;
        let mut ready = false;
        loop {
            let wait = if ready || self.worker.is_none() {
                Duration::MAX
            } else {
                back_off(failures)
            };
            let command = if failures == 0 && !ready && self.worker.is_some() {
                Err(RecvTimeoutError::Timeout)
            } else {
                receive(inbox, wait)
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
            link.attach(self.options.slot.0, &decoder.child.ring);
            if await_slot(ear, |news| news == SlotNews::Ready).is_none() {
                // The worker is gone: the next one will come.
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

    fn start_decoder(&mut self) -> Result<(), StartError> {
        if self.decoder.is_some() {
            return Ok(());
        }
        let mut child = self
            .spawner
            .spawn_decoder(&self.options.decoder, SAMPLES_DEFAULT)?;
        let control = child.control.try_clone()?;
        control.set_read_timeout(Some(HELLO_WITHIN))?;
        let mut channel = Channel::new(control);
        match channel.receive::<FromDecoder>() {
            Ok(Some(FromDecoder::Hello { version })) if version == audio::protocol::VERSION => {}
            Ok(Some(other)) => return Err(StartError::Hello(format!("it said {other:?}"))),
            Ok(None) if child.wait()?.code() == Some(EXIT_SANDBOX) => {
                return Err(StartError::Sandbox);
            }
            Ok(None) => return Err(StartError::Hello("it ended".to_owned())),
            Err(error) => return Err(StartError::Hello(error.to_string())),
        }
        // Both ends of the descriptor share the timeout.
        child.control.set_read_timeout(Some(DECODER_SILENCE))?;
        self.decoder = Some(Decoder {
            child,
            channel,
            tracks: 0,
            attached: None,
        });
        Ok(())
    }

    fn work(&mut self, work: &Work) {
        let begun = Instant::now();
        self.enter(work.token);
        let opened = self.shared.timed(|| work.source.open(&work.key));
        let file = match opened.and_then(|file| check(file, work.bytes, &self.options.limits)) {
            Ok(file) => Arc::new(file),
            Err(error) => {
                self.leave();
                return self.tell_decoded(work.token, source_failed(&error, Reading::default()));
            }
        };
        self.hasher.begin(Arc::clone(&file));
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
        *self
            .shared
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some((token, socket));
    }

    fn leave(&self) {
        *self
            .shared
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_interrupted(&self, token: u64) -> bool {
        self.shared.interrupted.load(Ordering::Acquire) == token
    }

    /// Has the track decoded, serving its bytes.
    fn talk(&mut self, work: &Work, file: &SourceFile, reading: &mut Reading) -> Talk {
        let (Some((link, _)), Some(decoder)) = (&self.worker, &mut self.decoder) else {
            return Talk::Broken("no decoder".to_owned());
        };
        decoder.tracks += 1;
        link.say(&ToWorker::Track {
            slot: self.options.slot.0,
            token: work.token,
        });
        let order = ToDecoder::Decode(Decode {
            token: work.token,
            bytes: file.len(),
            name: work.key.rsplit('/').next().unwrap_or(&work.key).to_owned(),
            output: OutputSpec {
                rate_hz: Some(work.rate_hz),
                channels: ChannelRule::Mono,
            },
            limits: self.options.limits,
        });
        if let Err(error) = decoder.channel.send(&order) {
            return Talk::Broken(error.to_string());
        }
        loop {
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
                }
                Ok(Some(FromDecoder::Done(summary))) => return Talk::Done(Box::new(summary)),
                Ok(Some(FromDecoder::Failed(failure))) => return Talk::Failed(failure),
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
    fn conclude(&mut self, work: &Work, talk: Talk, reading: Reading) {
        let token = work.token;
        if self.is_interrupted(token) {
            self.give_up(token);
            return;
        }
        match talk {
            Talk::Done(summary) if is_consistent(&summary, work) => {
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
                    ..
                } = failure;
                let refusal = Refusal {
                    code,
                    detail,
                    provenance,
                    cpu_us,
                };
                self.tell_decoded(token, Decoded::Failed(refusal, reading));
            }
            Talk::Source(error) => {
                self.give_up(token);
                self.tell_decoded(token, source_failed(&error, reading));
            }
            Talk::Shrunk => {
                self.give_up(token);
                let detail = format!("`{}` became shorter while it was read", work.key);
                self.tell_decoded(token, refused(Code::SourceChanged, &detail, reading));
            }
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
        link.say(&ToWorker::EndOfTrack {
            slot,
            token,
            frames,
        });
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
            Some(SlotNews::Violated(_) | SlotNews::Aborted(_) | SlotNews::Ready) => {
                self.decoder = None
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
        link.say(&ToWorker::AbortTrack {
            slot: self.options.slot.0,
            token,
        });
        let mut violated = false;
        let end = await_slot(ear, |news| {
            violated |= news == SlotNews::Violated(token);
            news == SlotNews::Aborted(token)
        });
        if end.is_none() {
            self.worker = None;
        }
        if violated || end.is_none() {
            self.decoder = None;
        }
    }

    /// The worker forgets the track, and the decoder with its ring is done with.
    fn give_up(&mut self, token: u64) {
        if let Some((link, _)) = &self.worker {
            link.say(&ToWorker::AbortTrack {
                slot: self.options.slot.0,
                token,
            });
        }
        self.decoder = None;
    }

    fn retire_if(&mut self, wanted: bool) {
        let old = self
            .decoder
            .as_ref()
            .is_some_and(|decoder| decoder.tracks >= self.options.tracks_per_decoder);
        if wanted || old {
            self.decoder = None;
        }
    }

    /// What a decoder's end means for its track.
    fn post_mortem(&mut self, how: &str) -> Decoded {
        let Some(mut decoder) = self.decoder.take() else {
            return Decoded::Died {
                death: Death::Killed,
                code: Code::DecodeCrash,
            };
        };
        // What is ended here, for its silence or for nonsense, did not end by itself.
        let alone = has_ended(decoder.child.pid());
        let (death, code) = match decoder.child.end() {
            Ok(status) if alone => (death_of(status, false), code_of_death(status)),
            Ok(_) => (Death::Hung, Code::DecodeStalled),
            Err(_) => (Death::Own, Code::DecodeCrash),
        };
        tracing::info!(slot = self.options.slot.0, how, ?death, %code, "a decoder ended with a track in hand");
        Decoded::Died { death, code }
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

/// How long a process whose socket has closed may take to be gone, and how often it is looked at.
const LAST_WORDS: Duration = Duration::from_millis(200);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Whether a child of this process has ended by itself; it stays to be waited for.
fn has_ended(pid: u32) -> bool {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let until = Instant::now() + LAST_WORDS;
    loop {
        match waitid(WaitId::Pid(pid), look) {
            Ok(None) if Instant::now() < until => std::thread::sleep(LOOK_EVERY),
            Ok(ended) => return ended.is_some(),
            Err(_) => return true,
        }
    }
}

/// Answers one request for bytes.
fn serve(
    channel: &mut Channel,
    hasher: &mut Hasher,
    shared: &Shared,
    file: &SourceFile,
    offset: u64,
    length: u32,
    reading: &mut Reading,
) -> Result<(), Talk> {
    let within = offset
        .checked_add(length.into())
        .is_some_and(|end| end <= file.len());
    if length == 0 || length > READ_BYTES_MAX || !within {
        return Err(Talk::Nonsense(format!(
            "it asked for {length} bytes at {offset}"
        )));
    }
    let begun = Instant::now();
    let mut bytes = vec![0; length as usize];
    let read = shared.timed(|| file.read_at(offset, &mut bytes));
    reading.wait_us += micros(begun.elapsed());
    let broken = |error: FrameError| Talk::Broken(error.to_string());
    match read {
        Ok(read) if read == bytes.len() => {
            reading.served += u64::from(length);
            channel
                .send_with(&ToDecoder::Bytes { offset, length }, &bytes)
                .map_err(broken)?;
            hasher.block(offset, bytes);
            Ok(())
        }
        Ok(_) => Err(Talk::Shrunk),
        Err(error) => Err(Talk::Source(error)),
    }
}

fn check(
    file: SourceFile,
    expected: Option<u64>,
    limits: &Limits,
) -> Result<SourceFile, SourceError> {
    file.check_size(limits.file_bytes, expected)?;
    Ok(file)
}

fn is_consistent(summary: &Summary, work: &Work) -> bool {
    summary.token == work.token && summary.rate_hz == work.rate_hz && summary.channels == 1
}

fn source_failed(error: &SourceError, reading: Reading) -> Decoded {
    if error.is_transient() {
        Decoded::Unreachable
    } else {
        refused(error.code(), &error.to_string(), reading)
    }
}

fn refused(code: Code, detail: &str, reading: Reading) -> Decoded {
    let refusal = Refusal {
        code,
        detail: detail.to_owned(),
        provenance: Vec::new(),
        cpu_us: 0,
    };
    Decoded::Failed(refusal, reading)
}

/// Waits for news of a kind, passing over others; none once the worker is gone.
fn await_slot(ear: &SlotEar, mut wanted: impl FnMut(SlotNews) -> bool) -> Option<SlotNews> {
    loop {
        let news = ear.recv().ok()?;
        if wanted(news) {
            return Some(news);
        }
    }
}

fn receive(inbox: &Receiver<Command>, wait: Duration) -> Result<Command, RecvTimeoutError> {
    if wait == Duration::MAX {
        return inbox.recv().map_err(|_| RecvTimeoutError::Disconnected);
    }
    inbox.recv_timeout(wait)
}

fn back_off(failures: u32) -> Duration {
    START_BACK_OFF
        .saturating_mul(1 << failures.saturating_sub(1).min(10))
        .min(START_BACK_OFF_MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
