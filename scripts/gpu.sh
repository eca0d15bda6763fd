#!/usr/bin/env bash
# Everything that is to be shown on one GPU, in a run of under ten minutes that needs no network; `make gpu` calls it. Parity in each number
# format against committed values and, where it can be imported, against the package demucs on the same device; seconds of sound per second beside
# the package's; memory by batch. A table, and JSON in JSON=file. Ends with 0 only where parity holds in all that was compared, and all committed values were.
#
#     scripts/gpu.sh         DEVICE=cuda|cpu (a processor: smaller), BOUND=seconds of the whole run, BINARIES=folder, PYTHON=program
#     scripts/gpu.sh pack    the binaries, stripped, and the package's Python files into target/gpu, for a machine that gets this repository with
#                            that folder, and has a PyTorch of libtorch's version, whose libraries then serve both sides
#
# Builds nothing and changes no setting of the device.
set -euo pipefail
cd "$(dirname "$0")/.."

target=gpu
device=${DEVICE:-cuda}
bound=${BOUND:-540}
release=${CARGO_TARGET_DIR:-target}/release
packed=target/gpu
# The version that scripts/libtorch.py pins: nothing but this repository need be there to know it.
version=$(sed -n 's/^TORCH = "\(.*\)"$/\1/p' scripts/libtorch.py)
yardstick=${XDG_CACHE_HOME:-${HOME:-/nowhere}/.cache}/trackscan/bench-$version/bin/python
# What the table needs after the bound, seconds.
grace=20

# shellcheck source=scripts/packages.sh
. scripts/packages.sh

pack() {
    local name
    [ -x "$release/trackscan-worker" ] || fail "there are no binaries in $release" "make build, then scripts/gpu.sh pack again"
    rm -rf "$packed"
    mkdir -p "$packed/examples" "$packed/site"
    for name in trackscan-worker examples/separate examples/screen_bench; do
        strip -o "$packed/$name" "$release/$name"
    done
    "$yardstick" - "$packed/site" <<'END' || fail "the package demucs could not be packed" "make parity installs it; without it that machine compares with committed values alone"
import importlib.util, pathlib, shutil, sys
for name in ("demucs", "einops", "julius", "tqdm"):
    origin = pathlib.Path(importlib.util.find_spec(name).origin).parent
    shutil.copytree(origin, pathlib.Path(sys.argv[1], name), ignore=shutil.ignore_patterns("__pycache__"))
END
    du -sh "$packed"
}

# The folder of libtorch's libraries where the ones beside this checkout do not serve the device; nothing where they do.
libraries() {
    case $device in
        cpu) [ ! -e .libtorch/lib/libtorch_cpu.so ] || return 0 ;;
        cuda) [ ! -e .libtorch/cuda/libtorch_cuda.so ] || return 0 ;;
    esac
    "$python" - "$version" <<'END' || fail "there is no libtorch $version for $device" "make build DEVICE=$device, or a Python with PyTorch $version in PYTHON=program"
import pathlib, sys, torch
if torch.__version__.split("+")[0] != sys.argv[1]:
    sys.exit(f"this is PyTorch {torch.__version__}")
print(pathlib.Path(torch.__file__).parent / "lib")
END
}

if [ "${1:-}" = pack ]; then
    pack
    exit
fi
[ "$device" = cpu ] || [ "$device" = cuda ] || fail "DEVICE=$device is not a device" "DEVICE=cuda or DEVICE=cpu"
case $bound in '' | *[!0-9]*) fail "BOUND=$bound is no number of seconds" "BOUND=540" ;; esac
python=${PYTHON:-$yardstick}
[ -n "${PYTHON:-}" ] || [ -x "$yardstick" ] || python=python3
"$python" -c 'import numpy' || fail "$python has no numpy" "PYTHON=program with numpy and PyTorch $version; make parity makes one where there is a network"
binaries=${BINARIES:-$release}
# A machine that this was packed for has built nothing.
[ -n "${BINARIES:-}" ] || [ -x "$release/trackscan-worker" ] || [ ! -d "$packed" ] || binaries=$packed
if [ -d "$binaries/site" ]; then
    site=$(cd "$binaries/site" && pwd)
    export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
fi
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
libtorch=$(libraries)
exec timeout --kill-after=10 "$((bound + grace))" \
    "$python" bench/gpu "$binaries" "$device" "$bound" ${libtorch:+--libtorch "$libtorch"} ${JSON:+--json "$JSON"}
