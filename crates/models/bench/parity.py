"""The full-size comparison: the published default network with redrawn weights, ours against the package, one row for each stem.

    parity.py FOLDER_OF_BINARIES

Called by scripts/parity.sh. Ends with 1 where a difference is above the tolerance; why it is what it is stands in golden/htdemucs.py.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

YARDSTICK = Path(__file__).with_name("separate_torch.py")
TOLERANCE = 1e-4
"""Largest difference over largest reference value."""
SAMPLES = 450_000
"""A whole segment and a short one: the second begins at 257,985 and is padded in part with what lies before it."""
BATCHES = [1, 2]
THREADS = 2


def run(command: list[object]) -> dict:
    words = [str(word) for word in command]
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)


def stems_of(path: Path, count: int) -> np.ndarray:
    return np.fromfile(path, dtype="<f4").reshape(count, -1)


def main() -> int:
    ours = Path(sys.argv[1]) / "examples/separate"
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, YARDSTICK, "make", folder, str(SAMPLES)], check=True)
        names = run([sys.executable, YARDSTICK, folder, THREADS, 0])["stems"]
        reference = stems_of(folder / "theirs.f32", len(names))
        print(f"{'stem':8} {'batch':>5} {'largest difference':>19} {'largest reference':>18} {'ratio':>8}")
        for batch in BATCHES:
            run([ours, folder, batch, THREADS, 0])
            difference = np.abs(stems_of(folder / "ours.f32", len(names)) - reference)
            for at, stem in enumerate(names):
                ratio = difference[at].max() / np.abs(reference).max()
                worst = max(worst, float(ratio))
                print(f"{stem:8} {batch:5} {difference[at].max():19.2e} {np.abs(reference[at]).max():18.3f} {ratio:8.1e}")
    print(f"full size: worst {worst:.1e} of the largest reference value, tolerance {TOLERANCE:.0e}")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
