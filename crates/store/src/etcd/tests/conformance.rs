//! What every backend must do, on each line of etcd, and on three members of the line that everything else runs on.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::World;
use crate::conformance;
use crate::server::{Line, Options};

/// Each check has a prefix of its own on one server.
async fn check(options: Options) {
    let world = World::start(options).await;
    let checks = AtomicUsize::new(0);
    conformance::all(async || {
        let n = checks.fetch_add(1, Ordering::Relaxed);
        world.open(&format!("check-{n}")).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_of_the_os_package_does_what_every_backend_must() {
    check(Options::one(Line::OsPackage)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_3_6_does_what_every_backend_must() {
    check(Options::one(Line::V3_6)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_3_7_does_what_every_backend_must() {
    check(Options::one(Line::V3_7)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_of_etcd_3_7_do_what_every_backend_must() {
    check(Options::three(Line::V3_7)).await;
}
