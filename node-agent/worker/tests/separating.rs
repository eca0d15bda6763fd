//! The real worker process with a real separator, asked for residuals as an agent does. The network is the small one that the package
//! itself published for `crates/checkpoint`.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it waits for"
)]

#[path = "common/agent.rs"]
mod agent;
#[path = "common/separator.rs"]
mod separator;

use agent::Agent;
use audio::ring::{RingFds, Writer};
use bundle::{Grid, Heard, Overlap, Segments, Tensors, sample};
use engine::frames::write;
use engine::{FromWorker, LoadedResidual, ResidualPass, Segment, ToWorker, TrackResidual};
use models::htdemucs::Checkpoint;
use models::residual::Measured;
use separator::{CHECKPOINT, make_bundle, section};
use std::os::fd::AsFd;
use std::path::Path;
use types::{Code, Digest};

/// Values that the test's ring holds: less than a track, so that it goes round.
const RING_VALUES: usize = 1 << 14;

/// Two channels of tones that rise in pitch, interleaved, louder towards the end.
fn track(frames: usize) -> Vec<f32> {
    let tone = |at: usize, pitch: f32| {
        let t = at as f32 / 44_100.0;
        (0.1 + 0.3 * at as f32 / frames as f32)
            * (t * pitch * (1.0 + t) * std::f32::consts::TAU).sin()
    };
    (0..frames)
        .flat_map(|at| [tone(at, 220.0), tone(at, 331.0) + 0.1 * tone(at, 5_000.0)])
        .collect()
}

/// Mean and standard deviation of the track as one channel.
fn scale(pcm: &[f32]) -> (f64, f64) {
    let mono: Vec<f64> = pcm
        .chunks(2)
        .map(|frame| f64::from(frame[0] + frame[1]) / 2.0)
        .collect();
    let mean = mono.iter().sum::<f64>() / mono.len() as f64;
    let squares: f64 = mono.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (mono.len() - 1).max(1) as f64).sqrt())
}

impl Agent {
    fn loaded(dir: &Path, bundle: Digest) -> (Self, Option<LoadedResidual>) {
        let mut agent = Self::start();
        let FromWorker::Loaded(loaded) = agent.load(dir, bundle) else {
            panic!("not loaded")
        };
        (agent, loaded.residual)
    }

    fn residual_canary(&mut self) -> (bool, String) {
        self.say(&ToWorker::ResidualCanary { nonce: 7 });
        let FromWorker::CanaryResult {
            nonce: 7,
            ok,
            reason,
            ..
        } = self.hear()
        else {
            panic!("no answer to the canary")
        };
        (ok, reason)
    }

    /// Sends one track through a new ring.
    fn send(&mut self, token: u64, pcm: &[f32], starts: &[u64]) {
        let ring = RingFds::create(RING_VALUES).unwrap();
        let attach = ToWorker::AttachRing { slot: 0 };
        write(self.socket.fd(), &attach, &ring.as_fds()).unwrap();
        assert_eq!(self.hear(), FromWorker::Ready { slot: 0 });
        let (mean, deviation) = scale(pcm);
        self.say(&ToWorker::Separate {
            slot: 0,
            token,
            pass: ResidualPass {
                starts: starts.to_vec(),
                mean,
                deviation,
            },
            samples_max: None,
            patience_ms: None,
        });
        let mut writer = Writer::attach(ring).unwrap();
        writer.write(pcm, self.socket.fd().as_fd()).unwrap();
        writer.finish();
        self.say(&ToWorker::EndOfTrack {
            slot: 0,
            token,
            frames: pcm.len() as u64 / 2,
        });
    }

    fn separate(&mut self, token: u64, pcm: &[f32], starts: &[u64]) -> TrackResidual {
        self.send(token, pcm, starts);
        loop {
            match self.hear() {
                FromWorker::Drained { .. } => {}
                FromWorker::Separated {
                    token: of,
                    residual,
                } if of == token => return residual,
                other => panic!("{other:?}"),
            }
        }
    }
}

