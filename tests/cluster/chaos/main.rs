//! The chaos run: three members of etcd, two coordinators, four agents with the stub engine and an S3 server, each on a host of its own; jobs without
//! end while a drawn schedule of faults happens to all of them; then calm, and the judge. Three minutes of it belong to the tests; `make chaos`
//! runs it longer. Figures are recorded and never asserted: a run is good where every track has its one right row.

mod baseline;
mod books;
mod builds;
mod flow;
mod judge;
mod measure;
mod music;
mod plan;
mod scene;
mod tail;
mod watch;
mod wishes;
mod witness;
mod work;

use wishes::Wishes;

#[test]
fn whatever_fails_every_track_ends_once_and_right_and_nobody_repairs_anything() {
    let wishes = Wishes::read().unwrap();
    let folder = tempfile::Builder::new()
        .prefix("trackscan-chaos-")
        .tempdir()
        .unwrap();
    let report = flow::run(&wishes, folder.path());
    let good = report.as_ref().is_ok_and(cluster::report::Report::is_good);
    let said = match &report {
        Ok(report) => report.text(),
        Err(why) => format!("{why:#}\n"),
    };
    println!("{said}");
    if !good {
        let kept = folder.keep();
        panic!("{said}logs and data are kept in `{}`", kept.display());
    }
}
