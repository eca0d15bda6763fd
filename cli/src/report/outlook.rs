//! What would change a track's verdict: how far its score lies from the next threshold, by which rule, in that score's unit, and
//! what stands in the way where no threshold does. Sentences for people; nothing here decides.

use super::rules::{Judge, Rules};
use super::text::score as number;
use bundle::Fusion;
use types::{InconclusiveReason, Verdict};

/// What is known of a track's scores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing<'a> {
    /// What is said of it.
    pub(crate) verdict: Verdict,
    /// Why nothing is.
    pub(crate) reason: &'a str,
    /// The score that the verdict rests on; none where nothing was scored.
    pub(crate) score: Option<f64>,
    /// Whether both engines made it.
    pub(crate) fused: bool,
    /// Whether another device might decide otherwise.
    pub(crate) borderline: bool,
}

/// The sentences, the nearest threshold first.
pub(crate) fn sentences(rules: &Rules, standing: Standing<'_>) -> Vec<String> {
    let Some(score) = standing.score else {
        return without_score(standing);
    };
    let judge = rules.judge(standing.fused);
    let mut said = vec![distance(judge, score)];
    said.extend(stricter(judge, score));
    said.extend(engines(rules, judge, score, standing.fused));
    said.extend(withheld(judge, score, standing));
    said.extend(sent_on(rules, score, standing));
    if standing.borderline {
        said.push("It is borderline: an edge, or the cut of the job's escalation budget, lies within what two devices may differ by, so that another device might decide otherwise.".to_owned());
    }
    said
}

fn without_score(standing: Standing<'_>) -> Vec<String> {
    let said = match standing.verdict {
        Verdict::Unscannable => {
            "Nothing was scored: the file has to be readable before anything can be said."
        }
        Verdict::LikelyAi | Verdict::NoEvidence | Verdict::Inconclusive => {
            "Nothing was scored, so that no threshold is near."
        }
    };
    vec![said.to_owned()]
}

/// How far the score lies from the thresholds of its rule.
fn distance(judge: Judge<'_>, score: f64) -> String {
    let shown = number(score);
    let head = format!(
        "By the rule {} the score is {shown} ({}).",
        judge.name, judge.unit
    );
    let Some(tier) = judge.verdicts.likely_ai() else {
        return head;
    };
    let likely = format!("{} of the tier {}", number(tier.score), tier.name);
    let low = judge.verdicts.no_evidence_below;
    let (by_score, _) = judge.verdicts.of(score);
    match (by_score, low) {
        (Verdict::LikelyAi, low) => {
            let next = match low {
                Some(low) if low < tier.score => "inconclusive",
                Some(_) | None => "no_evidence",
            };
            let above = number(score - tier.score);
            format!(
                "{head} It lies {above} above the threshold of likely_ai, {likely}: lower by more than that, it would be {next}."
            )
        }
        (Verdict::Inconclusive, Some(low)) => {
            let (up, down) = (number(tier.score - score), number(score - low));
            format!(
                "{head} It lacks {up} to likely_ai, which begins at {likely}, and lies {down} above {}, below which it would be no_evidence.",
                number(low)
            )
        }
        (_, Some(low)) if low < tier.score => {
            let (up, more) = (number(low - score), number(tier.score - score));
            format!(
                "{head} It lacks {up} to {}, from which on it would be inconclusive, and {more} to likely_ai, which begins at {likely}.",
                number(low)
            )
        }
        (_, _) => {
            let up = number(tier.score - score);
            format!("{head} It lacks {up} to likely_ai, which begins at {likely}.")
        }
    }
}

/// The next stricter tier, where there is one beyond the one that makes a track `likely_ai`.
fn stricter(judge: Judge<'_>, score: f64) -> Option<String> {
    let likely = judge.likely_from()?;
    let tiers = &judge.verdicts.tiers;
    let next = tiers
        .iter()
        .find(|tier| tier.score > score && tier.score > likely)?;
    let reaches = judge.verdicts.reached(score)?;
    (score >= likely).then(|| {
        let lacks = number(next.score - score);
        format!(
            "It reaches the tier {reaches} and lacks {lacks} to the stricter {}.",
            next.name
        )
    })
}

/// What each engine alone would have to change.
fn engines(rules: &Rules, judge: Judge<'_>, score: f64, fused: bool) -> Option<String> {
    let Fusion::V1(rule) = &rules.residual().filter(|_| fused)?.fusion else {
        return None;
    };
    let away = (judge.likely_from()? - score).abs();
    let share = |weight: f64, engine: &str| match weight > 0.0 {
        true => format!("{} of the {engine}'s score", number(away / weight)),
        false => format!("nothing of the {engine}'s score, which does not count"),
    };
    Some(format!(
        "The distance to likely_ai is worth {}, or {}.",
        share(rule.screen, "screen"),
        share(rule.residual, "residual")
    ))
}

