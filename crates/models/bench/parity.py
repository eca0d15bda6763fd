"""The full-size comparison: the published default network with redrawn weights, ours against the package, one row for each stem.

    parity.py FOLDER_OF_BINARIES

Called by scripts/parity.sh. Ends with 1 where a difference is above the tolerance; why it is what it is stands in golden/htdemucs.py. Then the
residual's features of both sides' stems, as golden/residual.py computes them of a track that is brought to mean 0 and deviation 1: what the stems'
differences come to in what is judged.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))
from residual import NAMES, SPANS, features  # noqa: E402

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


def feature_row(mix: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> tuple[float, str]:
    """The largest difference of a feature, in shares of its span, and its name. `mse` is left out: it has no span, and `snr_db` says the same."""
    sums = [stems.reshape(len(stems), len(mix), -1).sum(axis=0) for stems in (ours, theirs)]
    deviation = float(mix.mean(axis=0).std(ddof=1))
    vectors = [features(mix / deviation, total / deviation, deviation) for total in sums]
    shares = np.abs(vectors[0] - vectors[1])[:-1] / np.array(SPANS[:-1])
    return float(shares.max()), NAMES[int(shares.argmax())]


def main() -> int:
    ours = Path(sys.argv[1]) / "examples/separate"
    worst = worst_share = 0.0
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, YARDSTICK, "make", folder, str(SAMPLES)], check=True)
        names = run([sys.executable, YARDSTICK, folder, THREADS, 0])["stems"]
        reference = stems_of(folder / "theirs.f32", len(names))
        print(f"{'stem':8} {'batch':>5} {'largest difference':>19} {'largest reference':>18} {'ratio':>8}")
        for batch in BATCHES:
            run([ours, folder, batch, THREADS, 0])
            found = stems_of(folder / "ours.f32", len(names))
            mix = np.fromfile(folder / "track.f32", dtype="<f4").reshape(2, -1).astype(np.float64)
            share, feature = feature_row(mix, found, reference)
            worst_share = max(worst_share, share)
            rows.append(f"features, batch {batch}: worst {share:.1e} of a span, of {feature}, tolerance {TOLERANCE:.0e}")
            difference = np.abs(found - reference)
            for at, stem in enumerate(names):
                ratio = difference[at].max() / np.abs(reference).max()
                worst = max(worst, float(ratio))
                print(f"{stem:8} {batch:5} {difference[at].max():19.2e} {np.abs(reference[at]).max():18.3f} {ratio:8.1e}")
    print(f"full size: worst {worst:.1e} of the largest reference value, tolerance {TOLERANCE:.0e}")
    print("\n".join(rows))
    return 0 if max(worst, worst_share) <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
