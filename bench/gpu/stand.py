"""What a run stands on: the binaries, the device, the bundles that are measured, and what the package's side can do here."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from clock import Clock, NotDone

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(__file__).with_name("package.py")
NETWORK = ROOT / "crates/models/bench/separate_torch.py"
DEMO = ROOT / "bundles/demo"

BINARIES = {"trackscan-worker": "trackscan-worker", "separate": "examples/separate", "screen_bench": "examples/screen_bench"}
"""Where they lie below cargo's folder."""

EPSILON = 9.0
"""What a measured bundle allows a number format that it says nothing of: a bench judges no track, and the engine refuses a format without one."""
LOAD_SECONDS = 60
"""Most that a small question may take: bringing libtorch with its GPU half into memory is most of it."""
MAKE_SECONDS = 120
"""Most that making the full-size network, or a bundle of it, may take."""
TRACK_SAMPLES = {"cuda": 450_000, "cpu": 300_000}
"""A whole segment and a short one; on a processor two short ones."""


@dataclass
class Stand:
    folder: Path
    device: str
    clock: Clock
    binaries: dict[str, Path]
    threads: int
    device_name: str = ""
    memory_bytes: int = 0
    package: dict = field(default_factory=dict)
    demo: Path = DEMO
    made: dict[str, Path | NotDone] = field(default_factory=dict)

    @property
    def dtypes(self) -> list[str]:
        """What the device computes in."""
        return ["f32", "tf32", "bf16"] if self.device == "cuda" else ["f32"]

    def worker(self, *words: object, most: float) -> str:
        return self.clock.run([self.binaries["trackscan-worker"], "--log", "warn", *words], most)

    def ours(self, example: str, *words: object, most: float) -> dict:
        return self.clock.json([self.binaries[example], *words], most)

    def theirs(self, *words: object, most: float) -> dict:
        return self.clock.json([sys.executable, PACKAGE, *words], most)

    def needs(self, *modules: str) -> None:
        """Says why, where the package's side lacks one of these."""
        lacks = self.package.get("lacks", {})
        for module in (*modules, "cuda"):
            if module in lacks:
                raise NotDone(f"{module}: {lacks[module]}")

    def needs_demucs(self) -> None:
        self.needs("demucs.htdemucs", "demucs.apply", "demucs.hf")

    def once(self, what: str, make: Callable[[], Path]) -> Path:
        """What is made for several phases; where it could not be, each hears why, and none tries again."""
        if what not in self.made:
            try:
                self.made[what] = make()
            except NotDone as reason:
                self.made[what] = NotDone(f"{what}: {reason}")
        made = self.made[what]
        if isinstance(made, NotDone):
            raise made
        return made

    def network(self) -> Path:
        """The folder with the full-size network, which only the package makes."""
        return self.once("full-size network", self.make_network)

    def make_network(self) -> Path:
        self.needs_demucs()
        folder = self.folder / "network"
        folder.mkdir()
        self.clock.run([sys.executable, NETWORK, "make", folder, TRACK_SAMPLES[self.device]], MAKE_SECONDS)
        return folder

    def full(self) -> Path:
        """The demonstration bundle with the full-size network as its residual."""
        return self.once("bundle of the full-size network", self.make_full)

    def make_full(self) -> Path:
        network = self.network() / "network.safetensors"
        trusted = (ROOT / "bundles/demo.pub").read_text().strip()
        folder = self.folder / "full"
        words = ["bundle", "convert", "--from", network, "--out", folder, "--base", DEMO, "--trusted-key", trusted]
        self.worker(*words, "--epsilon", "tf32=0.5,bf16=0.5", most=MAKE_SECONDS)
        allow_all(folder)
        return folder


def found_binaries(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Those that are there, and the names of those that are not."""
    paths = {name: folder / path for name, path in BINARIES.items()}
    missing = [str(path) for path in paths.values() if not os.access(path, os.X_OK)]
    return paths, missing


def beside(libraries: Path, binaries: dict[str, Path], folder: Path) -> dict[str, Path]:
    """Copies of the binaries that find libtorch in another folder than the one they were built with: they look into `../lib` too. An exported path
    would not do, since the worker's converter starts its reader without any."""
    (folder / "home/bin").mkdir(parents=True)
    (folder / "home/lib").symlink_to(libraries.resolve())
    return {name: Path(shutil.copy(path, folder / "home/bin" / name)) for name, path in binaries.items()}


def open_device(stand: Stand) -> None:
    """Names the device, copies the bundle that is measured, and asks what the package's side can do."""
    devices = json.loads(stand.worker("devices", most=LOAD_SECONDS))
    own = [device for device in devices if device["kind"] == stand.device]
    if not own:
        # What the worker says when it is made to use one tells why there is none.
        stand.worker("bench", DEMO, "--device", stand.device, "--seconds", 5, "--batches", 1, most=LOAD_SECONDS)
        raise NotDone(f"the worker finds no device of kind {stand.device}")
    stand.device_name, stand.memory_bytes = own[0]["name"], own[0]["memory_bytes"]
    stand.demo = Path(shutil.copytree(DEMO, stand.folder / "demo"))
    allow_all(stand.demo)
    try:
        stand.package = stand.theirs("probe", stand.device, most=LOAD_SECONDS)
    except NotDone as reason:
        lacks = dict.fromkeys(("demucs.htdemucs", "torchaudio", "cuda"), f"PyTorch does not load: {reason}")
        stand.package = {"torch": None, "lacks": lacks}


def allow_all(bundle: Path) -> None:
    """Lets the screen of a copied bundle run in every number format. Its signature no longer holds, which a bench does not look at."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["epsilon"] = {name: EPSILON if value is None else value for name, value in manifest["epsilon"].items()}
    path.write_text(json.dumps(manifest))
