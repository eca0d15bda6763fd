//! Whatever is lost on the way, each granted track ends in exactly one committed row, and only guilty tracks are convicted.
//!
//! `coordinator` keeps the rules of grants, `world` plays the decoders, the workers and storage around the core, and loses what the dice say.

#[expect(clippy::unwrap_used, reason = "a world of small numbers fails loudly")]
mod coordinator;
#[expect(
    clippy::wildcard_enum_match_arm,
    clippy::unwrap_used,
    reason = "the world carries out each action where it belongs, and fails loudly"
)]
mod world;

use coordinator::Nature;
use proptest::prelude::*;
use world::{Odds, World};

fn natures(tracks: usize) -> impl Strategy<Value = Vec<Nature>> {
    let nature = prop_oneof![
        20 => Just(Nature::Sound),
        1 => Just(Nature::KillsWorker),
        1 => Just(Nature::KillsDecoder),
        1 => Just(Nature::Unscannable),
    ];
    prop::collection::vec(nature, 1..tracks)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn each_granted_track_ends_in_exactly_one_committed_row(
        natures in natures(60), seed in any::<u64>(), devices in 1u32..3, slots in 1u32..4,
    ) {
        let mut world = World::new(natures, seed, devices, slots);
        world.run(3_000, Odds::STORMY);
        world.run(60_000, Odds::CALM);
        world.assert_each_track_has_its_row();
    }
}

#[test]
fn a_run_without_losses_ends_by_itself() {
    let natures = vec![Nature::Sound; 200];
    let mut world = World::new(natures, 7, 2, 3);
    world.run(60_000, Odds::CALM);
    world.assert_each_track_has_its_row();
}

#[test]
fn poisoned_tracks_side_by_side_are_each_found_and_their_neighbours_pass() {
    let mut natures = vec![Nature::Sound; 30];
    natures[10] = Nature::KillsWorker;
    natures[11] = Nature::KillsWorker;
    natures[25] = Nature::KillsDecoder;
    for seed in 0..50 {
        let mut world = World::new(natures.clone(), seed, 1, 3);
        world.run(60_000, Odds::CALM);
        world.assert_each_track_has_its_row();
    }
}

#[test]
fn a_drained_node_leaves_nothing_uncommitted_that_it_had_begun() {
    for seed in 0..50 {
        let mut world = World::new(vec![Nature::Sound; 100], seed, 1, 2);
        world.run(400, Odds::CALM);
        world.drain();
        world.run(20_000, Odds::CALM);
        world.assert_left_in_peace();
    }
}
