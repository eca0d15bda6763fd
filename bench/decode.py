"""Decoding through the sandbox against ffmpeg on one thread: processor seconds, user and system, interleaved pairs, medians.

Called by scripts/bench.sh with the folder of the built binaries. Ours is a warm decoder and the parent that serves its bytes and drains
its ring, over one whole file at its own rate and channels; ffmpeg's is the whole command, its start included. The content hash is what
the agent does besides, and stands apart.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from shared import cpu, music

TARGET = 1.0
"""Largest accepted ratio of ours to ffmpeg's, for each codec."""
PAIRS = 9
"""Pairs of runs: odd, so that the median is one of them."""
SECONDS = 200
"""Length of the file: more than three minutes, so that starts weigh little."""
WARM = 1
"""Rounds of ours that are thrown away before the one that counts."""


def ours(binaries: Path, file: Path) -> tuple[float, float]:
    command = [binaries / "examples/decode_bench", binaries / "trackscan-decoder", str(WARM + 1), file]
    output, _ = cpu.run(command)
    last = json.loads(output.splitlines()[-1])
    assert last["frames"] >= SECONDS * music.RATE_HZ, f"{file} was not decoded whole: {last}"
    return last["decoder_s"] + last["parent_s"], last["hash_s"]


def theirs(file: Path) -> float:
    command = ["ffmpeg", "-v", "error", "-threads", "1", "-i", file, "-f", "f32le", "-y", "/dev/null"]
    return cpu.run(command)[1]


def measure(binaries: Path, file: Path) -> tuple[list[float], list[float], list[float]]:
    left, hashes, right = [], [], []
    theirs(file)
    for _ in range(PAIRS):
        decoded, hashed = ours(binaries, file)
        left.append(decoded)
        hashes.append(hashed)
        right.append(theirs(file))
    return left, hashes, right


def main() -> int:
    binaries = Path(sys.argv[1]).resolve()
    print(f"{SECONDS} s, stereo, {music.RATE_HZ} Hz, {PAIRS} pairs; ratio: median of the pairs' own")
    print(f"{'codec':<8}{'ours':>10}{'ffmpeg':>10}{'ratio':>8}{'target':>8}{'hash':>10}")
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        frames = music.compose(SECONDS, seed=1)
        for codec in music.ENCODINGS:
            file = music.encode(frames, codec, Path(folder) / "music")
            left, hashes, right = measure(binaries, file)
            ratio = statistics.median(a / b for a, b in zip(left, right, strict=True))
            missed |= ratio > TARGET
            times = [f"{statistics.median(side) * 1e3:7.1f} ms" for side in (left, right, hashes)]
            print(f"{codec:<8}{times[0]:>10}{times[1]:>10}{ratio:>8.2f}{TARGET:>8.2f}{times[2]:>10}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
