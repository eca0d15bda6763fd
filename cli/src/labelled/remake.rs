//! A new version of a bundle's rules, fitted on known tracks: the screen's calibration and thresholds, the gate's edges and,
//! where the tracks were separated, the residual's score, the fusion of both and what humans measure. Pure; files and signature
//! are the command's.

mod prior;

use super::join::{Joined, Known};
use super::named;
use super::slices::Scored;
use crate::failure::{Failure, problem};
use bundle::features::{RESIDUAL_V1, RESIDUAL_VERSION, calibrating};
use bundle::{
    Band, Calibration, Fusion, FusionV1, Gate, Manifest, Residual, ResidualCalibration, Spread,
    Term, Tier, Verdicts,
};
use evaluation::platt::{self, Flat, Line};
use evaluation::split::{Side, leaks, sides};
use evaluation::terms::Candidate;
use evaluation::tiers::{self, Fitted};
use evaluation::{fusion, terms};
use types::{Code, Purpose};

/// Fewest tracks of a class on a side: below it a calibration is a guess, and a table says nothing.
pub(crate) const CLASS_LEAST: usize = 20;
/// Fewest tracks of a class that a residual's score is fitted on: about two for each of its features.
const RESIDUAL_LEAST: usize = 40;
/// What verdicts rest on where the base names no tier that is known here.
const LIKELY_AI_TIER: &str = "fpr_1e-2";

/// What the operator asks for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Share of positives that probabilities suppose; the base's unless given.
    pub(crate) prior: Option<f64>,
    /// Seed of the split, where the file puts no track on a side.
    pub(crate) seed: u64,
    /// The tier from which on a track is `likely_ai`; the base's unless given.
    pub(crate) likely_ai_tier: Option<String>,
    /// Whether verdicts may be used on real catalogues from now on.
    pub(crate) production: bool,
}

/// The new rules, and how they came about.
#[derive(Debug, Clone)]
pub(crate) struct Remade {
    pub(crate) manifest: Manifest,
    /// The side of each track.
    pub(crate) sides: Vec<Side>,
    /// What the thresholds of each stage were fitted and counted on.
    pub(crate) scored: Vec<Scored>,
    /// What an operator must know of it.
    pub(crate) notes: Vec<String>,
}

/// Puts tracks on two sides: as the file says, or by the seed.
///
/// # Errors
/// `LABELS_LEAK` where both have the same content, ISRC or artist.
pub(crate) fn split(known: &Joined, seed: u64) -> Result<Vec<Side>, Failure> {
    let told: Option<Vec<Side>> = known.tracks.iter().map(|track| track.side).collect();
    let sides = told.unwrap_or_else(|| sides(&known.clusters, &known.ai(), seed));
    let identities: Vec<_> = known.tracks.iter().map(|t| t.identity.clone()).collect();
    let found = leaks(&identities, &sides);
    if found.is_empty() {
        return Ok(sides);
    }
    let each: Vec<String> = found
        .iter()
        .map(|leak| {
            let name = |at: usize| known.tracks[at].track_id.as_str();
            format!(
                "{} {} of {} and {}",
                leak.shared,
                leak.text,
                name(leak.calibrate),
                name(leak.test)
            )
        })
        .collect();
    let said = format!("both sides of the split have {}", named(&each));
    Err(problem(Code::LabelsLeak, said))
}

/// Each class has tracks enough to say anything.
///
/// # Errors
/// `LABELS_ONE_CLASS`, `LABELS_TOO_FEW`.
pub(crate) fn enough(known: &Joined, place: &str) -> Result<(), Failure> {
    let positives = known.tracks.iter().filter(|track| track.ai).count();
    enough_of(known.tracks.len() - positives, positives, place)
}

/// As [`enough`], where only the numbers are known.
pub(crate) fn enough_of(humans: usize, positives: usize, place: &str) -> Result<(), Failure> {
    if positives == 0 && humans == 0 {
        let said = format!("{place}: no track can be judged");
        return Err(problem(Code::LabelsTooFew, said));
    }
    if positives == 0 || humans == 0 {
        let said = format!("{place}: {humans} human and {positives} ai tracks can be judged");
        return Err(problem(Code::LabelsOneClass, said));
    }
    if positives.min(humans) < CLASS_LEAST {
        let said = format!(
            "{place}: {humans} human and {positives} ai tracks can be judged, each class needs {CLASS_LEAST}; of human tracks to fit on, {}",
            tiers::needs()
        );
        return Err(problem(Code::LabelsTooFew, said));
    }
    Ok(())
}

