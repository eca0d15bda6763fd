"""The other side: the package demucs, and the screen in PyTorch, on one device in one number format. A process for each, since the libraries settle
TensorFloat-32 when they load.

    package.py probe DEVICE
    package.py stems FOLDER DEVICE DTYPE THREADS
    package.py residual FOLDER DEVICE DTYPE THREADS ROUNDS CHUNKS BATCHES
    package.py screen BUNDLE PCM DEVICE DTYPE THREADS ROUNDS BATCHES

Called by the other files of this folder; FOLDER is what crates/models/bench/separate_torch.py makes. `f32` is without TensorFloat-32, `tf32` what PyTorch
does when nothing is said (convolutions so, matrices not), `bf16` autocast. Prints one JSON object.
"""

import importlib
import json
import os
import statistics
import sys
import time
from contextlib import nullcontext
from pathlib import Path

# Before torch loads.
if "tf32" not in sys.argv:
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"

import numpy as np  # noqa: E402
import torch  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "crates/models/bench")]

SEED = 2
"""Of the sound that is timed."""


def settle(dtype: str, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    if dtype != "tf32":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def computing(device: str, dtype: str):
    return torch.autocast(device, dtype=torch.bfloat16) if dtype == "bf16" else nullcontext()


def finish(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def timed(work, device: str, rounds: int) -> dict:
    """Median seconds of a pass, after one that is not counted, and the most that PyTorch's tensors took on a GPU. A pass that does not fit has none."""
    try:
        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        work()
        seconds = []
        for _ in range(rounds):
            finish(device)
            begun = time.perf_counter()
            work()
            finish(device)
            seconds.append(time.perf_counter() - begun)
        peak = torch.cuda.max_memory_reserved() if device == "cuda" else None
        return {"seconds": statistics.median(seconds), "peak_bytes": peak}
    except torch.cuda.OutOfMemoryError:
        return {"seconds": None, "peak_bytes": None}


def probe(device: str) -> dict:
    """What of the yardsticks can be imported here; for what cannot, why."""
    lacks = {}
    for name in ("demucs.htdemucs", "demucs.apply", "demucs.hf", "torchaudio"):
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - whatever a broken installation raises is the answer.
            lacks[name] = f"{type(error).__name__}: {error}"
    if device == "cuda" and not torch.cuda.is_available():
        lacks["cuda"] = f"torch {torch.__version__} finds no GPU"
    return {"torch": torch.__version__, "lacks": lacks}


def network(folder: Path, device: str):
    from shared.separator import network_of

    return network_of(folder / "network.safetensors").to(device)


def apply(net, track: torch.Tensor, device: str, dtype: str) -> torch.Tensor:
    from demucs.apply import apply_model

    with computing(device, dtype):
        return apply_model(net, track, shifts=0, split=True, device=device)


def stems(folder: Path, device: str, dtype: str) -> dict:
    net = network(folder, device)
    track = torch.from_numpy(np.fromfile(folder / "track.f32", dtype="<f4")).view(1, net.audio_channels, -1)
    made = apply(net, track, device, dtype)[0].float()
    made.numpy().astype("<f4").tofile(folder / f"theirs-{dtype}.f32")
    return {"stems": list(net.sources)}


def residual(folder: Path, device: str, dtype: str, rounds: int, chunks: int, batches: list[int]) -> dict:
    """By batch the bare network with what the sum of stems costs, and `apply_model` on a track of so many chunks."""
    from shared.separator import mix_of

    net = network(folder, device)
    segment = int(net.segment * net.samplerate)
    mix = mix_of(net.audio_channels, segment, SEED)
    rows = []
    for batch in batches:
        heard = mix.repeat(batch, 1, 1)

        def work(heard: torch.Tensor = heard) -> None:
            with torch.no_grad(), computing(device, dtype):
                net(heard.to(device)).sum(1)[..., 0].cpu()

        rows.append({"batch": batch, **timed(work, device, rounds)})
    # A chunk begins with every stride, so that a track of whole strides has as many.
    track = mix_of(net.audio_channels, int(0.75 * segment) * chunks, SEED)[None]
    whole = timed(lambda: apply(net, track, device, dtype), device, rounds)
    return {"rows": rows, "apply_model": {"chunks": chunks, **whole}, "segment_seconds": segment / net.samplerate}


class Exact(torch.nn.Module):
    """A part that autocast leaves alone, as the mel transform is in single precision on the other side."""

    def __init__(self, inner: torch.nn.Module, device: str):
        super().__init__()
        self.inner, self.device = inner, device

    def forward(self, pcm: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device, enabled=False):
            return self.inner(pcm)


def screen(bundle: Path, pcm: Path, device: str, dtype: str, rounds: int, batches: list[int]) -> dict:
    from screen_torch import Screen, weights_of

    section = json.loads((bundle / "manifest.json").read_text())["screen"]
    net = Screen(section)
    assert not net.load_state_dict(weights_of(bundle / section["weights"]), strict=False).unexpected_keys
    net.mel = Exact(net.mel, device)
    net = net.eval().to(device)
    samples = (section["windows"]["frames"] - 1) * section["preprocessing"]["hop"] + section["preprocessing"]["n_fft"]
    windows = torch.from_numpy(np.fromfile(pcm, dtype="<f4")).view(-1, samples)

    def score(heard: torch.Tensor) -> list[float]:
        with torch.inference_mode(), computing(device, dtype):
            return net(heard.to(device)).float().cpu().tolist()

    rows = []
    for batch in batches:
        heard = windows[torch.arange(batch) % len(windows)]
        rows.append({"batch": batch, **timed(lambda heard=heard: score(heard), device, rounds)})
    return {"logits": score(windows), "rows": rows}


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "probe":
        found = probe(rest[0])
    elif what == "stems":
        settle(rest[2], int(rest[3]))
        found = stems(Path(rest[0]), rest[1], rest[2])
    elif what == "residual":
        settle(rest[2], int(rest[3]))
        found = residual(Path(rest[0]), rest[1], rest[2], int(rest[4]), int(rest[5]), numbers(rest[6]))
    elif what == "screen":
        settle(rest[3], int(rest[4]))
        found = screen(Path(rest[0]), Path(rest[1]), rest[2], rest[3], int(rest[5]), numbers(rest[6]))
    else:
        sys.exit(__doc__)
    print(json.dumps(found))


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


if __name__ == "__main__":
    main()
