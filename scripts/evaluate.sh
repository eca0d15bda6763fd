#!/usr/bin/env bash
# Measures the demonstration bundle's table again and prints it, and where the bundle has two engines the grid of conditions; `make evaluate`
# calls it. The labelled music is made from seeds into the user's cache (minutes, once; shared with scripts/bundle.sh), because it is too large
# to commit. The grid begins nothing more after MINUTES=60 minutes; started again it goes on where it was.
# JSON=file gets its tables.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(scripts/corpus-folder.sh)
corpus=$folder/corpus
worker=${CARGO_TARGET_DIR:-target}/release/trackscan-worker
# The decoders of sound files have much to say.
export TRACKSCAN_LOG=${TRACKSCAN_LOG:-warn,models=info}

# The 420 held-out pieces, and the first 400 training pieces, which guards and baseline are fitted on: the same seeds, so the same tracks.
"$worker" corpus --out "$corpus" --decoders bundles/decoders --train 400 --calibrate 0 --test 420
"$worker" evaluate --bundle bundles/demo --public-key bundles/demo.pub --manifest "$corpus/labels.csv"
if [ -f bundles/demo/separator.safetensors ]; then
    "$worker" evaluate-grid --bundle bundles/demo --public-key bundles/demo.pub --decoders bundles/decoders --cache "$folder/grid" \
        --minutes "${MINUTES:-60}" ${JSON:+--json "$JSON"}
fi
