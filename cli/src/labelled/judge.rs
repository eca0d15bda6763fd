//! What a bundle says of tracks, by its own rules: the screen alone, the residual alone, both, and the verdict that its gate
//! leads to. Pure; the rules are those of `bundle`.

use super::join::{Joined, Known};
use bundle::{Fused, Fusion, Gated, Manifest, Rules, Screened, Separated, fuse};
use evaluation::platt::Line;
use evaluation::{Flagged, Heard, Labelled, Options, Report, report};
use types::{Dtype, Score, Stages, Verdict};

/// Names of the systems that tables show.
pub(super) const SCREEN: &str = "screen";
const RESIDUAL: &str = "residual";
pub(super) const BOTH: &str = "both";

/// A bundle's rules, with probabilities at a prior of the operator's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judge<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) prior: f64,
}

/// What a track ends as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// What is said of it.
    pub(crate) verdict: Verdict,
    /// Whether its verdict rests on both engines.
    pub(crate) fused: bool,
}

impl<'a> Judge<'a> {
    /// The rules at a prior, or at the bundle's own.
    pub(crate) fn new(manifest: &'a Manifest, prior: Option<f64>) -> Self {
        let own = manifest.screen.calibration.prior;
        Self {
            manifest,
            prior: prior.unwrap_or(own),
        }
    }

    /// Whether verdicts of separated tracks rest on both engines.
    pub(crate) fn fuses(&self) -> bool {
        let residual = self.manifest.residual.as_ref();
        residual.is_some_and(|residual| residual.calibration.is_some())
    }

    /// Whether the bundle's own gate sends a track on, whatever the gate of the job was.
    pub(crate) fn escalates(&self, screen: f64) -> bool {
        Gated::of(self.manifest, None).takes(screen)
    }

    /// What a track ends as, by the same gate.
    pub(crate) fn ended(&self, screen: f64, features: &[f32]) -> Ended {
        let sent_on = self.escalates(screen);
        let alone = Ended {
            verdict: self.manifest.verdicts.of(screen).0,
            fused: false,
        };
        match (sent_on, features.is_empty()) {
            (false, _) => alone,
            // It waits for a stage that did not run.
            (true, true) => Ended {
                verdict: Verdict::Inconclusive,
                fused: false,
            },
            (true, false) => Ended {
                verdict: self.fused(screen, features).verdict,
                fused: self.fuses(),
            },
        }
    }

    /// Whether a track ends `likely_ai`.
    pub(crate) fn flags(&self, screen: f64, features: &[f32]) -> bool {
        self.ended(screen, features).verdict == Verdict::LikelyAi
    }

    fn reaches(&self, screen: f64) -> bool {
        let likely = self.manifest.likely_ai().map(|tier| tier.score);
        likely.is_some_and(|edge| screen >= edge)
    }

    /// What both engines say of a track, whatever the gate takes.
    pub(super) fn fused(&self, screen: f64, features: &[f32]) -> Fused {
        let calibration = &self.manifest.screen.calibration;
        let screened = Screened {
            score: Score {
                logit: screen as f32,
                probability: calibration.probability(screen) as f32,
                prior: calibration.prior as f32,
                windows: 1,
            },
            dtype: Dtype::F32,
        };
        let separated = Separated {
            features,
            segments: 1,
            dtype: Dtype::F32,
        };
        let rules = Rules {
            stages: Stages::Both,
            accept_demonstration: true,
            gate: None,
        };
        fuse(self.manifest, screened, separated, rules)
    }

    fn screen(&self, screen: f64) -> Heard {
        let own = &self.manifest.screen.calibration;
        let line = Line {
            slope: own.slope,
            intercept: own.intercept,
            prior: own.prior,
        };
        Heard {
            score: screen,
            probability: line.at(self.prior).probability(screen),
            flagged: Some(self.reaches(screen)),
        }
    }

