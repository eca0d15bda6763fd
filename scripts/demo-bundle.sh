#!/usr/bin/env bash
# Remakes everything under bundles/ and demo/ from seeds: neural decoders, labelled data, the screen's weights, the signed bundle, the
# demonstration catalogue. Needs ffmpeg, two cores for about an hour at most, and 2 GB under CACHE. Run again after a stop, it goes on.
# The bundle is signed by a key whose secret half is forgotten; KEY=file signs by a key of your own.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${CACHE:-$PWD/target/demo-bundle}
worker=${CARGO_TARGET_DIR:-target}/release/trackscan-worker
# The decoders of sound files have much to say.
export TRACKSCAN_LOG=${TRACKSCAN_LOG:-warn,models=info}
decoders=bundles/decoders

if [ ! -e "$decoders/frames-128.safetensors" ] || [ "${DECODERS:-keep}" = remake ]; then
    "$worker" decoders --out "$decoders"
fi
manifest=$("$worker" corpus --out "$cache/labelled" --decoders "$decoders")
weights=$("$worker" train --manifest "$manifest" --cache "$cache/training" --out "$cache/screen.safetensors")
"$worker" calibrate --manifest "$manifest" --weights "$weights" --decoders "$decoders" \
    --out bundles/demo --public-key bundles/demo.pub ${KEY:+--key "$KEY"}
"$worker" demo-tracks --out demo --decoders "$decoders"
