//! The simulator bites: bugs planted in the cores and in the shells are found, each by a promise that it breaks.

use std::collections::BTreeSet;

use sim::mutants::{Planted, ShellMutant, of_protocol, plant};
use sim::{Origin, run};

/// Seeds within which each must be found: many times what any has needed.
const SEEDS: u64 = 400;

/// Plants a bug and says which promise the first seed that finds it names.
fn found(planted: Planted) -> Option<String> {
    plant(Some(planted));
    let found = (0..SEEDS).find_map(|seed| run(&Origin::Seed(seed), false).violation);
    plant(None);
    found.map(|violation| violation.id)
}

#[test]
fn each_planted_bug_is_found_by_the_promise_that_it_breaks() {
    use agent_core::mutants::Mutant as Agent;
    use scheduler::mutants::Mutant as Scheduler;
    for (planted, expected) in [
        (Planted::Scheduler(Scheduler::FenceDropped), "I2"),
        (Planted::Scheduler(Scheduler::DuplicateCounted), "I4"),
        (Planted::Scheduler(Scheduler::UnknownIsDone), "I12"),
        (Planted::Scheduler(Scheduler::AttemptReused), "I3"),
        (Planted::Shell(ShellMutant::EpochUnchecked), "I11"),
        (Planted::Agent(Agent::CanaryIgnored), "H7"),
        (Planted::Scheduler(Scheduler::RevokedGrantKept), "I1"),
        (Planted::Scheduler(Scheduler::ShareIgnored), "I14"),
        (Planted::Scheduler(Scheduler::UnknownIsRefused), "I12"),
        (Planted::Scheduler(Scheduler::RestoreUnmatched), "I5"),
        (Planted::Scheduler(Scheduler::BudgetTwice), "B"),
        (Planted::Agent(Agent::BudgetByArrival), "B"),
        (Planted::Agent(Agent::EscalationRowLost), "I15"),
        (Planted::Shell(ShellMutant::RevisionKept), "I12"),
    ] {
        assert_eq!(found(planted).as_deref(), Some(expected), "{planted:?}");
    }
}

#[test]
fn every_rule_of_the_protocol_has_a_bug_that_switches_it_off_and_there_are_forty_bugs() {
    let rules: Vec<&str> = of_protocol().iter().map(|(rule, _)| *rule).collect();
    let needed = [
        "H1", "H2", "H3", "H4", "H5", "H6", "H7", "H8", "H9", "A1", "A2",
    ];
    assert_eq!(rules, needed);
    let of = |wanted: &str| {
        let rows = of_protocol();
        let row = rows.into_iter().find(|(rule, _)| *rule == wanted);
        row.map_or_else(Vec::new, |(_, bugs)| bugs)
    };
    let paths = [ShellMutant::PathsKept, ShellMutant::ManifestPathKept];
    assert_eq!(
        of("H6"),
        paths.map(Planted::Shell),
        "of parts and manifests"
    );
    assert!(rules.iter().all(|rule| !of(rule).is_empty()));
    let all: BTreeSet<String> = Planted::all().iter().map(Planted::name).collect();
    let bugs: Vec<String> = rules
        .iter()
        .flat_map(|rule| of(rule))
        .map(|bug| bug.name())
        .collect();
    let of_rules: BTreeSet<String> = bugs.iter().cloned().collect();
    assert_eq!(of_rules.len(), bugs.len(), "each rule has its own");
    assert!(of_rules.is_subset(&all), "each is run by `make mutants`");
    assert!(all.len() >= 40, "{} bugs", all.len());
}

#[test]
fn without_a_planted_bug_the_same_seeds_find_nothing() {
    plant(None);
    for seed in 0..50 {
        assert_eq!(
            run(&Origin::Seed(seed), false).violation,
            None,
            "seed {seed}"
        );
    }
}
