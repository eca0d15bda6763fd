#!/usr/bin/env bash
# Replays one seed of the simulator on the tree of one commit, for the table of bugs in docs/reference/simulation.md. The tree is unpacked
# below the system's folder for temporary files, and the libraries are built once for all trees. Nothing is optimised: one seed needs no speed.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# = 2 ] || { printf 'usage: scripts/replay-bug.sh COMMIT SEED\n' >&2 && exit 2; }
commit=$(git rev-parse --verify --short=12 "$1^{commit}")
seed=$2

place=${TMPDIR:-/tmp}/trackscan-replay
tree=$place/$commit
if [ ! -x "$tree/trackscan-sim" ]; then
    mkdir -p "$tree"
    # Of this moment, or cargo would take what it built of another tree for built of this one.
    git archive "$commit" | tar -xm -C "$tree"
    export CARGO_TARGET_DIR=$place/target CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_DEBUG=0
    (cd "$tree" && cargo build --quiet --release --locked -p sim --bin trackscan-sim)
    cp "$place/target/release/trackscan-sim" "$tree/"
fi
printf 'seed %s on %s: ' "$seed" "$commit"
# The log, and then the promise that did not hold.
"$tree/trackscan-sim" replay --seed "$seed" --tail 0 | awk '{ before = last; last = $0 } END { print NR - 1 " lines, " last; print "  " before }'
