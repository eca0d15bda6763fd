#!/usr/bin/env bash
# Builds what `make chaos OTHER=dir` rolls to and from: the coordinator, the agent, the decoder and the stub engine of COMMIT, into the user's cache,
# once. The folder's path is all that it says on stdout.
set -euo pipefail
cd "$(dirname "$0")/.."

binaries=(coordinator node-agent trackscan-decoder stub-worker)

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

[ $# -eq 1 ] || fail "give one commit: scripts/another-build.sh COMMIT"
commit=$(git rev-parse --verify --quiet "$1^{commit}") ||
    fail "the history here has no commit $1; name one that \`git log\` lists"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/trackscan/builds/$commit

# The tree is gone afterwards, be the build done or not.
build() {
    tree=$(mktemp -d)
    trap 'rm -rf "$tree" "$cache.new"' EXIT
    git archive "$commit" | tar -x -C "$tree"
    ln -s "$PWD/.libtorch" "$tree/.libtorch"
    (cd "$tree" && CARGO_TARGET_DIR="$tree/target" cargo build --release --locked -p coordinator -p agent -p decoder -p tests --bins) >&2
    rm -rf "$cache.new"
    mkdir -p "$cache.new"
    for name in "${binaries[@]}"; do cp "$tree/target/release/$name" "$cache.new/"; done
    echo "$commit" >"$cache.new/COMMIT"
    mv "$cache.new" "$cache"
}

[ -d "$cache" ] || build
echo "$cache"