/// Fits a new version of `base`.
pub(crate) fn remake(base: &Manifest, known: &Joined, asked: &Asked) -> Result<Remade, Failure> {
    let sides = split(known, asked.seed)?;
    let (fit, held) = (
        known.only(&sides, Side::Calibrate),
        known.only(&sides, Side::Test),
    );
    enough(known, "the labels")?;
    enough(&fit, "the side `calibrate`, which is fitted on")?;
    enough(&held, "the side `test`, which rates are counted on")?;
    let mut manifest = base.clone();
    manifest.version += 1;
    if asked.production {
        manifest.purpose = Purpose::Production;
    }
    let prior = asked.prior.unwrap_or(base.screen.calibration.prior);
    let mut notes = Vec::new();
    screen(&mut manifest, &fit, &held, prior, asked)?;
    let fused = residual(&mut manifest, base, &fit, &held, prior, asked, &mut notes)?;
    say_what_tiers_lack(&manifest, &fit, &mut notes);
    Ok(Remade {
        scored: scored(&manifest, known, &sides, fused),
        manifest,
        sides,
        notes,
    })
}

/// What thresholds rest on: the screen's scores, and those of both engines where these were fitted.
fn scored(
    manifest: &Manifest,
    known: &Joined,
    sides: &[Side],
    fused: Option<FusedScores>,
) -> Vec<Scored> {
    let screen = Scored::screen(manifest.verdicts.clone(), screens(known));
    let residual = manifest.residual.as_ref();
    let calibration = residual.and_then(|residual| residual.calibration.as_ref());
    let both = calibration.zip(fused).map(|(calibration, fused)| {
        Scored::both(calibration.verdicts.clone(), fused.in_order(sides))
    });
    std::iter::once(screen).chain(both).collect()
}

/// Scores of both engines: on the side that was fitted on of fits that each left the track's cluster out.
struct FusedScores {
    fit: Vec<f64>,
    held: Vec<f64>,
}

impl FusedScores {
    /// In the order of the tracks, of which these are the sides.
    fn in_order(self, sides: &[Side]) -> Vec<f64> {
        let (mut fit, mut held) = (self.fit.into_iter(), self.held.into_iter());
        let score = |side: &Side| match side {
            Side::Calibrate => fit.next(),
            Side::Test => held.next(),
        };
        sides.iter().filter_map(score).collect()
    }
}

fn tells_nothing(flat: Flat) -> Failure {
    let said = format!("calibrate the screen: {flat}");
    problem(Code::ScoresTellNothing, said)
}

/// Scores of a class.
fn of(tracks: &[Known], scores: &[f64], ai: bool) -> Vec<f64> {
    let pairs = tracks.iter().zip(scores);
    pairs
        .filter(|(track, _)| track.ai == ai)
        .map(|(_, score)| *score)
        .collect()
}

fn screens(known: &Joined) -> Vec<f64> {
    known.tracks.iter().map(|track| track.screen).collect()
}

fn line(scores: &[f64], fit: &Joined, prior: f64) -> Result<Calibration, Flat> {
    let (positives, humans) = (
        of(&fit.tracks, scores, true),
        of(&fit.tracks, scores, false),
    );
    let Line {
        slope,
        intercept,
        prior,
    } = platt::fit(&positives, &humans, prior)?;
    Ok(Calibration {
        slope,
        intercept,
        prior,
    })
}

fn screen(
    manifest: &mut Manifest,
    fit: &Joined,
    held: &Joined,
    prior: f64,
    asked: &Asked,
) -> Result<(), Failure> {
    manifest.screen.calibration = line(&screens(fit), fit, prior).map_err(tells_nothing)?;
    let humans = |known: &Joined| of(&known.tracks, &screens(known), false);
    manifest.verdicts = verdicts(&manifest.verdicts, &humans(fit), &humans(held), asked)
        .map_err(|why| problem(Code::LabelsTooFew, why))?;
    manifest.gate = gate(&manifest.gate, &manifest.verdicts);
    Ok(())
}

