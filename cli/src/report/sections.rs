//! The sections before and behind the tracks: what the scan found, how far its flags may be trusted, what stayed open, what it
//! cost, which bundle decided, how to read the rest.

use super::CARDS_MAX;
use super::summary::{BundlePage, Kind, RuleTable, StageLine, Summary, WrongFlags};
use super::text::{count, percent, score as number, share};
use maud::{Markup, html};
use types::Verdict;

/// All of them, in order.
pub(crate) fn all(summary: &Summary) -> Markup {
    html! {
        header.top {
            p.kicker { "Trackscan · scan report" }
            h1 { "Job " (summary.job) }
            dl.facts { @for (name, value) in &summary.facts { div { dt { (name) } dd.digest[name.contains("SHA-256")] { (value) } } } }
        }
        (banner(&summary.bundle))
        (found(summary))
        (wrong(&summary.wrong))
        (open(summary))
        (cost(summary))
        (bundle(&summary.bundle))
    }
}

fn banner(bundle: &BundlePage) -> Markup {
    html! {
        @if bundle.demonstration {
            aside.banner role="alert" {
                strong { "Demonstration bundle — nothing here is a finding" }
                p {
                    "It was made from generated sound, has never heard real music, and its verdicts decide nothing about any recording. "
                    @if bundle.accepted { "They are shown because the job was submitted with --accept-demonstration." }
                    @else { "They are withheld, since the job did not accept them." }
                }
            }
        }
    }
}

fn found(summary: &Summary) -> Markup {
    html! {
        section {
            h2 { "What was found" }
            (verdict_bar(summary))
            table.verdicts {
                thead { tr { th scope="col" { "verdict" } th.number scope="col" { "tracks" } th.number scope="col" { "share" } th scope="col" { "meaning" } } }
                tbody { @for (verdict, tracks) in &summary.verdicts { tr {
                    th scope="row" { span class={ "verdict " (verdict.as_str()) } { (verdict.as_str()) } }
                    td.number { (count(*tracks)) }
                    td.number { (share(*tracks, summary.tracks)) }
                    td { (meaning(*verdict)) }
                } } }
                tfoot { tr { th scope="row" { "all" } td.number { (count(summary.tracks)) } td {} td {
                    (count(summary.scored)) " have a score; " (count(summary.borderline)) " are borderline: on another device they might be decided otherwise."
                } } }
            }
        }
    }
}

const fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::LikelyAi => {
            "the score reaches the threshold; the next section says how often human music does"
        }
        Verdict::NoEvidence => "the score does not; no certificate of human origin",
        Verdict::Inconclusive => "neither can be said; a reason stands beside it",
        Verdict::Unscannable => "the file could not be scanned; a code stands beside it",
    }
}

fn verdict_bar(summary: &Summary) -> Markup {
    let whole = summary.tracks.max(1) as f64;
    let parts = summary
        .verdicts
        .iter()
        .scan(0.0, |from, (verdict, tracks)| {
            let wide = *tracks as f64 / whole * 960.0;
            *from += wide;
            Some((*verdict, *from - wide, wide))
        });
    html! {
        svg.bar viewBox="0 0 960 18" preserveAspectRatio="none" role="img" aria-label="share of each verdict" {
            @for (verdict, from, wide) in parts {
                rect class=(verdict.as_str()) x=(format!("{from:.1}")) y="0" width=(format!("{wide:.1}")) height="18" {}
            }
        }
    }
}

fn wrong(flags: &WrongFlags) -> Markup {
    html! {
        section.wrong {
            h2 { "Wrong flags to expect" }
            @if flags.rules.is_empty() {
                p { "No rule of this job can make a track likely_ai, so that none can be flagged wrongly." }
            } @else {
                table {
                    thead { tr {
                        th scope="col" { "rule, tier" } th.number scope="col" { "rate of false flags, at most" }
                        th.number scope="col" { "over the tracks screened" } th scope="col" { "what the bound means" }
                    } }
                    tbody { @for rule in &flags.rules { tr {
                        th scope="row" { (rule.rule) ", " (rule.tier) }
                        td.number { (percent(rule.bound)) }
                        td.number { (count(flags.screened)) " × " (percent(rule.bound)) " = " (format!("{:.1}", rule.bound * flags.screened as f64)) }
                        td { (rule.meaning) }
                    } } }
                }
                p.lead { (flags.conclusion()) }
                p.small { "The bound holds for music like that of the calibration, and says nothing about a single track." }
            }
        }
    }
}

fn open(summary: &Summary) -> Markup {
    html! {
        section {
            h2 { "Escalation and what stayed open" }
            @for sentence in &summary.escalation { p { (sentence) } }
            div.pair {
                (kinds("Inconclusive, by reason", &summary.reasons))
                (kinds("Failures, by code", &summary.failures))
            }
        }
    }
}

