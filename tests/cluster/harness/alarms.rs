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

impl Store {
    /// Whether a key can be written; etcd's gateway takes keys and values in base 64.
    fn takes_writes(&self) -> bool {
        let put = json!({"key": "a2V5", "value": "dmFsdWU="});
        http::post_within(self.at, "/v3/kv/put", &put, PATIENCE).is_ok()
    }

    fn raise(&self) {
        wait_for("the alarm to be raised", || etcd::raise(self.at).ok());
    }

    fn disarm(&self) {
        wait_for("the alarm to be disarmed", || etcd::disarm(self.at).ok());
    }

    fn is_full(&self) -> bool {
        wait_for("etcd to answer", || etcd::is_full(self.at).ok())
    }
}

#[test]
fn an_alarm_that_is_raised_stands_and_stops_writes_until_it_is_disarmed() {
    let store = store();
    assert!(!store.is_full() && store.takes_writes());
    store.raise();
    wait_for("the alarm to stand", || store.is_full().then_some(()));
    assert!(!store.takes_writes());
    store.disarm();
    wait_for("the alarm to be gone", || (!store.is_full()).then_some(()));
    assert!(store.takes_writes());
}

#[test]
fn an_alarm_that_is_raised_twice_is_gone_once_it_is_disarmed_twice_and_a_dead_store_says_nothing() {
    let store = store();
    store.raise();
    store.raise();
    store.disarm();
    store.disarm();
    assert!(!store.is_full() && store.takes_writes());
    store.process.kill(PATIENCE).unwrap();
    assert!(etcd::is_full(store.at).is_err());
    assert!(etcd::raise(store.at).is_err());
}
