//! Two hosts scan the demonstration catalogue with both engines of the committed bundle while the coordinator that leads is killed: every track has its
//! one row, with the verdict of a scan that nothing disturbed. `make demo-cluster` shows what was seen. Times are shown and never asserted.

mod judge;
mod scan;
mod scene;
mod table;

use anyhow::{Context, Result};
use scene::Scene;
use std::path::Path;

#[test]
fn a_leader_killed_amid_a_scan_by_both_engines_costs_no_track_and_changes_no_verdict() {
    let folder = tempfile::Builder::new()
        .prefix("trackscan-both-")
        .tempdir()
        .unwrap();
    match shown(folder.path()) {
        Ok(text) => println!("{text}"),
        Err(why) => {
            let kept = folder.keep();
            panic!("{why:#}\nlogs and data are kept in `{}`", kept.display());
        }
    }
}

/// Scans twice, once with the leader killed, and shows both scans where they say the same.
fn shown(folder: &Path) -> Result<String> {
    let scene = Scene::bring_up(folder)?;
    let tracks = scan::import(&scene)?;
    let calm = scan::undisturbed(&scene, tracks)?;
    let (killed, kill) = scan::with_the_leader_killed(&scene, tracks)?;
    let text = table::text(&calm, &killed, &kill);
    judge::held(&calm.rows, &killed.rows).with_context(|| text.clone())?;
    scene.end()?;
    Ok(text)
}
