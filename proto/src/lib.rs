//! The wire contract and its conversions to the domain.
