//! How `up` begins and ends: signals, dead children, killed parents, a data folder in use.

use rustix::process::Signal;
use std::path::Path;
use tests::cluster::{Cluster, Options, PATIENCE};
use tests::process::{self, wait_for};

fn options() -> Options {
    Options {
        arguments: vec!["--device".into(), "cpu".into()],
        ..Options::default()
    }
}

#[test]
fn each_signal_that_asks_up_to_stop_has_its_exit_code_and_leaves_nothing_alive() {
    for (signal, code) in [(Signal::TERM, 0), (Signal::HUP, 0), (Signal::INT, 130)] {
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Cluster::start(folder.path(), &options());
        let below = process::descendants(cluster.pid());
        assert!(
            below.iter().any(|seen| seen.name == "coordinator"),
            "{below:?}"
        );
        process::signal(cluster.pid(), signal);
        assert_eq!(cluster.ended(), Some(code), "{signal:?}: {}", cluster.log());
        assert!(below.iter().all(|seen| process::one(seen.pid).is_none()));
    }
}

#[test]
fn a_second_signal_ends_what_does_not_drain() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(folder.path(), &options());
    let below = process::descendants(cluster.pid());
    let agent = cluster.processes("node-agent")[0].pid;
    process::signal(agent, Signal::STOP);
    process::signal(cluster.pid(), Signal::TERM);
    // A frozen process takes no signal but the last one: the first of these may come before the drain began.
    wait_for("up to end", PATIENCE, || {
        process::signal(cluster.pid(), Signal::TERM);
        process::one(agent).is_none().then_some(())
    });
    assert_eq!(cluster.ended(), Some(0), "{}", cluster.log());
    assert!(cluster.log().contains("did not drain; ending it"));
    assert!(below.iter().all(|seen| process::one(seen.pid).is_none()));
}

#[test]
fn a_killed_up_leaves_no_orphan() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(folder.path(), &options());
    cluster.kill();
}

#[test]
fn a_dead_child_is_started_again_and_five_deaths_in_a_minute_end_up_with_a_named_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(folder.path(), &options());
    for _ in 0..5 {
        let agent = wait_for("an agent", PATIENCE, || {
            cluster.processes("node-agent").first().cloned()
        });
        process::signal(agent.pid, Signal::KILL);
        wait_for("the agent's end", PATIENCE, || {
            process::one(agent.pid).is_none().then_some(())
        });
    }
    assert_eq!(cluster.ended(), Some(1));
    assert!(cluster.log().contains("CHILD_DIED"), "{}", cluster.log());
}

#[test]
fn a_coordinator_that_dies_before_it_is_ready_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::launch(folder.path(), &options());
    // Its version is asked of the same binary before.
    let serves = |pid: i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("--listen")
    };
    let first = wait_for("a coordinator", PATIENCE, || {
        let mut named = cluster.processes("coordinator").into_iter();
        named.find(|process| serves(process.pid))
    });
    process::signal(first.pid, Signal::KILL);
    cluster.wait_ready();
    let log = cluster.log();
    assert!(log.contains("`coordinator` ended with"), "{log}");
    assert_eq!(cluster.stop(), Some(0), "{}", cluster.log());
}

#[test]
fn a_hangup_that_is_ignored_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        ignores_hangup: true,
        ..options()
    };
    let mut cluster = Cluster::start(folder.path(), &options);
    process::signal(cluster.pid(), Signal::HUP);
    // Were the hang-up the first signal, the one that stops the cluster would be the second and wait for no drain.
    assert_eq!(cluster.stop(), Some(0), "{}", cluster.log());
    assert!(
        !cluster.log().contains("did not drain"),
        "{}",
        cluster.log()
    );
}

#[test]
fn a_source_that_is_not_there_when_up_begins_is_read_once_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let mut options = options();
    let source = format!("disk={}", disk.display());
    options.arguments.extend(["--source".into(), source]);
    let mut cluster = Cluster::start(&folder.path().join("data"), &options);
    let log = cluster.log();
    assert!(log.contains("source is not there"), "{log}");
    tests::music::folder(&disk, 2, 4.0);
    let imported = cluster.import("music", &disk);
    assert_eq!(imported["snapshot"]["source"], "disk", "{imported:#}");
    let submitted = cluster.json(&["scan", "submit", "--catalog", "music", "--wait"]);
    let verdicts = &submitted["status"]["verdicts"];
    assert_eq!(verdicts["unscannable"], 0, "{submitted:#}");
    assert_eq!(submitted["status"]["tracks_done"], 2, "{submitted:#}");
    assert_eq!(cluster.stop(), Some(0), "{}", cluster.log());
}