/// Tiers of human scores, in the form of those that were there, or why the tier that verdicts rest on cannot be fitted.
fn verdicts(base: &Verdicts, fit: &[f64], held: &[f64], asked: &Asked) -> Result<Verdicts, String> {
    let known = Some(base.likely_ai_tier.as_str()).filter(|name| tiers::rate_of(name).is_some());
    let asked_for = asked.likely_ai_tier.as_deref();
    let likely = asked_for.or(known).unwrap_or(LIKELY_AI_TIER);
    let fitted: Vec<Tier> = tiers::fit(fit, held).into_iter().map(tier).collect();
    if !fitted.iter().any(|tier| tier.name == likely) {
        return Err(format!(
            "verdicts rest on {likely}, and {} human tracks can be fitted on: {}",
            fit.len(),
            tiers::needs()
        ));
    }
    let loosest = fitted.first().map(|tier| tier.score);
    Ok(Verdicts {
        likely_ai_tier: likely.to_owned(),
        no_evidence_below: base.no_evidence_below.and(loosest),
        tiers: fitted,
    })
}

fn tier(fitted: Fitted) -> Tier {
    Tier {
        name: fitted.name.to_owned(),
        score: fitted.score,
        humans: fitted.counted.trials,
        false_positives: fitted.counted.hits,
        fpr_bound_95: fitted.counted.bound_95,
    }
}

/// The gate takes the same kinds of tracks as before: the unsure from the loosest tier to that of `likely_ai`, the positives from there.
fn gate(base: &Gate, verdicts: &Verdicts) -> Gate {
    let likely = verdicts.likely_ai().map(|tier| tier.score);
    let loosest = verdicts.tiers.first().map(|tier| tier.score);
    let band = loosest.zip(likely).filter(|(low, high)| low < high);
    Gate {
        unsure: base.unsure.and(band.map(|(low, high)| Band { low, high })),
        positives_from: base.positives_from.and(likely),
    }
}

/// Fits the residual where the tracks were separated, and gives the scores of both engines; what the base says of it stays, at the
/// prior, where none was, where it tells nothing, or where its tier has too few human tracks.
fn residual(
    manifest: &mut Manifest,
    base: &Manifest,
    fit: &Joined,
    held: &Joined,
    prior: f64,
    asked: &Asked,
    notes: &mut Vec<String>,
) -> Result<Option<FusedScores>, Failure> {
    let Some(section) = &mut manifest.residual else {
        return Ok(None);
    };
    let (separated, all) = (
        fit.separated() + held.separated(),
        fit.tracks.len() + held.tracks.len(),
    );
    if separated == 0 {
        let why = "the job separated no track; scan with --stages both --gate all to fit one";
        notes.push(prior::keep(section, prior, asked, why));
        return Ok(None);
    }
    if separated < all {
        let said = format!(
            "{separated} of {all} labelled tracks were separated: what the gate chose says nothing of the others"
        );
        return Err(problem(Code::ResidualPartial, said));
    }
    let tiers = section.calibration.as_ref().map(|own| &own.verdicts);
    let tiers = tiers.unwrap_or(&base.verdicts);
    let fitted = engines(fit, prior, &candidates(section))
        .and_then(|engines| calibration(tiers, engines, fit, held, asked));
    match fitted {
        Ok((calibration, fused)) => {
            section.calibration = Some(calibration);
            Ok(Some(fused))
        }
        Err(why) => {
            notes.push(prior::keep(section, prior, asked, &why));
            Ok(None)
        }
    }
}

/// The features that a calibration may use, with what devices may differ by in each: the widest that the canary allows on any.
fn candidates(section: &Residual) -> Vec<Candidate> {
    let canary = section.canary.as_ref();
    let epsilon = canary.map_or(0.0, |canary| canary.epsilon.widest());
    calibrating(epsilon)
        .map(|(place, tolerance)| Candidate { place, tolerance })
        .collect()
}

fn vectors(known: &Joined) -> Vec<Vec<f64>> {
    let vector = |track: &Known| {
        track
            .features
            .iter()
            .map(|value| f64::from(*value))
            .collect()
    };
    known.tracks.iter().map(vector).collect()
}

/// What was fitted of the second engine, and of both.
struct Engines {
    terms: Vec<terms::Term>,
    /// The residual's scores of the side that was fitted on, of fits that each left the track's cluster out.
    crossed: Vec<f64>,
    probability: Calibration,
    rule: fusion::Fusion,
}

