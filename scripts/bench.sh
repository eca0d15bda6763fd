#!/usr/bin/env bash
# Runs the drivers in bench/ one after the other; `make bench` calls it. Each prints what it measured beside its target and ends with an
# error where the target was missed; all run, then the verdict is given. The yardsticks are ffmpeg and what lies in the environment that
# scripts/yardstick.sh makes.
set -euo pipefail
cd "$(dirname "$0")/.."

target=bench

# shellcheck source=scripts/yardstick.sh
. scripts/yardstick.sh

yardstick
cargo build --release --locked --workspace --bins --examples
missed=()
for driver in bench/*.py; do
    printf '\n== %s\n' "$driver"
    "$python" "$driver" "${CARGO_TARGET_DIR:-target}/release" || missed+=("$driver")
done
[ ${#missed[@]} = 0 ] || { printf '\nbench: targets missed in: %s\n' "${missed[*]}" && exit 1; }
printf '\nbench: all targets met\n'
