//! What the version before left amid its work, taken over by this one's coordinator, agent and scanctl.

use versions::site::Scanctl;

use crate::{moment, site, taken_over};

#[test]
fn a_job_begun_under_the_version_before_ends_with_each_track_once() {
    let (site, moment) = (site(), moment());
    let (build, coordinator) = taken_over(&site);
    let scanctl = Scanctl::new(build.clone(), coordinator.address);
    let done = scanctl.count(&moment.open, "tracks_done").unwrap();
    assert!(0 < done && done < moment.tracks.into(), "{done} are done");
    let agent = site.agent(&build, "n3", coordinator.address, 0, &[]);
    let agent = agent.unwrap();
    let verified = scanctl.whole(&moment.open, &site).unwrap();
    // The same tracks, bundle and policy as the job that the version before ended by itself.
    let published = scanctl.whole(&moment.published, &site).unwrap();
    assert_eq!(verified["verdicts_sha256"], published["verdicts_sha256"]);
    let cancelled = scanctl.json(&["scan", "get", &moment.cancelled]).unwrap();
    assert_eq!(cancelled["state"], "cancelled");
    let again = scanctl.import(&site);
    assert!(again.is_err(), "a snapshot of the same rows is there");
    agent.terminate().unwrap();
    coordinator.process.terminate().unwrap();
}
