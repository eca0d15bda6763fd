"""The same screen as a PyTorch user writes it: torchaudio's mel, nn.Module, eval, inference mode.

    screen_torch.py BUNDLE PCM BATCH THREADS ROUNDS

Prints one JSON object as examples/screen_bench.rs does. Needs torch and torchaudio of the same version.
"""

import json
import struct
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torchaudio
from torch import nn


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    data = raw[8 + size :]

    def tensor(entry: dict) -> torch.Tensor:
        begin, end = entry["data_offsets"]
        return torch.from_numpy(np.frombuffer(data[begin:end], dtype="<f4").reshape(entry["shape"]).copy())

    return {name: tensor(entry) for name, entry in header.items() if name != "__metadata__"}


class Block(nn.Module):
    def __init__(self, width_in: int, width_out: int):
        super().__init__()
        self.conv = nn.Conv2d(width_in, width_out, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width_out)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(torch.relu(self.norm(self.conv(x))))


class Screen(nn.Module):
    def __init__(self, screen: dict):
        super().__init__()
        cnn, mel = screen["architecture"], screen["preprocessing"]
        self.mel = torchaudio.transforms.MelSpectrogram(
            sample_rate=mel["rate_hz"], n_fft=mel["n_fft"], hop_length=mel["hop"], n_mels=mel["mels"],
            f_min=mel["low_hz"], f_max=mel["high_hz"], power=2.0, center=False, norm="slaney", mel_scale="slaney",
        )
        self.scale = mel
        widths = [1, *cnn["channels"]]
        self.blocks = nn.ModuleList(Block(a, b) for a, b in zip(widths, widths[1:]))
        self.both = cnn["pooling"] == "mean_max"
        self.hidden = nn.Linear(widths[-1] * (2 if self.both else 1), cnn["hidden"])
        self.head = nn.Linear(cnn["hidden"], 1)

    def forward(self, pcm: torch.Tensor) -> torch.Tensor:
        x = (self.mel(pcm).clamp_min(self.scale["floor"]).log10() - self.scale["shift"]) * self.scale["gain"]
        if self.scale["norm"] == "window_mean":
            x = x - x.mean((1, 2), keepdim=True)
        x = x.unsqueeze(1)
        for block in self.blocks:
            x = block(x)
        mean = x.mean((2, 3))
        pooled = torch.cat([mean, x.amax((2, 3))], 1) if self.both else mean
        return self.head(torch.relu(self.hidden(pooled))).squeeze(1)


def main() -> None:
    bundle, pcm, batch, threads, rounds = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6])
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    screen = json.loads((bundle / "manifest.json").read_text())["screen"]
    net = Screen(screen)
    missing = net.load_state_dict(weights_of(bundle / screen["weights"]), strict=False)
    assert not missing.unexpected_keys, missing
    net.eval()
    samples = (screen["windows"]["frames"] - 1) * screen["preprocessing"]["hop"] + screen["preprocessing"]["n_fft"]
    windows = torch.from_numpy(np.fromfile(pcm, dtype="<f4")).view(-1, samples)
    parts = [part for part in windows.split(batch) if len(part) == batch]
    with torch.inference_mode():
        logits = torch.cat([net(part) for part in parts]).tolist()
        before = time.process_time()
        for _ in range(rounds):
            for part in parts:
                net(part)
        seconds = (time.process_time() - before) / rounds
    print(json.dumps({"cpu_seconds": seconds, "windows": len(logits), "logits": logits}))


if __name__ == "__main__":
    main()
