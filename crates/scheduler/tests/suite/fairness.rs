//! Who is served first: shares among tenants, lanes, priorities, deadlines, and what is asked back for them.

use crate::world::World;
use crate::world::agent::{Agent, tracks};
use proptest::prelude::*;
use scheduler::record::{Lane, PartKind};
use scheduler::{Answer, Cause, Config, JobKey, Order, Released, Request, invariants};
use types::{JobId, Millis, Ordinal, ShardId, UnixMillis};

/// A world with small grants, and nodes that do ten tracks in a second.
pub(crate) fn setting(nodes: usize) -> (World, Vec<Agent>) {
    let mut world = World::with_config(Config {
        share_window: Millis(10_000),
        grant_work: Millis(200),
        ..Config::default()
    });
    let agent = |n| Agent::joined(&mut world, &format!("n{n}"));
    let agents = (0..nodes).map(agent).collect();
    (world, agents)
}

/// The node asks, and is given what it is given.
pub(crate) fn pull(world: &mut World, agent: &mut Agent) -> Option<JobKey> {
    agent.pull += 1;
    let Request::Pull(mut pull) = agent.pull_request(2) else {
        panic!("a pull is one");
    };
    pull.tracks_per_1000_s = Some(10_000);
    let answer = world.ask(Request::Pull(pull)).unwrap();
    let granted = agent.take_pull(&answer).grants;
    granted.first().map(|granted| granted.job.clone())
}

/// All that the node holds is done, at that cost a track.
fn finish(world: &mut World, agent: &mut Agent, cost: impl Fn(&JobKey) -> u64) -> u64 {
    let mut spent = 0;
    for granted in std::mem::take(&mut agent.grants) {
        let request = agent.commit_request(&granted, &granted.tracks, PartKind::Terminal);
        let Request::Commit(mut commit) = request else {
            panic!("a commit is one");
        };
        let us = cost(&granted.job) * granted.tracks.len();
        commit.parts[0].ledger.screen.device_us = us;
        spent += us;
        world.ask(Request::Commit(commit)).unwrap();
    }
    spent
}

/// Device time that each tenant had, of rounds in which every node pulls and finishes.
fn run(world: &mut World, agents: &mut [Agent], rounds: usize, cost: [u64; 3]) -> [u64; 3] {
    let of = |job: &JobKey| match job.tenant.as_str() {
        "a" => 0,
        "b" => 1,
        _ => 2,
    };
    let mut had = [0; 3];
    for _ in 0..rounds {
        for agent in agents.iter_mut() {
            if let Some(job) = pull(world, agent) {
                had[of(&job)] += finish(world, agent, |job| cost[of(job)]);
            }
        }
        world.pass(Millis(200));
        for agent in agents.iter_mut() {
            agent.beat(world).unwrap();
        }
    }
    had
}

#[test]
fn tenants_with_backlog_have_the_same_device_time_whatever_their_tracks_cost() {
    for cost in [
        [1, 1, 1],
        [100_000, 100_000, 100_000],
        [50_000, 200_000, 10_000],
    ] {
        let (mut world, mut agents) = setting(3);
        for tenant in ["a", "b", "c"] {
            world.submit_as(tenant, &format!("{tenant}-1"), 4_000, |_| {});
        }
        world.submit_as("a", "a-2", 4_000, |_| {});
        let had = run(&mut world, &mut agents, 200, cost);
        let grant = 2 * cost.iter().max().unwrap() * agents.len() as u64;
        assert!(
            invariants::shares_are_even(&had, grant).is_ok(),
            "{had:?} at {cost:?}"
        );
    }
}

#[test]
fn a_tenant_that_comes_late_is_owed_nothing_for_before() {
    let (mut world, mut agents) = setting(2);
    world.submit_as("a", "a-1", 4_000, |_| {});
    run(&mut world, &mut agents, 100, [100_000; 3]);
    world.submit_as("b", "b-1", 4_000, |_| {});
    let [a, b, _] = run(&mut world, &mut agents, 100, [100_000; 3]);
    assert!(
        invariants::shares_are_even(&[a, b], 400_000).is_ok(),
        "{a} {b}"
    );
}

