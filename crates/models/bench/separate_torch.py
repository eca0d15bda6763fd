"""The package demucs on the same network and the same track, as `apply_model` without random shifts does it.

    separate_torch.py make FOLDER SAMPLES
    separate_torch.py FOLDER THREADS ROUNDS [DEVICE]

`make` writes `network.safetensors`, the published default network with weights of a fixed seed, and `track.f32`, synthesised sound, channel after
channel. The other writes `theirs.f32`, stem after stem, and prints one JSON object as examples/separate.rs does. Needs torch and demucs.
"""

import json
import os
import sys
import time
from pathlib import Path

# Before torch loads: products in single precision are to be in single precision.
os.environ["NVIDIA_TF32_OVERRIDE"] = "0"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from demucs.apply import apply_model  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))
from shared.separator import PUBLISHED, mix_of, network_of, redrawn, write_network  # noqa: E402

SEED = 1
"""Of weights and sound."""


def make(folder: Path, samples: int) -> None:
    net = redrawn(PUBLISHED, SEED)
    write_network(folder / "network.safetensors", net, PUBLISHED)
    mix_of(net.audio_channels, samples, SEED).numpy().tofile(folder / "track.f32")


def run(folder: Path, threads: int, rounds: int, device: str = "cpu") -> dict:
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    net = network_of(folder / "network.safetensors").to(device)
    track = torch.from_numpy(np.fromfile(folder / "track.f32", dtype="<f4")).view(1, net.audio_channels, -1)
    stems = apply_model(net, track, shifts=0, split=True, device=device)
    stems[0].numpy().tofile(folder / "theirs.f32")
    before = time.process_time(), time.perf_counter()
    for _ in range(rounds):
        apply_model(net, track, shifts=0, split=True, device=device)
    cpu, wall = time.process_time() - before[0], time.perf_counter() - before[1]
    return {"cpu_seconds": cpu / max(rounds, 1), "seconds": wall / max(rounds, 1), "stems": net.sources}


def main() -> None:
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])))


if __name__ == "__main__":
    main()