/// What stands in the way where the score alone would decide.
fn withheld(judge: Judge<'_>, score: f64, standing: Standing<'_>) -> Option<String> {
    let (by_score, _) = judge.verdicts.of(score);
    match standing.verdict {
        Verdict::Unscannable => {
            return Some(format!(
                "It has no verdict, since the scan failed after this score was made; the score alone would say {by_score}."
            ));
        }
        Verdict::LikelyAi | Verdict::NoEvidence => return None,
        Verdict::Inconclusive => {}
    }
    let reason: InconclusiveReason = standing.reason.parse().ok()?;
    let said = match reason {
        InconclusiveReason::BetweenThresholds => return None,
        InconclusiveReason::DemonstrationBundle => {
            "It is withheld because the bundle is for demonstration and the job did not accept that"
        }
        InconclusiveReason::ResidualNotRun => {
            "It is withheld because the gate asks for the residual, which did not run"
        }
        InconclusiveReason::EscalationBudget => {
            "It is withheld because the job's escalation budget was used up before this track: the residual would decide"
        }
        InconclusiveReason::TooShort => {
            "It is withheld because the track is too short to be judged"
        }
        InconclusiveReason::Silent => "It is withheld because too little of the track is heard",
    };
    Some(format!("{said}; the score alone would say {by_score}."))
}

/// How far a track that was not separated lies from the gate.
fn sent_on(rules: &Rules, score: f64, standing: Standing<'_>) -> Option<String> {
    let gate = rules.gate();
    if standing.fused || rules.manifest.residual.is_none() || gate.takes(score) {
        return None;
    }
    let edges = [
        gate.unsure.map(|band| band.low),
        gate.unsure.map(|band| band.high),
        gate.positives_from,
    ];
    let near = edges
        .into_iter()
        .flatten()
        .min_by(|a, b| (a - score).abs().total_cmp(&(b - score).abs()))?;
    Some(format!(
        "It was not sent on to the residual: the nearest edge of the gate, {}, lies {} away.",
        number(near),
        number((near - score).abs())
    ))
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::{manifest, of, policy};
    use super::*;

    fn said(low: Option<f64>, verdict: Verdict, reason: &str, score: Option<f64>) -> String {
        let mut manifest = manifest();
        manifest.verdicts.no_evidence_below = low;
        let standing = Standing {
            verdict,
            reason,
            score,
            fused: false,
            borderline: false,
        };
        sentences(&of(&manifest, policy()), standing).join(" ")
    }

    #[test]
    fn the_distance_to_each_threshold_is_said_in_the_score_s_unit_with_the_rule() {
        let head = |score: &str| {
            format!(
                "By the rule screen the score is {score} (the screen's score: log odds before calibration)."
            )
        };
        for (low, verdict, score, expected) in [
            (
                None,
                Verdict::LikelyAi,
                2.5,
                "It lies 0.500 above the threshold of likely_ai, 2.000 of the tier fpr_1e-2: lower by more than that, it would be no_evidence.",
            ),
            (
                Some(1.0),
                Verdict::LikelyAi,
                2.0,
                "It lies 0.000 above the threshold of likely_ai, 2.000 of the tier fpr_1e-2: lower by more than that, it would be inconclusive.",
            ),
            (
                Some(1.0),
                Verdict::Inconclusive,
                1.25,
                "It lacks 0.750 to likely_ai, which begins at 2.000 of the tier fpr_1e-2, and lies 0.250 above 1.000, below which it would be no_evidence.",
            ),
            (
                Some(1.0),
                Verdict::NoEvidence,
                0.5,
                "It lacks 0.500 to 1.000, from which on it would be inconclusive, and 1.500 to likely_ai, which begins at 2.000 of the tier fpr_1e-2.",
            ),
            (
                None,
                Verdict::NoEvidence,
                0.5,
                "It lacks 1.500 to likely_ai, which begins at 2.000 of the tier fpr_1e-2.",
            ),
        ] {
            let reason = if verdict == Verdict::Inconclusive {
                "BETWEEN_THRESHOLDS"
            } else {
                ""
            };
            assert_eq!(
                said(low, verdict, reason, Some(score)),
                format!("{} {expected}", head(&number(score)))
            );
        }
    }

    #[test]
    fn what_stands_in_the_way_of_a_withheld_verdict_is_said() {
        for reason in InconclusiveReason::ALL {
            let sentences = said(None, Verdict::Inconclusive, reason.as_str(), Some(3.0));
            let told = sentences.contains("the score alone would say likely_ai.");
            assert_eq!(
                told,
                *reason != InconclusiveReason::BetweenThresholds,
                "{sentences}"
            );
        }
        let unscored = said(None, Verdict::Unscannable, "DAMAGED", None);
        assert!(unscored.starts_with("Nothing was scored"), "{unscored}");
        let failed = said(None, Verdict::Unscannable, "DECODE_STALLED", Some(3.0));
        assert!(
            failed.contains("has no verdict, since the scan failed"),
            "{failed}"
        );
    }
}