#[test]
fn a_tenant_that_comes_just_after_an_answer_begins_where_that_answer_left_the_other() {
    let (mut world, mut agents) = setting(1);
    world.submit_as("a", "a-1", 100, |_| {});
    for _ in 0..3 {
        pull(&mut world, &mut agents[0]);
    }
    world.submit_as("b", "b-1", 100, |_| {});
    let served = (0..4).map(|_| pull(&mut world, &mut agents[0]).expect("there is work"));
    let served: Vec<_> = served.map(|job| job.tenant.as_str().to_owned()).collect();
    // They stand alike, and of two that do the older job goes first.
    assert_eq!(served, ["a", "b", "a", "b"]);
}

#[test]
fn a_tenant_whose_tracks_come_back_stands_where_it_stood() {
    let (mut world, mut agents) = setting(2);
    world.submit_as("a", "a-1", 8, |_| {});
    let [holder, other] = &mut agents[..] else {
        panic!("there are two nodes");
    };
    for _ in 0..4 {
        pull(&mut world, holder);
    }
    assert_eq!(pull(&mut world, other), None, "all is held");
    world.submit_as("b", "b-1", 100, |_| {});
    let last = holder.grants.pop().unwrap();
    holder.beat += 1;
    let Request::Beat(mut beat) = holder.beat_request(|granted| granted.tracks.clone()) else {
        panic!("a beat is one");
    };
    beat.released = vec![Released {
        job: last.job.job,
        shard: last.shard,
        attempt: last.attempt,
        cause: Cause::Drain,
    }];
    world.ask(Request::Beat(beat)).unwrap();
    let served = pull(&mut world, other).expect("there is work");
    assert_eq!(
        served.tenant.as_str(),
        "a",
        "it has had less than it stood at"
    );
}

#[test]
fn a_lane_goes_first_but_takes_no_tenant_far_ahead_of_its_share() {
    let (mut world, mut agents) = setting(1);
    world.submit_as("a", "a-1", 4_000, |_| {});
    world.submit_as("b", "b-1", 4_000, |submission| {
        submission.lane = Lane::Interactive
    });
    assert_eq!(
        pull(&mut world, &mut agents[0]).unwrap().tenant.as_str(),
        "b"
    );
    finish(&mut world, &mut agents[0], |_| 100_000);
    let [a, b, _] = run(&mut world, &mut agents, 200, [100_000; 3]);
    // 5 % of the window on one device is half a second, and a grant is 0.2 s.
    assert!(b > a && b - a <= 500_000 + 2 * 200_000, "{a} {b}");
}

#[test]
fn within_a_tenant_lane_then_priority_then_deadline_then_age_decide() {
    let (mut world, mut agents) = setting(1);
    let at = |at| Some(UnixMillis(at));
    for (name, lane, priority, deadline) in [
        ("f", Lane::Batch, 0, None),
        ("e", Lane::Batch, 0, at(9)),
        ("d", Lane::Batch, 0, at(3)),
        ("c", Lane::Batch, 7, None),
        ("b", Lane::Ingest, -1, None),
        ("a", Lane::Interactive, -9, None),
    ] {
        world.submit_as("default", name, 2, |submission| {
            submission.lane = lane;
            submission.priority = priority;
            submission.deadline = deadline;
        });
    }
    let mut order = String::new();
    while let Some(job) = pull(&mut world, &mut agents[0]) {
        order.push_str(job.job.as_str());
    }
    assert_eq!(order, "abcdef");
}

