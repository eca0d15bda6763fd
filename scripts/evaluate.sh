#!/usr/bin/env bash
# Measures the demonstration bundle's table again and prints it; `make evaluate` calls it. The labelled music is made from seeds into the user's
# cache (minutes, once; shared with scripts/bundle.sh), because it is too large to commit.
set -euo pipefail
cd "$(dirname "$0")/.."

corpus=$(scripts/corpus-folder.sh)/corpus
worker=${CARGO_TARGET_DIR:-target}/release/trackscan-worker
# The decoders of sound files have much to say.
export TRACKSCAN_LOG=${TRACKSCAN_LOG:-warn,models=info}

# The 420 held-out pieces, and the first 400 training pieces, which guards and baseline are fitted on: the same seeds, so the same tracks.
"$worker" corpus --out "$corpus" --decoders bundles/decoders --train 400 --calibrate 0 --test 420
"$worker" evaluate --bundle bundles/demo --public-key bundles/demo.pub --manifest "$corpus/labels.csv"
