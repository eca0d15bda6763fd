#!/usr/bin/env bash
# Makes the demonstration bundle and catalogue again from seeds: labelled music, training of screen and separator, calibration, guards, tracks
# with their truth; with DECODERS=remake the small neural decoders first. Up to three hours on two idle cores: training the separator and measuring
# the grid begin nothing more after MINUTES=60 minutes each. 3 GB in the user's cache, needs ffmpeg; stopped and started again it goes on where it was, and ends with what
# is done by then: its words say how many rounds of training that is, the card which conditions are not measured. The bundle is signed with KEY=file, or with a key that is
# forgotten at once; the public half goes to bundles/demo.pub. Nothing is written to bundles/demo unless the guards pass.
set -euo pipefail
cd "$(dirname "$0")/.."

worker=${CARGO_TARGET_DIR:-target}/release/trackscan-worker
# The decoders of sound files have much to say.
export TRACKSCAN_LOG=${TRACKSCAN_LOG:-warn,models=info}
decoders=bundles/decoders
if [ "${DECODERS:-keep}" = remake ]; then
    "$worker" decoders --out "$decoders"
fi
# Other decoders make other positives, in another folder.
work=$(scripts/corpus-folder.sh)
minutes=${MINUTES:-60}
"$worker" corpus --out "$work/corpus" --decoders "$decoders"
"$worker" train --manifest "$work/corpus/labels.csv" --cache "$work/cache" --out "$work/weights.safetensors"
"$worker" train-separator --decoders "$decoders" --labelled "$work/corpus/labels.csv" --cache "$work/separator" --out "$work/separator.safetensors" \
    --minutes "$minutes"
calibrate() {
    "$worker" calibrate --manifest "$work/corpus/labels.csv" --weights "$work/weights.safetensors" --decoders "$decoders" \
        --separator "$work/separator.safetensors" --vectors "$work/vectors" \
        --out bundles/demo --public-key bundles/demo.pub ${KEY:+--key "$KEY"} "$@"
}
# The grid hears a whole bundle; its tables go into the card, which is signed, so the bundle is made again around them.
calibrate
"$worker" evaluate-grid --bundle bundles/demo --public-key bundles/demo.pub --decoders "$decoders" --cache "$work/grid" \
    --minutes "$minutes"
calibrate --grid "$work/grid"
"$worker" demo-tracks --out demo --decoders "$decoders"
