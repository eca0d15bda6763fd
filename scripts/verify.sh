#!/usr/bin/env bash
# The lints of this repository: reads, never writes (`make fix` writes). Run by `make verify` and, after the tests, by `.ci/run`.
# Every step runs even when an earlier one failed, so that one run shows all there is to repair; the last lines name what failed
# and what could not be checked on this machine.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

failed=()
unchecked=()

step() {
    local name=$1
    shift
    printf '\n== %s\n' "$name"
    "$@" || failed+=("$name")
}

# The advisory database is a git repository; a machine without a way to it cannot know about new advisories, and says so.
advisories() {
    if "$deny" --locked fetch db >/dev/null 2>&1; then
        step advisories "$deny" --locked check --disable-fetch advisories
    else
        unchecked+=("advisories and yanked versions: https://github.com/RustSec/advisory-db cannot be reached from here")
    fi
}

step format cargo fmt --all --check
step clippy cargo clippy --release --locked --workspace --all-targets -- -D warnings
# The pages are for developers, so a public item may lead to a private one.
step documentation env RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --release --locked --workspace --no-deps --document-private-items
if deny=$(scripts/cargo-deny.sh); then
    step "licences, bans, sources" "$deny" --locked check licenses bans sources
    advisories
else
    failed+=("cargo-deny could not be built")
fi

printf '\n'
for item in ${unchecked[@]+"${unchecked[@]}"}; do echo "verify: NOT CHECKED: $item"; done
for item in ${failed[@]+"${failed[@]}"}; do echo "verify: FAILED: $item"; done
[ ${#failed[@]} = 0 ] || exit 1
echo "verify: passed${unchecked:+, except for what was not checked}"
