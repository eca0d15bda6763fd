#!/usr/bin/env bash
# Prints the folder of the labelled music that this checkout makes; called by scripts/bundle.sh and scripts/evaluate.sh. Checkouts share
# the user's cache, so the name holds a digest of what the music is made by: the generator, the small decoders with their weights, and how
# their error is mixed in; not of broken files and of how lists are read.
set -euo pipefail
cd "$(dirname "$0")/.."

train=crates/models/src/train
made_by=$(find crates/corpus/src bundles/decoders $train/decoder $train/labelled.rs $train/positives.rs -type f \
    -not -path 'crates/corpus/src/hostile*' -not -path crates/corpus/src/manifest.rs -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/trackscan/training/$made_by
mkdir -p "$folder"
echo "$folder"