/// What the network gives of one segment of a track, asked without a worker.
fn expected(pcm: &[f32], start: u64) -> Vec<f32> {
    let checkpoint = Checkpoint::parse(CHECKPOINT).unwrap();
    let residual = section(&checkpoint);
    let net = Measured::on_processor(&residual, &checkpoint.tensors).unwrap();
    let info = models::residual::info(&residual, 1).unwrap();
    let (mean, deviation) = scale(pcm);
    let deviation = deviation.max(bundle::features::DEVIATION_LEAST);
    let samples = info.segment.min(pcm.len() / 2 - start as usize);
    let before = (info.segment - samples) / 2;
    let mut values = vec![0.0; before * 2];
    let own = &pcm[start as usize * 2..][..samples * 2];
    values.extend(
        own.iter()
            .map(|value| ((f64::from(*value) - mean) / deviation) as f32),
    );
    values.resize(info.values(), 0.0);
    let segment = Segment {
        before,
        samples,
        mean,
        deviation,
    };
    net.features(&values, &[segment]).unwrap().remove(0)
}

#[track_caller]
fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for ((feature, found), expected) in bundle::features::RESIDUAL_V1
        .iter()
        .zip(found)
        .zip(expected)
    {
        let off = f64::from((found - expected).abs()) / feature.span;
        assert!(off <= 1e-5, "{}: {found}, not {expected}", feature.name);
    }
}

#[test]
fn a_separated_track_has_the_features_that_its_network_gives_of_each_segment() {
    let dir = tempfile::tempdir().unwrap();
    let digest = make_bundle(dir.path(), |_, _| ());
    let (mut agent, residual) = Agent::loaded(dir.path(), digest);
    let residual = residual.unwrap();
    assert_eq!(
        (residual.rate_hz, residual.channels, residual.segment),
        (44_100, 2, 441)
    );
    assert_eq!(agent.residual_canary(), (true, String::new()));
    let pcm = track(20_000);
    let grid = Grid {
        rate_hz: residual.rate_hz,
        segment: residual.segment,
        overlap: Overlap::default(),
    };
    let heard = Heard {
        samples: 20_000,
        rate_hz: 44_100,
        windows: &[],
    };
    let starts = Segments::Spread { count: 5 }.choose(grid, &heard);
    let found = agent.separate(1, &pcm, &starts);
    assert_eq!((found.frames, found.segments.len()), (20_000, 5));
    for segment in &found.segments {
        close(&segment.features, &expected(&pcm, segment.start));
    }
    let snr = |features: &[f32]| features[14];
    let mean = found
        .segments
        .iter()
        .map(|segment| snr(&segment.features))
        .sum::<f32>()
        / 5.0;
    assert!((snr(&found.features) - mean).abs() < 1e-4);
    assert!(found.device_seconds > 0.0 && found.cpu_seconds > 0.0);
    agent.say(&ToWorker::Stop);
    assert!(agent.ends());
}

#[test]
fn silence_a_constant_inverted_channels_and_a_hundredth_of_a_second_have_finite_features() {
    let dir = tempfile::tempdir().unwrap();
    let digest = make_bundle(dir.path(), |_, _| ());
    let (mut agent, _) = Agent::loaded(dir.path(), digest);
    let square = |at: usize| {
        if (at / 100).is_multiple_of(2) {
            1.0
        } else {
            -1.0
        }
    };
    let both = |value: &dyn Fn(usize) -> [f32; 2], frames: usize| -> Vec<f32> {
        (0..frames).flat_map(value).collect()
    };
    let tracks = [
        both(&|_| [0.0; 2], 3_000),
        both(&|_| [0.5; 2], 3_000),
        both(&|at| [square(at), -square(at)], 3_000),
        both(&|at| [square(at); 2], 3_000),
        both(&|at| [square(at); 2], 100),
        both(&|_| [0.25; 2], 1),
    ];
    for (token, pcm) in (1..).zip(&tracks) {
        let found = agent.separate(token, pcm, &[0]);
        let finite = found.features.iter().all(|value| value.is_finite());
        assert!(finite, "track {token}: {found:?}");
    }
}

