//! Tracks for their residual, alone and beside tracks for their screen.

use super::*;
use crate::protocol::{ResidualPass, TrackResidual};
use crate::seam::{
    Canary, EngineInfo, ResidualCanary, ResidualInfo, Segment, SegmentScore, WindowScore,
};

fn info() -> ResidualInfo {
    StubEngine::plain().info().residual.clone().unwrap()
}

fn pass(starts: &[u64]) -> ResidualPass {
    ResidualPass {
        starts: starts.to_vec(),
        mean: 0.125,
        deviation: 0.5,
    }
}

/// Two channels of a tone, interleaved.
fn stereo(frames: usize, pitch: usize) -> Vec<f32> {
    tone(frames * 2, pitch)
}

fn ask(world: &mut World, slot: u32, token: u64, pass: ResidualPass) {
    world.say(ToWorker::Separate {
        slot,
        token,
        pass,
        samples_max: None,
        patience_ms: None,
    });
}

/// Writes a whole track while the worker reads, and announces it.
fn play_for_residual(
    world: &mut World,
    ring: &mut Writer,
    (slot, token): (u32, u64),
    pcm: &[f32],
    starts: &[u64],
) {
    ask(world, slot, token, pass(starts));
    let (peer, _kept) = UnixStream::pair().unwrap();
    ring.write(pcm, peer.as_fd()).unwrap();
    ring.finish();
    world.say(ToWorker::EndOfTrack {
        slot,
        token,
        frames: pcm.len() as u64 / 2,
    });
}

/// Hears the two answers of a track for its residual.
fn residual_of(world: &mut World, token: u64) -> Result<TrackResidual, Code> {
    let mut drained = false;
    let mut outcome = None;
    while !drained || outcome.is_none() {
        match world.hear() {
            FromWorker::Drained { token: of, .. } if of == token => drained = true,
            FromWorker::Separated {
                token: of,
                residual,
            } if of == token => outcome = Some(Ok(residual)),
            FromWorker::TrackFailed {
                token: of, code, ..
            } if of == token => outcome = Some(Err(code)),
            other => panic!("{other:?}"),
        }
    }
    outcome.expect("the loop ends with one")
}

/// The features that the stub gives of a segment of a track.
fn expected(pcm: &[f32], start: u64) -> Vec<f32> {
    let segment = info().segment;
    let start = start as usize;
    let frames = segment.min(pcm.len() / 2 - start);
    let before = (segment - frames) / 2;
    let mut values = vec![0.0; before * 2];
    let own = &pcm[start * 2..(start + frames) * 2];
    values.extend(
        own.iter()
            .map(|value| ((f64::from(*value) - 0.125) / 0.5) as f32),
    );
    values.resize(segment * 2, 0.0);
    StubEngine::features(&values)
}

fn check(residual: &TrackResidual, pcm: &[f32], starts: &[u64]) {
    assert_eq!(residual.frames, pcm.len() as u64 / 2);
    let found: Vec<u64> = residual
        .segments
        .iter()
        .map(|segment| segment.start)
        .collect();
    assert_eq!(found, starts);
    for segment in &residual.segments {
        assert_eq!(segment.features, expected(pcm, segment.start));
    }
    let sum: f32 = residual
        .segments
        .iter()
        .map(|segment| segment.features[0])
        .sum();
    assert!((residual.features[0] - sum / starts.len() as f32).abs() < 1e-6);
}

