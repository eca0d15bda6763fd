"""Parity on the device: small networks and the screen against committed values, the published default network and the screen against the package's
side on the same device.

Every comparison is a row that holds, is broken, or was not made and says why. Differences are the largest difference over the largest reference value.
"""

import json
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from clock import NotDone
from stand import DEMO, ROOT, Stand

sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "crates/models/bench")]
from parity import feature_row, stems_of  # noqa: E402
from shared.tensors import write  # noqa: E402

GOLDEN = ROOT / "crates/models/golden/htdemucs.safetensors"

BOUNDS = {"f32": 1e-4, "tf32": 0.0125, "bf16": 0.1}
"""`f32`: the tolerance of golden/htdemucs.py. `bf16`: that of tests/htdemucs.rs, a few steps of 1/256 after a hundred operations. `tf32` has three bits
more than bfloat16, so an eighth of that."""
LOGITS = {"f32": 1e-3, "tf32": 0.0125, "bf16": 0.1}
"""The same of the screen's logits; in single precision the number of bench/screen.py, here of the largest logit."""
FEATURES = 1e-4
"""Shares of a feature's span, in single precision; what other formats do to features is stated, and judged by a bundle's own epsilon."""

COVERED = 0.75
"""Share of a segment that no second one covers: there a track of one segment is that segment's stems, whatever lies behind it."""
AT_ONCE = {"cuda": 3, "cpu": 1}
"""Small networks compared beside each other: loading libraries is most of what they take."""
GOLDEN_SECONDS = 60
FULL_SECONDS = 90
SCREEN_SECONDS = 60
"""Most that one process of a comparison may take."""
WINDOWS = 64
"""Windows of the screen's comparison: the canary's, then noise."""
BATCH = 16
SEED = 3


def row(what: str, dtype: str, against: str, found: float, bound: float, **more: object) -> dict:
    # A value that is no number is no parity, so it is asked whether it holds and not whether it breaks.
    return {"what": what, "dtype": dtype, "against": against, "difference": found, "bound": bound, "holds": bool(found <= bound), **more}


def absent(what: str, dtype: str, against: str, reason: object, required: bool = False) -> dict:
    return {"what": what, "dtype": dtype, "against": against, "holds": None, "reason": str(reason), "required": required}


def difference(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(ours - reference).max() / np.abs(reference).max())


