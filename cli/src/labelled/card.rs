//! The model card of a calibrated bundle: what was fitted on how many tracks, what it achieves, and the base's own card below.

use bundle::Manifest;
use types::Purpose;

/// The card. `summary` is what the command prints; names of tracks are not in it.
pub(crate) fn card(
    base: &Manifest,
    made: &Manifest,
    digest: &str,
    summary: &str,
    card: &str,
) -> String {
    let purpose = match made.purpose {
        Purpose::Demonstration => {
            "Purpose: demonstration. Its verdicts decide nothing, whatever it was calibrated on; outputs say so."
        }
        Purpose::Production => "Purpose: production, by the word of whoever signed it.",
    };
    let (name, version) = (&made.name, made.version);
    format!(
        "# Bundle `{name}` version {version}\n\n{purpose}\n\n\
         Weights and preprocessing are those of version {} (`{digest}`). Calibration, thresholds and gate were fitted on labelled\n\
         tracks by `scanctl calibrate`; what the tables count was counted on tracks that set nothing.\n\n\
         ```\n{}\n```\n\n\
         What follows is the card of version {}: its tables and thresholds are of its own data, and no verdict of this version\n\
         rests on them.\n\n---\n\n{}",
        base.version,
        summary.trim_end(),
        base.version,
        card.trim_start()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::sample;

    #[test]
    fn a_card_says_what_is_new_and_keeps_what_was_said() {
        let base = sample::manifest();
        let mut made = base.clone();
        made.version += 1;
        let text = card(&base, &made, "abc", "AUC 0.9\n", "# Sample\n");
        for part in [
            "# Bundle `sample` version 4",
            "version 3 (`abc`)",
            "AUC 0.9\n```",
            "# Sample",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
