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

fn plan(seed: u64) -> Plan {
    let etcd = [1, 2, 3].map(|n| member(&format!("etcd-{n}"), "etcd", &format!("e{n}")));
    let coordinators =
        [1, 2].map(|n| member(&format!("coordinator-{n}"), "coordinator", &format!("c{n}")));
    Plan {
        seed,
        lasts_ms: 3_600_000,
        every_ms: (2_000, 8_000),
        members: etcd.into_iter().chain(coordinators).collect(),
        relayed: vec![("c1".to_owned(), "e1".to_owned())],
        led: BTreeSet::from(["etcd".to_owned(), "coordinator".to_owned()]),
        impaired_max: BTreeMap::from([("etcd".to_owned(), 1)]),
        unusual: BTreeMap::new(),
    }
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
fn never_more_members_of_a_role_are_out_than_the_plan_bears() {
    for seed in 0..20 {
        let plan = plan(seed);
        let faults = plan.draw();
        for fault in &faults {
            let lasts =
                |other: &&Fault| other.at_ms <= fault.at_ms && other.until_ms >= fault.at_ms;
            let lasting: Vec<&Fault> = faults.iter().filter(lasts).collect();
            assert!(plan.bearable(&lasting), "seed {seed}: {lasting:?}");
        }
    }
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
