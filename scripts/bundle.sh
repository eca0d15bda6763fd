#!/usr/bin/env bash
# Makes the demonstration bundle again, from nothing but the decoders' weights and seeds: labelled music, training, calibration, guards.
# About an hour on two cores; stopped and started again it goes on where it was. The bundle is signed with KEY=file, or with a key that is
# forgotten at once; the public half goes to bundles/demo.pub. Nothing is written under bundles/ unless the guards pass.
set -euo pipefail
cd "$(dirname "$0")/.."

work=${XDG_CACHE_HOME:-$HOME/.cache}/trackscan/training
worker=${CARGO_TARGET_DIR:-target}/release/trackscan-worker
mkdir -p "$work"

"$worker" corpus --out "$work/corpus" --decoders bundles/decoders
"$worker" train --manifest "$work/corpus/labels.csv" --cache "$work/cache" --out "$work/weights.safetensors"
"$worker" calibrate --manifest "$work/corpus/labels.csv" --weights "$work/weights.safetensors" --decoders bundles/decoders \
    --out bundles/demo --public-key bundles/demo.pub ${KEY:+--key "$KEY"}
