//! One process per device, the only one with libtorch.

fn main() {}
