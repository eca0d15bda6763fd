//! What a relay does to connections that live: late, slow, stalled, swallowed, reset; and that it is not noticed otherwise.

use crate::town::{Line, PORT, Town};
use cluster::{Pass, Relay, Shape};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// A town of two with a relay before `a`, the address of `b` and an open line to it.
fn relayed() -> (Town, Relay, Ipv4Addr, Line) {
    let town = Town::of(&["a", "b"]);
    let relay = Relay::before(town.world.host("a").unwrap()).unwrap();
    let b = town.world.host("b").unwrap().address();
    let mut line = town.line("a", "b");
    assert_eq!(line.ask("hello"), "hello");
    (town, relay, b, line)
}

fn passing(pass: Pass) -> Shape {
    Shape {
        pass,
        ..Shape::default()
    }
}

fn took(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

#[test]
fn a_relay_is_not_noticed_by_either_side() {
    let (town, _relay, _, mut line) = relayed();
    let own = town.world.host("a").unwrap().address().to_string();
    assert_eq!(line.ask("caller"), own);
}

#[test]
fn a_delay_each_way_makes_an_open_connection_late_by_both() {
    let (_town, mut relay, b, mut line) = relayed();
    let late = Shape {
        delay_ms: 150,
        ..Shape::default()
    };
    relay.shape(b, late, late).unwrap();
    let slow = took(|| assert_eq!(line.ask("late"), "late"));
    assert!(slow >= Duration::from_millis(300), "{slow:?}");
}

#[test]
fn jitter_never_turns_the_order_around() {
    let (_town, mut relay, b, mut line) = relayed();
    let jittery = Shape {
        jitter_ms: 60,
        ..Shape::default()
    };
    relay.shape(b, jittery, jittery).unwrap();
    let words: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    words.iter().for_each(|word| line.say(word));
    let heard: Vec<String> = words.iter().map(|_| line.hear()).collect();
    assert_eq!(heard, words);
}

#[test]
fn a_narrow_relay_takes_as_long_as_its_bytes() {
    let (_town, mut relay, b, mut line) = relayed();
    let narrow = Shape {
        bytes_per_s: 400_000,
        ..Shape::default()
    };
    relay.shape(b, narrow, Shape::default()).unwrap();
    let long = "x".repeat(200_000);
    let slow = took(|| assert_eq!(line.ask(&long), long));
    // Half a second by its rate, but for the pieces at either end.
    assert!(slow >= Duration::from_millis(400), "{slow:?}");
}

#[test]
fn a_stall_loses_nothing() {
    let (_town, mut relay, b, mut line) = relayed();
    relay
        .shape(b, passing(Pass::Stalls), Shape::default())
        .unwrap();
    line.say("patience");
    assert!(line.is_silent());
    relay.shape(b, Shape::default(), Shape::default()).unwrap();
    assert_eq!(line.hear(), "patience");
}

#[test]
fn a_black_hole_is_silent_while_it_lasts_and_breaks_what_lost_bytes() {
    let (town, mut relay, b, mut line) = relayed();
    relay
        .shape(b, passing(Pass::Swallows), Shape::default())
        .unwrap();
    line.say("nobody hears");
    assert!(line.is_silent());
    relay.shape(b, Shape::default(), Shape::default()).unwrap();
    assert!(line.breaks());
    assert_eq!(town.line("a", "b").ask("again"), "again");
}

#[test]
fn a_reset_breaks_open_connections_and_no_later_ones() {
    let (town, mut relay, b, mut line) = relayed();
    relay.reset(b).unwrap();
    assert!(line.breaks());
    assert_eq!(town.line("a", "b").ask("again"), "again");
}

#[test]
fn a_port_where_nobody_listens_breaks_through_a_relay_too() {
    let (town, _relay, b, _) = relayed();
    assert!(town.line_to("a", SocketAddrV4::new(b, PORT + 1)).breaks());
}

#[test]
fn a_host_without_its_relay_reaches_its_neighbours_as_before() {
    let (town, relay, _, _) = relayed();
    drop(relay);
    assert_eq!(town.line("a", "b").ask("alone"), "alone");
}
