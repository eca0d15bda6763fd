//! The agent's pure core: events in, actions out.
