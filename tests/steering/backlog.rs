//! A node with a backlog of long batch work: what is urgent does not wait for what it holds already, since its agent goes on with the fastest lane
//! first. The longest test of the suite, which its name lets begin before most others.

use crate::count;
use crate::world::World;

const TRACKS: usize = 800;
/// More than this a node holds at once of them, by its measured rate: more than half a minute of work.
const HELD: u64 = 400;

#[test]
fn an_urgent_job_ends_while_its_only_node_has_long_batch_work_and_each_row_of_that_is_there_once() {
    let mut world = World::over(&["--grant-millis", "120000"], |music| {
        tests::music::folder(&music.join("all"), TRACKS, 1.2);
        tests::music::folder(&music.join("few"), 4, 1.2);
    });
    let music = world.music();
    world.import_folder("music", &music.join("all"), "");
    world.import_folder("few", &music.join("few"), "");
    let batch = world.submit_in(1_000, "music", "");
    world.agent("n");
    world.wait("one node to hold most of it", |world| {
        count(&world.job(&batch), "tracks_granted") > HELD
    });
    let urgent = world.submit_over("few", " --lane interactive");
    world.published(&urgent);
    let then = world.job(&batch);
    assert_eq!(then["state"], "running", "{then:#}");
    assert!(count(&then, "tracks_done") < HELD, "{then:#}");
    world.published(&batch);
    let verified = world.json(&format!("result verify {batch}"));
    assert_eq!(count(&verified, "rows_found"), TRACKS as u64);
}
