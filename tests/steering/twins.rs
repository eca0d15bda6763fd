//! Two agents of one node, both real processes: the second is refused while the first lives, changes nothing, and gets in by itself once the first
//! is gone.

use crate::count;
use crate::world::World;

const TRACKS: usize = 160;

/// The sessions of all nodes.
fn sessions(world: &World) -> Vec<u64> {
    let listed = world.json("node ls");
    let nodes = listed["nodes"].as_array().expect("nodes");
    nodes.iter().map(|node| count(node, "session")).collect()
}

#[test]
fn a_second_living_agent_of_a_node_does_not_get_in_and_once_the_first_is_killed_it_does() {
    let mut world = World::new(TRACKS, &[]);
    world.import("");
    let job = world.submit("");
    world.agent("n");
    let first = count(&world.node("n"), "session");

    world.agent_over("n", "other");
    world.wait("a refusal, and another one when it tries again", |world| {
        let said = world.said("other");
        said.contains("IDENTITY_IN_USE") && said.matches("not joined").count() >= 2
    });
    assert_eq!(sessions(&world), [first]);
    let before = count(&world.job(&job), "tracks_done");
    world.wait("more rows of the first", |world| {
        let done = count(&world.job(&job), "tracks_done");
        done > before || done == TRACKS as u64
    });
    assert_eq!(sessions(&world), [first]);

    world.kill(0);
    world.wait("the second agent's session", |world| {
        let node = world.node("n");
        node["state"] == "ready" && count(&node, "session") > first
    });
    assert_eq!(sessions(&world).len(), 1);
    world.published(&job);
}
