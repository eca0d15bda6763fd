//! The alarm of a real etcd as suites raise and disarm it: while it stands nothing is written, and afterwards everything is as before.

use crate::town::{PATIENCE, wait_for};
use cluster::{Process, Program, Relay, World, etcd, http};
use serde_json::json;
use std::net::{SocketAddr, SocketAddrV4};
use tempfile::TempDir;

const MEMBER: &str = "etcd-1";

/// One member on a host of its own, and a way to it from outside. What stands on something goes before it.
struct Store {
    at: SocketAddr,
    _way: Relay,
    process: Process,
    _world: World,
    _folder: TempDir,
}

fn store() -> Store {
    let folder = tempfile::tempdir().unwrap();
    let world = World::make(&folder.path().join("logs"), &[MEMBER]).unwrap();
    let host = world.host(MEMBER).unwrap();
    let members = [(MEMBER.to_owned(), host.address())];
    let arguments = etcd::arguments(MEMBER, &members, &folder.path().join("data"));
    let program = Program::new(MEMBER, etcd::program().unwrap(), &[]).given(arguments);
    let process = host.start(program).unwrap();
    let door = SocketAddrV4::new(host.address(), etcd::PORT);
    let (way, at) = Relay::inward(host, door).unwrap();
    wait_for("etcd to lead", || {
        etcd::status(at).ok()?.leads.then_some(())
    });
    Store {
        at,
        _way: way,
        process,
        _world: world,
        _folder: folder,
    }
}

/// Whether a key can be written; etcd's gateway takes keys and values in base 64.
fn takes_writes(at: SocketAddr) -> bool {
    let put = json!({"key": "a2V5", "value": "dmFsdWU="});
    http::post_within(at, "/v3/kv/put", &put, PATIENCE).is_ok()
}

#[test]
fn an_alarm_that_is_raised_stands_and_stops_writes_until_it_is_disarmed() {
    let store = store();
    assert!(!etcd::is_full(store.at).unwrap() && takes_writes(store.at));
    etcd::raise(store.at).unwrap();
    wait_for("the alarm to stand", || {
        etcd::is_full(store.at).ok()?.then_some(())
    });
    assert!(!takes_writes(store.at));
    etcd::disarm(store.at).unwrap();
    wait_for("the alarm to be gone", || {
        (!etcd::is_full(store.at).ok()?).then_some(())
    });
    assert!(takes_writes(store.at));
}

#[test]
fn a_disarmed_store_is_disarmed_again_without_harm_and_a_dead_one_says_nothing() {
    let store = store();
    etcd::disarm(store.at).unwrap();
    assert!(takes_writes(store.at));
    store.process.kill(PATIENCE).unwrap();
    assert!(etcd::is_full(store.at).is_err());
    assert!(etcd::raise(store.at).is_err());
}
