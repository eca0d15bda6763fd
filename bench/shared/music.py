"""Music-like sound for the drivers: chords, a bass, drums and room noise in stereo. The same seed gives the same samples.

Codecs spend their time by what they find, so that noise or a sine would measure another decoder than music does.
"""

import subprocess
from pathlib import Path

import numpy as np

RATE_HZ = 44_100
BEAT = RATE_HZ // 2
"""Samples of a beat: 120 a minute."""
RING = 2 * RATE_HZ
"""Samples for which a note rings."""
SCALE = [0, 2, 3, 5, 7, 8, 10]
"""Semitones of a minor scale."""

ENCODINGS = {
    "mp3": ("mp3", ["-c:a", "libmp3lame", "-b:a", "192k"]),
    "aac": ("m4a", ["-c:a", "aac", "-b:a", "192k"]),
    "flac": ("flac", ["-c:a", "flac", "-sample_fmt", "s16"]),
    "vorbis": ("ogg", ["-c:a", "libvorbis", "-q:a", "6"]),
}
"""The suffix of a file and what ffmpeg is told, by codec."""


def pitch(degree: int) -> float:
    octave, step = divmod(degree, len(SCALE))
    return 110.0 * 2 ** (octave + SCALE[step] / 12)


def tone(hertz: float, time: np.ndarray) -> np.ndarray:
    partials = range(1, 1 + min(10, int(15_000 / hertz)))
    return sum(np.sin(2 * np.pi * hertz * n * time) * np.exp(-time * (1.5 + n)) / n for n in partials)


def drum(rng: np.random.Generator, time: np.ndarray, decay: float) -> np.ndarray:
    return rng.normal(0, 1, len(time)) * np.exp(-time * decay)


def compose(seconds: float, seed: int) -> np.ndarray:
    """Stereo frames, single precision, peak 0.7."""
    rng = np.random.default_rng(seed)
    time = np.arange(RING) / RATE_HZ
    tones = [tone(pitch(degree), time) for degree in range(22)]
    drums = [drum(rng, time, decay) for decay in (12, 25, 60)]
    frames = int(seconds * RATE_HZ)
    out = rng.normal(0, 0.003, (frames + RING, 2))
    for start in range(0, frames, BEAT // 2):
        strong = start % (4 * BEAT) == 0
        degrees = [rng.integers(7), *(7 + rng.integers(0, 15, 3 if strong else 1))]
        sounds = [(0.3, tones[degree]) for degree in degrees]
        sounds.append((0.2 if strong else 0.1, drums[rng.integers(len(drums))]))
        for gain, sound in sounds:
            pan = rng.uniform(0.2, 0.8)
            out[start : start + RING] += gain * rng.uniform(0.4, 1) * np.outer(sound, [pan, 1 - pan])
    return (0.7 / np.abs(out[:frames]).max() * out[:frames]).astype("<f4")


def encode(frames: np.ndarray, codec: str, stem: Path) -> Path:
    """Writes the file beside `stem`, with the codec's suffix, and returns its path."""
    suffix, options = ENCODINGS[codec]
    path = stem.with_suffix(f".{suffix}")
    source = ["-f", "f32le", "-ar", str(RATE_HZ), "-ac", "2", "-i", "-"]
    command = ["ffmpeg", "-v", "error", *source, *options, "-bitexact", "-y", str(path)]
    subprocess.run(command, check=True, input=frames.tobytes())
    return path
