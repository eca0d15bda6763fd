#!/usr/bin/env bash
# Builds the coordinator and the program that measures it, and runs that; `make bench-scheduler` calls it. Arguments go to the program:
# `scripts/bench-scheduler.sh scan` measures one thing, `--help` says what there is. Needs no libtorch. JSON=file takes the figures too.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked -p coordinator -p bench-scheduler
exec "${CARGO_TARGET_DIR:-target}/release/bench-scheduler" ${JSON:+--json "$JSON"} "$@"
