//! Whether a disturbed scan says of every track exactly what an undisturbed one does, and both used the second engine. Pure.

use crate::scan::Row;
use anyhow::{Result, ensure};
use cluster::oracle;
use std::collections::BTreeSet;

/// Holds them against each other. Rows within the bundle's tolerance of an edge may differ: two batches are two sums.
///
/// # Errors
/// With what differs.
pub(crate) fn held(calm: &[Row], disturbed: &[Row]) -> Result<()> {
    for rows in [calm, disturbed] {
        let tracks: BTreeSet<&str> = rows.iter().map(|row| row.track_id.as_str()).collect();
        ensure!(tracks.len() == rows.len(), "a track has two rows");
        let separated = rows.iter().any(Row::is_separated);
        ensure!(separated, "no track went through the second engine");
    }
    let edge: BTreeSet<&str> = calm
        .iter()
        .chain(disturbed)
        .filter(|row| row.borderline)
        .map(|row| row.track_id.as_str())
        .collect();
    let found = oracle::judge(&judged(disturbed, &edge), &judged(calm, &edge));
    ensure!(found.nothing(), "verdicts differ: {found:?}");
    let (once, again) = (separated(calm, &edge), separated(disturbed, &edge));
    ensure!(
        once == again,
        "other tracks went through the second engine: {once:?}, then {again:?}"
    );
    Ok(())
}

fn judged(rows: &[Row], edge: &BTreeSet<&str>) -> Vec<oracle::Row> {
    let plain = rows.iter();
    let plain = plain.filter(|row| !edge.contains(row.track_id.as_str()));
    let said = plain.map(|row| oracle::Row {
        track_id: row.track_id.clone(),
        verdict: row.verdict.clone(),
        reason: Some(row.reason.clone()),
        code: None,
    });
    said.collect()
}

fn separated<'a>(rows: &'a [Row], edge: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    let went = rows.iter().filter(|row| row.is_separated());
    let went = went.map(|row| row.track_id.as_str());
    went.filter(|track| !edge.contains(track)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Rows as `track verdict`, with `+` for one that was separated and `~` for one near an edge.
    fn rows(text: &str) -> Vec<Row> {
        let row = |text: &str| {
            let (track, verdict) = text.split_once(' ').unwrap();
            let segments = match text.contains('+') {
                true => vec![json!({})],
                false => Vec::new(),
            };
            let row = json!({
                "track_id": track, "verdict": verdict.trim_end_matches(['+', '~']), "reason": "",
                "borderline": text.contains('~'), "segments": segments, "key": "a.mp3"
            });
            serde_json::from_value(row).unwrap()
        };
        text.split(';').map(row).collect()
    }

    const CALM: &str = "a likely_ai+;b no_evidence;c no_evidence~";

    #[track_caller]
    fn check(disturbed: &str, complaint: Option<&str>) {
        let found = held(&rows(CALM), &rows(disturbed)).err();
        match (found, complaint) {
            (None, None) => {}
            (Some(why), Some(word)) => assert!(why.to_string().contains(word), "{why}"),
            (found, _) => panic!("{disturbed}: {found:?}"),
        }
    }

    #[test]
    fn the_same_said_again_holds_and_a_row_near_an_edge_may_say_otherwise() {
        check(CALM, None);
        check("c likely_ai~;b no_evidence;a likely_ai+", None);
    }

    #[test]
    fn a_lost_doubled_or_differing_track_and_another_way_through_are_named() {
        check("a likely_ai+;c no_evidence~", Some("differ"));
        check("a likely_ai+;b no_evidence;b no_evidence", Some("two rows"));
        check("a likely_ai+;b likely_ai;c no_evidence", Some("differ"));
        check("a likely_ai;b no_evidence;c no_evidence", Some("no track"));
        check("a likely_ai+;b no_evidence+;c no_evidence", Some("other"));
    }
}
