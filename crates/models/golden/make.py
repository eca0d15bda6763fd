"""Makes mel.safetensors: clips and their mel power as librosa computes it. Read by tests/mel_golden.rs.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install librosa==0.11.0 numpy==2.4.6
    /tmp/golden/bin/python crates/models/golden/make.py

Each case `C` gives `C.parameters` (rate_hz, n_fft, hop, mels, low_hz, high_hz), `C.clip` (mono samples) and `C.power`
([bands, frames] of the whole clip, zeros beyond its ends). Everything is F32, little endian.

Tolerance of the test: |10 log10(ours) - 10 log10(librosa)| <= 0.02 dB wherever librosa's power is above 1e-7 of the
clip's largest, with a floor of 1e-10 under both. Reason: both sides transform in single precision; the error of a bin
is about 1e-7 of the frame's largest amplitude, so powers 70 dB below the largest carry an error of about 1e-7 / 3e-4 in
amplitude, which is 0.003 dB; the rest is head-room for other FFT libraries. Weaker cells are rounding noise on both
sides and are only held below that level.
"""

import json
import struct
from pathlib import Path

import librosa
import numpy as np


def clip_of(rate: int, seconds: float, seed: int) -> np.ndarray:
    """A rising tone over quiet noise, with a click on the first and on the last sample."""
    count = int(rate * seconds)
    t = np.arange(count) / rate
    sweep = 0.5 * np.sin(2 * np.pi * (100.0 * t + 0.5 * (rate * 0.45 - 100.0) / seconds * t**2))
    noise = np.random.default_rng(seed).normal(0.0, 0.01, count)
    clip = sweep + noise
    clip[0] += 0.4
    clip[-1] -= 0.4
    return clip.astype(np.float32)


def cases() -> dict[str, dict]:
    silence_then_tone = clip_of(16_000, 0.4, 3)
    silence_then_tone[:3_000] = 0.0
    return {
        "sweep_22k": dict(rate=22_050, n_fft=1024, hop=256, mels=96, low=40.0, high=9_500.0, clip=clip_of(22_050, 0.4, 1)),
        "sweep_44k": dict(rate=44_100, n_fft=2048, hop=512, mels=128, low=20.0, high=16_000.0, clip=clip_of(44_100, 0.3, 2)),
        "odd_hop_16k": dict(rate=16_000, n_fft=400, hop=161, mels=40, low=0.0, high=8_000.0, clip=silence_then_tone),
        "shorter_than_a_transform": dict(rate=22_050, n_fft=1024, hop=256, mels=64, low=40.0, high=9_500.0, clip=clip_of(22_050, 0.03, 4)),
    }


def power_of(case: dict) -> np.ndarray:
    return librosa.feature.melspectrogram(
        y=case["clip"], sr=case["rate"], n_fft=case["n_fft"], hop_length=case["hop"], n_mels=case["mels"],
        fmin=case["low"], fmax=case["high"], power=2.0, window="hann", center=True, pad_mode="constant",
        htk=False, norm="slaney",
    )


def safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    header, data = {}, b""
    for name, values in tensors.items():
        raw = np.ascontiguousarray(values, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def main() -> None:
    tensors = {}
    for name, case in cases().items():
        parameters = [case[key] for key in ("rate", "n_fft", "hop", "mels", "low", "high")]
        tensors[f"{name}.parameters"] = np.array(parameters, dtype=np.float32)
        tensors[f"{name}.clip"] = case["clip"]
        tensors[f"{name}.power"] = power_of(case)
    target = Path(__file__).with_name("mel.safetensors")
    target.write_bytes(safetensors(tensors))
    print(f"{target}: librosa {librosa.__version__}, numpy {np.__version__}, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
