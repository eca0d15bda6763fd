//! The sandboxed child that decodes untrusted audio.

fn main() {}
