//! Keeps one network namespace for the suite that started it: `cluster-keeper first` may make a user namespace around it,
//! `cluster-keeper` alone must already be in one or be root. Started by `cluster::World` alone.

fn main() -> anyhow::Result<()> {
    let first = std::env::args().nth(1).is_some_and(|word| word == "first");
    cluster::keeper::keep(first)
}
