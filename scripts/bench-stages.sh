#!/usr/bin/env bash
# Measures what one device does of each stage with the demonstration bundle, and writes docs/benchmarks/stages.md; `make bench-stages` calls it.
# DEVICE=cuda measures a GPU instead, and DTYPES="f32 tf32 bf16" more number formats, each of which the bundle must have an epsilon for; BUNDLE=folder
# another bundle, TO=file another page. Of a machine that does other work at the same time the figures say little. Builds nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

device=${DEVICE:-cpu}
bundle=${BUNDLE:-bundles/demo}
page=${TO:-docs/benchmarks/stages.md}
worker=${CARGO_TARGET_DIR:-target}/release/trackscan-worker
# Passes that each median is of: enough that one disturbed pass does not count, few enough for minutes in all.
rounds=7

written=$(mktemp)
trap 'rm -f "$written"' EXIT
{
    cat <<END
# Stages by batch

What one device does of each stage, by batch, as \`trackscan-worker bench\` measures it ([how](../reference/residual.md#measuring-a-device)). \`make bench-stages\` writes this page.

Measured on $(date -u +%F) on $(nproc) cores $(uname -m)$(sed -n 's/^model name[^:]*: /, /p' /proc/cpuinfo | head -n 1), 60 s of composed music in two channels, bundle \`$bundle\`.
END
    for dtype in ${DTYPES:-f32}; do
        printf '\n```\n'
        "$worker" bench "$bundle" --device "$device" --dtype "$dtype" --rounds "$rounds"
        printf '```\n'
    done
} >"$written"
cp "$written" "$page"
cat "$page"
