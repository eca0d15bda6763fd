//! What a host is: an address of its own that its neighbours reach, and nothing outside of its world.

use crate::town::Town;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::process::Command;

#[test]
fn a_host_reaches_its_neighbour_and_is_seen_there_by_its_own_address() {
    let town = Town::of(&["a", "b"]);
    let own = town.world.host("a").unwrap().address().to_string();
    assert_eq!(town.line("a", "b").ask("caller"), own);
}

#[test]
fn two_worlds_have_the_same_addresses_and_never_meet() {
    let named = |name: &'static str| {
        Town::with(&["a", "b"], move |mut program, _| {
            program.arguments.push(name.to_owned());
            program
        })
    };
    let (one, other) = (named("one"), named("other"));
    let address = |town: &Town| town.world.host("b").unwrap().address();
    assert_eq!(address(&one), address(&other));
    assert!(one.line("a", "b").ask("arguments").ends_with("one"));
    assert!(other.line("a", "b").ask("arguments").ends_with("other"));
}

#[test]
fn a_host_does_not_reach_what_listens_on_the_machine() {
    let town = Town::of(&["a"]);
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = outside.local_addr().unwrap().port();
    let mut line = town.line_to("a", SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    assert!(line.breaks());
}

#[test]
fn a_host_that_is_not_there_is_an_error_that_names_those_that_are() {
    let town = Town::of(&["a", "b"]);
    let why = town.world.host("c").err().map(|why| why.to_string());
    let why = why.unwrap_or_default();
    assert!(why.contains("`c`") && why.contains("a, b"), "{why}");
}

#[test]
fn a_kernel_that_gives_no_namespaces_is_an_error_that_names_the_switch() {
    let keeper = cluster::program("cluster-keeper").unwrap();
    let forbidden = "echo 0 > /proc/sys/user/max_net_namespaces && exec \"$0\" first";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", forbidden]);
    let output = command.arg(keeper).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("user.max_net_namespaces"), "{said}");
}
