//! The versioned store trait, its conformance suite and the embedded backend.
