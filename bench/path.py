"""The whole path against the sum of its stages measured alone: processor seconds, user and system, and on all cores wall time; interleaved pairs, medians.

Called by scripts/bench.sh with the folder of the built binaries, for the screen alone. By hand with `--stages both` every track goes on to the
residual, and the sum has what that takes besides; of that no target is held.

*Path*: everything that a cluster of `scanctl up` and all processes below it (coordinator, agent, decoders, worker) spends from before
`catalog import` until after `scan submit --wait` has come back, and what these two scanctl spend themselves. So import, grants, beats, idle
waits, hashes, decoder starts, parts with their canary, commits and publishing are in it. Not in it is what comes before: the cluster has
started, loaded the bundle and scanned a short catalogue of the same codecs, so that libtorch and the bundle lie ready in memory.

*Stages alone*: each track once through a warm sandboxed decoder to mono at the bundle's rate; its content hash; and a track of the same length
through a warm worker, from its ring to its score. Each is the process that does it in the path, and nothing is counted of what feeds it or
drains it here: serving bytes, and what the path spends on import, protocol, parts, canaries and commits, is the path's own.

*The bare network*: as many windows as the job's rows tell of through the screen with mel, in the worker's batches, without the worker's loop:
no ring, no cutting into windows, no sums. Printed for comparison.

Both sides run on one and the same core, since a processor second is not worth the same on a machine whose cores share what they compute with:
the path decodes and screens at once, its stages run one after the other, so that a ratio taken on all cores measures the cores as well. That
ratio is printed too, with what a second is worth while another core is busy; only the pinned one is held against the target.

*Wall time*, in the run on all cores: from the start of `scan submit --wait` to its end, beside the sum of the wall times that the same stages took, each
alone and one after the other. `wall / sum of stages` below 1 says that they overlap; no stage by itself uses more than one core, so that on n cores about
1/n is the least that overlap can give. Import is in neither; writing parts, canaries, commits, publishing and what the job waits for are in the first only.
No target is held of it.

*With both engines* each track is decoded and hashed a second time, as the separator hears it, and the stages have as many of its segments as the
job's rows tell of, each through `trackscan-worker bench`: features and network without the worker's loop, which stays the path's own.

*Stages side by side*, of the screen alone: the same stages, each measured while the other runs on the same core and has nothing to do with it.
Two programs that take turns on a core empty each other's caches, whoever wrote them; what the path takes beyond this sum is its own doing.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared import cpu, music

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "bundles/demo"

TARGET = 1.05
"""Largest accepted ratio of the path to the sum of its stages."""
PAIRS = 7
"""Pairs of measurements on one core: odd, so that the median is one of them."""
FREE_PAIRS = 1
"""Pairs on all cores, for comparison."""
TRACKS = 12
"""Tracks of the catalogue, half of each codec: two thirds of an hour of music, so that what a job costs once weighs as little as it does in a job."""
SECONDS = 200
"""Length of a track: a song's."""
CODECS = ["mp3", "flac"]
"""Codecs of the catalogue in turn."""
WARM_SECONDS = 20
"""Length of the two tracks of the short catalogue."""
BATCH = 4
"""Windows of one pass on the processor, as the worker takes them."""
SEGMENTS = 1
"""Segments of one pass of the residual on the processor, as the worker takes them."""
THREADS = 1
"""Threads of an operation, as the worker has them on up to seven cores."""
ROUNDS = 3
"""Passes over a segment whose median is taken: odd, and few, since each takes as long as a track's screen."""
EVERY_TRACK = ["--stages", "both", "--gate", "all"]
"""What sends every track on, so that how many go on does not depend on the music."""
WINDOWS = 64
"""Windows that the PCM of the worker's tracks repeats, and of one pass over the bare network."""
ENDLESS = 1_000
"""Rounds of a stage that runs beside another: more than the other takes."""
PATIENCE_S = 120
"""How long a cluster may take to come up."""


@dataclass
class Spent:
    """What one side of a pair took."""

    cpu: Counter
    """Processor seconds by program or stage."""
    wall: Counter
    """Seconds by command or stage, each from its start to its end."""

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.cpu + other.cpu, self.wall + other.wall)

    def named(self, suffix: str) -> "Spent":
        """The same under names that end so."""
        return Spent(*(Counter({f"{name}{suffix}": seconds for name, seconds in of.items()}) for of in (self.cpu, self.wall)))


