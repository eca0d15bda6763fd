"""Makes small checkpoints with the package itself, in both of the kinds in which it publishes them: the same random weights, in half precision, once
as safetensors with their bag and once as a torch archive; and what the package makes of a mix with them. Read by tests of this crate and of the worker.

    scripts/parity.sh checkpoints

runs it in the environment of the yardsticks, with demucs 4.1.0 on torch 2.11.0. Files, about 210 kB together:

- `newer/tiny.yaml` and `newer/7e57da7a.safetensors`, as the package downloads them;
- `older/tiny.yaml` and `older/7e57da7a-XXXXXXXX.th`, written by the package's own `serialize_model` and `save_with_checksum`;
- `stems.safetensors`: `mix` of one segment, `stems` of it. Their tolerance and its reason are those of crates/models/golden/htdemucs.py;
- `hostile/*.th`: archives that the package would run, unpack without end or write elsewhere; `touch MARK` is all that they try;
- `whole.json`: SHA-256 of every tensor's values in single precision, little endian, as the package loads them from the archive.

The archive holds what archives of trained networks hold besides: a fraction, training arguments of every plain kind, a tensor that is stored
transposed, and two tensors in one storage.
"""

import hashlib
import json
import os
import shutil
import sys
import types
import zipfile
from fractions import Fraction
from pathlib import Path

import torch
from demucs import states
from demucs.hf import load_safetensors_model
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))
from shared.separator import arguments_of, mix_of, redrawn  # noqa: E402
from shared.tensors import write  # noqa: E402

HERE = Path(__file__).parent
SIGNATURE = "7e57da7a"
BAG = f"models: ['{SIGNATURE}']\n"
TINY = dict(
    sources=["drums", "bass", "other", "vocals"], samplerate=44_100, segment=Fraction(1, 100), nfft=256, depth=2, channels=4, dconv_mode=3, dconv_comp=2,
    bottom_channels=8, t_layers=2, t_heads=2, t_hidden_scale=2.0,
)
"""As the published networks are built, but tiny."""
MARK = "/tmp/trackscan-a-pickle-ran"
TRAINING = {"seed": 42, "lr": 3e-4, "batches": [4, 8], "dset": {"root": "somewhere", "valid": None, "full": True}, "steps": 10**12}


def with_every_argument(net: torch.nn.Module) -> torch.nn.Module:
    """Published checkpoints state every argument; the class notes only those that were given."""
    known = {name: value for name, value in arguments_of(TINY).items()}
    net._init_args_kwargs = ((), known | {"segment": TINY["segment"]})
    return net


def odd_layout(state: dict) -> None:
    """Same values, other places: one matrix transposed in its storage, two vectors in one."""
    name = next(name for name, tensor in state.items() if tensor.dim() == 2)
    state[name] = state[name].T.contiguous().T
    first, second = [name for name, tensor in state.items() if tensor.dim() == 1 and tensor.numel() == 4][:2]
    both = torch.cat([state[first], state[second]])
    state[first], state[second] = both[:4], both[4:]


def without_omegaconf() -> None:
    """`serialize_model` imports it for training arguments that are of its own kind; ours are plain already."""
    plain = types.SimpleNamespace(to_container=lambda given, resolve: given)
    sys.modules.setdefault("omegaconf", types.SimpleNamespace(OmegaConf=plain))


def newer(folder: Path, package: dict) -> Path:
    path = folder / f"{SIGNATURE}.safetensors"
    texts = {
        "klass": "demucs.htdemucs.HTDemucs",
        "args": "[]",
        "kwargs": json.dumps(arguments_of(TINY)),
    }
    save_file({name: tensor.clone().contiguous() for name, tensor in package["state"].items()}, path, metadata=texts)
    return path


def older(folder: Path, package: dict) -> Path:
    odd_layout(package["state"])
    states.save_with_checksum(package, folder / f"{SIGNATURE}.th")
    (path,) = folder.glob("*.th")
    return path


class Calls:
    """Unpickled, it is the result of a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def hostile(folder: Path, package: dict) -> None:
    def saved(name: str, changes: dict) -> None:
        torch.save(package | changes, folder / name)

    def spoiled(name: str, change: object) -> None:
        """The archive `system.th` without its program, and an entry that `change` adds."""
        with zipfile.ZipFile(folder / name, "w") as target:
            target.writestr("a/data.pkl", b"\x80\x02}.")
            change(target)

    saved("system.th", {"state": {}, "training_args": Calls(os.system, f"touch {MARK}")})
    saved("eval.th", {"state": {}, "training_args": Calls(eval, f"__import__('os').system('touch {MARK}')")})
    deep: list = []
    for _ in range(300):
        deep = [deep]
    saved("deep.th", {"state": {}, "kwargs": {"rescale": deep}})
    spoiled("bomb.th", lambda target: target.writestr("a/data/0", bytes(20_000_000), zipfile.ZIP_DEFLATED))
    spoiled("traversal.th", lambda target: target.writestr(f"../..{MARK}", b""))


def digests(net: torch.nn.Module) -> dict[str, str]:
    values = {name: tensor.numpy().astype("<f4").tobytes() for name, tensor in net.state_dict().items()}
    return {name: hashlib.sha256(raw).hexdigest() for name, raw in sorted(values.items())}


def main() -> None:
    torch.set_num_threads(1)
    without_omegaconf()
    for folder in (HERE / "newer", HERE / "older", HERE / "hostile"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for folder in (HERE / "newer", HERE / "older"):
        (folder / "tiny.yaml").write_text(BAG)
    net = with_every_argument(redrawn(TINY, seed=9))
    paths = [newer(HERE / "newer", states.serialize_model(net, TRAINING)), older(HERE / "older", states.serialize_model(net, TRAINING))]
    hostile(HERE / "hostile", states.serialize_model(net, {}))
    loaded = [load_safetensors_model(paths[0]).eval(), states.load_model(paths[1], strict=True).eval()]
    of_both = [digests(net) for net in loaded]
    assert of_both[0] == of_both[1], "the package reads the same from both"
    (HERE / "whole.json").write_text(json.dumps(of_both[1], indent=1) + "\n")
    mix = mix_of(2, int(TINY["segment"] * TINY["samplerate"]), seed=9)
    with torch.no_grad():
        stems = loaded[1](mix[None])[0]
    write(HERE / "stems.safetensors", {"mix": mix.numpy(), "stems": stems.numpy()})
    for path in sorted(HERE.rglob("*")):
        if path.is_file() and path.suffix != ".py":
            print(f"{path.relative_to(HERE)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
