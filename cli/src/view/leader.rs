//! View of who leads.

use crate::failure::Failure;
use crate::output::{Paint, Records, View, plain_lines, table};
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;
use types::Code;

/// What one coordinator said when it was asked who leads, or why it said nothing.
#[derive(Debug)]
pub(crate) struct Told {
    /// Where it was asked.
    pub(crate) address: String,
    /// Its answer.
    pub(crate) said: Result<v1::GetLeaderResponse, Failure>,
}

/// `admin leader`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Leadership {
    /// Address of the leader; empty where none of them leads.
    pub(crate) leader: String,
    /// Its reign; 0 where none leads.
    pub(crate) epoch: u64,
    /// Those that were asked.
    pub(crate) coordinators: Vec<CoordinatorView>,
}

/// A coordinator.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CoordinatorView {
    /// Where it was asked.
    pub(crate) address: String,
    /// `leads`, `follows`, or `silent` where it gave no answer.
    pub(crate) role: String,
    /// The reign that it knows of; 0 where it knows of none.
    pub(crate) epoch: u64,
    /// Revision of the store that it shows; 0 where it shows none yet.
    pub(crate) revision: u64,
    /// Who leads by what it says; empty where it does not know.
    pub(crate) leader: String,
    /// Settings that the leader has otherwise, by name.
    pub(crate) differs: Vec<String>,
    /// What it lacks to be ready for all that may be asked of it; empty where nothing.
    pub(crate) unready: String,
    /// Why it gave no answer, or what keeps anybody from leading by what it says; empty where neither is so.
    pub(crate) why: String,
    /// What to do about that, or about what it lacks.
    #[serde(skip)]
    fix: String,
}

impl Leadership {
    /// Who leads by what was told: of two that say so of themselves, the one of the later reign; the other one has not heard of it yet.
    pub(crate) fn of(told: Vec<Told>) -> Self {
        let coordinators: Vec<_> = told.into_iter().map(CoordinatorView::from).collect();
        let leads = coordinators.iter().filter(|one| one.role == "leads");
        let last = leads.max_by_key(|one| one.epoch);
        Self {
            leader: last.map(|one| one.address.clone()).unwrap_or_default(),
            epoch: last.map_or(0, |one| one.epoch),
            coordinators,
        }
    }

    /// Whether somebody leads.
    pub(crate) fn is_led(&self) -> bool {
        !self.leader.is_empty()
    }

    /// What keeps anybody from leading, where one that answers says so, and what to do.
    pub(crate) fn hindrance(&self) -> Option<(&str, &str)> {
        let answers = self.coordinators.iter().filter(|one| one.role != "silent");
        let mut said = answers.map(|one| (one.why.as_str(), one.fix.as_str()));
        said.find(|(why, _)| !why.is_empty())
    }
}

impl From<Told> for CoordinatorView {
    fn from(told: Told) -> Self {
        let address = told.address;
        match told.said {
            Ok(said) => Self {
                address,
                role: if said.here { "leads" } else { "follows" }.to_owned(),
                epoch: said.epoch,
                revision: said.revision,
                leader: said.leader,
                differs: said.differs,
                fix: fix_of([&said.why, &said.unready]).to_owned(),
                unready: said.unready,
                why: said.why,
            },
            Err(failure) => Self {
                address,
                role: "silent".to_owned(),
                epoch: 0,
                revision: 0,
                leader: String::new(),
                differs: Vec::new(),
                unready: String::new(),
                why: failure.said(),
                fix: failure.fix().to_owned(),
            },
        }
    }
}

/// What to do about the first of these that is told at all, as `CODE: cause`.
fn fix_of(said: [&str; 2]) -> &'static str {
    let said = said.into_iter().find(|said| !said.is_empty());
    let code = said.and_then(|said| said.split(':').next());
    let code = code.unwrap_or_default();
    let known = Code::ALL.iter().find(|known| known.as_str() == code);
    known.map_or("", |known| known.fix())
}

impl CoordinatorView {
    /// What is wrong with it, where something is, and what to do.
    pub(crate) fn fault(&self) -> Option<(String, &str)> {
        for said in [&self.why, &self.unready] {
            if !said.is_empty() {
                return Some((said.clone(), self.fix.as_str()));
            }
        }
        let differs = self.differs.join(", ");
        let said = format!("{}: {differs}", Code::ConfigDiffers);
        (!differs.is_empty()).then_some((said, Code::ConfigDiffers.fix()))
    }
}

impl View for Leadership {
    fn names(&self) -> Vec<String> {
        Some(self.leader.clone())
            .filter(|leader| !leader.is_empty())
            .into_iter()
            .collect()
    }

