//! Parses manifests into canonical catalog rows.
