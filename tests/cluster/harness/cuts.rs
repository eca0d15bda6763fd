//! What a cut does: it stops one way and not the other, silently, and leaves nothing behind once it is whole.

use crate::town::{PORT, Town, wait_for};
use cluster::Link;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// How long a count must stand still before nothing more is expected.
const STILL: Duration = Duration::from_millis(300);

/// Has one host throw datagrams at another.
fn throw(town: &Town, from: &str, to: &str, count: u64) {
    let to = SocketAddrV4::new(town.world.host(to).unwrap().address(), PORT);
    town.ask(from, &format!("throw {to} {count}"));
}

fn caught(town: &Town, host: &str) -> u64 {
    town.ask(host, "caught").parse().unwrap()
}

/// What a host has caught once nothing more comes.
fn caught_in_the_end(town: &Town, host: &str) -> u64 {
    let mut last = (caught(town, host), Instant::now());
    wait_for("datagrams to stop coming", || {
        let now = caught(town, host);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > STILL).then_some(now)
    })
}

#[test]
fn a_cut_one_way_stops_that_way_alone_until_it_is_whole_again() {
    let town = Town::of(&["a", "b"]);
    town.world.link("a", "b", Link::Cut).unwrap();
    throw(&town, "a", "b", 40);
    throw(&town, "b", "a", 40);
    assert_eq!(caught_in_the_end(&town, "a"), 40);
    assert_eq!(caught_in_the_end(&town, "b"), 0);
    town.world.link("a", "b", Link::Whole).unwrap();
    throw(&town, "a", "b", 40);
    assert_eq!(caught_in_the_end(&town, "b"), 40);
}

#[test]
fn an_open_connection_falls_silent_with_a_cut_and_goes_on_after_it() {
    let town = Town::of(&["a", "b"]);
    let mut line = town.line("a", "b");
    assert_eq!(line.ask("before"), "before");
    town.world.link_both("a", "b", Link::Cut).unwrap();
    line.say("during");
    assert!(line.is_silent());
    town.world.link_both("a", "b", Link::Whole).unwrap();
    assert_eq!(line.hear(), "during");
}

#[test]
fn an_isolated_host_is_alone_and_the_others_are_not() {
    let town = Town::of(&["a", "b", "c"]);
    let (mut to_c, mut to_b) = (town.line("a", "c"), town.line("a", "b"));
    assert_eq!(to_c.ask("before"), "before");
    town.world.isolate("c", Link::Cut).unwrap();
    to_c.say("anybody");
    assert!(to_c.is_silent());
    assert_eq!(to_b.ask("still"), "still");
    assert_eq!(town.ask("c", "myself"), "myself");
    town.world.isolate("c", Link::Whole).unwrap();
    assert_eq!(to_c.hear(), "anybody");
}

#[test]
fn a_lossy_link_loses_about_its_share() {
    let town = Town::of(&["a", "b"]);
    town.world.link("a", "b", Link::Lossy(300)).unwrap();
    throw(&town, "a", "b", 1_000);
    // Fifteen deviations either way, each of sqrt(1000 * 0.3 * 0.7).
    let caught = caught_in_the_end(&town, "b");
    assert!((480..=920).contains(&caught), "caught {caught} of 1000");
}