#[test]
fn segments_of_several_tracks_are_separated_as_if_each_were_alone() {
    let mut world = World::new(StubOptions::default());
    let starts: [&[u64]; 4] = [
        &[0, 6_000, 12_000, 18_000, 24_000],
        &[10],
        &[0, 20_000],
        &[7, 8, 9],
    ];
    let tracks: Vec<Vec<f32>> = (0..4)
        .map(|at| stereo(40_000 + at * 1_111, at + 3))
        .collect();
    let mut rings: Vec<Writer> = (0..4).map(|slot| world.ring(slot)).collect();
    for ((slot, ring), (pcm, starts)) in (0u32..).zip(&mut rings).zip(tracks.iter().zip(starts)) {
        play_for_residual(&mut world, ring, (slot, u64::from(slot)), pcm, starts);
    }
    let mut separated = BTreeMap::new();
    while separated.len() < 4 {
        match world.hear() {
            FromWorker::Separated { token, residual } => _ = separated.insert(token, residual),
            FromWorker::Drained { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    for (token, (pcm, starts)) in (0..).zip(tracks.iter().zip(starts)) {
        check(&separated[&token], pcm, starts);
    }
}

#[test]
fn a_slot_serves_both_passes_in_turn_and_neither_disturbs_the_other() {
    let mut world = World::new(StubOptions::default());
    let (mut first, mut second) = (world.ring(0), world.ring(1));
    let (mono, pair) = (tone(100_000, 7), stereo(30_000, 11));
    play(&mut world, &mut first, 0, 1, &mono);
    play_for_residual(&mut world, &mut second, (1, 2), &pair, &[0, 8_192, 16_384]);
    let (mut scored, mut separated) = (None, None);
    while scored.is_none() || separated.is_none() {
        match world.hear() {
            FromWorker::Scored { token: 1, score } => scored = Some(score),
            FromWorker::Separated { token: 2, residual } => separated = Some(residual),
            FromWorker::Drained { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(logits(&scored.unwrap()), expected_logits(&mono));
    check(&separated.unwrap(), &pair, &[0, 8_192, 16_384]);
    play_for_residual(&mut world, &mut first, (0, 3), &pair, &[5]);
    check(&residual_of(&mut world, 3).unwrap(), &pair, &[5]);
    play(&mut world, &mut second, 1, 4, &mono);
    assert_eq!(logits(&world.outcome(4).unwrap()), expected_logits(&mono));
}

#[test]
fn a_track_shorter_than_a_segment_is_one_and_one_without_samples_is_typed() {
    let mut world = World::new(StubOptions::default());
    let mut ring = world.ring(0);
    for (token, frames) in [(1, 441), (2, 1)] {
        let short = stereo(frames, 5);
        play_for_residual(&mut world, &mut ring, (0, token), &short, &[0]);
        let residual = residual_of(&mut world, token).unwrap();
        check(&residual, &short, &[0]);
        assert_eq!(residual.segments[0].samples as usize, frames);
    }
    for (token, frames, starts) in [(3, 0, 0), (4, 100, 100)] {
        play_for_residual(
            &mut world,
            &mut ring,
            (0, token),
            &stereo(frames, 5),
            &[starts],
        );
        assert_eq!(residual_of(&mut world, token), Err(Code::NoSamples));
    }
}

#[test]
fn a_segment_that_fails_takes_its_own_track_and_no_other() {
    for (trick, code) in [
        (Trick::OutOfMemory, Code::DeviceOutOfMemory),
        (Trick::NotFinite, Code::ScoreNotFinite),
    ] {
        let mut world = World::new(StubOptions::default());
        let (mut bad, mut good) = (world.ring(0), world.ring(1));
        let sound = stereo(40_000, 5);
        let mut poisoned = sound.clone();
        for (at, value) in trick.samples().into_iter().enumerate() {
            poisoned[2 * (9_000 + at)] = value;
        }
        let starts = [0, 8_192, 16_384];
        play_for_residual(&mut world, &mut bad, (0, 1), &poisoned, &starts);
        play_for_residual(&mut world, &mut good, (1, 2), &sound, &starts);
        let (mut failed, mut separated) = (None, None);
        while failed.is_none() || separated.is_none() {
            match world.hear() {
                FromWorker::TrackFailed { token: 1, code, .. } => failed = Some(code),
                FromWorker::Separated { token: 2, residual } => separated = Some(residual),
                FromWorker::Drained { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(failed, Some(code));
        check(&separated.unwrap(), &sound, &starts);
        play_for_residual(&mut world, &mut bad, (0, 3), &sound, &starts);
        check(&residual_of(&mut world, 3).unwrap(), &sound, &starts);
    }
}

#[test]
fn a_device_without_room_for_the_residual_says_so_of_no_track_and_goes_on_screening() {
    let full = tempfile::NamedTempFile::new().unwrap();
    let mut world = World::new(StubOptions {
        no_room_if: Some(full.path().to_owned()),
        ..StubOptions::default()
    });
    let mut ring = world.ring(0);
    let pcm = stereo(40_000, 5);
    let starts = [0, 8_192];
    play_for_residual(&mut world, &mut ring, (0, 1), &pcm, &starts);
    let (mut told, mut drained) = (false, false);
    while !(told && drained) {
        match world.hear() {
            FromWorker::NoRoom { .. } => told = true,
            FromWorker::Drained { slot: 0, token: 1 } => drained = true,
            other => panic!("{other:?}"),
        }
    }
    world.say(ToWorker::ResidualCanary { nonce: 5 });
    assert!(matches!(world.hear(), FromWorker::NoRoom { .. }));
    let sound = tone(40_000, 9);
    play(&mut world, &mut ring, 0, 2, &sound);
    assert_eq!(logits(&world.outcome(2).unwrap()), expected_logits(&sound));
    drop(full);
    play_for_residual(&mut world, &mut ring, (0, 3), &pcm, &starts);
    check(&residual_of(&mut world, 3).unwrap(), &pcm, &starts);
}

#[test]
fn an_odd_number_of_values_is_a_lie_about_a_track_of_two_channels() {
    let mut world = World::new(StubOptions::default());
    let mut ring = world.ring(0);
    ask(&mut world, 0, 1, pass(&[0]));
    let (peer, _kept) = UnixStream::pair().unwrap();
    ring.write(&tone(3_001, 3), peer.as_fd()).unwrap();
    ring.finish();
    world.say(ToWorker::EndOfTrack {
        slot: 0,
        token: 1,
        frames: 1_501,
    });
    assert_lost_and_served_again(&mut world, Code::RingViolation);
}

#[test]
fn each_stage_has_a_canary_of_its_own() {
    let sick = tempfile::NamedTempFile::new().unwrap();
    let mut world = World::new(StubOptions {
        canary_fails_if: Some(sick.path().to_owned()),
        ..StubOptions::default()
    });
    world.say(ToWorker::ResidualCanary { nonce: 5 });
    assert!(
        matches!(world.hear(), FromWorker::CanaryResult { nonce: 5, ok: false, worst, .. } if worst > 0.5)
    );
    drop(sick);
    world.say(ToWorker::ResidualCanary { nonce: 6 });
    assert!(matches!(
        world.hear(),
        FromWorker::CanaryResult {
            nonce: 6,
            ok: true,
            ..
        }
    ));
}

/// An engine whose separator's file has changed since it was loaded.
struct Spoilt(StubEngine);

impl Engine for Spoilt {
    fn info(&self) -> &EngineInfo {
        self.0.info()
    }

    fn canary(&self) -> &Canary {
        self.0.canary()
    }

    fn screen(&mut self, pcm: &[f32], batch: usize) -> Result<Vec<WindowScore>, EngineError> {
        self.0.screen(pcm, batch)
    }

    fn residual_canary(&self) -> Option<&ResidualCanary> {
        self.0.residual_canary()
    }

    fn residual(&mut self, _: &[f32], _: &[Segment]) -> Result<Vec<SegmentScore>, EngineError> {
        Err(EngineError::Bundle {
            path: "/nowhere".to_owned(),
            detail: "its digest is another".to_owned(),
        })
    }
}

#[test]
fn a_bundle_that_changed_is_told_as_that_and_not_as_a_device_that_failed() {
    let mut world = World::over(|load| Spoilt(StubEngine::new(StubOptions::default(), load)));
    world.say(ToWorker::ResidualCanary { nonce: 1 });
    let told = world.hear();
    assert!(
        matches!(told, FromWorker::LoadFailed { bundle: true, .. }),
        "{told:?}"
    );
    assert!(matches!(world.end(), Err(ServeError::Engine(_))));
}

#[test]
fn a_residual_that_makes_no_sense_ends_the_worker() {
    let mut world = World::new(StubOptions::default());
    let _ring = world.ring(0);
    ask(&mut world, 0, 1, pass(&[9, 9]));
    assert!(matches!(world.end(), Err(ServeError::Protocol(_))));
}

#[test]
fn what_an_older_worker_says_of_itself_is_read_and_has_no_residual() {
    // As `Loaded` and `WorkerStats` were before there was a residual: the newest field left out.
    let mut world = World::new(StubOptions::default());
    let old = FromWorker::Beat(WorkerStats {
        tracks: 3,
        ..WorkerStats::default()
    });
    let mut bytes = Vec::new();
    minicbor::encode(&old, &mut bytes).unwrap();
    // [7, [[stats of nine values]]]: the last value goes, and the array's length with it.
    let nine = bytes.iter().position(|byte| *byte == 0x89).unwrap();
    bytes[nine] = 0x88;
    assert_eq!(bytes.pop(), Some(0));
    assert_eq!(minicbor::decode::<FromWorker>(&bytes).unwrap(), old);
    world.say(ToWorker::Stop);
    assert!(world.end().is_ok());
}
