//! What a relay does to one direction of its connections, and the orders by which it is told. Pure words between [`super::Relay`] and
//! the program.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Whether bytes pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// They do.
    #[default]
    Flows,
    /// None is taken and none given: the sender's buffers fill, nothing is lost, and it goes on afterwards.
    Stalls,
    /// All are taken and none given: a connection that lost any is reset afterwards.
    Swallows,
}

/// What happens to one direction. The default changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// How late bytes come.
    pub delay_ms: u64,
    /// How much later at most, drawn for each piece; order is kept.
    pub jitter_ms: u64,
    /// How many bytes pass in a second on each connection; 0 is without limit.
    pub bytes_per_s: u64,
    /// Whether bytes pass at all.
    pub pass: Pass,
}

/// An order to the program: one line of JSON, answered by an empty one once it is obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Connections to this address, present and future ones, take these shapes.
    Shape {
        /// Whose address.
        to: Ipv4Addr,
        /// Towards that address.
        forth: Shape,
        /// Back from it.
        back: Shape,
    },
    /// All present connections to this address are reset.
    Reset {
        /// Whose address.
        to: Ipv4Addr,
    },
}
