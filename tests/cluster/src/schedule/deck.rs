//! The deck of a schedule: what every run is to have once, dealt before anything is drawn freely, so that no seed and no short run leaves a kind
//! out by chance. Pure; `schedule` deals from it, by the same rules as it draws.

use super::{Dice, Plan, Slot};
use crate::fault::{Aim, Fault, Kind, Target};
use std::collections::BTreeSet;

/// Something that every run is to have once: a kind of fault, and of leaders and disks one of each role, since they mean another thing there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Card {
    kind: Kind,
    role: Option<String>,
}

impl Plan {
    /// All cards of this plan.
    pub(super) fn deck(&self) -> BTreeSet<Card> {
        let happens = |kind: &Kind| self.usual(*kind).weight > 0;
        let kinds = Kind::ALL.into_iter().filter(happens);
        let cards = kinds.flat_map(|kind| {
            let targets = self.targets(kind.aim()).into_iter();
            let cards = targets.filter_map(|target| self.card(kind, &target));
            cards.collect::<Vec<Card>>()
        });
        cards.collect()
    }

    /// The card that such a fault plays; none on a way that may be idle, where it would show nothing.
    pub(super) fn card(&self, kind: Kind, target: &Target) -> Option<Card> {
        let role = match target {
            Target::Link(from, to) if !self.is_busy(from, to) => return None,
            Target::Leader(role) => Some(role.clone()),
            Target::Process(name) if kind.aim() == Aim::Disk => self.role(name),
            Target::Link(..)
            | Target::Process(_)
            | Target::Host(_)
            | Target::Storage
            | Target::Store => None,
        };
        Some(Card { kind, role })
    }

    /// A fault of a card that is still owed, where one of them fits. Leaders come first: theirs need a whole role to be well, which is rarer the
    /// more is drawn freely.
    pub(super) fn deal(
        &self,
        dice: &mut Dice,
        owed: &BTreeSet<Card>,
        slot: Slot,
        before: &[Fault],
    ) -> Option<Fault> {
        let mut owed: Vec<&Card> = owed.iter().collect();
        dice.shuffle(&mut owed);
        owed.sort_by_key(|card| card.kind.aim() != Aim::Leader);
        owed.into_iter().find_map(|card| {
            let mut targets = self.targets(card.kind.aim());
            targets.retain(|target| self.card(card.kind, target).as_ref() == Some(card));
            let target = dice.one_of(&targets)?.clone();
            let fault = self.aimed(dice, slot, card.kind, target);
            self.fits(&fault, before).then_some(fault)
        })
    }

    fn is_busy(&self, one: &str, other: &str) -> bool {
        let mut busy = self.busy.iter();
        busy.any(|(from, to)| (from == one && to == other) || (from == other && to == one))
    }

    fn role(&self, name: &str) -> Option<String> {
        let found = self.members.iter().find(|member| member.name == name);
        found.map(|member| member.role.clone())
    }
}
