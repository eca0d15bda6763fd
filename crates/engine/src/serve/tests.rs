//! The loop against real rings and a real socket: the test plays the agent and the decoders.

use super::*;
use crate::frames::{self, FrameError};
use crate::protocol::TrackScore;
use crate::stub::{StubEngine, StubOptions, Trick};
use audio::ring::{SAMPLES_MIN, Writer};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use types::{DeviceKind, Digest};

mod residual;

/// A worker on a thread, and the agent's end of its socket.
struct World {
    socket: FrameReader<UnixStream>,
    worker: Option<JoinHandle<Result<(), ServeError>>>,
}

impl World {
    fn new(options: StubOptions) -> Self {
        Self::over(move |load| StubEngine::new(options, load))
    }

    /// A worker over an engine.
    fn over<E: Engine + 'static>(engine: impl FnOnce(&Load) -> E + Send + 'static) -> Self {
        let (here, there) = UnixStream::pair().unwrap();
        let load = move |load: &Load| Ok(engine(load));
        let worker = std::thread::spawn(move || serve_on(there.into(), load));
        let mut world = Self {
            socket: FrameReader::new(here),
            worker: Some(worker),
        };
        world.say(ToWorker::Load(Load {
            bundle_dir: "/nowhere".to_owned(),
            bundle: Digest::of(b"bundle"),
            device: DeviceKind::Cpu,
            index: 0,
            dtype: None,
            slots: 4,
            max_batch: None,
        }));
        assert!(
            matches!(world.hear(), FromWorker::Loaded(loaded) if loaded.bundle == Digest::of(b"bundle"))
        );
        world
    }

    /// Says something. A worker that has ended hears nothing, but what it said before is still to be heard.
    fn say(&mut self, message: ToWorker) {
        match frames::write(self.socket.fd(), &message, &[]) {
            Err(FrameError::Socket(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            written => written.unwrap(),
        }
    }

    /// The next message that is no beat.
    fn hear(&mut self) -> FromWorker {
        loop {
            match self
                .socket
                .read::<FromWorker>()
                .unwrap()
                .expect("the worker speaks")
            {
                FromWorker::Beat(_) => {}
                other => return other,
            }
        }
    }

    fn ring(&mut self, slot: u32) -> Writer {
        let fds = RingFds::create(SAMPLES_MIN).unwrap();
        let message = ToWorker::AttachRing { slot };
        frames::write(self.socket.fd(), &message, &fds.as_fds()).unwrap();
        assert_eq!(self.hear(), FromWorker::Ready { slot });
        Writer::attach(fds).unwrap()
    }

    /// Hears the two answers of a track that is read to its end.
    fn outcome(&mut self, token: u64) -> Result<TrackScore, Code> {
        let mut drained = false;
        let mut outcome = None;
        while !drained || outcome.is_none() {
            match self.hear() {
                FromWorker::Drained { token: of, .. } if of == token => drained = true,
                FromWorker::Scored { token: of, score } if of == token => outcome = Some(Ok(score)),
                FromWorker::TrackFailed {
                    token: of, code, ..
                } if of == token => outcome = Some(Err(code)),
                other => panic!("{other:?}"),
            }
        }
        outcome.expect("the loop ends with one")
    }

    fn end(&mut self) -> Result<(), ServeError> {
        self.worker.take().expect("ends once").join().unwrap()
    }
}

/// Writes a whole track while the worker reads, and announces it.
fn play(world: &mut World, ring: &mut Writer, slot: u32, token: u64, pcm: &[f32]) {
    world.say(ToWorker::Track {
        slot,
        token,
        samples_max: None,
        patience_ms: None,
    });
    let (peer, _kept) = UnixStream::pair().unwrap();
    ring.write(pcm, peer.as_fd()).unwrap();
    ring.finish();
    world.say(ToWorker::EndOfTrack {
        slot,
        token,
        frames: pcm.len() as u64,
    });
}

fn tone(samples: usize, pitch: usize) -> Vec<f32> {
    (0..samples)
        .map(|i| ((i * pitch % 997) as f32 - 498.0) / 1_000.0)
        .collect()
}

fn expected_logits(pcm: &[f32]) -> Vec<f32> {
    let spec = StubEngine::plain().info().window;
    spec.starts(pcm.len() as u64)
        .map(|start| StubEngine::logit(&spec.cut(pcm, start)))
        .collect()
}

fn logits(score: &TrackScore) -> Vec<f32> {
    score.timeline.iter().map(|point| point.logit).collect()
}

/// Track 1 ends with this code and takes its ring with it; a new ring serves the slot as if nothing had been.
#[track_caller]
fn assert_lost_and_served_again(world: &mut World, expected: Code) {
    assert_eq!(world.hear(), FromWorker::RingLost { slot: 0, token: 1 });
    let failed = world.hear();
    assert!(
        matches!(failed, FromWorker::TrackFailed { token: 1, code, .. } if code == expected),
        "{failed:?}"
    );
    let mut ring = world.ring(0);
    let pcm = tone(40_000, 9);
    play(world, &mut ring, 0, 2, &pcm);
    assert_eq!(logits(&world.outcome(2).unwrap()), expected_logits(&pcm));
}

#[test]
fn tracks_of_several_slots_are_scored_as_if_each_were_alone() {
    let mut world = World::new(StubOptions::default());
    let pieces: Vec<Vec<f32>> = (0..4)
        .map(|slot| tone(100_000 + slot * 7_777, slot + 3))
        .collect();
    let mut rings: Vec<Writer> = (0..4).map(|slot| world.ring(slot)).collect();
    for (slot, ring) in (0u32..).zip(&mut rings) {
        play(
            &mut world,
            ring,
            slot,
            u64::from(slot),
            &pieces[slot as usize],
        );
    }
    let mut scored = BTreeMap::new();
    while scored.len() < 4 {
        match world.hear() {
            FromWorker::Scored { token, score } => _ = scored.insert(token, score),
            FromWorker::Drained { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    for (token, pcm) in (0..).zip(&pieces) {
        assert_eq!(logits(&scored[&token]), expected_logits(pcm));
        assert_eq!(scored[&token].samples, pcm.len() as u64);
    }
}

#[test]
fn a_track_that_fails_leaves_its_slot_and_its_neighbours_usable() {
    for (trick, code) in [
        (Trick::OutOfMemory, Code::DeviceOutOfMemory),
        (Trick::NotFinite, Code::ScoreNotFinite),
    ] {
        let mut world = World::new(StubOptions::default());
        let mut ring = world.ring(0);
        let mut bad = tone(50_000, 5);
        bad[20_000..20_008].copy_from_slice(&trick.samples());
        play(&mut world, &mut ring, 0, 1, &bad);
        assert_eq!(world.outcome(1), Err(code));
        let good = tone(50_000, 5);
        play(&mut world, &mut ring, 0, 2, &good);
        assert_eq!(logits(&world.outcome(2).unwrap()), expected_logits(&good));
    }
}

#[test]
fn a_track_without_samples_is_typed() {
    let mut world = World::new(StubOptions::default());
    let mut ring = world.ring(0);
    play(&mut world, &mut ring, 0, 1, &[]);
    assert_eq!(world.outcome(1), Err(Code::NoSamples));
}

#[test]
fn a_lie_about_the_length_ends_the_track_and_a_new_ring_serves_the_slot_again() {
    let mut world = World::new(StubOptions::default());
    let _old = world.ring(0);
    world.say(ToWorker::Track {
        slot: 0,
        token: 1,
        samples_max: None,
        patience_ms: None,
    });
    world.say(ToWorker::EndOfTrack {
        slot: 0,
        token: 1,
        frames: 1_000_000,
    });
    assert_lost_and_served_again(&mut world, Code::RingViolation);
}

#[test]
fn a_track_beyond_its_samples_is_typed_and_a_new_ring_serves_the_slot_again() {
    let mut world = World::new(StubOptions::default());
    let mut old = world.ring(0);
    world.say(ToWorker::Track {
        slot: 0,
        token: 1,
        samples_max: Some(30_000),
        patience_ms: None,
    });
    let (peer, _kept) = UnixStream::pair().unwrap();
    old.write(&tone(30_001, 3), peer.as_fd()).unwrap();
    assert_lost_and_served_again(&mut world, Code::TooLong);
}

#[test]
fn a_track_whose_slot_gets_a_new_ring_is_answered_for_and_the_slot_is_idle() {
    let mut world = World::new(StubOptions::default());
    let _old = world.ring(0);
    world.say(ToWorker::Track {
        slot: 0,
        token: 1,
        samples_max: None,
        patience_ms: None,
    });
    let fds = RingFds::create(SAMPLES_MIN).unwrap();
    let message = ToWorker::AttachRing { slot: 0 };
    frames::write(world.socket.fd(), &message, &fds.as_fds()).unwrap();
    assert_eq!(world.hear(), FromWorker::Aborted { token: 1, slot: 0 });
    assert_eq!(world.hear(), FromWorker::Ready { slot: 0 });
    let mut ring = Writer::attach(fds).unwrap();
    let pcm = tone(40_000, 9);
    play(&mut world, &mut ring, 0, 2, &pcm);
    assert_eq!(logits(&world.outcome(2).unwrap()), expected_logits(&pcm));
}

#[test]
fn an_aborted_track_is_answered_and_the_slot_goes_on() {
    let mut world = World::new(StubOptions::default());
    let mut ring = world.ring(0);
    world.say(ToWorker::Track {
        slot: 0,
        token: 1,
        samples_max: None,
        patience_ms: None,
    });
    let (peer, _kept) = UnixStream::pair().unwrap();
    ring.write(&tone(30_000, 2), peer.as_fd()).unwrap();
    world.say(ToWorker::AbortTrack { slot: 0, token: 1 });
    assert_eq!(world.hear(), FromWorker::Aborted { token: 1, slot: 0 });
    let pcm = tone(40_000, 9);
    play(&mut world, &mut ring, 0, 2, &pcm);
    assert_eq!(logits(&world.outcome(2).unwrap()), expected_logits(&pcm));
}

#[test]
fn a_canary_tells_a_sick_device_from_a_sound_one() {
    let sick = tempfile::NamedTempFile::new().unwrap();
    let mut world = World::new(StubOptions {
        canary_fails_if: Some(sick.path().to_owned()),
        ..StubOptions::default()
    });
    world.say(ToWorker::Canary { nonce: 5 });
    assert!(
        matches!(world.hear(), FromWorker::CanaryResult { nonce: 5, ok: false, worst, .. } if worst > 0.5)
    );
    drop(sick);
    world.say(ToWorker::Canary { nonce: 6 });
    assert!(matches!(
        world.hear(),
        FromWorker::CanaryResult {
            nonce: 6,
            ok: true,
            ..
        }
    ));
}

#[test]
fn only_waits_with_a_track_in_hand_are_counted_and_a_canary_s_answer_finds_them_told() {
    let mut world = World::new(StubOptions::default());
    let _ring = world.ring(0);
    let told = |world: &mut World| loop {
        if let FromWorker::Beat(stats) = world.socket.read::<FromWorker>().unwrap().unwrap() {
            break stats.wait_seconds;
        }
    };
    // The second beat comes a second of idleness after the first.
    assert_eq!((told(&mut world), told(&mut world)), (0.0, 0.0));
    world.say(ToWorker::Track {
        slot: 0,
        token: 1,
        samples_max: None,
        patience_ms: None,
    });
    while told(&mut world) == 0.0 {}
    world.say(ToWorker::Canary { nonce: 5 });
    let mut before = None;
    while let FromWorker::Beat(stats) = world.socket.read::<FromWorker>().unwrap().unwrap() {
        before = Some(stats.wait_seconds);
    }
    assert!(before.is_some_and(|wait| wait > 0.0), "{before:?}");
}

#[test]
fn a_failing_device_is_told_before_the_worker_ends() {
    let mut world = World::new(StubOptions::default());
    let mut ring = world.ring(0);
    let mut pcm = tone(40_000, 5);
    pcm[20_000..20_008].copy_from_slice(&Trick::DeviceFault.samples());
    play(&mut world, &mut ring, 0, 1, &pcm);
    let said = loop {
        match world.hear() {
            FromWorker::Drained { .. } => {}
            other => break other,
        }
    };
    assert!(matches!(said, FromWorker::DeviceFailed { .. }));
    assert!(matches!(
        world.end(),
        Err(ServeError::Engine(EngineError::Device { .. }))
    ));
}

#[test]
fn stop_and_a_closed_socket_both_end_the_worker_in_peace() {
    let mut world = World::new(StubOptions::default());
    world.say(ToWorker::Stop);
    assert!(world.end().is_ok());
    let mut world = World::new(StubOptions::default());
    let (other, _) = UnixStream::pair().unwrap();
    world.socket = FrameReader::new(other);
    assert!(world.end().is_ok());
}
