//! The prior beside probabilities, as people read it. Called by the views of rows; moves no probability.

use super::row::{RowView, ScoreView};
use std::collections::BTreeSet;

/// A prior with two decimals, and with all that it has where those are more.
pub(super) fn text(prior: f32) -> String {
    let (all, two) = (prior.to_string(), format!("{prior:.2}"));
    if all.len() > two.len() { all } else { two }
}

fn priors(rows: &[RowView], score: fn(&RowView) -> Option<&ScoreView>) -> BTreeSet<String> {
    let scores = rows.iter().filter_map(score);
    scores.map(|score| text(score.prior)).collect()
}

/// What the probabilities of these rows suppose: one prior where all have the same, else those of each rule. None without a score.
pub(super) fn said(rows: &[RowView]) -> Option<String> {
    let rules = [
        ("screen", priors(rows, |row| row.screen.as_ref())),
        ("residual", priors(rows, |row| row.residual.as_ref())),
        ("both", priors(rows, |row| row.fused.as_ref())),
    ];
    let all: BTreeSet<&str> = rules
        .iter()
        .flat_map(|(_, priors)| priors.iter().map(String::as_str))
        .collect();
    if all.len() < 2 {
        return all.first().map(|prior| format!("a prior of {prior}"));
    }
    let each = rules.iter().flat_map(|(rule, priors)| {
        let told = move |prior: &String| format!("{prior} ({rule})");
        priors.iter().map(told)
    });
    let each: Vec<String> = each.collect();
    Some(format!("priors of {}", each.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::v1;

    fn row(priors: [f32; 3]) -> RowView {
        let [screen, residual, fused] = priors.map(|prior| {
            Some(v1::Score {
                prior,
                ..v1::Score::default()
            })
        });
        RowView::from(v1::Row {
            screen,
            residual,
            fused,
            ..v1::Row::default()
        })
    }

    #[test]
    fn one_prior_is_said_once_and_several_with_what_has_them() {
        assert_eq!(said(&[]), None);
        let same = [row([0.5; 3]), row([0.5; 3])];
        assert_eq!(said(&same).as_deref(), Some("a prior of 0.50"));
        let other = [row([0.5; 3]), row([0.5, 0.3, 0.1])];
        assert_eq!(
            said(&other).as_deref(),
            Some(
                "priors of 0.50 (screen), 0.30 (residual), 0.50 (residual), 0.10 (both), 0.50 (both)"
            )
        );
    }

    #[test]
    fn a_small_prior_is_not_rounded_to_another_one() {
        let shown = [0.5, 0.05, 0.005, 0.123].map(text);
        assert_eq!(shown, ["0.50", "0.05", "0.005", "0.123"]);
    }
}