    /// Residual alone, and both; `None` without a calibration of the residual.
    pub(super) fn separated(&self, track: &Known) -> Option<[Heard; 2]> {
        let calibration = self.manifest.residual.as_ref()?.calibration.as_ref()?;
        let own = &calibration.probability;
        let line = Line {
            slope: own.slope,
            intercept: own.intercept,
            prior: own.prior,
        };
        let residual = calibration.score(&track.features);
        let fused = self.fused(track.screen, &track.features);
        let score = f64::from(fused.score?.logit);
        let both = match &calibration.fusion {
            Fusion::ResidualAlone => line,
            Fusion::V1(rule) => Line {
                slope: 1.0,
                intercept: 0.0,
                prior: rule.prior,
            },
        };
        Some([
            Heard {
                score: residual,
                probability: line.at(self.prior).probability(residual),
                flagged: None,
            },
            Heard {
                score,
                probability: both.at(self.prior).probability(score),
                flagged: Some(fused.verdict == Verdict::LikelyAi),
            },
        ])
    }
}

/// The tables over known tracks, and what the verdicts by the gate come to. The residual stands in them where the bundle calibrates
/// it and each track was separated. `None` where a class is missing.
pub(crate) fn tables(judge: &Judge<'_>, known: &Joined, seed: u64) -> Option<(Report, Flagged)> {
    let both = judge.fuses() && known.separated() == known.tracks.len();
    let labelled = |(track, cluster): (&Known, &u32)| {
        let separated = both.then(|| judge.separated(track)).flatten();
        let screen = judge.screen(track.screen);
        Labelled {
            ai: track.ai,
            cluster: *cluster,
            bucket: track.bucket.clone(),
            label: track.label.clone(),
            genre: track.genre.clone(),
            escalated: judge.escalates(track.screen),
            heard: std::iter::once(screen)
                .chain(separated.into_iter().flatten())
                .collect(),
        }
    };
    let pairs = known.tracks.iter().zip(&known.clusters);
    let tracks: Vec<Labelled> = pairs.map(labelled).collect();
    let systems: &[&str] = match both {
        true => &[SCREEN, RESIDUAL, BOTH],
        false => &[SCREEN],
    };
    let options = Options {
        systems,
        prior: judge.prior,
        seed,
    };
    Some((report(&tracks, &options)?, verdicts(judge, &known.tracks)))
}

/// What the verdicts by the bundle's own gate come to on known tracks.
fn verdicts(judge: &Judge<'_>, tracks: &[Known]) -> Flagged {
    let of = |ai: bool| -> Vec<bool> {
        let own = tracks.iter().filter(|track| track.ai == ai);
        own.map(|track| judge.flags(track.screen, &track.features))
            .collect()
    };
    Flagged::of(&of(true), &of(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::sample;

    #[test]
    fn a_track_that_the_gate_sends_on_and_nobody_separated_has_no_verdict() {
        let manifest = sample::manifest();
        let judge = Judge::new(&manifest, None);
        let ended = |screen| judge.ended(screen, &[]).verdict;
        // The sample sends on from -1 to 1 and flags from 2 on.
        assert_eq!(
            [-2.0, 0.0, 1.5, 2.0].map(ended),
            [
                Verdict::NoEvidence,
                Verdict::Inconclusive,
                Verdict::NoEvidence,
                Verdict::LikelyAi
            ]
        );
        assert!(judge.flags(2.0, &[]) && !judge.flags(0.0, &[]));
        assert!(!judge.fuses());
    }

    #[test]
    fn a_probability_is_told_at_the_prior_that_was_asked_for() {
        let manifest = sample::manifest();
        let own = Judge::new(&manifest, None).screen(1.0).probability;
        assert!((own - manifest.screen.calibration.probability(1.0)).abs() < 1e-12);
        let rare = Judge::new(&manifest, Some(0.01)).screen(1.0).probability;
        let odds = |p: f64| (p / (1.0 - p)).ln();
        assert!((odds(own) - odds(rare) - odds(0.5) + odds(0.01)).abs() < 1e-9);
    }
}
