//! The first page of a report: what the scan found in numbers, how many wrong flags its thresholds allow over these tracks, what
//! it cost, what failed, and which bundle said so. Made from the counted rows, the job, its ledger and the bundle.

use super::rules::{Judge, Rules};
use super::tally::Tally;
use super::text::{Shown, count, percent};
use crate::view::{WENT_ON, time};
use bundle::Tier;
use proto::v1;
use types::{Code, InconclusiveReason, Verdict};

/// Lines of stages shown: the devices of eighty nodes. The rest is counted.
const STAGES_MAX: usize = 256;

/// What is shown before the tracks.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) job: Shown,
    pub(crate) facts: Vec<(&'static str, Shown)>,
    pub(crate) tracks: u64,
    pub(crate) scored: u64,
    pub(crate) verdicts: Vec<(Verdict, u64)>,
    pub(crate) borderline: u64,
    pub(crate) wrong: WrongFlags,
    pub(crate) escalation: Vec<String>,
    pub(crate) reasons: Vec<Kind>,
    pub(crate) failures: Vec<Kind>,
    pub(crate) stages: Vec<StageLine>,
    pub(crate) stages_left_out: usize,
    pub(crate) pace: String,
    pub(crate) binding: Shown,
    pub(crate) bundle: BundlePage,
}

/// A reason or code, with how many tracks ended so.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) code: Shown,
    pub(crate) tracks: u64,
    pub(crate) cause: &'static str,
}

/// How many wrong flags the bounds allow over the tracks that were screened.
#[derive(Debug, Clone)]
pub(crate) struct WrongFlags {
    /// Tracks that a rule looked at.
    pub(crate) screened: u64,
    /// Tracks that are `likely_ai`.
    pub(crate) flagged: u64,
    /// One for each rule by which a track of this job can be `likely_ai`.
    pub(crate) rules: Vec<RuleBound>,
    /// Expected at most, over all of these, in whole tracks.
    pub(crate) allowed: u64,
}

/// The bound of one rule's threshold.
#[derive(Debug, Clone)]
pub(crate) struct RuleBound {
    pub(crate) rule: &'static str,
    pub(crate) tier: String,
    pub(crate) bound: f64,
    pub(crate) meaning: String,
}

/// What a device spent on a stage.
#[derive(Debug, Clone)]
pub(crate) struct StageLine {
    pub(crate) node: Shown,
    pub(crate) device: Shown,
    pub(crate) stage: &'static str,
    pub(crate) used: v1::StageUse,
    pub(crate) tracks_per_second: f64,
    pub(crate) realtime: f64,
}

/// What is said of the bundle.
#[derive(Debug, Clone)]
pub(crate) struct BundlePage {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) digest: String,
    pub(crate) demonstration: bool,
    pub(crate) accepted: bool,
    pub(crate) signed_by: Shown,
    pub(crate) rules: Vec<RuleTable>,
    pub(crate) model_card: Shown,
}

/// The thresholds of a rule.
#[derive(Debug, Clone)]
pub(crate) struct RuleTable {
    pub(crate) rule: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) prior: f64,
    pub(crate) likely_tier: String,
    pub(crate) tiers: Vec<Tier>,
    pub(crate) no_evidence_below: Option<f64>,
}

impl Summary {
    /// The summary of a published job.
    pub(crate) fn of(
        tally: &Tally,
        answer: v1::SummarizeResponse,
        bundle: &v1::GetBundleResponse,
        rules: &Rules,
    ) -> Self {
        let job = answer.job.unwrap_or_default();
        let pace = pace(tally, answer.wall_seconds);
        Self {
            job: Shown::word(
                &job.spec
                    .as_ref()
                    .map(|spec| spec.job.clone())
                    .unwrap_or_default(),
            ),
            facts: facts(&job),
            tracks: tally.tracks,
            scored: tally.scored,
            verdicts: Verdict::ALL
                .iter()
                .map(|verdict| (*verdict, tally.ended(*verdict)))
                .collect(),
            borderline: tally.borderline,
            wrong: WrongFlags::of(tally, rules),
            escalation: escalation(tally, rules),
            reasons: kinds(&tally.reasons, |code| {
                code.parse().map_or("", InconclusiveReason::cause)
            }),
            failures: kinds(&tally.codes, |code| code.parse().map_or("", Code::cause)),
            stages_left_out: answer.stages.len().saturating_sub(STAGES_MAX),
            stages: answer
                .stages
                .into_iter()
                .take(STAGES_MAX)
                .map(StageLine::of)
                .collect(),
            pace,
            binding: binding(answer.binding, &answer.binding_reason),
            bundle: BundlePage::of(bundle, rules),
        }
    }
}

