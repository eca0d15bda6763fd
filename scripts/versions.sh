#!/usr/bin/env bash
# One cluster of this version and the one before; `make versions` calls it. The binaries of the version before are those in the folder BEFORE,
# or are built from its commit into the user's cache, once. This version's are built as for any test.
set -euo pipefail
cd "$(dirname "$0")/.."

# The last commit of the version before: types::VERSION_BEFORE.
commit=d19b57d2
cache=${XDG_CACHE_HOME:-$HOME/.cache}/trackscan/versions/$commit
binaries=(coordinator node-agent scanctl stub-worker trackscan-decoder)

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

# Builds the version before in a tree of its own, which is gone afterwards.
build_before() {
    git cat-file -e "$commit^{commit}" 2>/dev/null ||
        fail "not run: the history here has no commit $commit; name a folder with the binaries of the version before as BEFORE"
    local tree
    tree=$(mktemp -d)
    git archive "$commit" | tar -x -C "$tree"
    ln -s "$PWD/.libtorch" "$tree/.libtorch"
    (cd "$tree" && CARGO_TARGET_DIR="$tree/target" cargo build --release --locked -p coordinator -p agent -p cli -p decoder -p tests --bins)
    mkdir -p "$cache.new"
    for name in "${binaries[@]}"; do cp "$tree/target/release/$name" "$cache.new/"; done
    mv "$cache.new" "$cache"
    rm -rf "$tree"
}

if [ -z "${BEFORE:-}" ]; then
    [ -d "$cache" ] || build_before
    BEFORE=$cache
fi
export BEFORE
cargo build --release --locked --workspace --all-targets
cargo test --release --locked --workspace --test live -- --nocapture --test-threads=1
