//! What a drawn schedule promises: the same again from its seed, all kinds in their shares, nothing that undoes another, nothing left.

use super::*;

fn member(name: &str, role: &str, host: &str) -> Member {
    Member {
        name: name.to_owned(),
        role: role.to_owned(),
        host: host.to_owned(),
        upgradable: role == "coordinator",
        has_disk: role == "etcd",
        has_clock: role != "etcd",
    }
}

fn ways(all: &[(&str, &str)]) -> Vec<(String, String)> {
    let way = |(from, to): &(&str, &str)| ((*from).to_owned(), (*to).to_owned());
    all.iter().map(way).collect()
}

fn plan(seed: u64) -> Plan {
    let etcd = [1, 2, 3].map(|n| member(&format!("etcd-{n}"), "etcd", &format!("e{n}")));
    let coordinators =
        [1, 2].map(|n| member(&format!("coordinator-{n}"), "coordinator", &format!("c{n}")));
    let nodes = [1, 2, 3].map(|n| member(&format!("node-{n}"), "node", &format!("n{n}")));
    let storage = [member("storage", "storage", "s1")];
    let all = etcd.into_iter().chain(coordinators).chain(nodes);
    let most = [("etcd", 1), ("coordinator", 1), ("node", 2), ("storage", 1)];
    Plan {
        seed,
        lasts_ms: 3_600_000,
        every_ms: (2_000, 8_000),
        members: all.chain(storage).collect(),
        links: ways(&[
            ("e1", "e2"),
            ("e2", "e3"),
            ("c1", "e1"),
            ("c2", "e2"),
            ("n1", "c1"),
            ("n2", "c2"),
            ("n3", "s1"),
        ]),
        busy: ways(&[("e1", "e2"), ("e2", "e3"), ("c1", "e1"), ("n3", "s1")]),
        relayed: ways(&[("c1", "e1"), ("n1", "s1")]),
        led: BTreeSet::from(["etcd".to_owned(), "coordinator".to_owned()]),
        impaired_max: most.map(|(role, most)| (role.to_owned(), most)).into(),
        lone: Lone {
            held_ms_max: 10_000,
            rest_ms: 15_000,
        },
        unusual: BTreeMap::new(),
    }
}

/// All faults that last at the beginning of one, itself among them, for each.
fn at_each(faults: &[Fault]) -> impl Iterator<Item = Vec<&Fault>> {
    faults.iter().map(move |fault| {
        let lasts = |other: &&Fault| other.at_ms <= fault.at_ms && other.until_ms >= fault.at_ms;
        faults.iter().filter(lasts).collect()
    })
}

fn together(faults: &[Fault]) -> impl Iterator<Item = (&Fault, &Fault)> {
    faults.iter().enumerate().flat_map(|(n, first)| {
        let later = faults.iter().skip(n + 1);
        later
            .filter(|second| second.at_ms <= first.until_ms)
            .map(move |second| (first, second))
    })
}

#[test]
fn a_seed_gives_the_same_faults_again_and_another_seed_gives_others() {
    assert_eq!(plan(7).draw(), plan(7).draw());
    assert_ne!(plan(7).draw(), plan(8).draw());
}

#[test]
fn a_plan_read_back_from_its_record_draws_the_same() {
    let line = serde_json::to_string(&plan(7)).unwrap();
    let read: Plan = serde_json::from_str(&line).unwrap();
    assert_eq!(read.draw(), plan(7).draw());
}

#[test]
fn an_hour_has_five_hundred_faults_and_each_kind_among_them() {
    let faults = plan(1).draw();
    assert!(faults.len() >= 500, "{}", faults.len());
    for kind in Kind::ALL {
        assert!(faults.iter().any(|fault| fault.kind == kind), "{kind:?}");
    }
}

#[test]
fn a_kind_that_is_drawn_a_thousand_times_as_often_crowds_none_out() {
    for seed in 0..20 {
        let mut plan = Plan {
            lasts_ms: 600_000,
            ..plan(seed)
        };
        let heavy = Usual {
            weight: 100_000,
            ..Kind::Kill.usual()
        };
        plan.unusual.insert(Kind::Kill, heavy);
        let mut owed = plan.deck();
        for fault in plan.draw() {
            let card = plan.card(fault.kind, &fault.target);
            if let Some(card) = card {
                owed.remove(&card);
            }
        }
        assert!(owed.is_empty(), "seed {seed}: {owed:?}");
    }
}

#[test]
fn leaders_of_each_role_have_a_card_of_each_of_their_kinds() {
    // Twenty kinds, and three of leaders of another role.
    assert_eq!(plan(1).deck().len(), 20 + 3);
}

#[test]
fn a_way_that_may_be_idle_plays_no_card() {
    let plan = plan(1);
    let way = |from: &str, to: &str| Target::Link(from.to_owned(), to.to_owned());
    assert!(plan.card(Kind::Loss, &way("e2", "e1")).is_some());
    assert!(plan.card(Kind::Loss, &way("n1", "c1")).is_none());
}

#[test]
fn a_kind_without_weight_never_happens() {
    let mut plan = plan(1);
    let never = Usual {
        weight: 0,
        ..Kind::Kill.usual()
    };
    plan.unusual.insert(Kind::Kill, never);
    assert!(plan.draw().iter().all(|fault| fault.kind != Kind::Kill));
}

#[test]
fn a_kind_without_anything_to_hit_never_happens() {
    let mut plan = plan(1);
    plan.relayed.clear();
    let relayed = |fault: &Fault| fault.kind.aim() == Aim::Relay;
    assert!(!plan.draw().iter().any(relayed));
}

