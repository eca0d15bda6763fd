# Installs missing OS packages only as root on an apt system; otherwise names them, with the command. Sourced by the scripts that need some:
# they state `target`, the goal of make to run again, and `needs`, a line for each: command or check | Debian package | what needs it.
# shellcheck shell=bash disable=SC2154

fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    printf '  fix: %s\n' "$@" >&2
    exit 1
}

missing_packages() {
    while IFS='|' read -r check package reason; do
        [ -n "$check" ] || continue
        if ! $check >/dev/null 2>&1; then
            printf 'missing: %s, for%s\n' "$(echo "$package" | xargs)" "$reason" >&2
            echo "$package" | xargs
        fi
    done <<<"$needs"
}

install_packages() {
    local missing
    missing=$(missing_packages | tr '\n' ' ')
    [ -n "${missing// /}" ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "OS packages are missing: $missing" "sudo apt-get install -y $missing" "(or what your system calls them), then run make $target again"
    fi
    local install="env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing"
    $install || { apt-get update && $install; } || fail "apt could not install: $missing" "look at apt's words above, then run make $target again"
}
