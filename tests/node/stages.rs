//! What a node measures of its stages, so that what binds is told rightly.

use std::time::Instant;

use crate::world::{Options, World, tone};
use types::Stage;

/// Beats of idleness, each a fifth of a second.
const IDLE_BEATS: usize = 20;

#[test]
fn a_slow_device_binds_and_the_decoders_before_it_are_held_up() {
    // Longer than the ring: the decoders wait within their tracks, not at their ends alone.
    let long = tone(1).repeat(8);
    let tracks = ["a.wav", "b.wav", "c.wav"].map(|name| (name, long.clone()));
    let options = Options {
        honest_decoder: true,
        variables: vec![("TRACKSCAN_STUB_WINDOW_MS", "20".to_owned())],
        ..Options::default()
    };
    let ledger = World::new(&tracks, options).ledger(3);
    assert_eq!(
        ledger.binding(),
        Some((Stage::Screen, Stage::Decode)),
        "{ledger:?}"
    );
}

#[test]
fn a_slow_device_binds_also_where_whole_tracks_fit_into_the_ring() {
    let names: Vec<String> = (0..9).map(|number| format!("{number}.wav")).collect();
    let tracks: Vec<(&str, Vec<i16>)> = names.iter().map(|name| (&**name, tone(1))).collect();
    let options = Options {
        honest_decoder: true,
        variables: vec![("TRACKSCAN_STUB_WINDOW_MS", "40".to_owned())],
        ..Options::default()
    };
    let ledger = World::new(&tracks, options).ledger(9);
    assert_eq!(
        ledger.binding(),
        Some((Stage::Screen, Stage::Decode)),
        "{ledger:?}"
    );
}

#[test]
fn a_slow_decoder_binds_and_the_device_behind_it_is_held_up() {
    let tracks = ["slow-a.wav", "slow-b.wav", "slow-c.wav"].map(|name| (name, tone(1)));
    let ledger = World::new(&tracks, Options::default()).ledger(3);
    assert_eq!(
        ledger.binding(),
        Some((Stage::Decode, Stage::Screen)),
        "{ledger:?}"
    );
}

#[test]
fn a_slow_source_binds_as_decoding() {
    let tracks = [("a.wav", tone(1)), ("held.wav", tone(2))];
    let options = Options {
        held: Some("held.wav"),
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    let begun = Instant::now();
    let beats = world.played.look(|books| books.beats.len());
    world.wait("a source to be slow", |world| {
        world.played.look(|books| books.beats.len()) >= beats + 10
    });
    world.held = None;
    let waited = begun.elapsed();
    let ledger = world.ledger(2);
    let decode = ledger.decode;
    assert_eq!(
        ledger.binding().map(|(binds, _)| binds),
        Some(Stage::Decode)
    );
    assert!(
        u128::from(decode.device_us) > waited.as_micros() / 2,
        "{waited:?} of reading, {decode:?}"
    );
}

#[test]
fn idleness_between_two_grants_is_no_parts_wait() {
    let tracks = ["a.wav", "b.wav", "c.wav", "d.wav", "e.wav"].map(|name| (name, tone(1)));
    let options = Options {
        grants: Some(1),
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    world.rows(4);
    let begun = Instant::now();
    let beats = world.played.look(|books| books.beats.len());
    world.wait("idle beats", |world| {
        world.played.look(|books| books.beats.len()) >= beats + IDLE_BEATS
    });
    let idle = begun.elapsed();
    world.played.look(|books| books.grants_left = usize::MAX);
    let parts = world.parts(5);
    let last = parts.last().expect("five rows have parts").footer.ledger;
    assert!(
        u128::from(last.screen.wait_us) < idle.as_micros() / 2,
        "{idle:?} idle, {:?}",
        last.screen
    );
}
