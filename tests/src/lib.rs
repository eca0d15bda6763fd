//! Suites on real processes: architecture, end to end, bad input, crash, benches.
