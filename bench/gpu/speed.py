"""Seconds of sound per second by batch and number format, ours by `trackscan-worker bench` beside the package's side on the same device, and what a
batch takes of the device's memory.

Pairs alternate, one process each, every batch in both. A segment counts with its whole length on either side: the package's `apply_model` hears a track in
segments that overlap by a quarter, one at a time, so that of the track itself it does three quarters of what is stated.
"""

import json
import statistics
from pathlib import Path

import numpy as np
from clock import NotDone
from stand import Stand

SEGMENTS = {"cuda": [1, 4, 8, 16, 32], "cpu": [1]}
"""Segments per batch."""
WINDOWS = {"cuda": [16, 64, 256, 1_024], "cpu": [4, 16]}
"""Windows per batch."""
PAIRS = {"cuda": 3, "cpu": 1}
"""Pairs at most: odd, so that the median is one of them. Those that the run's time does not hold are left out and named."""
ROUNDS = {"cuda": 5, "cpu": 1}
"""Counted passes of one process, after one that is not; their median is the pair's."""
CHUNKS = {"cuda": 8, "cpu": 1}
"""Chunks of the track that `apply_model` hears."""
MEMORY = {"cuda": [1, 8, 32], "cpu": [1, 2]}
"""Batches whose memory is told apart: three, since two say nothing of how straight the line between them is."""
SOUND_SECONDS = 30
PAIR_SECONDS = 90
"""Most that one side of a pair may take."""
MEMORY_SECONDS = 40
"""Most that one batch's memory may take to find."""
ROOM = 0.9
"""Share of the device's memory that a batch may count on: what is there besides comes and goes."""


def comma(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))


class Speeds:
    """Samples of all pairs, by side, stage, format and batch: seconds of sound per second."""

    def __init__(self, stand: Stand):
        self.stand = stand
        self.samples: dict[tuple, dict[int, float]] = {}
        self.peaks: dict[tuple, int | None] = {}
        self.notes: list[str] = []
        self.segment_seconds = self.window_seconds = None

    def note(self, what: str, reason: object) -> None:
        line = f"{what}: {reason}"
        if line not in self.notes:
            self.notes.append(line)

    def add(self, key: tuple, pair: int, speed: float | None) -> None:
        if speed is None:
            side, stage, dtype, batch = key
            self.note(f"{side}, {stage}, {dtype}, batch {batch}", "does not fit the device")
        else:
            self.samples.setdefault(key, {})[pair] = speed

    def pairs(self, first: int, end: int) -> None:
        """The formats take turns within a pair, so that a run that ends early has some of each."""
        for pair in range(first, min(end, PAIRS[self.stand.device])):
            for dtype in self.stand.dtypes:
                for side in (self.ours, self.theirs_residual, self.theirs_screen):
                    try:
                        side(dtype, pair)
                    except NotDone as reason:
                        self.note(f"{SIDES[side.__name__]}, {dtype}, in some pair or all", reason)

    def ours(self, dtype: str, pair: int) -> None:
        stand = self.stand
        try:
            bundle, stages = stand.full(), "screen,residual"
        except NotDone as reason:
            self.note("speed of the residual", reason)
            bundle, stages = stand.demo, "screen"
        device = stand.device
        more = ["--batches", comma(WINDOWS[device]), "--segment-batches", comma(SEGMENTS[device]), "--rounds", ROUNDS[device]]
        rows = bench(stand, bundle, dtype, stages, more, PAIR_SECONDS)
        for row in rows:
            if row["seconds"] is not None and row["stage"] == "screen":
                # What follows of the track's length in a window; the other side's windows are the same.
                self.window_seconds = row["audio_seconds"] / row["batch"]
            length = self.window_seconds if row["stage"] == "screen" else segment_seconds(bundle)
            speed = None if row["seconds"] is None else row["batch"] * length / row["seconds"]
            self.add(("ours", row["stage"], dtype, row["batch"]), pair, speed)

    def theirs_residual(self, dtype: str, pair: int) -> None:
        stand, device = self.stand, self.stand.device
        words = ["residual", stand.network(), device, dtype, stand.threads, ROUNDS[device], CHUNKS[device], comma(SEGMENTS[device])]
        found = stand.theirs(*words, most=PAIR_SECONDS)
        length = found["segment_seconds"]
        for row in found["rows"]:
            self.add(("forward", "residual", dtype, row["batch"]), pair, quotient(row["batch"] * length, row["seconds"]))
            self.peaks[dtype, row["batch"]] = row["peak_bytes"]
        whole = found["apply_model"]
        self.add(("apply_model", "residual", dtype, 1), pair, quotient(whole["chunks"] * length, whole["seconds"]))

    def theirs_screen(self, dtype: str, pair: int) -> None:
        stand, device = self.stand, self.stand.device
        stand.needs("torchaudio")
        if self.window_seconds is None:
            raise NotDone("our side has not been measured")
        words = ["screen", stand.demo, stand.folder / "windows.f32", device, dtype, stand.threads, ROUNDS[device], comma(WINDOWS[device])]
        for row in stand.theirs(*words, most=PAIR_SECONDS)["rows"]:
            self.add(("PyTorch", "screen", dtype, row["batch"]), pair, quotient(row["batch"] * self.window_seconds, row["seconds"]))

    def rows(self) -> list[dict]:
        """One for each stage, format and batch of ours: medians, and ours over theirs pair by pair, above 1 where ours is faster."""
        made = []
        for (side, stage, dtype, batch), ours in self.samples.items():
            if side != "ours":
                continue
            others = [("forward", batch), ("apply_model", 1)] if stage == "residual" else [("PyTorch", batch)]
            row = {"stage": stage, "dtype": dtype, "batch": batch, "ours": statistics.median(ours.values()), "pairs": len(ours)}
            if stage == "residual":
                # What PyTorch's tensors took; what the libraries themselves take comes on top.
                row["forward_peak_bytes"] = self.peaks.get((dtype, batch))
            for other, size in others:
                theirs = self.samples.get((other, stage, dtype, size), {})
                both = [ours[pair] / theirs[pair] for pair in ours if pair in theirs]
                row[other] = statistics.median(theirs.values()) if theirs else None
                row[f"over_{other}"] = statistics.median(both) if both else None
            made.append(row)
        return made


