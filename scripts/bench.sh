#!/usr/bin/env bash
# Runs the drivers in bench/ one after the other; `make bench` calls it. Each prints what it measured beside its target and ends with an
# error where the target was missed; all run, then the verdict is given. The yardsticks are ffmpeg and, in an environment of their own
# outside the repository (5 GB, made once), PyTorch and torchaudio of libtorch's version.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/trackscan
version=$(cat .libtorch/build-version)
python=$cache/bench-$version/bin/python

# shellcheck source=scripts/packages.sh
. scripts/packages.sh

target=bench
# Where the module that fills an environment is missing, `python3 -m venv` says so only after it has made half of one.
needs='
python3 -c __import__("ensurepip") | python3-venv | the Python environment of the yardsticks
'

yardstick() {
    "$python" -c 'import torch, torchaudio' 2>/dev/null && return
    echo "bench: installing PyTorch $version beside the cache, once" >&2
    install_packages
    python3 -m venv "$cache/bench-$version" || fail "python3 cannot make an environment in $cache" "look at its words above"
    # The wheel that libtorch came from serves again where this Python's version is the wheel's.
    "$python" -m pip install --quiet --find-links "$cache/wheels" "torch==$version" "torchaudio==$version" numpy ||
        fail "PyTorch $version could not be installed" "give pip a way to the Python registry and 5 GB in $cache"
}

yardstick
cargo build --release --locked --workspace --bins --examples
missed=()
for driver in bench/*.py; do
    printf '\n== %s\n' "$driver"
    "$python" "$driver" "${CARGO_TARGET_DIR:-target}/release" || missed+=("$driver")
done
[ ${#missed[@]} = 0 ] || { printf '\nbench: targets missed in: %s\n' "${missed[*]}" && exit 1; }
printf '\nbench: all targets met\n'
