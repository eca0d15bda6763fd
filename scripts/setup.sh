#!/usr/bin/env bash
# Brings a fresh machine to the point where plain `cargo build` works; run by `make setup`, safe to run again.
# Installs missing OS packages only as root on an apt system; otherwise it names them, with the command. Changes nothing else outside the
# repository but cargo's registry, the wheel cache of `scripts/libtorch.py` and the servers that `scripts/etcd.sh` builds for tests. `.moto` is
# the S3 server of Python that tests of storage ask. DEVICE=cuda adds the GPU libraries.
set -euo pipefail
cd "$(dirname "$0")/.."

device=${DEVICE:-cpu}

# shellcheck source=scripts/packages.sh
. scripts/packages.sh

target=setup
# command or check | Debian package | what needs it
needs='
g++ --version | g++ | the C++ shim between Rust and libtorch, and zstd
protoc --version | protobuf-compiler | building the client of etcd
test -f /usr/include/google/protobuf/descriptor.proto | libprotobuf-dev | building the client of etcd
python3 --version | python3 | unpacking libtorch
cc --version | gcc | the clock that suites put before chosen processes
env PATH=/usr/sbin:/sbin:/usr/bin:/bin ip -V | iproute2 | tests on many hosts: their networks
env PATH=/usr/sbin:/sbin:/usr/bin:/bin nft --version | nftables | tests on many hosts: cuts and loss
python3 -m pip --version | python3-pip | fetching libtorch and moto from the Python registry
python3 -m ensurepip --version | python3-venv | the folder in which moto stands by itself
chromium --version | chromium | tests that open a report as its reader does
ffmpeg -version | ffmpeg | tests, benches and remaking the demonstration audio (encoders)
etcd --version | etcd-server | the conformance suite of the store on an older etcd
'

check_platform() {
    [ "$(uname -sm)" = "Linux x86_64" ] || fail "this is $(uname -sm)" "Trackscan builds and runs on x86-64 Linux only"
    [ "$device" = cpu ] || [ "$device" = cuda ] || fail "DEVICE=$device is not a device" "DEVICE=cpu or DEVICE=cuda"
}

check_rust() {
    local pinned
    pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    command -v cargo >/dev/null || fail "there is no cargo on the PATH" "install rustup from https://rustup.rs, then run make setup again"
    # With rustup, the first call installs what rust-toolchain.toml names.
    rustc --version | grep -qF "rustc $pinned " ||
        fail "this is $(rustc --version), pinned is $pinned" "use rustup (https://rustup.rs), which reads rust-toolchain.toml"
    { cargo fmt --version && cargo clippy --version; } >/dev/null ||
        fail "rustfmt or clippy is missing" "rustup component add rustfmt clippy --toolchain $pinned"
}

# Debian has had 3.9 or newer since 2021.
check_python() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' ||
        fail "this is $(python3 --version), 3.9 or newer is needed" "put a newer python3 first on the PATH"
}

# Made anew where the pinned packages are others than those that stand there.
install_moto() {
    local pinned=scripts/moto.txt
    cmp -s "$pinned" .moto/installed.txt && return
    rm -rf .moto
    python3 -m venv .moto
    .moto/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: -r "$pinned" ||
        fail "pip could not install moto" "look at pip's words above; behind a mirror set it in pip's own configuration"
    cp "$pinned" .moto/installed.txt
}

check_platform
install_packages
check_rust
check_python
python3 scripts/libtorch.py --device "$device"
scripts/etcd.sh
install_moto
cargo fetch --locked --quiet || fail "cargo could not fetch the crates of Cargo.lock" "look at cargo's words above; behind a mirror set it in cargo's own configuration"
echo "setup: done (device $device)"