fn facts(job: &v1::Job) -> Vec<(&'static str, Shown)> {
    let spec = job.spec.clone().unwrap_or_default();
    let manifest = job.manifest.clone().unwrap_or_default();
    let submitted = format!("{} by {}", time(spec.submitted_at_ms), spec.actor);
    let retry = spec.retry.map(|retry| retry.job).unwrap_or_default();
    let facts = [
        ("catalog", spec.catalog),
        ("list, SHA-256", spec.list),
        ("submitted", submitted),
        ("published", time(job.ended_at_ms)),
        ("tenant", spec.tenant),
        ("scans again the failures of", retry),
        ("result's manifest, SHA-256", manifest.sha256),
    ];
    let shown = facts.into_iter().filter(|(_, value)| !value.is_empty());
    shown
        .map(|(name, value)| (name, Shown::line(&value)))
        .collect()
}

fn pace(tally: &Tally, wall_seconds: f64) -> String {
    let (wall, audio) = (wall_seconds.max(1e-3), tally.audio_ms as f64 / 1e3);
    format!(
        "{} tracks with {:.1} hours of audio in {:.0} s from submit to publish: {:.2} tracks per second, {:.1} times real time.",
        count(tally.tracks),
        audio / 3_600.0,
        wall_seconds,
        tally.tracks as f64 / wall,
        audio / wall
    )
}

fn binding(stage: i32, reason: &str) -> Shown {
    let said = match stage_name(stage) {
        "" => "Nothing was measured that says which stage binds.".to_owned(),
        stage => format!("The stage that binds is {stage}: {reason}."),
    };
    Shown::card(&said)
}

fn stage_name(stage: i32) -> &'static str {
    match v1::Stage::try_from(stage) {
        Ok(v1::Stage::Decode) => "decode",
        Ok(v1::Stage::Screen) => "screen",
        Ok(v1::Stage::Residual) => "residual",
        Ok(v1::Stage::Unspecified) | Err(_) => "",
    }
}

fn kinds(
    counts: &std::collections::BTreeMap<String, u64>,
    cause: fn(&str) -> &'static str,
) -> Vec<Kind> {
    let kind = |(code, tracks): (&String, &u64)| Kind {
        code: Shown::word(code),
        tracks: *tracks,
        cause: cause(code),
    };
    let mut kinds: Vec<Kind> = counts.iter().map(kind).collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.tracks));
    kinds
}

fn escalation(tally: &Tally, rules: &Rules) -> Vec<String> {
    let held =
        |reason: InconclusiveReason| tally.reasons.get(reason.as_str()).copied().unwrap_or(0);
    let share = super::text::share(tally.separated, tally.tracks);
    let mut said = vec![format!(
        "{} of {} tracks ({share}) went on to the residual; the verdict of {} rests on both engines.",
        count(tally.separated),
        count(tally.tracks),
        count(tally.fused)
    )];
    if let Some(budget) = rules.policy.max_escalation {
        said.push(format!(
            "The job's budget let a share of {budget} of the list go on; it held {} tracks back.",
            count(held(InconclusiveReason::EscalationBudget))
        ));
    }
    let not_run = held(InconclusiveReason::ResidualNotRun);
    if not_run > 0 {
        said.push(format!("{} tracks stay open because the gate asks for the residual, which the job did not run.", count(not_run)));
    }
    said
}

