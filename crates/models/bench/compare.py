"""Screen with mel: this engine against the same network in PyTorch with torchaudio, in interleaved pairs.

    compare.py SCREEN_BENCH BUNDLE [--python PYTHON] [--pairs 5] [--threads 1] [--batch 8]

SCREEN_BENCH is the built example `screen_bench`; PYTHON has torch and torchaudio. Prints one JSON object with the medians
of processor seconds per window and their ratio; ends with 1 when the two do not give the same scores.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SCREEN_TORCH = Path(__file__).with_name("screen_torch.py")
MAKE_PCM = "import sys, numpy as np; np.random.default_rng(1).normal(0, 0.1, int(sys.argv[2])).astype('<f4').tofile(sys.argv[1])"
WINDOWS = 64
"""Windows of one pass."""
ROUNDS = 5
"""Measured passes of one run, after one that warms up."""
SAME = 1e-3
"""Largest difference of a logit; both sides compute in single precision."""


def run(command: list[str]) -> dict:
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("screen_bench")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    args = parser.parse_args()
    screen = json.loads((args.bundle / "manifest.json").read_text())["screen"]
    mel = screen["preprocessing"]
    samples = (screen["windows"]["frames"] - 1) * mel["hop"] + mel["n_fft"]
    with tempfile.NamedTemporaryFile(suffix=".f32") as pcm:
        subprocess.run([args.python, "-c", MAKE_PCM, pcm.name, str(samples * WINDOWS)], check=True)
        tail = [str(args.bundle), pcm.name, str(args.batch), str(args.threads), str(ROUNDS)]
        pairs = [
            (run([args.screen_bench, *tail]), run([args.python, str(SCREEN_TORCH), *tail])) for _ in range(args.pairs)
        ]
    ours, theirs = pairs[0]
    worst = max(abs(a - b) for a, b in zip(ours["logits"], theirs["logits"], strict=True))
    median = [statistics.median(pair[side]["cpu_seconds"] for pair in pairs) / ours["windows"] for side in (0, 1)]
    report = {
        "measure": "screen with mel",
        "cpu_seconds_per_window": median[0],
        "pytorch_cpu_seconds_per_window": median[1],
        "ratio": median[0] / median[1],
        "windows": ours["windows"],
        "window_seconds": samples / mel["rate_hz"],
        "threads": args.threads,
        "batch": args.batch,
        "pairs": args.pairs,
        "largest_difference_of_a_logit": worst,
    }
    print(json.dumps(report, indent=2))
    return 0 if worst <= SAME else 1


if __name__ == "__main__":
    sys.exit(main())
