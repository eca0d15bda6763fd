//! What each direction between two hosts lets through, and the rules for nftables that say so. Pure: the world applies the rules.

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
        Link::Cut => writeln!(line, "    ip saddr {from} drop"),
        Link::Lossy(permille) => writeln!(
            line,
            "    ip saddr {from} numgen random mod 1000 < {permille} drop"
        ),
    };
    line
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
        assert!(links.rules(B).contains("ip saddr 10.77.0.2 drop"));
        assert!(!links.rules(A).contains("drop"));
    }

    #[test]
    fn loss_is_a_share_of_a_thousand() {
        let mut links = Links::default();
        links.set(A, B, Link::Lossy(250));
        let rule = "ip saddr 10.77.0.2 numgen random mod 1000 < 250 drop";
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
}