def values_of(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    values = np.fromfile(path, dtype="<f4")
    if values.size != np.prod(shape):
        raise NotDone(f"`{path.name}` has {values.size} values of {shape}")
    return values.reshape(shape)


# Small networks, whose values are committed.


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """A safetensors file of single-precision values, and its texts."""
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    texts = header.pop("__metadata__", {})
    data = raw[8 + size :]
    flat = {name: np.frombuffer(data[slice(*entry["data_offsets"])], dtype="<f4") for name, entry in header.items()}
    return {name: values.reshape(header[name]["shape"]) for name, values in flat.items()}, texts


def golden_rows(stand: Stand) -> list[dict]:
    tensors, texts = read_tensors(GOLDEN)
    folders = {case: golden_case(stand, case, tensors, texts[case]) for case in texts}
    tasks = [(case, dtype) for dtype in stand.dtypes for case in texts]
    with ThreadPoolExecutor(AT_ONCE[stand.device]) as pool:
        return list(pool.map(lambda task: golden_row(stand, *task, folders[task[0]], tensors), tasks))


def golden_case(stand: Stand, case: str, tensors: dict[str, np.ndarray], arguments: str) -> Path:
    """A folder as examples/separate.rs reads it: the case's network, and the longest of its tracks that has known stems."""
    folder = stand.folder / "golden" / case
    folder.mkdir(parents=True)
    prefix = f"{case}.weights."
    weights = {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}
    write(folder / "network.safetensors", weights, {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": arguments})
    tensors.get(f"{case}.track", tensors[f"{case}.mix"]).tofile(folder / "track.f32")
    return folder


def golden_row(stand: Stand, case: str, dtype: str, folder: Path, tensors: dict[str, np.ndarray]) -> dict:
    what, against = f"small network `{case}`", "committed stems"
    own = folder / dtype
    own.mkdir()
    for name in ("network.safetensors", "track.f32"):
        (own / name).symlink_to(folder / name)
    try:
        stand.ours("separate", own, 3, 1, 0, stand.device, dtype, most=GOLDEN_SECONDS)
        separated = tensors.get(f"{case}.separated")
        reference = tensors[f"{case}.stems"] if separated is None else separated
        ours = values_of(own / "ours.f32", reference.shape)
        if separated is None:
            covered = int(COVERED * reference.shape[2])
            ours, reference = ours[:, :, :covered], reference[:, :, :covered]
        return row(what, dtype, against, difference(ours, reference), BOUNDS[dtype])
    except NotDone as reason:
        return absent(what, dtype, against, reason, required=True)


# The published default network, with weights that the package draws.


def full_rows(stand: Stand) -> list[dict]:
    what, against = "published default network", "demucs in f32"
    try:
        folder = stand.network()
        names = stand.theirs("stems", folder, stand.device, "f32", stand.threads, most=FULL_SECONDS)["stems"]
    except NotDone as reason:
        return [absent(what, dtype, against, reason) for dtype in stand.dtypes]
    return [made for dtype in stand.dtypes for made in full_rows_of(stand, folder, len(names), dtype, what, against)]


def full_rows_of(stand: Stand, folder: Path, count: int, dtype: str, what: str, against: str) -> list[dict]:
    reference = stems_of(folder / "theirs-f32.f32", count)
    try:
        stand.ours("separate", folder, 2, stand.threads, 0, stand.device, dtype, most=FULL_SECONDS)
        ours = values_of(folder / "ours.f32", reference.shape)
    except NotDone as reason:
        return [absent(what, dtype, against, reason, required=True)]
    mix = np.fromfile(folder / "track.f32", dtype="<f4").reshape(2, -1).astype(np.float64)
    share, feature = feature_row(mix, ours, reference)
    package, reason = (None, None) if dtype == "f32" else package_difference(stand, folder, dtype, reference)
    stated = {"package_difference": package, "package_reason": reason, "features_share": share, "features_worst": feature}
    # Nobody is asked to be nearer to single precision than the package is in the same format.
    rows = [row(what, dtype, against, difference(ours, reference), max(BOUNDS[dtype], package or 0.0), **stated)]
    if dtype == "f32":
        rows.append(row(f"{what}, {feature}", dtype, against, share, FEATURES))
    return rows


def package_difference(stand: Stand, folder: Path, dtype: str, reference: np.ndarray) -> tuple[float | None, str | None]:
    """How far the package in this format is from itself in single precision; or why that is not known."""
    try:
        stand.theirs("stems", folder, stand.device, dtype, stand.threads, most=FULL_SECONDS)
        return difference(values_of(folder / f"theirs-{dtype}.f32", reference.shape), reference), None
    except NotDone as reason:
        return None, str(reason)


# The screen.


def screen_rows(stand: Stand) -> list[dict]:
    pcm, known = screen_windows(stand)
    try:
        stand.needs("torchaudio")
        theirs = stand.theirs("screen", stand.demo, pcm, stand.device, "f32", stand.threads, 0, "", most=SCREEN_SECONDS)["logits"]
    except NotDone as reason:
        theirs = reason
    return [made for dtype in stand.dtypes for made in screen_rows_of(stand, pcm, known, theirs, dtype)]


def screen_windows(stand: Stand) -> tuple[Path, list[float]]:
    """A file of windows: the canary's, cut as a track is, then noise; and the canary's committed logits."""
    manifest = json.loads((DEMO / "manifest.json").read_text())
    mel, windows = manifest["screen"]["preprocessing"], manifest["screen"]["windows"]
    clip = np.fromfile(DEMO / manifest["canary"]["clip"], dtype="<i2").astype("<f4") / np.float32(32_768)
    samples = (windows["frames"] - 1) * mel["hop"] + mel["n_fft"]
    last = 1 + len(clip) // mel["hop"] - windows["frames"]
    firsts = [min(at, last) for at in range(0, last + windows["stride"], windows["stride"])]
    padded = np.pad(clip, (mel["n_fft"] // 2, samples))
    cut = [padded[first * mel["hop"] :][:samples] for first in firsts]
    noise = np.random.default_rng(SEED).normal(0, 0.1, (WINDOWS - len(cut), samples)).astype("<f4")
    path = stand.folder / "windows.f32"
    np.concatenate([np.stack(cut), noise]).astype("<f4").tofile(path)
    return path, manifest["canary"]["scores"]


def screen_rows_of(stand: Stand, pcm: Path, known: list[float], theirs: list[float] | NotDone, dtype: str) -> list[dict]:
    what, against, beside = "screen", "committed logits", "PyTorch in f32"
    try:
        found = stand.ours("screen_bench", stand.demo, pcm, BATCH, stand.threads, 1, stand.device, dtype, most=SCREEN_SECONDS)
    except NotDone as reason:
        return [absent(what, dtype, against, reason, required=True), absent(what, dtype, beside, reason)]
    ours = np.array(found["logits"])
    rows = [row(what, dtype, against, difference(ours[: len(known)], np.array(known)), LOGITS[dtype])]
    if isinstance(theirs, NotDone):
        return [*rows, absent(what, dtype, beside, theirs)]
    return [*rows, row(what, dtype, beside, difference(ours, np.array(theirs)), LOGITS[dtype])]
