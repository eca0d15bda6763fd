//! Links between processes: messages take their time, get lost, come twice, overtake each other, and do not pass a cut.

use std::collections::BTreeMap;

use types::Millis;

use crate::agenda::{Happening, Message, Who};
use crate::before;
use crate::struck;
use crate::world::World;

/// Which directions are cut, and until when.
#[derive(Debug, Default)]
pub(crate) struct Links {
    cut: BTreeMap<(Who, Who), Millis>,
}

impl Links {
    /// Nothing passes from one to the other before `until`.
    pub(crate) fn cut(&mut self, from: Who, to: Who, until: Millis) {
        let end = self.cut.entry((from, to)).or_insert(until);
        *end = until.max(*end);
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn passes(&self, from: Who, to: Who, now: Millis) -> bool {
        self.cut.get(&(from, to)).is_none_or(|until| *until <= now)
    }
}

impl World {
    /// The time that something takes on its way.
    pub(crate) fn latency(&mut self) -> Millis {
        let links = &self.mix.links;
        let (delay, delay_max, latency_max) = (links.delay, links.delay_max, links.latency_max);
        let most = if self.strikes(delay, struck::MESSAGE_DELAYED) {
            delay_max
        } else {
            latency_max
        };
        Millis(self.dice.between(1, most))
    }

    /// Sends a message, once, twice or not at all, in words that both sides know.
    pub(crate) fn send(&mut self, from: Who, to: Who, mut message: Message) {
        if self.is_older(from) || self.is_older(to) {
            before::known(&mut message);
        }
        if !self.links.passes(from, to, self.now) {
            return;
        }
        let (lose, double) = (self.mix.links.lose, self.mix.links.double);
        if self.strikes(lose, struck::MESSAGE_LOST) {
            return;
        }
        if self.strikes(double, struck::MESSAGE_DOUBLED) {
            self.echo(from, to, message.clone());
        }
        self.arrive(from, to, message);
    }

    /// A copy comes whenever it comes.
    fn echo(&mut self, from: Who, to: Who, message: Message) {
        let most = self.mix.links.delay_max.max(1);
        let at = self.now + Millis(self.dice.between(1, most));
        self.agenda
            .plan(at, Happening::Arrives { from, to, message });
    }

    fn arrive(&mut self, from: Who, to: Who, message: Message) {
        let latency = self.latency();
        self.agenda
            .plan(self.now + latency, Happening::Arrives { from, to, message });
    }
}
