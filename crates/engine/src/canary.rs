//! The canary: a clip whose scores are known, screened as any track to tell a sound device from a sick one. Called by the worker's
//! loop; what follows from the outcome is the agent's. A clip that finds no room has no score, so none that is wrong.

use crate::batch::screen;
use crate::seam::{Engine, EngineError};
use crate::segments::separate;
use crate::windows::Cutter;

/// Screens the canary clip. Returns the largest difference and what is wrong, empty if nothing is.
///
/// # Errors
/// An error that ends the worker, no room for a single window among them.
pub(crate) fn sing(engine: &mut impl Engine) -> Result<(f32, String), EngineError> {
    let canary = engine.canary().clone();
    let spec = engine.info().window;
    let max = engine.info().max_batch.max(1);
    let mut cutter = Cutter::new(spec);
    cutter.push(&canary.pcm);
    cutter.end();
    let mut pcm = Vec::new();
    while cutter.cut(&mut pcm).is_some() {}
    let mut logits = Vec::new();
    for piece in pcm.chunks(max * spec.samples()) {
        let (outcomes, _) = screen(engine, piece, piece.len() / spec.samples(), spec.samples())?;
        for outcome in outcomes {
            // A device without room for one window screens nothing: another worker may find it.
            let score = outcome.map_err(|detail| EngineError::Device { detail })?;
            logits.push(score.logit);
        }
    }
    let spans = vec![1.0; canary.logits.len()];
    Ok(judge(&logits, &canary.logits, &spans, canary.epsilon))
}

/// Separates the residual's canary. Returns the largest difference in shares of a feature's span and what is wrong, empty if nothing
/// is.
///
/// # Errors
/// [`EngineError::NoRoom`] also where the segment alone finds none; any other error ends the worker.
pub(crate) fn sing_residual(engine: &mut impl Engine) -> Result<(f32, String), EngineError> {
    let Some(canary) = engine.residual_canary().cloned() else {
        let none = "the bundle brings no canary of its residual".to_owned();
        return Ok((f32::INFINITY, none));
    };
    let (outcomes, _) = separate(engine, &canary.pcm, &[canary.segment])?;
    let mut features = Vec::new();
    for outcome in outcomes {
        let score = outcome.map_err(|detail| EngineError::NoRoom { detail })?;
        features.extend(score.features);
    }
    Ok(judge(
        &features,
        &canary.features,
        &canary.spans,
        canary.epsilon,
    ))
}

/// The largest difference of scores over their spans, and what is wrong.
fn judge(found: &[f32], known: &[f32], spans: &[f32], epsilon: f32) -> (f32, String) {
    if known.is_empty() || found.len() != known.len() {
        return (
            f32::INFINITY,
            format!("{} scores where {} are known", found.len(), known.len()),
        );
    }
    let gap = |((a, b), span): ((&f32, &f32), &f32)| {
        let gap = (a - b).abs() / span;
        if gap.is_nan() { f32::INFINITY } else { gap }
    };
    let pairs = found.iter().zip(known).zip(spans);
    let worst = pairs.map(gap).fold(0.0, f32::max);
    let reason = if worst <= epsilon {
        String::new()
    } else {
        format!("a score is off by {worst}, allowed is {epsilon}")
    };
    (worst, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_with_missing_or_odd_scores_fails() {
        let check = |found: &[f32], known: &[f32], good: bool| {
            assert_eq!(
                judge(found, known, &[1.0; 2], 0.1).1.is_empty(),
                good,
                "{found:?} {known:?}"
            );
        };
        check(&[1.0, 2.0], &[1.05, 2.0], true);
        check(&[1.0, 2.0], &[1.2, 2.0], false);
        check(&[1.0], &[1.0, 2.0], false);
        check(&[f32::NAN], &[1.0], false);
        check(&[f32::INFINITY], &[f32::INFINITY], false);
        check(&[], &[], false);
    }

    #[test]
    fn a_difference_counts_in_shares_of_its_span() {
        assert_eq!(judge(&[3.0], &[2.0], &[10.0], 0.1).0, 0.1);
        assert!(!judge(&[3.0], &[2.0], &[5.0], 0.1).1.is_empty());
    }

    #[test]
    fn a_canary_that_finds_no_room_is_not_sung_wrong() {
        let mut stub = crate::stub::StubEngine::plain();
        stub.poison_canaries(crate::stub::Trick::OutOfMemory);
        assert!(matches!(
            sing_residual(&mut stub),
            Err(EngineError::NoRoom { .. })
        ));
        assert!(matches!(sing(&mut stub), Err(EngineError::Device { .. })));
    }

    #[test]
    fn the_stub_sings_its_residual_right() {
        let mut stub = crate::stub::StubEngine::plain();
        assert_eq!(sing_residual(&mut stub).unwrap(), (0.0, String::new()));
    }
}
