//! The node agent: supervisor of decoders and workers around agent-core.

fn main() {}
