# Sourced by scripts/bench.sh and scripts/parity.sh: the Python environment of the yardsticks, outside the repository (5 GB, made once): PyTorch and
# torchaudio of libtorch's version, and demucs. Sets `python`; `yardstick` makes what is missing. They state `target`, the goal of make to run again.
# shellcheck shell=bash disable=SC2154

version=$(cat .libtorch/build-version)
yardsticks=${XDG_CACHE_HOME:-$HOME/.cache}/trackscan
# shellcheck disable=SC2034 # Read by those who source this.
python=$yardsticks/bench-$version/bin/python
demucs=4.1.0

# shellcheck source=scripts/packages.sh
. scripts/packages.sh

# Where the module that fills an environment is missing, `python3 -m venv` says so only after it has made half of one.
# shellcheck disable=SC2034 # Read by scripts/packages.sh.
needs='
python3 -c __import__("ensurepip") | python3-venv | the Python environment of the yardsticks
'

yardstick() {
    "$python" -c 'import torch, torchaudio' 2>/dev/null || yardstick_torch
    "$python" -c "from importlib.metadata import version; assert version('demucs') == '$demucs'; import demucs.htdemucs, demucs.apply" 2>/dev/null ||
        yardstick_demucs
}

yardstick_torch() {
    echo "$target: installing PyTorch $version beside the cache, once" >&2
    install_packages
    python3 -m venv "$yardsticks/bench-$version" || fail "python3 cannot make an environment in $yardsticks" "look at its words above"
    # The wheel that libtorch came from serves again where this Python's version is the wheel's.
    "$python" -m pip install --quiet --find-links "$yardsticks/wheels" "torch==$version" "torchaudio==$version" numpy ||
        fail "PyTorch $version could not be installed" "give pip a way to the Python registry and 5 GB in $yardsticks"
}

# Without what it needs for reading and writing sound, downloading weights and training; its weights are never downloaded here.
yardstick_demucs() {
    echo "$target: installing demucs $demucs beside PyTorch, once" >&2
    "$python" -m pip install --quiet --no-deps "demucs==$demucs" einops==0.8.2 julius==0.2.8 pyyaml==6.0.3 safetensors==0.8.0 tqdm==4.70.1 ||
        fail "demucs $demucs could not be installed" "give pip a way to the Python registry"
}
