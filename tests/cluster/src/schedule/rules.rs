//! Which faults may last together: none undoes another, and work goes on somewhere all the while. Pure; `schedule` asks it of each fault that
//! it draws.

use super::Plan;
use crate::fault::{Aim, Fault, Kind, Target};
use std::collections::BTreeSet;

impl Plan {
    /// Whether a fault may happen after and beside those that were drawn before it.
    pub(super) fn fits(&self, fault: &Fault, before: &[Fault]) -> bool {
        let lasting = || before.iter().filter(|other| other.until_ms >= fault.at_ms);
        let clashes = lasting().any(|other| !self.claims(other).is_disjoint(&self.claims(fault)));
        let mut together: Vec<&Fault> = lasting().collect();
        together.push(fault);
        !clashes && self.bearable(&together) && self.spares(fault, before)
    }

    /// What a fault has for itself while it lasts. Two that share something would undo each other.
    pub(super) fn claims(&self, fault: &Fault) -> BTreeSet<String> {
        match &fault.target {
            Target::Process(name) => BTreeSet::from([format!("process {name}")]),
            Target::Leader(role) => {
                let members = self.members.iter().filter(|member| member.role == *role);
                members
                    .map(|member| format!("process {}", member.name))
                    .collect()
            }
            Target::Link(from, to) if fault.kind.aim() == Aim::Relay => {
                BTreeSet::from([format!("relay {from} {to}")])
            }
            Target::Link(from, to) => BTreeSet::from([cable(from, to)]),
            Target::Host(host) => {
                let hosts = self.hosts();
                let others = hosts.iter().filter(|other| *other != host);
                others.map(|other| cable(host, other)).collect()
            }
            Target::Storage => BTreeSet::from(["storage".to_owned()]),
            Target::Store => BTreeSet::from(["store".to_owned()]),
        }
    }

    /// Whether each role has enough members that are well.
    pub(super) fn bearable(&self, together: &[&Fault]) -> bool {
        self.impaired_max
            .iter()
            .all(|(role, most)| self.impaired(together, role) <= *most)
    }

    /// How many members of a role are not what they should be while these faults last. A leader is counted beside the others, whoever
    /// it will be.
    pub(super) fn impaired(&self, together: &[&Fault], role: &str) -> usize {
        let leads = |fault: &&&Fault| matches!(&fault.target, Target::Leader(led) if led == role);
        let leaders = together.iter().filter(leads).count();
        let hurt = together.iter().flat_map(|fault| self.hurt(fault));
        let of_role = |name: &String| {
            let mut members = self.members.iter();
            members.any(|member| member.name == *name && member.role == role)
        };
        let named: BTreeSet<String> = hurt.filter(of_role).collect();
        leaders + named.len()
    }

    /// Members that a fault hits, as far as it is known beforehand. A way that fails is the caller's trouble: others still reach whom it
    /// calls. A clock that jumps is nobody's.
    pub(super) fn hurt(&self, fault: &Fault) -> BTreeSet<String> {
        let on = |host: &str| {
            let there = self.members.iter().filter(|member| member.host == host);
            there.map(|member| member.name.clone()).collect()
        };
        match &fault.target {
            Target::Process(_) if fault.kind == Kind::ClockStep => BTreeSet::new(),
            Target::Process(name) => BTreeSet::from([name.clone()]),
            Target::Host(host) => on(host),
            Target::Link(one, other) => on(self.caller(one, other)),
            Target::Leader(_) | Target::Storage | Target::Store => BTreeSet::new(),
        }
    }

    fn caller<'a>(&self, one: &'a str, other: &'a str) -> &'a str {
        let mut ways = self.links.iter().chain(&self.relayed);
        let calls = ways.any(|(from, to)| from == one && to == other);
        if calls { one } else { other }
    }

    /// Whether everything depends on what a fault of this kind hits there.
    pub(super) fn is_lone(&self, kind: Kind, target: &Target) -> bool {
        let alone = |role: &str| {
            let members = self.members.iter().filter(|member| member.role == role);
            members.count() == 1
        };
        let mut members = self.members.iter();
        match target {
            Target::Storage | Target::Store => true,
            Target::Process(_) if kind == Kind::ClockStep => false,
            Target::Process(name) => {
                members.any(|member| member.name == *name && alone(&member.role))
            }
            Target::Host(host) => members.any(|member| member.host == *host && alone(&member.role)),
            Target::Leader(role) => alone(role),
            Target::Link(..) => false,
        }
    }

    /// Whether what everything depends on has had its rest since it was hit last.
    fn spares(&self, fault: &Fault, before: &[Fault]) -> bool {
        let lone = |fault: &Fault| self.is_lone(fault.kind, &fault.target);
        let rests = |other: &&Fault| other.until_ms + self.lone.rest_ms > fault.at_ms;
        !lone(fault) || !before.iter().filter(rests).any(lone)
    }
}

/// The way between two hosts, whoever calls.
fn cable(one: &str, other: &str) -> String {
    let (first, second) = if one < other {
        (one, other)
    } else {
        (other, one)
    };
    format!("cable {first} {second}")
}
