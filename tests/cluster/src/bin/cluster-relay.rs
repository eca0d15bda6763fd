//! A relay on a host of the harness; its words and orders are `cluster::relay`'s. Started by `cluster::Relay` alone.

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    cluster::relay::serve(&words)
}