    fn records(&self) -> Records {
        let row = |one: &CoordinatorView| {
            vec![
                one.address.clone(),
                one.role.clone(),
                one.epoch.to_string(),
                one.revision.to_string(),
                one.leader.clone(),
            ]
        };
        Records {
            header: vec!["ADDRESS", "ROLE", "EPOCH", "REVISION", "LEADER"],
            rows: self.coordinators.iter().map(row).collect(),
        }
    }

    fn table(&self, _: Paint) -> String {
        let line = |one: &CoordinatorView| {
            let (said, fix) = one.fault()?;
            Some(format!("{}: {said}\n  fix: {fix}", one.address))
        };
        let faults: Vec<_> = self.coordinators.iter().filter_map(line).collect();
        let (listed, faults) = (table(self.records()), plain_lines(&faults.join("\n")));
        match faults.is_empty() {
            true => listed,
            false => format!("{listed}\n\n{faults}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::problem;
    use types::Code;

    fn told(address: &str, here: bool, epoch: u64, leader: &str) -> Told {
        let said = v1::GetLeaderResponse {
            leader: leader.to_owned(),
            epoch,
            here,
            revision: 7,
            differs: Vec::new(),
            unready: String::new(),
            why: String::new(),
        };
        Told {
            address: address.to_owned(),
            said: Ok(said),
        }
    }

    #[test]
    fn of_two_that_say_that_they_lead_the_later_reign_is_believed() {
        let found = Leadership::of(vec![
            told("a", true, 3, "a"),
            told("b", true, 9, "b"),
            told("c", false, 9, "b"),
        ]);
        assert_eq!((found.leader.as_str(), found.epoch), ("b", 9));
        let roles: Vec<_> = found.coordinators.iter().map(|one| &one.role).collect();
        assert_eq!(roles, ["leads", "leads", "follows"]);
    }

    #[test]
    fn a_follower_that_is_configured_otherwise_is_named_with_what_differs() {
        let mut other = told("b", false, 3, "a");
        if let Ok(said) = &mut other.said {
            said.differs = vec!["quota".to_owned(), "source".to_owned()];
        }
        let found = Leadership::of(vec![told("a", true, 3, "a"), other]);
        let shown = found.table(Paint::plain());
        assert!(
            shown.contains("b: CONFIG_DIFFERS: quota, source"),
            "{shown}"
        );
        assert_eq!(found.coordinators[0].fault(), None);
    }

    #[test]
    fn a_coordinator_that_is_not_ready_is_named_with_what_it_lacks_and_the_remedy() {
        let mut one = told("a", true, 3, "a");
        if let Ok(said) = &mut one.said {
            said.unready = "STORAGE_OTHER: it was emptied".to_owned();
        }
        let found = Leadership::of(vec![one]);
        let fault = found.coordinators[0].fault();
        let expected = (
            "STORAGE_OTHER: it was emptied".to_owned(),
            Code::StorageOther.fix(),
        );
        assert_eq!(fault, Some(expected));
    }

    #[test]
    fn where_nobody_leads_what_keeps_them_from_it_is_shown_with_its_remedy() {
        let mut one = told("a", false, 0, "");
        if let Ok(said) = &mut one.said {
            said.why = "STORE_FULL: lead: no space".to_owned();
        }
        let found = Leadership::of(vec![told("b", false, 0, ""), one]);
        let expected = ("STORE_FULL: lead: no space", Code::StoreFull.fix());
        assert_eq!(found.hindrance(), Some(expected));
        let shown = found.table(Paint::plain());
        assert!(shown.contains("a: STORE_FULL: lead: no space"), "{shown}");
    }

    #[test]
    fn where_the_leader_is_silent_nobody_is_said_to_lead() {
        let silent = Told {
            address: "a".to_owned(),
            said: Err(problem(Code::CoordinatorUnreachable, "it is gone")),
        };
        let found = Leadership::of(vec![silent, told("b", false, 3, "a")]);
        assert!(!found.is_led() && found.names().is_empty());
        assert!(found.coordinators[0].why.contains("it is gone"));
    }

    #[test]
    fn one_that_answers_with_a_refusal_is_shown_with_what_that_asks_for() {
        let refused = Told {
            address: "a".to_owned(),
            said: Err(problem(Code::NotLeader, "it is about to follow")),
        };
        let found = Leadership::of(vec![refused]);
        let (said, fix) = found.coordinators[0].fault().unwrap();
        assert_eq!(said, "NOT_LEADER: it is about to follow");
        assert_eq!(fix, Code::NotLeader.fix());
    }
}
