//! What happens to whom in a run: everything that can, or ends of the leader alone; and over which ways this cluster talks. Pure; `flow` has the plan
//! carried out.

use crate::scene::{self, RELAYED};
use crate::wishes::{LeaderEnds, Wishes};
use cluster::{Kind, Lone, Plan, Usual};
use std::collections::{BTreeMap, BTreeSet};

/// Between two faults, least and most: a fault every few seconds, and some seven hundred in an hour.
const FAULT_EVERY_MS: (u64, u64) = (3_000, 6_500);

/// Most members that are hit at once: etcd keeps its quorum, another coordinator can lead, half of the nodes work.
const IMPAIRED_MAX: [(&str, usize); 4] = [
    ("etcd", 1),
    ("coordinator", 1),
    ("node", 2),
    (scene::STORAGE, 1),
];

/// While storage or the store is away nothing goes on: shorter than a grant lives, so that nobody's work is taken for lost, and with a rest in
/// which all that waited goes on.
const LONE: Lone = Lone {
    held_ms_max: 10_000,
    rest_ms: 15_000,
};

/// The plan that a run asks for.
pub(crate) fn plan(wishes: &Wishes) -> Plan {
    let led: &[&str] = match wishes.leader {
        Some(_) => &["coordinator"],
        None => &["coordinator", "etcd"],
    };
    Plan {
        seed: wishes.seed,
        lasts_ms: u64::try_from(wishes.lasts.as_millis()).unwrap_or(u64::MAX),
        every_ms: wishes.leader.map_or(FAULT_EVERY_MS, every),
        members: scene::members(),
        links: links(),
        busy: busy(),
        relayed: relayed(),
        led: led.iter().map(|role| (*role).to_owned()).collect(),
        impaired_max: IMPAIRED_MAX
            .map(|(role, most)| (role.to_owned(), most))
            .into(),
        lone: LONE,
        unusual: wishes.leader.map_or_else(BTreeMap::new, alone),
    }
}

fn every(leader: LeaderEnds) -> (u64, u64) {
    let every = u64::try_from(leader.every.as_millis()).unwrap_or(u64::MAX);
    (every, every)
}

/// Nothing but ends of the leader.
fn alone(leader: LeaderEnds) -> BTreeMap<Kind, Usual> {
    let weighed = |kind: Kind| Usual {
        weight: u32::from(kind == leader.kind),
        ..kind.usual()
    };
    Kind::ALL.map(|kind| (kind, weighed(kind))).into()
}

/// Whom the processes of a host call.
fn calls(from: &str) -> Vec<&'static str> {
    let role = scene::members().into_iter().find(|one| one.host == from);
    match role.map(|one| one.role).as_deref() {
        // Each pair once: who of two members opens a connection is their business.
        Some("etcd") => scene::ETCD.into_iter().filter(|to| *to > from).collect(),
        Some("coordinator") => [&scene::ETCD[..], &[scene::STORAGE]].concat(),
        Some("node") => [&scene::COORDINATORS[..], &[scene::STORAGE]].concat(),
        _ => Vec::new(),
    }
}

fn ways<'a>(from: impl IntoIterator<Item = &'a str>) -> Vec<(String, String)> {
    let of = |from: &'a str| {
        let to = calls(from).into_iter();
        to.map(move |to| (from.to_owned(), to.to_owned()))
    };
    from.into_iter().flat_map(of).collect()
}

/// All ways that something goes over.
fn links() -> Vec<(String, String)> {
    let all = scene::ETCD.into_iter();
    let all = all.chain(scene::COORDINATORS).chain(scene::NODES);
    ways(all)
}

/// The ways that are never idle: members of etcd beat all the while, and a node with work reads audio and puts parts. Who of two coordinators is
/// called depends on who leads.
fn busy() -> Vec<(String, String)> {
    let within = |(from, to): &(String, String)| {
        let member = |host: &String| scene::ETCD.contains(&host.as_str());
        let works = scene::NODES.contains(&from.as_str()) && to == scene::STORAGE;
        works || (member(from) && member(to))
    };
    links().into_iter().filter(within).collect()
}