#[test]
fn a_rank_can_be_changed_and_counts_at_the_next_pull() {
    let (mut world, mut agents) = setting(1);
    for name in ["j", "k"] {
        world.submit_as("default", name, 80, |_| {});
    }
    let rank = |lane, priority| Request::SetRank {
        job: JobId::new("k").unwrap(),
        lane,
        priority,
        deadline: None,
    };
    assert_eq!(pull(&mut world, &mut agents[0]).unwrap().job.as_str(), "j");
    world.ask(rank(None, Some(3))).unwrap();
    assert_eq!(pull(&mut world, &mut agents[0]).unwrap().job.as_str(), "k");
    world.ask(rank(None, Some(-3))).unwrap();
    assert_eq!(pull(&mut world, &mut agents[0]).unwrap().job.as_str(), "j");
    let again = world.ask(rank(None, Some(-3))).unwrap();
    assert!(matches!(again, Answer::Changed { existing: true, .. }));
    world.restart();
    world.settle();
    agents[0].beat(&mut world).unwrap();
    assert_eq!(pull(&mut world, &mut agents[0]).unwrap().job.as_str(), "j");
}

/// A node with 8 tracks of a batch job of which it has two in hand, and what its next beat hears.
fn orders(urgent: &[(&str, Lane, i32, u32)]) -> Vec<Order> {
    orders_under(scheduler::Quota::default(), urgent)
}

/// The same under a quota for every tenant.
fn orders_under(quota: scheduler::Quota, urgent: &[(&str, Lane, i32, u32)]) -> Vec<Order> {
    let mut world = World::with_config(Config {
        quota,
        ..Config::default()
    });
    world.submit_as("default", "j", 16, |_| {});
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull(&mut world, 16);
    for (tenant, lane, priority, rows) in urgent {
        world.submit_as(tenant, &format!("{tenant}-u"), *rows, |submission| {
            submission.lane = *lane;
            submission.priority = *priority;
        });
    }
    let first = |granted: &scheduler::Granted| tracks(granted.range.first, granted.range.first + 2);
    let beaten = agent.beat_with(&mut world, first).unwrap();
    beaten.orders.iter().map(|order| order.order).collect()
}

#[test]
fn more_urgent_tracks_ask_back_what_is_needed_least_and_no_more_than_they_need() {
    let ask = |at: Ordinal| Order::YieldAt { at };
    let go = Order::Continue;
    assert_eq!(orders(&[]), [go, go]);
    assert_eq!(
        orders(&[("default", Lane::Interactive, 0, 1)]),
        [go, ask(8)]
    );
    assert_eq!(orders(&[("default", Lane::Batch, 1, 1)]), [go, ask(8)]);
    assert_eq!(orders(&[("default", Lane::Batch, 0, 1)]), [go, go]);
    // By lane also for another tenant, by priority only among a tenant's own.
    assert_eq!(orders(&[("b", Lane::Ingest, 0, 1)]), [go, ask(8)]);
    assert_eq!(orders(&[("b", Lane::Batch, 9, 1)]), [go, go]);
}

#[test]
fn a_tenant_at_its_quota_asks_back_what_it_holds_itself() {
    let (ask, go) = (Order::YieldAt { at: 8 }, Order::Continue);
    let urgent = [("default", Lane::Interactive, 0, 1)];
    let quota = scheduler::Quota {
        grants_max: Some(2),
        tracks_max: Some(16),
        jobs_max: None,
    };
    assert_eq!(orders_under(quota, &urgent), [go, ask]);
}

#[test]
fn what_was_asked_back_goes_to_the_urgent_job_and_costs_nothing() {
    let mut world = World::new();
    let batch = world.submit_as("default", "j", 8, |_| {});
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull(&mut world, 8);
    let urgent = world.submit_as("default", "u", 1, |submission| {
        submission.lane = Lane::Interactive;
    });
    agent.beat_with(&mut world, |_| tracks(0, 2)).unwrap();
    agent.beat += 1;
    let Request::Beat(mut beat) = agent.beat_request(|_| tracks(0, 2)) else {
        panic!("a beat is one");
    };
    beat.held[0].yielded_at = Some(2);
    agent.send_beat(&mut world, Request::Beat(beat)).unwrap();
    let record = world.store.shard(&batch, types::ShardId::Root(0)).unwrap();
    assert_eq!(record.grants[0].range.end, 2);
    assert!(record.failures.is_empty());
    assert_eq!(agent.pull(&mut world, 1).grants[0].job, urgent);
}

