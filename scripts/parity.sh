#!/usr/bin/env bash
# HTDemucs against the package it was published in; `make parity` calls it. Golden vectors of small networks, each of their tensors altered, converted
# files, the converter on both kinds with what `bundle verify` says of its bundles, the residual's features, and the full-size comparison with its table. With the word `golden` it makes the golden vectors again instead, with `checkpoints` the small published files. The package lies in the yardsticks'
# environment (scripts/yardstick.sh); it takes float32 without TensorFloat-32 on both sides.
set -euo pipefail
cd "$(dirname "$0")/.."
target=parity

# shellcheck source=scripts/yardstick.sh
. scripts/yardstick.sh

yardstick
if [ "${1:-}" = golden ]; then
    exec "$python" crates/models/golden/htdemucs.py
elif [ "${1:-}" = checkpoints ]; then
    exec "$python" crates/checkpoint/golden/make.py
fi
export NVIDIA_TF32_OVERRIDE=0
# The whole workspace is named, here and below, so that what is built serves, as every other goal builds it.
cargo test --release --locked --workspace --test htdemucs --test htdemucs_checkpoint --test htdemucs_converted --test converting --test residual_golden -- --nocapture --test-threads=1
cargo build --release --locked --workspace --example separate
printf '\n== full size\n'
"$python" crates/models/bench/parity.py "${CARGO_TARGET_DIR:-target}/release"