#[test]
fn heavier_kinds_happen_more_often() {
    let mut plan = plan(3);
    let of = |weight, kind: Kind| Usual {
        weight,
        held_ms: (100, 200),
        ..kind.usual()
    };
    plan.unusual = Kind::ALL.map(|kind| (kind, of(1, kind))).into();
    plan.unusual.insert(Kind::Loss, of(20, Kind::Loss));
    let faults = plan.draw();
    let count = |kind| faults.iter().filter(|fault| fault.kind == kind).count();
    assert!(count(Kind::Loss) > 5 * count(Kind::Kill));
}

#[test]
fn two_faults_that_last_together_never_share_what_they_hit() {
    for seed in 0..20 {
        let plan = plan(seed);
        for (first, second) in together(&plan.draw()) {
            let shared = !plan.claims(first).is_disjoint(&plan.claims(second));
            assert!(!shared, "seed {seed}: {first:?} and {second:?}");
        }
    }
}

#[test]
fn never_more_members_of_a_role_are_hit_than_the_plan_bears_be_it_by_a_cut() {
    for seed in 0..20 {
        let plan = plan(seed);
        for lasting in at_each(&plan.draw()) {
            for (role, most) in &plan.impaired_max {
                let impaired = plan.impaired(&lasting, role);
                assert!(impaired <= *most, "seed {seed}, {role}: {lasting:?}");
            }
        }
    }
}

#[test]
fn at_each_moment_a_node_a_coordinator_and_two_members_of_etcd_are_left_alone() {
    for seed in 0..20 {
        let plan = plan(seed);
        for lasting in at_each(&plan.draw()) {
            let hurt: BTreeSet<String> = lasting.iter().flat_map(|f| plan.hurt(f)).collect();
            let well = |role: &str| {
                let members = plan.members.iter().filter(|member| member.role == role);
                let led = |fault: &&&Fault| fault.target == Target::Leader(role.to_owned());
                let well = members.filter(|member| !hurt.contains(&member.name));
                well.count() - lasting.iter().filter(led).count()
            };
            let left = (well("node"), well("coordinator"), well("etcd"));
            let enough = left.0 >= 1 && left.1 >= 1 && left.2 >= 2;
            assert!(enough, "seed {seed}, {left:?}: {lasting:?}");
        }
    }
}

#[test]
fn a_way_that_fails_is_its_callers_trouble_whichever_direction_is_cut() {
    let plan = plan(1);
    let cut = |kind, from: &str, to: &str| Fault {
        number: 0,
        kind,
        target: Target::Link(from.to_owned(), to.to_owned()),
        amount: 0,
        at_ms: 0,
        until_ms: 1,
    };
    for (fault, hurt) in [
        (cut(Kind::CutOneWay, "n1", "c1"), "node-1"),
        (cut(Kind::CutOneWay, "c1", "n1"), "node-1"),
        (cut(Kind::CutBothWays, "e2", "c2"), "coordinator-2"),
        (cut(Kind::Loss, "e3", "e2"), "etcd-2"),
        (cut(Kind::Delay, "n1", "s1"), "node-1"),
    ] {
        assert_eq!(plan.hurt(&fault), BTreeSet::from([hurt.to_owned()]));
    }
}

#[test]
fn what_everything_depends_on_is_hit_shortly_and_then_left_alone() {
    for seed in 0..20 {
        let plan = plan(seed);
        let faults = plan.draw();
        let lone = faults.iter();
        let lone = lone.filter(|fault| plan.is_lone(fault.kind, &fault.target));
        let lone: Vec<&Fault> = lone.collect();
        assert!(lone.len() > 20, "seed {seed}: {}", lone.len());
        for (first, next) in lone.iter().zip(&lone[1..]) {
            assert!(first.until_ms - first.at_ms <= plan.lone.held_ms_max);
            assert!(next.at_ms - first.until_ms >= plan.lone.rest_ms, "{next:?}");
        }
    }
}

#[test]
fn only_ways_in_use_are_cut_each_of_them_and_in_both_directions() {
    let plan = Plan {
        relayed: Vec::new(),
        ..plan(1)
    };
    let faults = plan.draw();
    let cut: BTreeSet<(String, String)> = faults
        .into_iter()
        .filter_map(|fault| match fault.target {
            Target::Link(from, to) => Some((from, to)),
            Target::Process(_)
            | Target::Leader(_)
            | Target::Host(_)
            | Target::Storage
            | Target::Store => None,
        })
        .collect();
    let both =
        |(from, to): &(String, String)| [(from.clone(), to.clone()), (to.clone(), from.clone())];
    let used: BTreeSet<(String, String)> = plan.links.iter().flat_map(both).collect();
    assert_eq!(cut, used);
}

#[test]
fn every_fault_is_undone_after_it_began_and_before_the_end() {
    let plan = plan(5);
    let faults = plan.draw();
    let steps = steps(&faults);
    assert_eq!(steps.len(), 2 * faults.len());
    assert!(steps.is_sorted());
    for (number, fault) in faults.iter().enumerate() {
        let place = |step| steps.iter().position(|(_, found)| *found == step);
        assert!(place(Step::Begin(number)) < place(Step::End(number)));
        assert!(fault.until_ms <= plan.lasts_ms);
    }
}

#[test]
fn amounts_and_lengths_stay_within_what_is_usual() {
    for fault in plan(9).draw() {
        let usual = fault.kind.usual();
        assert!(fault.amount >= usual.amount.0 && fault.amount <= usual.amount.1);
        assert!(fault.until_ms - fault.at_ms <= usual.held_ms.1);
    }
}
