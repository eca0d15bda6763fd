#!/usr/bin/env bash
# Scans the committed demonstration catalogue, or the folder that CATALOG names, with this machine's own cluster; `make demo` calls it.
# Starts `scanctl up` on a free port of loopback, imports, scans, shows what was found, stops the cluster and leaves its data in DATA
# (default: trackscan-demo). Calls nothing but scanctl, so each step can be typed by hand.
set -euo pipefail
cd "$(dirname "$0")/.."

music=${CATALOG:-}
# Not every shell expands this in `CATALOG=~/Music`.
music=${music/#\~\//$HOME/}
data=${DATA:-$PWD/trackscan-demo}
device=auto
[ "${DEVICE:-cpu}" = cpu ] && device=cpu
scanctl=${CARGO_TARGET_DIR:-target}/release/scanctl
# The committed bundle, wherever the binaries were built. The committed tracks are a source of their own, so that their keys are those of
# truth.csv whatever folder around them was imported before.
own=(--default-bundle bundles/demo --trusted-key "$(cat bundles/demo.pub)" --source "demo=demo/tracks")

# A port that is free now; another process may take it before `up` does, which then says so.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export SCANCTL_ADDRESS=http://127.0.0.1:$port

say() { printf '\n%s\n' "$*" >&2; }

start() {
    mkdir -p "$data"
    "$scanctl" up --data "$data" --device "$device" --listen "127.0.0.1:$port" "${own[@]}" 2>"$data/up.log" &
    up=$!
    trap 'kill -TERM "$up" 2>/dev/null; wait "$up" || true' EXIT
    # A minute and a half: the coordinator may have to recover its store, the agent to load libtorch from a cold disk.
    for _ in $(seq 300); do
        [ -n "$("$scanctl" node ls -o name 2>/dev/null)" ] && return
        kill -0 "$up" 2>/dev/null || break
        sleep 0.3
    done
    say "error: the cluster did not start; its last words ($data/up.log):"
    tail -n 20 "$data/up.log" >&2
    exit 1
}

# Waits for the job with progress on stderr; prints its name. Exit code 8 says that some tracks are unscannable, which is a result.
scan() {
    local status=0
    "$scanctl" scan submit --catalog "$@" --wait -o name || status=$?
    [ "$status" = 0 ] || [ "$status" = 8 ] || exit "$status"
}

# Exit code 3 says that the cluster's data of an earlier demonstration has this snapshot already.
import() {
    local status=0
    "$scanctl" catalog import "$@" || status=$?
    [ "$status" = 0 ] || [ "$status" = 3 ] || exit "$status"
}

start
if [ -n "$music" ]; then
    say "== import $music"
    import folder "$(realpath "$music")"
    say "== scan"
    job=$(scan folder --stages both)
    say "== verdicts"
    "$scanctl" result get "$job"
    say "This bundle has never heard real music: read the scores and timelines as what the machinery does, not as what your tracks are."
else
    say "== import the demonstration catalogue"
    import demo demo/tracks
    say "== scan"
    job=$(scan demo --stages both --accept-demonstration)
    say "== verdicts beside the truth"
    "$scanctl" result get "$job" --truth demo/truth.csv
fi
say "== throughput"
"$scanctl" result summary "$job"
say "== recount"
"$scanctl" result verify "$job"
# Each command stands on a line of its own, to be typed as it is: tests/e2e/readme.rs reads these lines.
say "The cluster's data stays in $data. Its cluster again, in the foreground:
  $scanctl up --data $data ${own[*]}
and in another terminal, to look around:
  $scanctl result get $job"
say "Next: a bundle calibrated on music whose truth you know. Put that into the folder ~/known and write labels.csv, with the columns key (the path
below that folder) and label (human or ai), some hundreds of each (docs/reference/calibration.md says how many). With that cluster running:
  ${scanctl%/*}/trackscan-worker bundle key my.key
  $scanctl calibrate --folder ~/known --labels labels.csv --bundle bundles/demo --key my.key --out my-bundle"