#[test]
fn a_canary_with_other_features_or_none_fails_and_the_worker_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let digest = make_bundle(dir.path(), |residual, _| {
        residual.canary.as_mut().unwrap().features[14] += 0.2;
    });
    let (mut agent, _) = Agent::loaded(dir.path(), digest);
    let (ok, reason) = agent.residual_canary();
    assert!(!ok && reason.contains("off by"), "{reason}");
    let dir = tempfile::tempdir().unwrap();
    let digest = make_bundle(dir.path(), |residual, _| residual.canary = None);
    let (mut agent, _) = Agent::loaded(dir.path(), digest);
    let (ok, reason) = agent.residual_canary();
    assert!(!ok && reason.contains("no canary"), "{reason}");
    assert_eq!(agent.separate(1, &track(500), &[0]).segments.len(), 1);
}

/// The bundle is to blame, in these words, and the worker ends.
#[track_caller]
fn assert_bundle_refused(agent: Agent, told: &FromWorker, words: &str) {
    let blamed = matches!(
        told,
        FromWorker::LoadFailed { detail, bundle: true } if detail.contains(words)
    );
    assert!(blamed, "{told:?}");
    assert!(!agent.ends());
}

#[test]
fn weights_of_another_network_are_refused_as_the_bundle_is_loaded() {
    let check = |change: fn(&mut Tensors), words: &str| {
        let dir = tempfile::tempdir().unwrap();
        let digest = make_bundle(dir.path(), |_, weights| change(weights));
        let mut agent = Agent::start();
        let told = agent.load(dir.path(), digest);
        assert_bundle_refused(agent, &told, words);
    };
    check(|weights| drop(weights.0.pop()), "have no tensor");
    check(|weights| weights.0[0].shape.push(1), "has shape");
    check(
        |weights| weights.0[0].name.push('x'),
        "that the network does not know",
    );
}

#[test]
fn weights_that_change_under_a_worker_are_the_bundle_s_fault_and_not_its_device_s() {
    let dir = tempfile::tempdir().unwrap();
    let digest = make_bundle(dir.path(), |_, _| ());
    let (mut agent, residual) = Agent::loaded(dir.path(), digest);
    assert!(residual.is_some());
    let weights = dir.path().join(separator::WEIGHTS);
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    agent.send(1, &track(500), &[0]);
    let told = loop {
        match agent.hear() {
            FromWorker::Drained { .. } => {}
            other => break other,
        }
    };
    assert_bundle_refused(agent, &told, "has digest");
}

#[test]
fn a_bundle_without_a_residual_offers_none() {
    let plain = tempfile::tempdir().unwrap();
    let digest = bundle::write(
        plain.path(),
        sample::manifest(),
        &sample::contents(),
        &sample::key(),
    )
    .unwrap();
    assert_eq!(Agent::loaded(plain.path(), digest).1, None);
}

#[test]
fn a_start_behind_the_track_s_end_is_typed() {
    let dir = tempfile::tempdir().unwrap();
    let digest = make_bundle(dir.path(), |_, _| ());
    let (mut agent, _) = Agent::loaded(dir.path(), digest);
    agent.send(1, &track(500), &[500]);
    let failed = loop {
        match agent.hear() {
            FromWorker::Drained { .. } => {}
            other => break other,
        }
    };
    assert!(
        matches!(
            failed,
            FromWorker::TrackFailed {
                token: 1,
                code: Code::NoSamples,
                ..
            }
        ),
        "{failed:?}"
    );
}