class Cluster:
    """A running `scanctl up` and a scanctl that speaks to it."""

    def __init__(self, binaries: Path, data: Path):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{listener.getsockname()[1]}"
        self.scanctl = str(binaries / "scanctl")
        self.environment = {**os.environ, "SCANCTL_ADDRESS": f"http://{address}", "SCANCTL_QUIET": "true"}
        self.log = data / "up.log"
        with self.log.open("w") as log:
            # The committed bundle, wherever the binaries were built.
            bundle = ["--default-bundle", str(BUNDLE), "--trusted-key", BUNDLE.with_suffix(".pub").read_text().strip()]
            command = [self.scanctl, "up", "--data", str(data), "--device", "cpu", "--listen", address, *bundle]
            self.up = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=log)

    def say(self, *words: str, **options) -> tuple[dict, float]:
        output, seconds = cpu.run([self.scanctl, *words, "-o", "json"], env=self.environment, **options)
        return json.loads(output), seconds

    def is_ready(self) -> bool:
        try:
            nodes, _ = self.say("node", "ls", stderr=subprocess.DEVNULL)
        except subprocess.CalledProcessError:
            return False
        return any(node["state"] == "ready" for node in nodes["nodes"])

    def wait(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while not self.is_ready():
            if self.up.poll() is not None or time.monotonic() > until:
                sys.exit(f"error: the cluster did not start:\n{self.log.read_text()}")
            time.sleep(0.5)

    def scan(self, name: str, folder: Path, policy: list[str]) -> tuple[str, Spent]:
        """Imports and scans a folder; the job, and what it took: processor seconds of both commands, wall time of the scan."""
        before = cpu.of_tree(self.up.pid)
        _, importing = self.say("catalog", "import", name, str(folder))
        begun = time.perf_counter()
        job, waiting = self.say("scan", "submit", "--catalog", name, "--wait", *policy)
        wall = time.perf_counter() - begun
        spent = cpu.of_tree(self.up.pid)
        spent.subtract(before)
        spent["scanctl import and submit"] = importing + waiting
        return job["job"], Spent(spent, Counter({"scan submit --wait": wall}))


@contextmanager
def cluster(binaries: Path, data: Path):
    data.mkdir()
    running = Cluster(binaries, data)
    try:
        running.wait()
        yield running
    finally:
        running.up.terminate()
        running.up.wait()


def found(running: Cluster, job: str) -> tuple[int, int]:
    """Windows that the job's rows tell of, and segments."""
    rows, _ = running.say("result", "get", job)
    assert len(rows["rows"]) == TRACKS, f"{len(rows['rows'])} rows of {TRACKS} tracks"
    return tuple(sum(len(row[name]) for row in rows["rows"]) for name in ("timeline", "segments"))


def decoding(binaries: Path, files: list[Path], rate_hz: int, channels: int = 1, rounds: int = 2) -> list:
    """Of two channels a decoder is asked for the file's own, which has the rate of published separators too."""
    heard = ["--mono", str(rate_hz)] if channels == 1 else []
    return [binaries / "examples/decode_bench", binaries / "trackscan-decoder", str(rounds), *heard, *files]


def working(binaries: Path, pcm: Path, rate_hz: int, tracks: int) -> list:
    worker = [binaries / "examples/worker_bench", binaries / "trackscan-worker"]
    return [*worker, BUNDLE, pcm, str(SECONDS * rate_hz), str(tracks)]


def screening(binaries: Path, pcm: Path, rounds: int) -> list:
    return [binaries / "examples/screen_bench", BUNDLE, pcm, str(BATCH), str(THREADS), str(rounds)]


@contextmanager
def beside(command: list):
    """Keeps a command running meanwhile; it is stopped before it could end by itself."""
    neighbour = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
        assert neighbour.poll() is None, f"the neighbour ended: {command}"
    finally:
        os.killpg(neighbour.pid, signal.SIGKILL)
        neighbour.wait()


def decoded(binaries: Path, files: list[Path], rate_hz: int, channels: int = 1) -> Spent:
    lines = [json.loads(line) for line in cpu.run(decoding(binaries, files, rate_hz, channels))[0].splitlines()]
    warm = [line for line in lines if line["round"] == 1]

    def summed(decode: str, hashed: str) -> Counter:
        return Counter({"decode": sum(line[decode] for line in warm), "hash": sum(line[hashed] for line in warm)})

    return Spent(summed("decoder_s", "hash_s"), summed("decode_wall_s", "hash_wall_s"))


def worked(binaries: Path, pcm: Path, rate_hz: int, windows: int) -> Spent:
    done = json.loads(cpu.run(working(binaries, pcm, rate_hz, TRACKS))[0])
    assert abs(done["windows"] - windows) <= TRACKS, f"{done['windows']} windows, and {windows} in the path"
    return Spent(Counter({"worker": done["cpu_seconds"]}), Counter({"worker": done["wall_seconds"]}))


def screened(binaries: Path, pcm: Path, windows: int) -> float:
    rounds = -(-windows // WINDOWS)
    return json.loads(cpu.run(screening(binaries, pcm, rounds))[0])["cpu_seconds"] / WINDOWS * windows


def separated(binaries: Path, report: Path, segments: int) -> Spent:
    """So many segments through the residual, a pass of them at a time."""
    flags = ["--stages", "residual", "--segment-batches", str(SEGMENTS), "--threads", str(THREADS), "--rounds", str(ROUNDS)]
    cpu.run([binaries / "trackscan-worker", "bench", BUNDLE, *flags, "--json", report])
    (row,) = (row for row in json.loads(report.read_text())["rows"] if row["stage"] == "residual")
    passes = segments / SEGMENTS
    return Spent(Counter({"residual": row["cpu_seconds"] * passes}), Counter({"residual": row["seconds"] * passes}))


def windows_file(path: Path, screen: dict) -> Path:
    samples = (screen["windows"]["frames"] - 1) * screen["preprocessing"]["hop"] + screen["preprocessing"]["n_fft"]
    mono = music.compose(WINDOWS * samples / music.RATE_HZ + 1, seed=99).mean(axis=1, dtype="<f4")
    mono[: WINDOWS * samples].tofile(path)
    return path


def catalogue(folder: Path, tracks: int, seconds: float) -> list[Path]:
    folder.mkdir()
    makers = [(seed, CODECS[seed % len(CODECS)]) for seed in range(tracks)]
    return [music.encode(music.compose(seconds, seed), codec, folder / f"{seed:03}") for seed, codec in makers]


def middle(counters: list[Counter]) -> dict[str, float]:
    names = sorted({name for counter in counters for name in counter})
    return {name: statistics.median(counter[name] for counter in counters) for name in names}


def cpus(spent: list[Spent]) -> list[Counter]:
    return [one.cpu for one in spent]


def walls(spent: list[Spent]) -> list[Counter]:
    return [one.wall for one in spent]


def show(title: str, spent: list[Counter]) -> None:
    total = statistics.median(sum(counter.values()) for counter in spent)
    print(f"{title:<40}{total:8.2f} s")
    for name, seconds in middle(spent).items():
        if seconds >= 0.005:
            print(f"  {name:<38}{seconds:8.2f} s")


class Bench:
    """What is scanned, and how one side of a pair is measured."""

    def __init__(self, binaries: Path, folder: Path, policy: list[str]):
        self.binaries, self.folder, self.policy = binaries, folder, policy
        manifest = json.loads((BUNDLE / "manifest.json").read_text())
        screen, self.separator = manifest["screen"], manifest["residual"]["architecture"]
        self.rate_hz = screen["preprocessing"]["rate_hz"]
        self.files = catalogue(folder / "tracks", TRACKS, SECONDS)
        catalogue(folder / "short", len(CODECS), WARM_SECONDS)
        self.pcm = windows_file(folder / "windows.f32", screen)
        self.bare: list[float] = []

    def alone(self, windows: int, segments: int) -> Spent:
        heard = decoded(self.binaries, self.files, self.rate_hz)
        self.bare.append(sum(heard.cpu.values()) + screened(self.binaries, self.pcm, windows))
        return heard + worked(self.binaries, self.pcm, self.rate_hz, windows) + self.second(segments)

    def second(self, segments: int) -> Spent:
        """What the residual takes besides: nothing where no track went on."""
        if segments == 0:
            return Spent(Counter(), Counter())
        again = decoded(self.binaries, self.files, self.separator["rate_hz"], self.separator["audio_channels"])
        return again.named(" for the residual") + separated(self.binaries, self.folder / "residual.json", segments)

    def side_by_side(self, windows: int) -> Spent:
        with beside(working(self.binaries, self.pcm, self.rate_hz, ENDLESS)):
            heard = decoded(self.binaries, self.files, self.rate_hz)
        with beside(decoding(self.binaries, self.files, self.rate_hz, rounds=ENDLESS)):
            return heard + worked(self.binaries, self.pcm, self.rate_hz, windows)

    def pairs(self, name: str, count: int) -> tuple[list[Spent], list[Spent], list[Spent]]:
        """Paths, stages alone and stages side by side in turn, on a cluster of their own."""
        paths, stages, shared = [], [], []
        with cluster(self.binaries, self.folder / name) as running:
            running.scan("short", self.folder / "short", self.policy)
            for pair in range(count):
                job, spent = running.scan(f"tracks-{pair}", self.folder / "tracks", self.policy)
                paths.append(spent)
                windows, segments = found(running, job)
                assert (segments > 0) == bool(self.policy), f"{segments} segments were separated"
                stages.append(self.alone(windows, segments))
                if not self.policy:
                    shared.append(self.side_by_side(windows))
        return paths, stages, shared


def ratio_of(paths: list[Counter], stages: list[Counter]) -> tuple[float, str]:
    ratios = sorted(sum(a.values()) / sum(b.values()) for a, b in zip(paths, stages, strict=True))
    return statistics.median(ratios), f"median of the pairs' own, {ratios[0]:.3f} to {ratios[-1]:.3f}"


def judged(bench: Bench, pinned: tuple) -> int:
    """The screen alone: held against the target, with what else it can be compared to."""
    show("stages side by side", cpus(pinned[2]))
    ratio, spread = ratio_of(cpus(pinned[0]), cpus(pinned[1]))
    print(f"ratio {ratio:.3f} ({spread}), target {TARGET:.2f}")
    bare = statistics.median(sum(path.values()) / stages for path, stages in zip(cpus(pinned[0]), bench.bare, strict=False))
    print(f"for comparison, against decoding, hash and the bare network: ratio {bare:.3f}")
    ratio_shared, spread = ratio_of(cpus(pinned[0]), cpus(pinned[2]))
    print(f"for comparison, against the stages side by side: ratio {ratio_shared:.3f} ({spread})")
    return 0 if ratio <= TARGET else 1


def told(pinned: tuple) -> int:
    """Both engines: no target."""
    ratio, spread = ratio_of(cpus(pinned[0]), cpus(pinned[1]))
    print(f"both engines, every track: ratio {ratio:.3f} ({spread}), no target")
    return 0


def overlapped(free: tuple, cores: int) -> None:
    """Wall time on all cores: below 1, stages overlap."""
    show(f"wall time of the path on {cores} cores", walls(free[0]))
    show("wall time of the stages in turn", walls(free[1]))
    ratio, spread = ratio_of(walls(free[0]), walls(free[1]))
    print(f"on {cores} cores: wall / sum of stages {ratio:.3f} ({spread}), {FREE_PAIRS} pairs; below 1 they overlap, no target")


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="the whole path against its stages")
    parser.add_argument("binaries", type=Path, help="the folder of the built binaries")
    parser.add_argument("--stages", choices=["screen", "both"], default="screen", help="what each track goes through")
    return parser.parse_args()


def main() -> int:
    flags = asked()
    both = flags.stages == "both"
    # Told to stop, this ends by way of `finally`, and no cluster is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(flags.binaries.resolve(), Path(temporary), EVERY_TRACK if both else [])
        with cpu.pinned({cores[-1]}):
            pinned = bench.pairs("pinned", PAIRS)
        free = bench.pairs("free", FREE_PAIRS)
    print(f"{TRACKS} tracks of {SECONDS} s, {' and '.join(CODECS)}; {PAIRS} pairs on one core, medians")
    show("path, all processes", cpus(pinned[0]))
    show("stages alone", cpus(pinned[1]))
    missed = told(pinned) if both else judged(bench, pinned)
    ratio_free, spread = ratio_of(cpus(free[0]), cpus(free[1]))
    print(f"for comparison, on {len(cores)} cores: ratio {ratio_free:.3f} ({spread}), {FREE_PAIRS} pairs")
    if len(cores) > 1:
        print(f"the same work costs {cpu.crowding(cores):.2f} times the processor seconds while another core is busy with it too")
    overlapped(free, len(cores))
    return missed


if __name__ == "__main__":
    sys.exit(main())
