"""Makes residual.safetensors: mixes, sums of stems, and the features of the residual between them. Read by tests/residual_golden.rs.

    ~/.cache/trackscan/bench-2.11.0/bin/python crates/models/golden/residual.py

runs it in the environment of the yardsticks; it needs numpy alone. Each case `C` gives `C.mix` and `C.sum` ([channels, samples], as if both had
been brought to the track's scale), `C.deviation` (what the track was divided by) and `C.features`, in the order of `NAMES`. Everything is F32,
little endian.

The formulas, in double precision throughout, are those of docs/reference/residual.md, written here from that page and not from the code that serves.
Tolerance of the test: 1e-6 of a feature's span (100 dB, or 10, or 2; the squared error against itself). Reason: both sides add up in double
precision; what is left is that these values are stored in single precision, 4e-6 dB at 60 dB.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))
from shared.tensors import write  # noqa: E402

RATE = 44_100
EDGES = [20, 60, 250, 500, 2_000, 4_000, 8_000, 16_000]
TRANSFORM, STEP, FRAME = 8_192, 4_096, 2_048
FLOOR, QUOTIENT_MAX = 1e-8, 10.0
BANDS = [f"{low}_{high}" for low, high in zip(EDGES, EDGES[1:])]
NAMES = [f"band_db_{band}" for band in BANDS] + [f"deviation_{band}" for band in BANDS]
NAMES += ["snr_db", "energy_ratio", "l1_ratio", "phase_coherence", "high_ratio", "regularity_db", "mse"]
SPANS = [2.0 if name == "phase_coherence" else 100.0 if "db" in name else QUOTIENT_MAX for name in NAMES[:-1]] + [1.0]


def spectrum(signal: np.ndarray) -> np.ndarray:
    """[channels, samples] to [channels, transforms, bins]."""
    samples = signal.shape[1]
    steps = max(0, -(-(samples - TRANSFORM) // STEP))
    padded = np.pad(signal, ((0, 0), (0, steps * STEP + TRANSFORM - samples)))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(TRANSFORM) / TRANSFORM)
    pieces = [padded[:, at * STEP : at * STEP + TRANSFORM] * window for at in range(steps + 1)]
    return np.fft.rfft(np.stack(pieces, axis=1), axis=2)


def quotient(value: float, against: float, floor: float = FLOOR) -> float:
    return min((value + floor) / (against + floor), QUOTIENT_MAX)


def decibels(power: float, against: float) -> float:
    return 10 * np.log10((power + FLOOR) / (against + FLOOR))


def features(mix: np.ndarray, stems: np.ndarray, deviation: float) -> np.ndarray:
    mix, stems = mix.astype(np.float64), stems.astype(np.float64)
    rest = mix - stems
    spectra = [spectrum(signal) for signal in (mix, stems, rest)]
    channels, transforms, _ = spectra[0].shape
    unit = 2 / (TRANSFORM * (0.375 * TRANSFORM) * transforms * channels)
    hertz = np.arange(TRANSFORM // 2 + 1) * RATE / TRANSFORM
    bands = []
    for low, high in zip(EDGES, EDGES[1:]):
        inside = (hertz >= low) & (hertz < high)
        bands.append([float(np.sum(np.abs(values[:, :, inside]) ** 2)) * unit for values in spectra])
    whole = [float(np.mean(signal**2)) for signal in (mix, stems, rest)]
    in_phase = float(np.sum(np.real(spectra[0] * np.conj(spectra[1])))) * unit
    magnitudes = float(np.sum(np.abs(spectra[0]) * np.abs(spectra[1]))) * unit
    frames = rest.shape[1] // FRAME
    powers = np.mean(rest[:, : frames * FRAME].reshape(channels, frames, FRAME) ** 2, axis=(0, 2)) if frames else np.zeros(0)
    levels = 10 * np.log10((powers + FLOOR) / (1 + FLOOR))
    return np.array(
        [decibels(left, heard) for heard, _, left in bands]
        + [min(abs(added - heard) / (heard + FLOOR), QUOTIENT_MAX) for heard, added, _ in bands]
        + [
            decibels(whole[0], whole[2]),
            quotient(whole[1], whole[0]),
            quotient(float(np.mean(np.abs(rest))), float(np.mean(np.abs(mix))), FLOOR**0.5),
            quotient(in_phase, magnitudes),
            quotient(bands[-1][1], bands[-1][0]),
            float(np.std(levels, ddof=1)) if len(levels) > 1 else 0.0,
            whole[2] * deviation**2,
        ]
    )


def music(samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Tones with a beat over noise that falls towards high frequencies, and a sum of stems that loses and adds a little of each band."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / RATE
    beat = 0.6 + 0.4 * np.sin(2 * np.pi * 7 * t)
    mix, stems = [], []
    for channel in range(2):
        tones = sum(np.sin(2 * np.pi * hertz * t + channel) / (at + 1) for at, hertz in enumerate((45, 110, 330, 1_200, 3_100, 6_000)))
        noise = np.convolve(rng.normal(0, 0.3, samples + 7), np.ones(8) / 8, mode="valid")
        left = np.convolve(rng.normal(0, 0.02, samples + 3), np.ones(4) / 4, mode="valid") * beat
        mix.append(beat * tones + noise)
        stems.append(0.97 * beat * tones + 0.9 * noise + left)
    return np.array(mix), np.array(stems)


def cases() -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    mix, stems = music(12_500, 1)
    short, of_short = music(1_900, 2)
    square = np.sign(np.sin(2 * np.pi * 100 * (np.arange(5_000) + 0.5) / RATE))
    inverted = np.stack([square, -square]) / 1e-5
    return {
        "music": (mix, stems, 0.12),
        "mono": (mix[:1, :9_000], stems[:1, :9_000], 0.3),
        "shorter_than_a_frame": (short, of_short, 0.05),
        "inverted_square": (inverted, 0.99 * inverted, 1e-5),
        "silence": (np.zeros((2, 2_100)), np.zeros((2, 2_100)), 1e-5),
        "constant": (np.full((2, 2_100), 1e-3), np.full((2, 2_100), 9e-4), 1e-5),
        "one_sample": (np.full((2, 1), 0.5), np.full((2, 1), 0.4), 0.1),
        "nothing_separated": (mix[:, :2_500], np.zeros((2, 2_500)), 0.12),
    }


def main() -> None:
    tensors = {}
    for name, (mix, stems, deviation) in cases().items():
        mix, stems = mix.astype(np.float32), stems.astype(np.float32)
        vector = features(mix, stems, float(np.float32(deviation)))
        assert np.all(np.isfinite(vector)), name
        tensors |= {f"{name}.mix": mix, f"{name}.sum": stems, f"{name}.deviation": np.array([deviation]), f"{name}.features": vector}
    target = Path(__file__).with_name("residual.safetensors")
    write(target, tensors)
    print(f"{target.name}: numpy {np.__version__}, {len(tensors)} tensors, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
