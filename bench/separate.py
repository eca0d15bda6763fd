"""HTDemucs against the package demucs on the processor: processor seconds for the same segments, interleaved pairs, medians.

Called by scripts/bench.sh with the folder of the built binaries, from an environment with torch and demucs. Both sides read the same network,
the published default one with redrawn weights, and the same track, and both cut it into the same segments; where their stems differ the
measurement is void.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
YARDSTICK = ROOT / "crates/models/bench/separate_torch.py"

TARGET = 1.0
"""Largest accepted ratio of ours to theirs."""
PAIRS = 5
"""Pairs of runs: odd, so that the median is one of them."""
SAMPLES = 343_980
"""One segment, which apply_model covers with two: the second begins behind three quarters of the first."""
SEGMENTS = 2
ROUNDS = 1
"""Measured passes of one run, after one that warms up."""
THREADS = 1
"""Threads of an operation: on more, waiting threads spin and processor seconds say little."""
BATCH = 1
"""Segments at once, as the package has it."""
SAME = 1e-4
"""Largest difference over largest reference value."""


def run(command: list[object]) -> dict:
    words = [str(word) for word in command]
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> int:
    ours = Path(sys.argv[1]) / "examples/separate"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, YARDSTICK, "make", folder, str(SAMPLES)], check=True)
        left, right = [], []
        for _ in range(PAIRS):
            left.append(run([ours, folder, BATCH, THREADS, ROUNDS])["cpu_seconds"])
            right.append(run([sys.executable, YARDSTICK, folder, THREADS, ROUNDS])["cpu_seconds"])
        stems = [np.fromfile(folder / f"{side}.f32", dtype="<f4") for side in ("ours", "theirs")]
    worst = np.abs(stems[0] - stems[1]).max() / np.abs(stems[1]).max()
    per_segment = [statistics.median(seconds) / SEGMENTS for seconds in (left, right)]
    spread = sorted(a / b for a, b in zip(left, right, strict=True))
    ratio = statistics.median(spread)
    print(f"{THREADS} thread, batch {BATCH}, {PAIRS} pairs, largest difference {worst:.1e} of the largest value (bound {SAME:.0e})")
    print(f"pairs from {spread[0]:.2f} to {spread[-1]:.2f}")
    print(f"ours {per_segment[0]:.2f} s a segment, demucs {per_segment[1]:.2f} s: ratio {ratio:.2f}, target {TARGET:.2f}")
    return 0 if worst <= SAME and ratio <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
