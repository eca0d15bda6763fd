//! Cancels beside what is on its way.

use crate::world::World;
use crate::world::agent::{Agent, tracks};
use scheduler::Request;
use scheduler::record::PartKind;

#[test]
fn a_cancelled_jobs_totals_count_a_commit_that_was_on_its_way() {
    let mut world = World::new();
    let j = world.submit("j", 8, 8);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 8).grants[0].clone();
    let first = agent.commit_request(&granted, &tracks(0, 2), PartKind::Terminal);
    let commit = world.call(first);
    let write = world.effects.pop_front().unwrap();
    let cancel = world.call(Request::Cancel {
        job: j.job.clone(),
        reason: String::new(),
    });
    world.settle();
    assert!(
        !world.answers.contains_key(&cancel),
        "the commit may count yet"
    );
    let late = agent.commit_request(&granted, &tracks(2, 4), PartKind::Terminal);
    let late = world.call(late);
    world.settle();
    world.happen(write);
    world.settle();
    for call in [commit, cancel, late] {
        assert!(world.answers.remove(&call).unwrap().is_ok());
    }
    let record = world.core.job(&j).unwrap();
    assert_eq!(record.totals.done, 2);
    let stored = world.store.job(&j).unwrap();
    assert_eq!(stored.totals.unwrap().done, 2);
}
