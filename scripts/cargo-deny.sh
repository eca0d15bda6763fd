#!/usr/bin/env bash
# Prints the path of the pinned cargo-deny, building it first where it is not there yet; called by `scripts/verify.sh`.
# The registry carries its source only, so the first call compiles it (about three minutes on two cores); it stays in the user's cache,
# for all checkouts. Optimisation is turned down: the tool runs for seconds, so compiling it is what costs.
set -euo pipefail

version=0.20.2
root=${XDG_CACHE_HOME:-$HOME/.cache}/trackscan/tools/cargo-deny-$version
if [ ! -x "$root/bin/cargo-deny" ]; then
    echo "cargo-deny $version is not built yet; building it once into $root" >&2
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
        cargo install --locked --quiet --no-default-features --root "$root" "cargo-deny@$version" >&2
fi
echo "$root/bin/cargo-deny"
