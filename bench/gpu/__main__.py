"""Everything that is to be shown on one device in ten minutes: parity, speed, memory. Called by scripts/gpu.sh.

    python3 bench/gpu BINARIES cuda|cpu SECONDS [--libtorch FOLDER] [--json FILE]

Prints a table and, where asked, writes it as JSON. Ends with 1 where parity is broken, or a comparison that needs nothing but this repository could not be
made; with 2 where nothing could be run. What could not be compared is named, and counts as nothing. Builds nothing, installs nothing and changes no setting
of the device.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import traceback
from datetime import datetime, timezone
from pathlib import Path

import compare
import speed
import table
from clock import Clock, NotDone
from stand import Stand, beside, found_binaries, open_device

THREADS_MAX = 4
"""Of an operation on the processor: the device's work is not there, and on a processor more of them wait for each other."""
ENDING_SECONDS = 5
"""Kept back for the table."""


def arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(description="parity, speed and memory on one device")
    options.add_argument("binaries", type=Path, help="cargo's folder, such as target/release")
    options.add_argument("device", choices=["cuda", "cpu"])
    options.add_argument("seconds", type=float, help="the whole run's bound")
    options.add_argument("--libtorch", type=Path, help="folder of libtorch's libraries, where it is not the one that the binaries were built with")
    options.add_argument("--json", type=Path, help="file for the same as JSON")
    return options.parse_args()


def measure(stand: Stand, report: dict) -> None:
    """Fills the report in the order of what must not be missing: parity, a first pair, memory, the other pairs."""
    for part in (compare.golden_rows, compare.full_rows, compare.screen_rows):
        report["parity"] += part(stand)
    speeds = speed.Speeds(stand)
    try:
        speeds.pairs(0, 1)
        report["memory"] = speed.memory(stand, report["not_done"])
        report["profile"] = speed.profile(report["memory"], stand.memory_bytes)
        speeds.pairs(1, max(speed.PAIRS.values()))
    finally:
        report["speed"] = speeds.rows()
        report["not_done"] += speeds.notes


def status(report: dict) -> int:
    if report.get("ended"):
        return 1 if report["parity"] else 2
    broken = [row for row in report["parity"] if row["holds"] is False or (row["holds"] is None and row["required"])]
    return 1 if broken else 0


def main() -> int:
    flags = arguments()
    binaries, missing = found_binaries(flags.binaries)
    if missing:
        print("error: these binaries are missing: " + ", ".join(missing), file=sys.stderr)
        print("  fix: make build DEVICE=cuda, where there is a network; scripts/gpu.sh pack takes them elsewhere", file=sys.stderr)
        return 2
    report = {"when": datetime.now(timezone.utc).isoformat(timespec="seconds"), "kind": flags.device, "parity": [], "speed": [], "memory": [], "profile": []}
    report["not_done"] = []
    # Whoever stops the run sees what it had.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    with tempfile.TemporaryDirectory(prefix="trackscan-gpu-") as name:
        folder = Path(name)
        if flags.libtorch is not None:
            binaries = beside(flags.libtorch, binaries, folder)
        threads = min(THREADS_MAX, os.cpu_count() or 1)
        stand = Stand(folder, flags.device, Clock(flags.seconds - ENDING_SECONDS), binaries, threads)
        try:
            open_device(stand)
            report |= {"device": stand.device_name, "memory_bytes": stand.memory_bytes, "yardsticks": stand.package}
            measure(stand, report)
        except (NotDone, SystemExit) as reason:
            report["ended"] = str(reason)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, what was measured before is shown.
            traceback.print_exc()
            report["ended"] = f"{type(error).__name__}: {error}"
    report["status"] = status(report)
    if flags.json is not None:
        flags.json.write_text(json.dumps(report, indent=1) + "\n")
    table.show(report)
    return report["status"]


if __name__ == "__main__":
    sys.exit(main())
