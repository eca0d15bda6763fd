//! A node of several devices: each has a worker and decoders of its own, and what it made is under its own name.

use std::collections::BTreeSet;

use types::Stage;

use crate::world::{Options, World, assert_scored, tone};

#[test]
fn each_device_of_a_node_scans_under_its_own_name_and_each_track_has_one_row() {
    let names: Vec<String> = (0..24).map(|number| format!("{number:02}.wav")).collect();
    let tracks: Vec<(&str, Vec<i16>)> = (0..)
        .zip(&names)
        .map(|(number, name)| (name.as_str(), tone(number)))
        .collect();
    // Slow enough that neither is done with all of it before the other has begun.
    let variables = [
        ("TRACKSCAN_STUB_DEVICES", "2"),
        ("TRACKSCAN_STUB_WINDOW_MS", "60"),
    ];
    let options = Options {
        variables: variables
            .map(|(name, value)| (name, value.to_owned()))
            .to_vec(),
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    let rows = world.rows(24);
    for (name, samples) in &tracks {
        assert_scored(&rows[*name], samples);
    }
    let parts = world.parts(24);
    let spans = parts.iter().flat_map(|part| &part.footer.spans);
    let screened = spans.filter(|span| span.stage == Stage::Screen);
    let devices: BTreeSet<&str> = screened.map(|span| span.device.as_str()).collect();
    assert_eq!(devices, BTreeSet::from(["cpu:0", "cpu:1"]));
}
