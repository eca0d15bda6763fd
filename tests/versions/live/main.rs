//! One cluster of two versions: agents of the version before for a coordinator of this one, the other way round, and a cluster that is
//! brought from one to the other and back amid a job. `BEFORE` names the folder with the binaries of the version before; `make versions`
//! builds them where it does not.
//!
//! No part of `make test`: without those binaries each test here fails and says what it lacks.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is a failure message of a test, in its helpers too"
)]

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use versions::process::until;
use versions::site::{Coordinator, Scanctl};
use versions::{Build, Process, Site};

/// Tracks of a scan: three shards, so that there is work for each of two nodes.
const TRACKS: u32 = 48;
/// How long the stub hears a window: a job is under way for seconds, and something can be changed amid it.
const WINDOW_MS: u32 = 40;
/// Tracks that have a row when something is changed.
const AMID: u64 = 6;

/// Both builds; this one's are those beside the suite.
fn builds() -> (Build, Build) {
    let named = std::env::var("BEFORE").unwrap_or_default();
    assert!(
        !named.is_empty(),
        "not run: BEFORE names no folder with the binaries of version {}; `make versions` builds them",
        types::VERSION_BEFORE
    );
    let before = Build::open(Path::new(&named)).unwrap();
    assert_eq!(before.version, types::VERSION_BEFORE, "in `{named}`");
    let this = Build::beside_this().unwrap();
    assert_eq!(this.version, types::VERSION);
    (this, before)
}

/// A machine, a coordinator of a build, and the scanctl of that build.
fn begun(build: &Build) -> (Site, Coordinator, Scanctl) {
    let site = Site::new(TRACKS).unwrap();
    let coordinator = site.coordinator(build, "127.0.0.1:0").unwrap();
    let scanctl = Scanctl::new(build.clone(), coordinator.address);
    scanctl.import(&site).unwrap();
    (site, coordinator, scanctl)
}

fn agent(site: &Site, build: &Build, name: &str, at: SocketAddr) -> Process {
    site.agent(build, name, at, WINDOW_MS, &[]).unwrap()
}

/// Waits until the coordinator has a node, and gives the version that it goes by.
fn joined(scanctl: &Scanctl, name: &str) -> String {
    let version = || {
        let nodes = scanctl.json(&["node", "ls"]).ok()?;
        let mut nodes = nodes["nodes"].as_array()?.iter();
        let node = nodes.find(|node| node["name"] == name && node["state"] == "ready")?;
        Some(node["version"].as_str()?.to_owned())
    };
    until(name, version).unwrap()
}

/// Nodes that a result's rows cost something.
fn workers(scanctl: &Scanctl, job: &str) -> Vec<String> {
    let summary = scanctl.json(&["result", "summary", job]).unwrap();
    let stages = summary["stages"].as_array().unwrap().iter();
    let mut nodes: Vec<String> = stages
        .filter_map(|stage| stage["node"].as_str())
        .filter(|node| !node.is_empty())
        .map(str::to_owned)
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// An agent of each build works for a coordinator; scanctl of both reads the result alike. What each agent goes by there is given.
fn mixed(coordinator: &Build, this: &Build, before: &Build) -> [String; 2] {
    let (site, led, scanctl) = begun(coordinator);
    let older = agent(&site, before, "older", led.address);
    let newer = agent(&site, this, "newer", led.address);
    let versions = ["older", "newer"].map(|name| joined(&scanctl, name));
    let job = scanctl.submit().unwrap();
    let verified = scanctl.whole(&job, &site).unwrap();
    assert_eq!(workers(&scanctl, &job), ["newer", "older"]);
    for build in [this, before] {
        let other = Scanctl::new(build.clone(), led.address);
        assert_eq!(same(&other, &job), verified["verdicts_sha256"]);
    }
    older.terminate().unwrap();
    newer.terminate().unwrap();
    led.process.terminate().unwrap();
    versions
}

fn same(scanctl: &Scanctl, job: &str) -> Value {
    scanctl.json(&["result", "verify", job]).unwrap()["verdicts_sha256"].clone()
}

#[test]
fn agents_of_both_versions_work_for_this_coordinator_at_once() {
    let (this, before) = builds();
    let versions = mixed(&this, &this, &before);
    assert_eq!(versions, [types::VERSION_BEFORE, types::VERSION]);
}

#[test]
fn agents_of_both_versions_work_for_a_coordinator_of_the_version_before_at_once() {
    let (this, before) = builds();
    let versions = mixed(&before, &this, &before);
    assert_eq!(versions, [types::VERSION_BEFORE; 2], "by its words");
}

/// Begins a job under one build, puts the other's coordinator in its place amid the job and then its agent, and checks the end.
fn moved(from: &Build, to: &Build) {
    let (site, led, scanctl) = begun(from);
    let at = led.address;
    let first = agent(&site, from, "node", at);
    let job = scanctl.submit().unwrap();
    scanctl.wait_done(&job, AMID).unwrap();
    led.process.terminate().unwrap();
    let led = site.coordinator(to, &at.to_string()).unwrap();
    let scanctl = Scanctl::new(to.clone(), at);
    scanctl.wait_done(&job, 2 * AMID).unwrap();
    // What it had made and not committed stands on its disk for the other build.
    first.kill().unwrap();
    let second = agent(&site, to, "node", at);
    scanctl.whole(&job, &site).unwrap();
    second.terminate().unwrap();
    led.process.terminate().unwrap();
}

#[test]
fn a_job_begun_under_the_version_before_ends_under_this_one_with_each_track_once() {
    let (this, before) = builds();
    moved(&before, &this);
}

#[test]
fn a_job_begun_under_this_version_ends_under_the_one_before_with_each_track_once() {
    let (this, before) = builds();
    moved(&this, &before);
}
