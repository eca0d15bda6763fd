"""Makes htdemucs.safetensors: small HTDemucs networks, mixes, and the stems that the package makes of them. Read by tests/htdemucs.rs.

    scripts/parity.sh golden

runs it in the environment of the yardsticks, with demucs 4.1.0 on torch 2.11.0. Each case `C` gives `C.weights.T` for every tensor `T` of the
package's state, `C.mix` and `C.stems` of one segment; a case with `C.track` also `C.separated`, the stems of that longer track by `apply_model`
without random shifts. The arguments of a case are JSON in the file's `__metadata__`. Everything is F32, little endian.

Weights are drawn anew where the package begins with values so small that a whole part could be missing unnoticed: scales of layers from 0.3 to 1,
gains of norms from 0.5 to 1.5, biases of deviation 0.1, and twice the package's spread for query, key and value, since attention that sees all places
alike hides what it sees them by. The rest has the package's spread.

Tolerance of the test: the largest difference is at most 1e-4 of the largest reference value. Reason: both sides compute in single precision and add
up products in another order; a hundred operations in a row leave about 1e-6 of the largest value, and other processors order otherwise.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from demucs.apply import apply_model

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))
from shared.separator import arguments_of, mix_of, redrawn  # noqa: E402
from shared.tensors import write  # noqa: E402

SMALL = dict(
    sources=["drums", "bass", "other", "vocals"], samplerate=44_100, segment=0.03, nfft=512, depth=3, channels=6, dconv_mode=3, dconv_comp=3,
    bottom_channels=16, t_layers=3, t_heads=4, t_hidden_scale=2.0,
)
"""As the published networks are built, but small."""

CASES = {
    "published": SMALL,
    # What the class can do besides, once each: groups for norms, another embedding, no scales, one channel, no dilation.
    "variant": SMALL | dict(
        sources=["voice", "rest"], audio_channels=1, depth=2, channels=4, kernel_size=4, stride=2, nfft=128, segment=0.01, context=2, context_enc=1,
        norm_starts=1, norm_groups=2, freq_emb=0.0, dconv_mode=1, dconv_depth=-1, dconv_comp=2, bottom_channels=0, t_heads=2, t_emb="scaled",
        t_max_positions=160, t_norm_in=False, t_norm_in_group=2, t_group_norm=2, t_norm_out=False, t_layer_scale=False, t_gelu=False,
        t_cross_first=True, t_weight_pos_embed=0.5, t_max_period=500.0, t_layers=2,
    ),
    "norms_last": SMALL | dict(
        sources=["a", "b", "c"], depth=2, channels=4, rewrite=False, dconv_mode=2, dconv_comp=2, bottom_channels=0, t_norm_first=False,
        t_heads=2, t_norm_in=False, nfft=256, segment=0.01, t_layers=2,
    ),
}

TRACK_SEGMENTS = 1.6
"""Length of the track that is cut: whole segments, overlaps, and a short one at the end."""


def case_of(arguments: dict, seed: int, track: bool) -> dict[str, np.ndarray]:
    net = redrawn(arguments, seed)
    segment = int(net.segment * net.samplerate)
    mix = mix_of(net.audio_channels, segment, seed)
    with torch.no_grad():
        values = {f"weights.{name}": tensor for name, tensor in net.state_dict().items()}
        values |= {"mix": mix, "stems": net(mix[None])[0]}
        if track:
            long = mix_of(net.audio_channels, int(TRACK_SEGMENTS * segment), seed + 1)
            values |= {"track": long, "separated": apply_model(net, long[None], shifts=0, split=True)[0]}
    return {name: tensor.numpy() for name, tensor in values.items()}


def main() -> None:
    torch.set_num_threads(1)
    tensors, texts = {}, {}
    for seed, (name, arguments) in enumerate(CASES.items(), start=1):
        made = case_of(arguments, seed, track=name == "published")
        tensors |= {f"{name}.{part}": values for part, values in made.items()}
        texts[name] = json.dumps(arguments_of(arguments))
    target = Path(__file__).with_name("htdemucs.safetensors")
    write(target, tensors, texts)
    print(f"{target.name}: torch {torch.__version__}, {len(tensors)} tensors, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
