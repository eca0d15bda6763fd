//! The coordinator's pure core: events in, actions out.
