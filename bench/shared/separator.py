"""Networks of the package demucs for comparisons: their arguments in full, weights of which every one counts, and something to separate."""

import inspect
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from demucs.hf import load_safetensors_model
from demucs.htdemucs import HTDemucs

from .tensors import write

PUBLISHED = dict(
    sources=["drums", "bass", "other", "vocals"], samplerate=44_100, segment=Fraction(39, 5), channels=48, depth=4, dconv_mode=3, dconv_comp=8,
    bottom_channels=512, t_layers=5, t_heads=8, t_hidden_scale=4.0,
)
"""The published default network, where it differs from the class or where the difference would matter."""


def arguments_of(given: dict) -> dict:
    """Every argument of the class, as a checkpoint states them; a fraction as the package writes it."""
    parameters = inspect.signature(HTDemucs.__init__).parameters
    known = {name: parameter.default for name, parameter in parameters.items() if name != "self"}
    return {name: as_json(value) for name, value in (known | given).items()}


def as_json(value: object) -> object:
    if isinstance(value, Fraction):
        return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}
    return value


def write_network(path: Path, net: HTDemucs, given: dict) -> None:
    """A checkpoint as the package publishes them."""
    texts = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(arguments_of(given))}
    write(path, {name: tensor.numpy() for name, tensor in net.state_dict().items()}, texts)


def network_of(path: Path) -> HTDemucs:
    """A checkpoint as the package itself reads it, ready to infer."""
    return load_safetensors_model(path).eval()


def redrawn(arguments: dict, seed: int) -> HTDemucs:
    """A network, ready to infer, with scales, gains and biases that no part of it can hide behind. The same seed gives the same weights."""
    torch.manual_seed(seed)
    net = HTDemucs(**arguments)
    draw = torch.Generator().manual_seed(seed)
    for name, tensor in net.state_dict().items():
        last = name.rpartition(".")[2]
        if last == "scale":
            tensor.uniform_(0.3, 1.0, generator=draw)
        elif last == "weight" and tensor.dim() == 1:
            tensor.uniform_(0.5, 1.5, generator=draw)
        elif last.endswith("bias"):
            tensor.normal_(0.0, 0.1, generator=draw)
        else:
            # Uniform with the deviation that the package begins with; of query, key and value, twice that.
            spread = tensor.std().item() * 3**0.5 * (2 if last == "in_proj_weight" else 1)
            tensor.uniform_(-spread, spread, generator=draw)
    return net.eval()


def mix_of(channels: int, samples: int, seed: int) -> torch.Tensor:
    """A chord over noise, a click at either end, and a little more on one side than on the other: `[channels, samples]`."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 44_100
    chord = sum(np.sin(2 * np.pi * hertz * time + rng.uniform(0, 6)) for hertz in (110, 277, 660, 3_100))
    mix = 0.1 * chord + rng.normal(0, 0.05, (channels, samples))
    mix *= np.linspace(1.0, 0.6, channels)[:, None]
    mix[:, 0] += 0.4
    mix[:, -1] -= 0.4
    return torch.from_numpy(mix.astype(np.float32))