#[test]
fn a_tenants_own_node_works_for_it_alone_and_the_fleet_for_everybody() {
    let mut world = World::new();
    let theirs = world.submit_as("a", "a-1", 8, |_| {});
    let mut own = Agent::new("own", crate::world::agent::BOTH);
    let answer = world.ask_as("b", own.join_request()).unwrap();
    own.take_join(&answer);
    own.pull += 1;
    let pulled = world.ask_as("b", own.pull_request(8)).unwrap();
    assert!(own.take_pull(&pulled).grants.is_empty());
    let mut fleet = Agent::joined(&mut world, "fleet");
    assert_eq!(fleet.pull(&mut world, 8).grants[0].job, theirs);
    fleet.finish(&mut world);
    assert_eq!(world.manifests[&theirs].parts.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn shares_stay_even_for_any_costs_and_nodes(
        costs in prop::array::uniform3(1_000u64..300_000),
        nodes in 1usize..5,
    ) {
        let (mut world, mut agents) = setting(nodes);
        for tenant in ["a", "b", "c"] {
            world.submit_as(tenant, &format!("{tenant}-1"), 4_000, |_| {});
        }
        let had = run(&mut world, &mut agents, 60, costs);
        let grant = 2 * costs.iter().max().unwrap() * nodes as u64;
        prop_assert!(invariants::shares_are_even(&had, grant).is_ok(), "{:?} at {:?}", had, costs);
    }
}

#[test]
fn a_tenant_whose_work_no_node_can_take_does_not_switch_lanes_off_for_others() {
    let mut world = World::new();
    world.submit_as("a", "hard", 8, |submission| {
        submission.requires.memory_bytes = u64::MAX;
    });
    for tenant in ["b", "c"] {
        world.submit_as(tenant, &format!("bulk-{tenant}"), 200, |submission| {
            submission.spec.plan.shard_tracks = 200;
        });
    }
    let mut agent = Agent::joined(&mut world, "n");
    assert_eq!(
        agent.pull(&mut world, 60).grants[0].job.tenant.as_str(),
        "b"
    );
    assert_eq!(
        agent.pull(&mut world, 50).grants[0].job.tenant.as_str(),
        "c"
    );
    world.submit_as("b", "urgent", 1, |submission| {
        submission.lane = Lane::Interactive;
    });
    let next = agent.pull(&mut world, 1).grants[0].job.clone();
    assert_eq!(next.job.as_str(), "urgent");
}

#[test]
fn a_tenant_that_is_ahead_of_others_still_goes_by_lane_among_its_own_jobs() {
    let mut world = World::new();
    let submit = |world: &mut World, tenant: &str, job: &str, lane, priority, rows: u32| {
        world.submit_as(tenant, job, rows, |submission| {
            submission.lane = lane;
            submission.priority = priority;
            submission.spec.plan.shard_tracks = rows;
            submission.requires.memory_bytes = if tenant == "a" { 1 << 31 } else { 0 };
        })
    };
    submit(&mut world, "a", "small", Lane::Batch, 0, 8);
    submit(&mut world, "b", "bulk", Lane::Batch, 9, 400);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull(&mut world, 150);
    submit(&mut world, "b", "urgent", Lane::Interactive, 0, 1);
    // A node comes on which the other tenant's job runs too.
    let mut large = Agent::new("large", crate::world::agent::BOTH);
    let mut info = crate::world::agent_info("large", 1, crate::world::agent::BOTH);
    info.devices[0].memory_bytes = 1 << 32;
    let joined = world.ask(Request::Join(info)).unwrap();
    large.take_join(&joined);
    let grants = large.pull(&mut world, 9).grants;
    let served = |name: &str| {
        grants
            .iter()
            .any(|granted| granted.job.job.as_str() == name)
    };
    assert!(served("small") && served("urgent"), "{grants:?}");
}

#[test]
fn a_node_that_cannot_reach_a_jobs_source_goes_on_with_others_and_another_node_takes_the_job_at_once()
 {
    let mut world = World::new();
    let unreachable = world.submit("x", 8, 8);
    let other = world.submit("y", 8, 8);
    let mut blind = Agent::joined(&mut world, "blind");
    let mut seeing = Agent::joined(&mut world, "seeing");
    let granted = blind.pull(&mut world, 1).grants[0].clone();
    assert_eq!(granted.job, unreachable);
    blind.beat += 1;
    let Request::Beat(mut beat) = blind.beat_request(|granted| granted.tracks.clone()) else {
        panic!("a beat is a beat");
    };
    beat.held.clear();
    beat.released = vec![scheduler::Released {
        job: granted.job.job.clone(),
        shard: granted.shard,
        attempt: granted.attempt,
        cause: scheduler::Cause::Storage,
    }];
    blind.grants.clear();
    blind.send_beat(&mut world, Request::Beat(beat)).unwrap();
    assert_eq!(blind.pull(&mut world, 1).grants[0].job, other);
    assert_eq!(seeing.pull(&mut world, 1).grants[0].job, unreachable);
    blind.beats_for(&mut world, Millis(1_000));
    assert_eq!(
        blind.pull(&mut world, 1).grants[0].job,
        unreachable,
        "it is tried again"
    );
}

#[test]
fn a_job_whose_shards_are_all_busy_hides_no_other() {
    let mut world = World::new();
    world.submit_as("default", "wide", 2_048, |submission| {
        submission.spec.plan.shard_tracks = 1;
    });
    let other = world.submit("other", 8, 8);
    let names = (0..9).map(|n| format!("n{n}"));
    let mut agents: Vec<Agent> = names.map(|name| Agent::joined(&mut world, &name)).collect();
    let mut last = agents.pop().unwrap();
    for agent in &mut agents {
        agent.pull += 1;
        world.call(agent.pull_request(64));
    }
    last.pull += 1;
    let call = world.call(last.pull_request(8));
    world.settle();
    let answer = world.answers.remove(&call).unwrap().unwrap();
    assert_eq!(last.take_pull(&answer).grants[0].job, other);
}

#[test]
fn nodes_that_pull_at_once_get_no_more_of_a_tenant_together_than_its_quota() {
    let check = |grants_max: Option<u32>, tracks_max: Option<u64>, expected: (usize, u64)| {
        let quota = scheduler::Quota {
            grants_max,
            tracks_max,
            ..scheduler::Quota::default()
        };
        let mut world = World::with_config(Config {
            quota,
            ..Config::default()
        });
        let job = world.submit("j", 64, 4);
        let mut agents: Vec<Agent> = (0..4)
            .map(|n| Agent::joined(&mut world, &format!("n{n}")))
            .collect();
        for _ in 0..2 {
            // None of these answers is stored before the last is planned.
            for agent in &mut agents {
                agent.pull += 1;
                let request = agent.pull_request(4);
                world.call(request);
            }
            world.settle();
        }
        let records = (0..16).filter_map(|root| world.store.shard(&job, ShardId::Root(root)));
        let grants: Vec<_> = records.flat_map(|record| record.grants).collect();
        let tracks: u32 = grants.iter().map(|grant| grant.range.len()).sum();
        assert_eq!((grants.len(), u64::from(tracks)), expected, "{quota:?}");
    };
    check(Some(1), None, (1, 4));
    check(Some(3), None, (3, 12));
    check(None, Some(6), (2, 6));
    check(None, Some(4), (1, 4));
}
