#!/usr/bin/env bash
# Measures a cluster: coordinators on etcd, and the whole path on S3; `make bench-cluster` calls it once all binaries and the etcd servers are
# built. Arguments go to the program: `scripts/bench-cluster.sh failover --killed 20` measures one thing, `--help` says what there is.
# JSON=file takes the figures too. Everything together takes about an hour.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- shards weight takeover failover path
exec "${CARGO_TARGET_DIR:-target}/release/bench-scheduler" ${JSON:+--json "$JSON"} "$@"
