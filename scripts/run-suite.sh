#!/usr/bin/env bash
# Cargo's runner for the tests of `make test`: it is given a built suite and its arguments, and becomes that suite. Cargo chooses the suites, so that none
# can be forgotten here; this says only how many tests of one run at once. Plain `cargo test` goes without it and is none the worse.
# Suites that wait more than they compute, for leases, timers and other processes, run more tests at once than there are processors. Each of their
# tests has folders and ports of its own, and deadlines that a busy machine does not miss. All others keep what the harness chooses, the number of
# processors: those that compute gain nothing, and those that compare measured times are to have the machine for themselves.
set -euo pipefail

suite=${1##*/}
# Cargo tells whose suite it is, since several packages have one named `suite`, and ends a suite's file with a hash.
case ${CARGO_PKG_NAME:-}/${suite%-*} in
    # So many clusters of one machine fill the waits of each other on two processors, and their agents still beat ten times in a grant's life of 20 s.
    tests/e2e) at_once=6 ;;
    # Fewer where a test has several members of etcd, or sees a leader's time of a few seconds pass.
    tests/bad_input | coordinator/suite | store/store) at_once=4 ;;
    # These ask their clusters many times a second, and hold shares of time against each other.
    tests/steering) at_once=3 ;;
    *) at_once=0 ;;
esac

# Whoever says a number means it, and a machine with more processors needs no more than them.
if [ -z "${RUST_TEST_THREADS:-}" ] && [ "$at_once" -gt "$(nproc)" ]; then
    export RUST_TEST_THREADS=$at_once
fi
exec "$@"
