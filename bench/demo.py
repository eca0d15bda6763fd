"""How long the demonstration takes once everything is built, from an empty data folder to its last line: wall time, median of a few runs. Each run must
show tracks that both engines scored, and name the command that calibrates a bundle.

Called by scripts/bench.sh with the folder of the built binaries.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET_S = 60.0
"""Largest accepted median."""
RUNS = 3
"""Runs: odd, so that the median is one of them; few, since each is most of a minute."""
THREE_SCORES = re.compile(r"\b[01]\.\d{3}\s+[01]\.\d{3}\s+[01]\.\d{3}\b")
"""A row with the probability of its verdict, the screen's and the residual's."""
ROOT = Path(__file__).resolve().parent.parent


def once(release: Path) -> float:
    with tempfile.TemporaryDirectory() as data:
        # The script looks for the binaries below the target folder.
        environment = {**os.environ, "DATA": data, "CATALOG": "", "CARGO_TARGET_DIR": str(release.parent)}
        begun = time.perf_counter()
        ended = subprocess.run([ROOT / "scripts" / "demo.sh"], capture_output=True, text=True, env=environment)
        elapsed = time.perf_counter() - begun
    assert ended.returncode == 0, f"the demonstration ended with {ended.returncode}: {ended.stderr}"
    separated = len(THREE_SCORES.findall(ended.stdout))
    assert separated > 0, f"no track has scores of both engines:\n{ended.stdout}"
    assert " calibrate " in ended.stderr, f"the next command is not said:\n{ended.stderr}"
    print(f"demonstration {elapsed:6.1f} s, {separated} tracks through both engines")
    return elapsed


def main() -> int:
    release = Path(sys.argv[1]).resolve()
    median = statistics.median(once(release) for _ in range(RUNS))
    print(f"median {median:.1f} s, target at most {TARGET_S:.0f} s")
    return 0 if median <= TARGET_S else 1


if __name__ == "__main__":
    sys.exit(main())
