//! What each direction between two hosts lets through, the rules for nftables that say so, and what they kept back. Pure: the world applies
//! the rules and reads them again.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

/// One direction between two hosts. Both directions are whole until one is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Everything passes.
    #[default]
    Whole,
    /// Of a thousand packets so many are dropped, each by its own draw.
    Lossy(u16),
    /// Nothing passes, and nobody is told.
    Cut,
}

/// All directions that are not whole, by sender and receiver.
#[derive(Debug, Default)]
pub(crate) struct Links {
    changed: BTreeMap<(Ipv4Addr, Ipv4Addr), Link>,
    /// Packets that were kept back and that nobody has asked for yet, by sender and receiver.
    dropped: BTreeMap<(Ipv4Addr, Ipv4Addr), u64>,
}

impl Links {
    pub(crate) fn set(&mut self, from: Ipv4Addr, to: Ipv4Addr, link: Link) {
        match link {
            Link::Whole => self.changed.remove(&(from, to)),
            Link::Lossy(_) | Link::Cut => self.changed.insert((from, to), link),
        };
    }

    pub(crate) fn get(&self, from: Ipv4Addr, to: Ipv4Addr) -> Link {
        self.changed.get(&(from, to)).copied().unwrap_or_default()
    }

    /// Whether a receiver has rules.
    pub(crate) fn has_rules(&self, receiver: Ipv4Addr) -> bool {
        self.changed.keys().any(|(_, to)| *to == receiver)
    }

    /// Adds what a receiver's table says of itself. Whoever reads it puts the next one in its place, whose counts begin anew.
    pub(crate) fn count(&mut self, receiver: Ipv4Addr, table: &str) {
        for (from, packets) in table.lines().filter_map(counted) {
            *self.dropped.entry((from, receiver)).or_default() += packets;
        }
    }

    /// Packets that were kept back on a way since this was asked last.
    pub(crate) fn take_dropped(&mut self, from: Ipv4Addr, to: Ipv4Addr) -> u64 {
        self.dropped.remove(&(from, to)).unwrap_or_default()
    }

    /// The whole table of the host that receives, to be put in place of the one before by one `nft -f`.
    ///
    /// Dropping where packets arrive needs no bridge rules of the kernel, and the sender notices exactly nothing.
    pub(crate) fn rules(&self, receiver: Ipv4Addr) -> String {
        let mut rules = String::from("table ip cuts\ndelete table ip cuts\ntable ip cuts {\n");
        rules += "  chain input {\n    type filter hook input priority 0; policy accept;\n";
        for ((from, _), link) in self.changed.iter().filter(|((_, to), _)| *to == receiver) {
            rules += &rule(*from, *link);
        }
        rules + "  }\n}\n"
    }
}

fn rule(from: Ipv4Addr, link: Link) -> String {
    let mut line = String::new();
    // Writing into a string cannot fail.
    let _ = match link {
        Link::Whole => Ok(()),
        Link::Cut => writeln!(line, "    ip saddr {from} counter drop"),
        Link::Lossy(permille) => writeln!(
            line,
            "    ip saddr {from} numgen random mod 1000 < {permille} counter drop"
        ),
    };
    line
}

/// The sender and the count of a rule as nftables shows it: `ip saddr 10.77.0.2 counter packets 3 bytes 180 drop`.
fn counted(line: &str) -> Option<(Ipv4Addr, u64)> {
    let after = |wanted: &str| {
        let mut words = line.split_whitespace();
        words.find(|word| *word == wanted)?;
        words.next()
    };
    let packets = after("packets")?.parse().ok()?;
    Some((after("saddr")?.parse().ok()?, packets))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
    const B: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);

    #[test]
    fn a_cut_one_way_is_a_rule_of_the_receiver_alone() {
        let mut links = Links::default();
        links.set(A, B, Link::Cut);
        assert!(links.rules(B).contains("ip saddr 10.77.0.2 counter drop"));
        assert!(!links.rules(A).contains("drop"));
    }

    #[test]
    fn loss_is_a_share_of_a_thousand() {
        let mut links = Links::default();
        links.set(A, B, Link::Lossy(250));
        let rule = "ip saddr 10.77.0.2 numgen random mod 1000 < 250 counter drop";
        assert!(links.rules(B).contains(rule));
    }

    #[test]
    fn a_whole_link_leaves_no_rule_behind() {
        let mut links = Links::default();
        let untouched = links.rules(B);
        links.set(A, B, Link::Lossy(5));
        links.set(A, B, Link::Cut);
        assert_eq!(links.get(A, B), Link::Cut);
        links.set(A, B, Link::Whole);
        assert_eq!(links.rules(B), untouched);
    }

    #[test]
    fn what_was_kept_back_adds_up_over_tables_and_is_told_once() {
        let mut links = Links::default();
        let table = "table ip cuts {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\
                     \t\tip saddr 10.77.0.2 counter packets 3 bytes 180 drop\n\
                     \t\tip saddr 10.77.0.9 numgen random mod 1000 < 250 counter packets 0 bytes 0 drop\n\t}\n}\n";
        links.count(B, table);
        links.count(B, table);
        assert_eq!(links.take_dropped(A, B), 6);
        assert_eq!(links.take_dropped(A, B), 0);
        assert_eq!(links.take_dropped(B, A), 0);
    }
}