/// Fits them, or says why these tracks give none.
fn engines(fit: &Joined, prior: f64, candidates: &[Candidate]) -> Result<Engines, String> {
    let ai = fit.ai();
    let positives = ai.iter().filter(|ai| **ai).count();
    let least = positives.min(ai.len() - positives);
    let too_few = || {
        format!(
            "{least} separated tracks of the smaller class can be fitted on, and a residual's score needs {RESIDUAL_LEAST}, of several artists"
        )
    };
    if least < RESIDUAL_LEAST {
        return Err(too_few());
    }
    let owned = vectors(fit);
    let rows: Vec<&[f64]> = owned.iter().map(Vec::as_slice).collect();
    let places = terms::resolved(&rows, candidates);
    // What follows rests on scores of tracks that their fit has not seen, as all scores of a scan are.
    let crossed = terms::cross_fit(&rows, &ai, &fit.clusters, &places).ok_or_else(too_few)?;
    let probability =
        line(&crossed, fit, prior).map_err(|flat| format!("of the residual {flat}"))?;
    let rule = fusion::fit(&screens(fit), &crossed, &ai, prior)
        .map_err(|flat| format!("of both engines {flat}"))?;
    Ok(Engines {
        terms: terms::fit(&rows, &ai, &places),
        crossed,
        probability,
        rule,
    })
}

/// The new calibration with the scores that it rests on, or why there are too few human tracks for it.
fn calibration(
    base: &Verdicts,
    engines: Engines,
    fit: &Joined,
    held: &Joined,
    asked: &Asked,
) -> Result<(ResidualCalibration, FusedScores), String> {
    let Engines {
        terms: fitted,
        crossed,
        probability,
        rule,
    } = engines;
    let fused = |screen: &[f64], residual: &[f64]| -> Vec<f64> {
        let pairs = screen.iter().zip(residual);
        pairs.map(|(s, r)| rule.score(*s, *r)).collect()
    };
    let held_residual: Vec<f64> = vectors(held)
        .iter()
        .map(|row| terms::score(&fitted, row))
        .collect();
    let scores = FusedScores {
        fit: fused(&screens(fit), &crossed),
        held: fused(&screens(held), &held_residual),
    };
    let humans = of(&fit.tracks, &scores.fit, false);
    let held_humans = of(&held.tracks, &scores.held, false);
    let verdicts = verdicts(base, &humans, &held_humans, asked)
        .map_err(|why| format!("of both engines {why}"))?;
    let calibration = ResidualCalibration {
        features: RESIDUAL_VERSION.to_owned(),
        terms: fitted.into_iter().map(term).collect(),
        probability,
        fusion: Fusion::V1(FusionV1 {
            screen: rule.screen,
            residual: rule.residual,
            intercept: rule.intercept,
            prior: rule.prior,
        }),
        verdicts,
        humans: spreads(fit, held),
    };
    Ok((calibration, scores))
}

fn term(fitted: terms::Term) -> Term {
    Term {
        feature: RESIDUAL_V1[fitted.place].name.to_owned(),
        weight: fitted.weight,
        mean: fitted.mean,
        scale: fitted.scale,
    }
}

/// What the human tracks of both sides measure: no verdict rests on it.
fn spreads(fit: &Joined, held: &Joined) -> Vec<Spread> {
    let humans = || {
        let all = fit.tracks.iter().chain(&held.tracks);
        all.filter(|track| !track.ai)
    };
    let spread = |(at, feature): (usize, &bundle::features::Feature)| {
        let values: Vec<f64> = humans()
            .map(|track| f64::from(track.features[at]))
            .collect();
        let found = terms::spread(&values)?;
        Some(Spread {
            feature: feature.name.to_owned(),
            low: found.low,
            middle: found.middle,
            high: found.high,
        })
    };
    RESIDUAL_V1.iter().enumerate().filter_map(spread).collect()
}

/// Names the tiers that could not be fitted, and those whose rate is not borne out by how many tracks were counted.
fn say_what_tiers_lack(manifest: &Manifest, fit: &Joined, notes: &mut Vec<String>) {
    let humans = fit.tracks.iter().filter(|track| !track.ai).count() as u64;
    for (name, rate) in tiers::TIERS {
        let needed = tiers::humans_to_fit(rate);
        if humans < needed {
            notes.push(format!(
                "{name} is left out: {humans} human tracks to fit on, it needs {needed}"
            ));
        }
    }
    let Some(likely) = manifest.likely_ai() else {
        return;
    };
    let rate = tiers::rate_of(&likely.name).unwrap_or(1.0);
    if likely.fpr_bound_95 > rate {
        notes.push(format!(
            "{} is not borne out at 95 %: {} of {} human tracks reached it; it takes 0 of {}",
            likely.name,
            likely.false_positives,
            likely.humans,
            tiers::humans_to_bound(&likely.name).unwrap_or(0)
        ));
    }
}

#[cfg(test)]
#[path = "remake/tests.rs"]
mod tests;