/// The ways that relays stand in: from each relayed host to whom it calls.
fn relayed() -> Vec<(String, String)> {
    ways(RELAYED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::{Fault, Target};
    use std::time::Duration;

    fn wishes(seconds: u64, leader: Option<LeaderEnds>) -> Wishes {
        Wishes {
            leader,
            lasts: Duration::from_secs(seconds),
            ..Wishes::read().unwrap()
        }
    }

    #[test]
    fn a_plan_of_leaders_ends_has_nothing_else_and_one_at_each_turn() {
        let leader = LeaderEnds {
            every: Duration::from_secs(20),
            kind: Kind::KillLeader,
        };
        let faults = plan(&wishes(601, Some(leader))).draw();
        assert_eq!(faults.len(), 30);
        assert!(faults.iter().all(|fault| fault.kind == Kind::KillLeader));
    }

    #[test]
    fn an_hour_of_any_seed_has_every_kind_and_five_hundred_faults() {
        for seed in 1..6 {
            let hour = Wishes {
                seed,
                ..wishes(3_600, None)
            };
            let faults = plan(&hour).draw();
            let kinds: BTreeSet<Kind> = faults.iter().map(|fault| fault.kind).collect();
            assert_eq!(kinds, BTreeSet::from(Kind::ALL));
            assert!(faults.len() >= 500, "seed {seed}: {}", faults.len());
        }
    }

    #[test]
    fn three_minutes_of_any_seed_have_every_kind_and_each_kind_for_leaders_of_both_roles() {
        for seed in 1..=100 {
            let plan = plan(&Wishes {
                seed,
                ..wishes(180, None)
            });
            let faults = plan.draw();
            let kinds: BTreeSet<Kind> = faults.iter().map(|fault| fault.kind).collect();
            assert_eq!(kinds, BTreeSet::from(Kind::ALL), "seed {seed}");
            let led = |fault: &Fault| match &fault.target {
                Target::Leader(role) => Some((fault.kind, role.clone())),
                Target::Process(_)
                | Target::Link(..)
                | Target::Host(_)
                | Target::Storage
                | Target::Store => None,
            };
            let led: BTreeSet<(Kind, String)> = faults.iter().filter_map(led).collect();
            assert_eq!(led.len(), 6, "seed {seed}: {led:?}");
        }
    }

    #[test]
    fn three_minutes_of_any_seed_slow_the_syncs_of_a_member_of_etcd_and_of_a_node() {
        for seed in 1..=100 {
            let faults = plan(&Wishes {
                seed,
                ..wishes(180, None)
            })
            .draw();
            let slow = faults.iter().filter(|fault| fault.kind == Kind::SlowSync);
            let slow: BTreeSet<String> = slow.map(|fault| fault.target.to_string()).collect();
            let of = |role: &str| slow.iter().any(|name| name.starts_with(role));
            assert!(of("etcd-") && of("node-"), "seed {seed}: {slow:?}");
        }
    }

    #[test]
    fn whoever_stands_still_does_so_for_longer_than_a_grant_lives_but_for_what_there_is_one_of() {
        let hour = wishes(3_600, None);
        let members = scene::members().into_iter();
        let several = members.filter(|member| member.role != scene::STORAGE);
        let several: BTreeSet<String> = several.map(|member| member.name).collect();
        let ends_ms = 3_600_000;
        let drawn = plan(&hour).draw().into_iter().filter(|fault| {
            let in_time = fault.until_ms < ends_ms;
            fault.kind == Kind::Stop && in_time && several.contains(&fault.target.to_string())
        });
        let lasted: Vec<u64> = drawn.map(|fault| fault.until_ms - fault.at_ms).collect();
        assert!(lasted.len() > 20, "{}", lasted.len());
        assert!(lasted.iter().all(|ms| *ms > 20_000), "{lasted:?}");
    }

    #[test]
    fn every_way_in_use_is_between_two_hosts_of_the_run_and_each_once() {
        let hosts: BTreeSet<String> = scene::members().into_iter().map(|one| one.host).collect();
        let links = links();
        let cables: BTreeSet<BTreeSet<&String>> = links
            .iter()
            .map(|(from, to)| BTreeSet::from([from, to]))
            .collect();
        assert_eq!(cables.len(), links.len());
        assert_eq!(links.len(), 3 + 2 * 4 + 4 * 3);
        assert!(cables.iter().flatten().all(|host| hosts.contains(*host)));
        assert!(relayed().iter().all(|way| links.contains(way)));
        assert_eq!(busy().len(), 3 + 4);
    }
}
