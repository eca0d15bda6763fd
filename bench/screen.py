"""Screen with mel against the same network in PyTorch with torchaudio on the processor: processor seconds, interleaved pairs, medians.

Called by scripts/bench.sh with the folder of the built binaries, from an environment with torch and torchaudio. Both sides read the same
bundle and the same windows; where their scores differ the measurement is void. Ours also draws the pictures and takes the feature
vectors, which the yardstick does not.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
YARDSTICK = ROOT / "crates/models/bench/screen_torch.py"
TRAINED = ROOT / "bundles/demo"
MAKE_PCM = "import sys, numpy as np; np.random.default_rng(1).normal(0, 0.1, int(sys.argv[2])).astype('<f4').tofile(sys.argv[1])"

TARGET = 1.0
"""Largest accepted ratio of ours to theirs."""
PAIRS = 7
"""Pairs of runs: odd, so that the median is one of them."""
WINDOWS = 64
"""Windows of one pass."""
ROUNDS = 5
"""Measured passes of one run, after one that warms up."""
THREADS = 1
"""Threads of an operation: on more, waiting threads spin and processor seconds say little."""
BATCHES = {"ours": 4, "theirs": [4, 16, 64]}
"""Ours as it serves; the yardstick at whichever of these is best for it."""
SAME = 1e-3
"""Largest difference of a logit; both sides compute in single precision."""


def run(command: list[str]) -> dict:
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def samples_of(bundle: Path) -> int:
    screen = json.loads((bundle / "manifest.json").read_text())["screen"]
    return (screen["windows"]["frames"] - 1) * screen["preprocessing"]["hop"] + screen["preprocessing"]["n_fft"]


def measure(ours: str, bundle: Path, pcm: str) -> tuple[list[dict], list[dict]]:
    def side(command: list[str], batch: int) -> dict:
        return run([*command, str(bundle), pcm, str(batch), str(THREADS), str(ROUNDS)])

    theirs = [sys.executable, str(YARDSTICK)]
    best = min(BATCHES["theirs"], key=lambda batch: side(theirs, batch)["cpu_seconds"])
    pairs = [(side([ours], BATCHES["ours"]), side(theirs, best)) for _ in range(PAIRS)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def main() -> int:
    ours = str(Path(sys.argv[1]) / "examples/screen_bench")
    with tempfile.TemporaryDirectory() as folder:
        bundle = TRAINED
        if not (bundle / "manifest.json").exists():
            bundle = Path(folder) / "sample"
            subprocess.run([ours, "sample", str(bundle)], check=True)
        pcm = str(Path(folder) / "windows.f32")
        subprocess.run([sys.executable, "-c", MAKE_PCM, pcm, str(samples_of(bundle) * WINDOWS)], check=True)
        left, right = measure(ours, bundle, pcm)
    worst = max(abs(a - b) for a, b in zip(left[0]["logits"], right[0]["logits"], strict=True))
    per_window = [statistics.median(run["cpu_seconds"] for run in runs) / WINDOWS for runs in (left, right)]
    ratio = statistics.median(a["cpu_seconds"] / b["cpu_seconds"] for a, b in zip(left, right, strict=True))
    print(f"bundle {bundle.name}, {THREADS} thread, {PAIRS} pairs, largest difference of a logit {worst:.1e} (bound {SAME:.0e})")
    print(f"ours {per_window[0] * 1e3:.2f} ms a window, PyTorch {per_window[1] * 1e3:.2f} ms: ratio {ratio:.2f}, target {TARGET:.2f}")
    return 0 if worst <= SAME and ratio <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
