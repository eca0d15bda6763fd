//! How `up` begins and ends: signals, dead children, killed parents, a data folder in use.

use rustix::process::Signal;
use tests::cluster::{Cluster, Options, PATIENCE};
use tests::process::{self, wait_for};

fn options() -> Options {
    Options {
        arguments: vec!["--device".into(), "cpu".into()],
        ..Options::default()
    }
}

#[test]
fn up_stops_on_sigterm_and_leaves_nothing_alive() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(folder.path(), &options());
    let below = process::descendants(cluster.pid());
    assert!(
        below.iter().any(|seen| seen.name == "coordinator"),
        "{below:?}"
    );
    assert_eq!(cluster.stop(), Some(0), "{}", cluster.log());
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
fn a_second_up_over_the_same_data_is_refused_by_name_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let first = Cluster::start(folder.path(), &options());
    let mut second = Cluster::launch(folder.path(), &options());
    assert_ne!(second.ended(), Some(0));
    assert!(second.log().contains("DATA_LOCKED"), "{}", second.log());
    assert!(first.scanctl(&["node", "ls"]).status.success());
}

#[test]
fn up_refuses_to_listen_beyond_loopback_while_links_are_not_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let everywhere = Options {
        every_interface: true,
        ..options()
    };
    let mut cluster = Cluster::launch(folder.path(), &everywhere);
    assert_ne!(cluster.ended(), Some(0));
    assert!(cluster.log().contains("loopback"), "{}", cluster.log());
}
