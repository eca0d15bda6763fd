//! The real worker process with a real network, spoken to as an agent does: through a socket and a ring.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

#[path = "common/agent.rs"]
mod agent;

use agent::Agent;
use audio::ring::{RingFds, Writer};
use bundle::{Clip, Embedding, Manifest, Tensors, sample};
use engine::frames::write;
use engine::{FromWorker, ToWorker, TrackScore};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use types::Digest;

/// Samples that the test's ring holds: less than a track, so that it goes round.
const RING_SAMPLES: usize = 1 << 14;

impl Agent {
    fn canary(&mut self) -> bool {
        self.say(&ToWorker::Canary { nonce: 7 });
        let FromWorker::CanaryResult { nonce: 7, ok, .. } = self.hear() else {
            panic!("no answer to the canary")
        };
        ok
    }

    /// Sends one track through a ring and gives its score.
    fn scan(&mut self, pcm: &[f32]) -> TrackScore {
        let ring = RingFds::create(RING_SAMPLES).unwrap();
        write(
            self.socket.fd(),
            &ToWorker::AttachRing { slot: 0 },
            &ring.as_fds(),
        )
        .unwrap();
        assert_eq!(self.hear(), FromWorker::Ready { slot: 0 });
        self.say(&ToWorker::Track {
            slot: 0,
            token: 1,
            samples_max: None,
            patience_ms: None,
        });
        let mut writer = Writer::attach(ring).unwrap();
        writer.write(pcm, self.socket.fd().as_fd()).unwrap();
        writer.finish();
        self.say(&ToWorker::EndOfTrack {
            slot: 0,
            token: 1,
            frames: pcm.len() as u64,
        });
        assert_eq!(self.hear(), FromWorker::Drained { slot: 0, token: 1 });
        let FromWorker::Scored { token: 1, score } = self.hear() else {
            panic!("the track was not scored")
        };
        score
    }
}

/// Weights that are not zero: every tensor of the sample's, filled with a fixed pattern.
fn weights() -> Tensors {
    let mut tensors = Tensors::parse(&sample::contents()["screen.safetensors"]).unwrap();
    for (at, value) in tensors
        .0
        .iter_mut()
        .flat_map(|tensor| tensor.values.iter_mut())
        .enumerate()
    {
        *value = 0.2 + 0.3 * (at as f32 * 1.7).sin().abs();
    }
    tensors
}

/// A signed bundle in `dir`; `spoil` may change the known scores of its canary.
fn make_bundle(dir: &Path, spoil: f64) -> (Manifest, Digest) {
    let (mut manifest, mut contents, weights) = (sample::manifest(), sample::contents(), weights());
    manifest.screen.embedding = Some(Embedding { values: 6 });
    let clip = Clip::parse(&contents["canary.s16"]).unwrap();
    manifest.canary.scores =
        models::canary::known_scores(&manifest.screen, &weights, &clip).unwrap();
    manifest
        .canary
        .scores
        .iter_mut()
        .for_each(|score| score.logit += spoil);
    contents.insert("screen.safetensors".to_owned(), weights.to_bytes());
    let digest = bundle::write(dir, manifest.clone(), &contents, &sample::key()).unwrap();
    (manifest, digest)
}

/// Five seconds that rise in pitch.
fn track() -> Vec<f32> {
    (0..80_000)
        .map(|at| 0.4 * (at as f32 * at as f32 * 1e-5).sin())
        .collect()
}

#[test]
fn a_track_through_the_ring_gets_the_scores_of_its_windows_cut_from_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, digest) = make_bundle(dir.path(), 0.0);
    let mut agent = Agent::start();
    let FromWorker::Loaded(loaded) = agent.load(dir.path(), digest) else {
        panic!("not loaded")
    };
    assert_eq!((loaded.bundle, loaded.rate_hz), (digest, 16_000));
    assert!(agent.canary());
    let pcm = track();
    let score = agent.scan(&pcm);
    let expected = models::canary::known_scores(&manifest.screen, &weights(), &Clip(pcm)).unwrap();
    assert_eq!(score.timeline.len(), expected.len());
    assert!(expected.len() > 5);
    for (point, expected) in score.timeline.iter().zip(&expected) {
        let difference = (f64::from(point.logit) - expected.logit).abs();
        assert!(
            difference <= manifest.epsilon.f32,
            "window at frame {}: off by {difference}",
            point.start
        );
    }
    assert_eq!(score.features.len(), manifest.screen.features.len());
    assert!(score.picture.is_some());
    assert_eq!(
        score.embedding.len(),
        6,
        "half-precision values, as the bundle states"
    );
    assert!(score.embedding.iter().any(|bits| *bits != 0));
    agent.say(&ToWorker::Stop);
    assert!(agent.ends());
}

#[test]
fn a_canary_with_other_scores_fails_and_the_worker_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let (_, digest) = make_bundle(dir.path(), 0.01);
    let mut agent = Agent::start();
    assert!(matches!(
        agent.load(dir.path(), digest),
        FromWorker::Loaded(_)
    ));
    assert!(!agent.canary());
    assert!(!agent.canary());
}

#[test]
fn a_bundle_other_than_the_one_named_is_refused_in_words_and_the_worker_ends() {
    let dir = tempfile::tempdir().unwrap();
    make_bundle(dir.path(), 0.0);
    let mut agent = Agent::start();
    let FromWorker::LoadFailed {
        detail,
        bundle: true,
    } = agent.load(dir.path(), Digest::of(b"another"))
    else {
        panic!("was loaded")
    };
    assert!(detail.contains("BUNDLE_DIGEST_MISMATCH"), "{detail}");
    assert!(!agent.ends());
}

#[test]
fn a_worker_ends_when_its_agent_is_gone() {
    let Agent {
        mut child,
        socket,
        _spawner,
    } = Agent::start();
    drop(socket);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_worker_that_no_agent_started_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_trackscan-worker"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("no agent is at descriptor 3"), "{words}");
}