SIDES = {"ours": "speed of ours", "theirs_residual": "speed of demucs", "theirs_screen": "speed of PyTorch's screen"}


def quotient(sound: float, seconds: float | None) -> float | None:
    return None if seconds is None else sound / seconds


def bench(stand: Stand, bundle: Path, dtype: str, stages: str, more: list[object], most: float) -> list[dict]:
    report = stand.folder / "bench.json"
    report.unlink(missing_ok=True)
    words = ["bench", bundle, "--device", stand.device, "--dtype", dtype, "--stages", stages, "--seconds", SOUND_SECONDS, "--threads", stand.threads]
    stand.worker(*words, "--json", report, *more, most=most)
    rows = json.loads(report.read_text())["rows"]
    if not rows:
        raise NotDone(f"the worker measured no {stages} in {dtype}")
    return rows


def segment_seconds(bundle: Path) -> float:
    network = json.loads((bundle / "manifest.json").read_text())["residual"]["architecture"]
    return network["segment"] / network["rate_hz"]


# Memory.


def memory(stand: Stand, notes: list[str]) -> list[dict]:
    """What the residual takes by format and batch, a process for each: libtorch keeps what earlier batches took."""
    try:
        bundle = stand.full()
    except NotDone as reason:
        notes.append(f"memory of the residual: {reason}")
        return []
    rows = []
    for dtype in stand.dtypes:
        for batch in MEMORY[stand.device]:
            try:
                more = ["--batches", 1, "--segment-batches", batch, "--rounds", 1]
                found = bench(stand, bundle, dtype, "residual", more, MEMORY_SECONDS)[0]
                rows.append({"dtype": dtype, "batch": batch, "bytes": found["memory_bytes"], "fits": found["seconds"] is not None})
            except NotDone as reason:
                notes.append(f"memory of the residual, {dtype}, batch {batch}: {reason}")
    return rows


def profile(rows: list[dict], memory_bytes: int) -> list[dict]:
    """By format the line that the measured batches lie on, and the largest batch that it leaves room for."""
    lines = []
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        known = [(row["batch"], row["bytes"]) for row in rows if row["dtype"] == dtype and row["bytes"]]
        if len(known) < 2:
            continue
        batches, taken = np.array(known, dtype=float).T
        each, fixed = np.polyfit(batches, taken, 1)
        off = float(np.abs(fixed + each * batches - taken).max())
        fits = int((ROOM * memory_bytes - fixed) // each) if each > 0 else None
        lines.append({"dtype": dtype, "fixed_bytes": float(fixed), "segment_bytes": float(each), "off_the_line_bytes": off, "largest_batch": fits})
    return lines