impl WrongFlags {
    fn of(tally: &Tally, rules: &Rules) -> Self {
        let stated = rules.stated();
        let screen = stated.screen.map(|_| rules.screen());
        let both = rules.fusion().filter(|_| stated.both.is_some());
        let bounds = screen.into_iter().chain(both).filter_map(RuleBound::of);
        Self {
            screened: tally.scored,
            flagged: tally.ended(Verdict::LikelyAi),
            allowed: stated.allows(tally.scored),
            rules: bounds.collect(),
        }
    }

    /// What the numbers mean together.
    pub(crate) fn conclusion(&self) -> String {
        let (screened, allowed) = (count(self.screened), count(self.allowed));
        let head = format!(
            "If every one of the {screened} tracks with a score were human-made, up to {allowed} of them would be expected to be flagged wrongly."
        );
        let flagged = count(self.flagged);
        match self.flagged {
            0 => format!("{head} None is flagged."),
            1 if self.allowed > 0 => format!(
                "{head} 1 is flagged, no more than that: by the number alone, it could be wrong."
            ),
            1 => format!("{head} 1 is flagged, more than that: it may still be wrong."),
            few if few <= self.allowed => format!(
                "{head} {flagged} are flagged, no more than that: by their number alone, all of them could be wrong."
            ),
            _ => format!(
                "{head} {flagged} are flagged, more than that: a share of them may still be wrong, and the numbers do not say which."
            ),
        }
    }
}

impl RuleBound {
    fn of(judge: Judge<'_>) -> Option<Self> {
        let tier = judge.verdicts.likely_ai()?;
        Some(Self {
            rule: judge.name,
            tier: tier.name.clone(),
            bound: tier.fpr_bound_95,
            meaning: meaning(tier),
        })
    }
}

/// What a tier's bound means, in a sentence.
fn meaning(tier: &Tier) -> String {
    let (found, humans) = (count(tier.false_positives), count(tier.humans));
    let three = match tier.false_positives {
        0 => " (the rule of three: 3 in as many as were looked at)",
        _ => "",
    };
    format!(
        "{found} of {humans} known-human tracks that nothing was fitted on score as high, so that with 95 % confidence fewer than {} of such tracks do{three}.",
        percent(tier.fpr_bound_95)
    )
}

impl StageLine {
    fn of(wire: v1::StageSummary) -> Self {
        let used = wire.r#use.unwrap_or_default();
        let node = match wire.went_on {
            true => WENT_ON,
            false => wire.node.as_str(),
        };
        Self {
            node: Shown::word(node),
            device: Shown::word(&used.device),
            stage: stage_name(used.stage),
            tracks_per_second: wire.tracks_per_second,
            realtime: wire.realtime_factor,
            used,
        }
    }
}

