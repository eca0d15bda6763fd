//! Thresholds by slice as rows under headers: shared by what people read, the page and a model card.

use crate::output::Records;
use evaluation::bound::{percent, percent_down};
use evaluation::thresholds::{CommonThreshold, OwnThreshold, SliceThresholds, SliceTiers};

/// The table with its caption; none where no slice has human tracks enough and a threshold of the bundle fails in none.
pub(super) fn by_slice(found: &SliceThresholds) -> Option<(String, Records)> {
    if found.slices.is_empty() {
        return None;
    }
    let more = match found.left_out {
        0 => String::new(),
        left_out => format!("; {left_out} smaller ones are not shown"),
    };
    let caption = format!(
        "Thresholds that slices would set by their own human tracks, fitted on one side and counted on the other; no verdict rests on them{more}"
    );
    Some((caption, records(found)))
}

fn records(found: &SliceThresholds) -> Records {
    Records {
        header: vec![
            "GROUP",
            "SLICE",
            "STAGE",
            "FITTED_ON",
            "COUNTED_ON",
            "FPR_1E-1",
            "FPR_3E-2",
            "FPR_1E-2",
            "FPR_1E-3",
            "DOES_NOT_HOLD",
        ],
        rows: found.slices.iter().map(row).collect(),
    }
}

fn row(slice: &SliceTiers) -> Vec<String> {
    let tier = |name: &str| {
        let tier = slice.tiers.iter().find(|tier| tier.tier == name);
        own(tier.and_then(|tier| tier.own))
    };
    let exceeded = slice
        .exceeded()
        .map(|(name, common)| does_not_hold(name, common));
    vec![
        slice.group.clone(),
        slice.name.clone(),
        slice.stage.clone(),
        slice.fitted_on.to_string(),
        slice.counted_on.to_string(),
        tier("fpr_1e-1"),
        tier("fpr_3e-2"),
        tier("fpr_1e-2"),
        tier("fpr_1e-3"),
        exceeded.collect::<Vec<_>>().join("; "),
    ]
}

/// A threshold with how many of the other side reach it and the bound of their rate, or a dash.
fn own(own: Option<OwnThreshold>) -> String {
    own.map_or_else(
        || "-".to_owned(),
        |OwnThreshold { score, counted }| {
            format!(
                "{score:.3}: {}/{} < {}",
                counted.hits,
                counted.trials,
                percent(counted.bound_95)
            )
        },
    )
}

/// The bundle's threshold of a tier, with how many of the slice reach it and the rate that this is at least.
fn does_not_hold(tier: &str, common: &CommonThreshold) -> String {
    format!(
        "{tier} at {:.3}: {}/{} > {}",
        common.score,
        common.counted.hits,
        common.counted.trials,
        percent_down(common.at_least_95)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use evaluation::bound::{Counted, lower_bound_95};
    use evaluation::thresholds::SliceTier;

    fn tier(name: &str, own: Option<OwnThreshold>, exceeded: bool) -> SliceTier {
        let counted = Counted::new(80, 210);
        SliceTier {
            tier: name.to_owned(),
            needed_to_fit: 10,
            needed_to_count: 29,
            own,
            common: Some(CommonThreshold {
                score: 0.5,
                counted,
                at_least_95: lower_bound_95(counted.hits, counted.trials),
                exceeded,
            }),
        }
    }

    fn found(slices: Vec<SliceTiers>) -> SliceThresholds {
        SliceThresholds {
            slices,
            too_few: 3,
            left_out: 2,
        }
    }

    #[test]
    fn a_threshold_stands_with_its_count_and_bound_and_what_bounds_nothing_is_a_dash() {
        let own = OwnThreshold {
            score: 1.25,
            counted: Counted::new(0, 300),
        };
        let slice = SliceTiers {
            group: "codec".to_owned(),
            name: "mp3 64".to_owned(),
            stage: "screen".to_owned(),
            fitted_on: 200,
            counted_on: 210,
            tiers: vec![
                tier("fpr_1e-1", Some(own), true),
                tier("fpr_3e-2", None, false),
            ],
        };
        let (caption, records) = by_slice(&found(vec![slice])).expect("a table");
        assert!(
            caption.ends_with("; 2 smaller ones are not shown"),
            "{caption}"
        );
        let [row] = &records.rows[..] else {
            panic!("one row: {:?}", records.rows);
        };
        assert_eq!(row.len(), records.header.len());
        assert_eq!(
            row[3..],
            [
                "200",
                "210",
                "1.250: 0/300 < 1.00 %",
                "-",
                "-",
                "-",
                "fpr_1e-1 at 0.500: 80/210 > 32.4 %"
            ]
        );
    }

    #[test]
    fn no_slice_with_tracks_enough_is_no_table() {
        assert!(by_slice(&found(Vec::new())).is_none());
    }
}