#[track_caller]
fn check_refused(data: &Path, options: &Options, exit: i32, said: &str) {
    let mut cluster = Cluster::launch(data, options);
    assert_eq!(cluster.ended(), Some(exit), "{}", cluster.log());
    let log = cluster.log();
    assert!(log.contains(said), "{log}");
    assert!(!log.contains("ready:"), "{log}");
}

#[test]
fn a_second_up_is_refused_by_name_and_the_first_goes_on_alone() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Cluster::start(folder.path(), &options());
    let mut second = Cluster::launch(folder.path(), &options());
    assert_eq!(second.ended(), Some(6), "{}", second.log());
    assert!(
        second.log().contains("error DATA_LOCKED"),
        "{}",
        second.log()
    );
    let same_address = Options {
        listen: first.address().strip_prefix("http://").map(str::to_owned),
        ..options()
    };
    let mut third = Cluster::launch(other.path(), &same_address);
    assert_eq!(third.ended(), Some(6), "{}", third.log());
    assert!(
        third.log().contains("error ADDRESS_IN_USE"),
        "{}",
        third.log()
    );
    assert!(!third.log().contains("ready:"), "{}", third.log());
    let nodes = first.json(&["node", "ls"]);
    assert_eq!(
        nodes["nodes"].as_array().map(Vec::len),
        Some(1),
        "{nodes:#}"
    );
}

#[test]
fn what_cannot_begin_ends_at_once_with_its_own_cause() {
    let folder = tempfile::tempdir().unwrap();
    let with = |more: &[&str]| Options {
        arguments: [&["--device", "cpu"], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        ..Options::default()
    };
    let data = |name: &str| folder.path().join(name);
    check_refused(
        &data("key"),
        &with(&["--trusted-key", "abc"]),
        2,
        "error CONFIG_INVALID: setting `trusted-key`",
    );
    let nothing = with(&["--default-bundle", "/nowhere/at/all"]);
    check_refused(&data("bundle"), &nothing, 1, "error BUNDLE_");
    let everywhere = Options {
        listen: Some("0.0.0.0:7700".into()),
        ..options()
    };
    check_refused(&data("everywhere"), &everywhere, 2, "loopback");
}

#[test]
fn a_free_port_a_key_of_ones_own_and_a_folder_of_any_name_are_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("100%25 of it");
    let mut own_key = options();
    own_key.listen = Some("127.0.0.1:0".into());
    let key = bundle::sample::key().public().to_string();
    own_key.arguments.extend(["--trusted-key".into(), key]);
    let cluster = Cluster::launch(&data, &own_key);
    let address = wait_for("the address", PATIENCE, || {
        let log = cluster.log();
        let (_, rest) = log.split_once("ready: coordinator at ")?;
        rest.split_once(',').map(|(address, _)| address.to_owned())
    });
    assert!(
        tests::cluster::scanctl(&address, &["node", "ls"])
            .status
            .success()
    );
    assert!(data.join("storage").is_dir());
}

#[test]
fn an_agent_that_a_signal_ended_is_started_again_and_no_operator_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(folder.path(), &options());
    let agent = cluster.processes("node-agent")[0].pid;
    process::signal(agent, Signal::TERM);
    wait_for("another agent", PATIENCE, || {
        let agents = cluster.processes("node-agent");
        agents.iter().any(|seen| seen.pid != agent).then_some(())
    });
    cluster.wait_ready();
    let log = cluster.log();
    assert!(log.contains("`node-agent` ended with"), "{log}");
    assert!(!log.contains("was drained"), "{log}");
    assert_eq!(cluster.stop(), Some(0), "{}", cluster.log());
}

#[test]
fn a_drained_node_leaves_and_up_goes_on_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(folder.path(), &options());
    let drained = cluster.json(&["node", "drain", "local"]);
    assert_eq!(drained["nodes"][0]["name"], "local", "{drained:#}");
    wait_for("up to say that the node has left", PATIENCE, || {
        cluster
            .log()
            .contains("was drained and has left")
            .then_some(())
    });
    let nodes = cluster.json(&["node", "ls"]);
    assert_eq!(nodes["nodes"][0]["state"], "left", "{nodes:#}");
    assert!(cluster.processes("node-agent").is_empty());
    assert_eq!(cluster.stop(), Some(0), "{}", cluster.log());
}