impl BundlePage {
    fn of(answer: &v1::GetBundleResponse, rules: &Rules) -> Self {
        let table = |judge: Judge<'_>| RuleTable {
            rule: judge.name,
            unit: judge.unit,
            prior: judge.calibration.prior,
            likely_tier: judge.verdicts.likely_ai_tier.clone(),
            tiers: judge.verdicts.tiers.clone(),
            no_evidence_below: judge.verdicts.no_evidence_below,
        };
        let signed_by = answer
            .bundle
            .as_ref()
            .map(|bundle| bundle.signed_by.as_str());
        Self {
            name: rules.manifest.name.clone(),
            version: rules.manifest.version,
            digest: rules.digest.to_string(),
            demonstration: rules.is_demonstration(),
            accepted: rules.policy.accept_demonstration,
            signed_by: Shown::word(signed_by.unwrap_or_default()),
            rules: [Some(rules.screen()), rules.fusion()]
                .into_iter()
                .flatten()
                .map(table)
                .collect(),
            model_card: Shown::page(&answer.card),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::tests::line;
    use super::super::rules::tests::{calibrated, manifest, of, policy};
    use super::*;
    use crate::view::Bound;
    use types::{GateChoice, Stages};

    fn counted(likely: u32, others: u32, rules: &Rules) -> Tally {
        let mut tally = Tally::default();
        for ordinal in 0..likely + others {
            let verdict = if ordinal < likely {
                Verdict::LikelyAi
            } else {
                Verdict::NoEvidence
            };
            tally.add(
                super::super::line::Line {
                    verdict,
                    ..line(ordinal, Some(1.0))
                },
                rules,
            );
        }
        tally
    }

    fn wrong(likely: u32, others: u32) -> WrongFlags {
        let rules = of(&manifest(), policy());
        WrongFlags::of(&counted(likely, others, &rules), &rules)
    }

    #[test]
    fn the_bound_is_taken_over_the_tracks_that_were_screened() {
        // The sample: 10 of 1,000, bound 0.017.
        let flags = wrong(10, 990);
        assert_eq!(flags.allowed, 17);
        assert_eq!(wrong(0, 10).allowed, 1);
        assert!(flags.conclusion().ends_with(
            "10 are flagged, no more than that: by their number alone, all of them could be wrong."
        ));
        assert!(
            wrong(30, 970)
                .conclusion()
                .contains("30 are flagged, more than that")
        );
        assert!(wrong(0, 1_000).conclusion().ends_with("None is flagged."));
        let one = wrong(1, 999).conclusion();
        assert!(one.contains(" 1 is flagged, no more"), "{one}");
        let allowed_none = WrongFlags {
            allowed: 0,
            ..wrong(1, 999)
        };
        let one = allowed_none.conclusion();
        assert!(one.contains(" 1 is flagged, more"), "{one}");
        assert_eq!(flags.rules.len(), 1);
    }

    #[test]
    fn the_report_and_the_summary_of_a_job_allow_the_same_wrong_flags() {
        let allowed = |stages, gate| {
            let policy = types::Policy {
                stages,
                gate,
                ..policy()
            };
            let job = bundle::Rules::from(&policy);
            let rules = of(&calibrated(), policy);
            let tally = counted(0, 1_000, &rules);
            let flags = Bound::of(&rules.manifest, job).over(0, tally.scored);
            let report = WrongFlags::of(&tally, &rules);
            let each: f64 = report.rules.iter().map(|rule| rule.bound).sum();
            assert!((each - flags.fpr_bound_95).abs() < 1e-12);
            [flags.wrong_at_most, report.allowed]
        };
        // The screen's bound is 0.017, that of both engines 0.0135.
        let all = Some(GateChoice::All);
        assert_eq!(allowed(Stages::Screen, None), [17, 17]);
        assert_eq!(allowed(Stages::Both, None), [31, 31]);
        assert_eq!(allowed(Stages::Both, all), [14, 14]);
        assert_eq!(allowed(Stages::Screen, all), [0, 0]);
    }

    #[test]
    fn a_bound_says_what_it_means() {
        let tier = |false_positives: u64, humans: u64, fpr_bound_95: f64| Tier {
            name: "t".to_owned(),
            score: 1.0,
            humans,
            false_positives,
            fpr_bound_95,
        };
        assert_eq!(
            meaning(&tier(0, 3_000, 0.000_998)),
            "0 of 3,000 known-human tracks that nothing was fitted on score as high, so that with 95 % confidence fewer than 0.100 % of such tracks do (the rule of three: 3 in as many as were looked at)."
        );
        assert!(
            meaning(&tier(3, 420, 0.018_36)).contains("3 of 420")
                && !meaning(&tier(3, 420, 0.018_36)).contains("three:")
        );
    }

    #[test]
    fn a_stage_of_tracks_that_went_on_is_called_so() {
        let line = StageLine::of(v1::StageSummary {
            went_on: true,
            ..v1::StageSummary::default()
        });
        assert_eq!(line.node, Shown::word(WENT_ON));
    }

    #[test]
    fn what_the_gate_left_open_is_said() {
        let rules = of(&manifest(), policy());
        let mut tally = Tally::default();
        let open = super::super::line::Line {
            verdict: Verdict::Inconclusive,
            why: "RESIDUAL_NOT_RUN".to_owned(),
            ..line(0, Some(0.0))
        };
        tally.add(open, &rules);
        let said = escalation(&tally, &rules).join(" ");
        assert!(
            said.starts_with("0 of 1 tracks (0.00 %) went on")
                && said.contains("1 tracks stay open"),
            "{said}"
        );
    }
}
