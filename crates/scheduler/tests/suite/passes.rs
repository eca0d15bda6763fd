//! A track goes through two passes of which one may cost a thousand times the other: what a node is given of each, and what they
//! cost its tenant.

use crate::fairness;
use crate::world::World;
use crate::world::agent::{Agent, tracks};
use crate::world::key;
use scheduler::record::PartKind;
use scheduler::{PullAnswer, Request, invariants};
use types::{DeviceUses, Millis, Stage, StageUse};

/// Tracks that the node is given at its next pull, however many it wants.
fn given(world: &mut World, agent: &mut Agent) -> u64 {
    let PullAnswer { grants, .. } = agent.pull(world, 2_000);
    grants.iter().map(|granted| granted.tracks.len()).sum()
}

/// All that the node holds is screened and goes on.
fn escalate(world: &mut World, agent: &mut Agent) {
    for granted in std::mem::take(&mut agent.grants) {
        let request = agent.commit_request(&granted, &granted.tracks, PartKind::Escalation);
        world.ask(request).unwrap();
    }
}

/// The residual of all that the node holds is done, at that device time a track.
fn separate(world: &mut World, agent: &mut Agent, device_us: u64) {
    for granted in std::mem::take(&mut agent.grants) {
        let request = agent.commit_request(&granted, &granted.tracks, PartKind::Terminal);
        let Request::Commit(mut commit) = request else {
            panic!("a commit is one");
        };
        let tracks = granted.tracks.len();
        commit.parts[0].ledger.residual = StageUse {
            tracks,
            device_us: device_us * tracks,
            ..StageUse::default()
        };
        world.ask(Request::Commit(commit)).unwrap();
    }
}

#[test]
fn a_node_that_screens_fast_is_given_as_much_of_the_residual_as_it_has_shown_to_do() {
    for (device_us, expected) in [(60_000_000, 4), (1_000_000, 120), (100_000, 1_200)] {
        let mut world = World::new();
        world.submit("j", 2_000, 1_000);
        let mut agent = Agent::joined(&mut world, "n");
        assert_eq!(given(&mut world, &mut agent), 2_000);
        escalate(&mut world, &mut agent);
        assert_eq!(given(&mut world, &mut agent), 16, "nothing is known yet");
        assert_eq!(given(&mut world, &mut agent), 0, "until half is done");
        separate(&mut world, &mut agent, device_us);
        assert_eq!(given(&mut world, &mut agent), expected, "{device_us}");
    }
}

#[test]
fn a_node_without_room_for_the_residual_is_given_what_is_to_be_screened() {
    let mut world = World::new();
    world.submit("j", 32, 32);
    let mut agent = Agent::joined(&mut world, "n");
    assert_eq!(given(&mut world, &mut agent), 32);
    escalate(&mut world, &mut agent);
    assert_eq!(given(&mut world, &mut agent), 16);
    world.submit("k", 32, 32);
    let more = agent.pull(&mut world, 2_000).grants;
    assert_eq!(more[0].job, key("k"));
    assert_eq!(more[0].tracks, tracks(0, 32));
}

#[test]
fn a_manifest_s_plan_tells_what_the_screen_used_where_although_every_track_went_on() {
    let mut world = World::new();
    world.submit("j", 32, 32);
    let mut agent = Agent::joined(&mut world, "n");
    assert_eq!(given(&mut world, &mut agent), 32);
    escalate(&mut world, &mut agent);
    // Sixteen tracks at first, then more: all are done after a few rounds.
    for _ in 0..32 {
        given(&mut world, &mut agent);
        separate(&mut world, &mut agent, 1_000);
    }
    let plan = &world.manifests[&key("j")];
    let screened = plan.parts.iter().map(|part| part.ledger.screen.device_us);
    let screened = screened.sum::<u64>();
    let told = |stage| {
        let mut lines = plan.uses.iter().filter(move |line| line.stage == stage);
        let line = lines.find(|line| line.node == "n" && line.device == "cpu:0");
        line.map(|line| (line.used.tracks, line.used.device_us))
    };
    let screen = plan.totals.ledger.screen.device_us - screened;
    assert_eq!(told(Stage::Screen), Some((32, screen)));
    assert_eq!(told(Stage::Residual), Some((32, 32_000)));
    let uses: DeviceUses = plan.uses.iter().cloned().collect();
    assert_eq!(uses.sum(), plan.totals.ledger);
}

#[test]
fn tracks_that_wait_for_the_residual_cost_their_tenant_what_their_screen_took() {
    let (mut world, _) = fairness::setting(0);
    let node = |world: &mut World, n| {
        let mut agent = Agent::new(&format!("n{n}"), crate::world::agent::SCREEN);
        agent.join(world).unwrap();
        agent
    };
    let mut agents: Vec<Agent> = (0..3).map(|n| node(&mut world, n)).collect();
    for tenant in ["a", "b"] {
        world.submit_as(tenant, &format!("{tenant}-1"), 4_000, |_| {});
    }
    let mut had = [0, 0];
    for _ in 0..100 {
        for agent in &mut agents {
            fairness::pull(&mut world, agent).expect("there is work");
        }
        for agent in &mut agents {
            for granted in std::mem::take(&mut agent.grants) {
                let waits = granted.job.tenant.as_str() == "a" && had[0] > 0;
                let kind = match waits {
                    true => PartKind::Escalation,
                    false => PartKind::Terminal,
                };
                let request = agent.commit_request(&granted, &granted.tracks, kind);
                let Request::Commit(mut commit) = request else {
                    panic!("a commit is one");
                };
                let spent = 100_000 * granted.tracks.len();
                commit.parts[0].ledger.screen.device_us = spent;
                had[usize::from(granted.job.tenant.as_str() == "b")] += spent;
                world.ask(Request::Commit(commit)).unwrap();
            }
            agent.beat(&mut world).unwrap();
        }
        world.pass(Millis(200));
    }
    let grants = 200_000 * 3;
    assert!(invariants::shares_are_even(&had, grants).is_ok(), "{had:?}");
}
