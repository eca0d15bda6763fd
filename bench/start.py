"""How long scanctl takes from start to end where it waits for nobody: wall time, median of many runs.

Called by scripts/bench.sh with the folder of the built binaries. No coordinator answers at the address given: `scan ls` starts, finds
nobody and says so. `scanctl version` is shown without a target: it starts the four other binaries and asks each for its version, and what it
takes is the loader that brings libtorch into the worker.
"""

import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

TARGET_MS = 20.0
"""Largest accepted median."""
RUNS = 101
"""Runs of each command, after one that brings the binary into memory: odd, so that the median is one of them."""
COMMANDS = {"--version": 0, "--help": 0, "explain NO_SAMPLES": 0, "scan ls": 7}
"""What is started, with the exit code that it must have; 7 says that nobody answers."""
ASKS_OTHERS = "version"
"""What starts other programs."""
OTHERS_RUNS = 11
"""Runs of that: it is slow."""


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def once(command: list[str], code: int) -> float:
    begun = time.perf_counter()
    status = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    elapsed = time.perf_counter() - begun
    assert status == code, f"{command} ended with {status}, not {code}"
    return elapsed * 1e3


def median_of(scanctl: str, words: str, code: int, runs: int) -> float:
    command = [scanctl, *words.split()]
    once(command, code)
    times = sorted(once(command, code) for _ in range(runs))
    median = statistics.median(times)
    print(f"scanctl {words:<18} median {median:6.1f} ms, slowest {times[-1]:6.1f} ms of {runs} runs")
    return median


def main() -> int:
    scanctl = str(Path(sys.argv[1]).resolve() / "scanctl")
    os.environ["SCANCTL_ADDRESS"] = f"http://127.0.0.1:{closed_port()}"
    slowest = max(median_of(scanctl, words, code, RUNS) for words, code in COMMANDS.items())
    print(f"largest median {slowest:.1f} ms, target below {TARGET_MS:.0f} ms")
    median_of(scanctl, ASKS_OTHERS, 0, OTHERS_RUNS)
    return 0 if slowest < TARGET_MS else 1


if __name__ == "__main__":
    sys.exit(main())