fn kinds(title: &str, kinds: &[Kind]) -> Markup {
    html! {
        div {
            h3 { (title) }
            @if kinds.is_empty() { p { "None." } } @else {
                table { tbody { @for kind in kinds { tr {
                    th scope="row" { code { (kind.code) } } td.number { (count(kind.tracks)) } td { (kind.cause) }
                } } } }
            }
        }
    }
}

fn cost(summary: &Summary) -> Markup {
    html! {
        section {
            h2 { "Throughput and cost" }
            p { (summary.pace) " " (summary.binding) }
            @if !summary.stages.is_empty() {
                table {
                    thead { tr {
                        th scope="col" { "node" } th scope="col" { "device" } th scope="col" { "stage" } th.number scope="col" { "tracks" }
                        th.number scope="col" { "device s" } th.number scope="col" { "CPU s" } th.number scope="col" { "held up s" } th.number scope="col" { "kJ" }
                        th.number scope="col" { "tracks/s" } th.number scope="col" { "× real time" }
                    } }
                    tbody { @for stage in &summary.stages { (stage_line(stage)) } }
                }
                @if summary.stages_left_out > 0 { p { (summary.stages_left_out) " more lines are left out." } }
                p.small { "Per device-second of the stage. Energy is what the device's own counter says; – where it has none." }
            }
        }
    }
}

fn stage_line(line: &StageLine) -> Markup {
    let seconds = |microseconds: u64| format!("{:.1}", microseconds as f64 / 1e6);
    html! {
        tr {
            td { (line.node) } td { (line.device) } th scope="row" { (line.stage) }
            td.number { (count(line.used.tracks)) }
            td.number { (seconds(line.used.device_us)) }
            td.number { (seconds(line.used.cpu_us)) }
            td.number { (seconds(line.used.wait_us)) }
            td.number { @if line.used.energy_mj == 0 { "–" } @else { (format!("{:.2}", line.used.energy_mj as f64 / 1e6)) } }
            td.number { (format!("{:.2}", line.tracks_per_second)) }
            td.number { (format!("{:.1}", line.realtime)) }
        }
    }
}

fn bundle(bundle: &BundlePage) -> Markup {
    html! {
        section {
            h2 { "The bundle that decided" }
            dl.facts {
                div { dt { "bundle" } dd { (bundle.name) "@" (bundle.version) } }
                div { dt { "purpose" } dd { @if bundle.demonstration { strong { "demonstration" } } @else { "production" } } }
                div { dt { "SHA-256 of its manifest" } dd.digest { (bundle.digest) } }
                @if !bundle.signed_by.is_empty() { div { dt { "signed by the key" } dd.digest { (bundle.signed_by) } } }
            }
            @for rule in &bundle.rules { (thresholds(rule)) }
            details { summary { "Model card" } pre { (bundle.model_card) } }
        }
    }
}

fn thresholds(rule: &RuleTable) -> Markup {
    html! {
        h3 { "Thresholds of the rule " (rule.rule) }
        p.small { "In " (rule.unit) "; probabilities at a prior of " (rule.prior) "." }
        table {
            thead { tr {
                th.number scope="col" { "from a score of" } th scope="col" { "tier" } th.number scope="col" { "known-human tracks that reach it" }
                th.number scope="col" { "false flags, at most (95 %)" } th scope="col" { "" }
            } }
            tbody {
                @for tier in &rule.tiers { tr.decides[tier.name == rule.likely_tier] {
                    td.number { (number(tier.score)) }
                    th scope="row" { (tier.name) }
                    td.number { (count(tier.false_positives)) " of " (count(tier.humans)) }
                    td.number { (percent(tier.fpr_bound_95)) }
                    td { @if tier.name == rule.likely_tier { "likely_ai from here on" } }
                } }
                @if let Some(low) = rule.no_evidence_below { tr {
                    td.number { (number(low)) } td colspan="4" { "no_evidence below, inconclusive from here to likely_ai" }
                } }
            }
        }
    }
}

/// How many cards a longer report can have; none where this one has them all.
fn more_cards(tracks: u64, cards: usize) -> Option<u64> {
    let most = tracks.min(CARDS_MAX.into());
    (most > cards as u64).then_some(most)
}

/// What stands behind the last card.
pub(crate) fn the_rest(summary: &Summary, cards: usize) -> Markup {
    html! {
        footer {
            p {
                (count(cards as u64)) " cards of " (count(summary.tracks)) " tracks. The rest, and all rows as data:"
            }
            pre {
                @if let Some(more) = more_cards(summary.tracks, cards) {
                    "scanctl result report " (summary.job) " --out report.html --cards " (more) "\n"
                }
                "scanctl result get " (summary.job) " TRACK\n"
                "scanctl result export " (summary.job) " --format csv --to rows.csv\n"
                "scanctl result verify " (summary.job)
            }
            p.small {
                "Made by scanctl " (env!("CARGO_PKG_VERSION")) " from the result's parts and the bundle's manifest alone: made again from the same "
                "result with the same number of cards, the file has the same bytes. It fetches nothing and needs no network."
            }
        }
    }
}
