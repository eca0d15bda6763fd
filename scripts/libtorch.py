#!/usr/bin/env python3
"""Puts the pinned libtorch into `.libtorch`, where `.cargo/config.toml` points the build.

Called by `scripts/setup.sh` (`make setup`); may be called alone: `python3 scripts/libtorch.py [--device cuda]`.
The wheels of the Python registry are the source: each is named here with its SHA-256, fetched by `pip download` (so that
the operator's pip configuration, mirrors and proxies hold) into a cache outside the repository, checked, and unpacked as the
zip file that it is. No Python package is installed and no code of a wheel is run.

What lies in `.libtorch` afterwards:

    build-version   read by torch-sys, which refuses another version than its own
    include/        C++ headers for torch-sys's shim
    lib/            libtorch_cpu, libc10, libgomp, libcudart, libcupti; `libtorch.so` is a link to `libtorch_cpu.so`
    cuda/           with `--device cuda` only: libtorch_cuda and every NVIDIA library that it loads, flat, side by side
    licenses/       the licence texts that came with the wheels
    provisioned     one line per wheel unpacked; what a second run compares itself with

`cuda/` is apart from `lib/` because torch-sys links `torch_cuda` as soon as it sees it next to the others, and a worker linked
so no longer starts on a machine without a GPU. The libraries name `$ORIGIN` in their RPATH, so flat is how they find each other.
"""

import argparse
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent

# The version that tch 0.24 is made for; torch-sys compares it with its own constant.
TORCH = "2.11.0"

# Wheel file -> SHA-256, as the registry's index states them. The interpreter tag is fixed at cp311 because the libraries inside do not
# depend on it; whichever Python runs this script, the same bytes are fetched.
CPU_WHEELS = {
    "torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl": "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
    "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl": "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl": "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
}
# The versions that torch 2.11.0's metadata asks for, by way of cuda-toolkit 13.0.2.
CUDA_WHEELS = {
    "nvidia_cublas-13.1.0.3-py3-none-manylinux_2_27_x86_64.whl": "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171",
    "nvidia_cuda_nvrtc-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl": "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
    "nvidia_cudnn_cu13-9.19.0.56-py3-none-manylinux_2_27_x86_64.whl": "d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf",
    "nvidia_cufft-12.0.0.61-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl": "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
    "nvidia_cufile-1.15.1.6-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl": "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44",
    "nvidia_curand-10.4.0.35-py3-none-manylinux_2_27_x86_64.whl": "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc",
    "nvidia_cusolver-12.0.4.66-py3-none-manylinux_2_27_x86_64.whl": "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112",
    "nvidia_cusparse-12.6.3.3-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl": "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b",
    "nvidia_cusparselt_cu13-0.8.0-py3-none-manylinux2014_x86_64.whl": "25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd",
    "nvidia_nccl_cu13-2.28.9-py3-none-manylinux_2_18_x86_64.whl": "e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42",
    "nvidia_nvjitlink-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl": "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b",
    "nvidia_nvshmem_cu13-3.4.5-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl": "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80",
    "nvidia_nvtx-13.0.85-py3-none-manylinux1_x86_64.manylinux_2_5_x86_64.whl": "4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4",
}

# What the CPU subset takes from the libraries of its wheels; everything else in them serves Python or a GPU.
CPU_LIBRARIES = {"libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libcudart.so.13", "libcupti.so.13"}
# Libraries of the torch wheel that belong to Python, or that would pull torch_cuda in at link time.
UNUSED_LIBRARIES = {"libtorch.so", "libtorch_python.so", "libtorch_global_deps.so", "libshm.so"}

# Reads are cut into pieces of this size so that hashing a 500 MB wheel needs no memory to speak of.
PIECE = 1 << 20


class SetupError(Exception):
    """What went wrong and what the operator can do, in one text."""


def digest(path):
    """SHA-256 of a file, in hex."""
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            sha.update(piece)
    return sha.hexdigest()


def requirement(wheel):
    """`nvidia_nvtx-13.0.85-…` as pip names it: (`nvidia-nvtx==13.0.85`, its platform tags)."""
    name, version, *_, platforms = wheel.removesuffix(".whl").split("-")
    return f"{name.replace('_', '-')}=={version}", platforms.split(".")


def download(wheel, sha256, into, cache):
    """Lets pip fetch one wheel into a folder; pip itself refuses another digest than ours."""
    named, platforms = requirement(wheel)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pinned:
        pinned.write(f"{named} --hash=sha256:{sha256}\n")
        pinned.flush()
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--require-hashes"]
        command += ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"]
        command += [f"--platform={platform}" for platform in platforms]
        command += ["--dest", str(into), "--requirement", pinned.name]
        if subprocess.run(command).returncode != 0:
            raise SetupError(f"pip could not fetch {named}\n  fix: look at pip's words above; behind a mirror set it in pip's own"
                             f" configuration;\n       without a network put {wheel} into {cache}")


def fetch(wheel, sha256, cache):
    """The path of a wheel whose bytes are the pinned ones, from the cache or the registry."""
    path = cache / wheel
    if path.exists() and digest(path) == sha256:
        return path
    path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as fresh:
        download(wheel, sha256, fresh, cache)
        arrived = pathlib.Path(fresh, wheel)
        if not arrived.exists():
            raise SetupError(f"pip fetched something other than {wheel}: {sorted(os.listdir(fresh))}")
        if (got := digest(arrived)) != sha256:
            raise SetupError(f"{wheel} has SHA-256 {got}, expected {sha256}\n  fix: do not use this mirror until its owner explains that")
        arrived.rename(path)
    return path


def place(member, device):
    """Where a file of a wheel goes inside `.libtorch`, or None if it is not wanted."""
    path = pathlib.PurePosixPath(member)
    if member.startswith("torch/include/"):
        return "include" / path.relative_to("torch/include")
    if "licenses" in path.parts and ".dist-info" in path.parts[0]:
        return pathlib.PurePosixPath("licenses", path.parts[0].removesuffix(".dist-info"), path.name)
    if path.parent.name != "lib" or ".so" not in path.name or path.name in UNUSED_LIBRARIES:
        return None
    if path.name in CPU_LIBRARIES:
        return pathlib.PurePosixPath("lib", path.name)
    return pathlib.PurePosixPath("cuda", path.name) if device == "cuda" else None


def unpack(wheel, device, into):
    """Writes the wanted files of one wheel under `into`."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            target = None if member.is_dir() else place(member.filename, device)
            if target is None:
                continue
            path = into / target
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(path, "wb") as file:
                shutil.copyfileobj(source, file, PIECE)


def record(device, wheels):
    """The text of the `provisioned` file: equal texts mean that nothing is to be done."""
    lines = [f"device {device}"] + [f"{sha256} {wheel}" for wheel, sha256 in sorted(wheels.items())]
    return "\n".join(lines) + "\n"


def standing(home):
    """What an earlier run left in `.libtorch`, if it finished."""
    stamp = home / "provisioned"
    return stamp.read_text() if stamp.exists() and (home / "lib" / "libtorch_cpu.so").exists() else ""


def provision(device, home, cache):
    """Brings `home` to the pinned state; returns what was done, for the operator."""
    wheels = CPU_WHEELS | (CUDA_WHEELS if device == "cuda" else {})
    present = standing(home)
    if present in (record(device, wheels), record("cuda", CPU_WHEELS | CUDA_WHEELS)):
        return f"libtorch {TORCH} is there ({present.splitlines()[0]})"
    fresh = home.with_name(home.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    for wheel, sha256 in wheels.items():
        print(f"libtorch: {wheel}", flush=True)
        unpack(fetch(wheel, sha256, cache), device, fresh)
    (fresh / "lib" / "libtorch.so").symlink_to("libtorch_cpu.so")
    (fresh / "build-version").write_text(TORCH + "\n")
    (fresh / "provisioned").write_text(record(device, wheels))
    shutil.rmtree(home, ignore_errors=True)
    fresh.rename(home)
    return f"libtorch {TORCH} unpacked into {home} (device {device})"


def main():
    default_cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "trackscan", "wheels")
    options = argparse.ArgumentParser(description="unpack the pinned libtorch from the Python registry's wheels")
    options.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda adds 2.5 GB of downloads")
    options.add_argument("--home", type=pathlib.Path, default=REPOSITORY / ".libtorch", help="where it is unpacked")
    options.add_argument("--cache", type=pathlib.Path, default=default_cache, help="where fetched wheels are kept")
    chosen = options.parse_args()
    chosen.cache.mkdir(parents=True, exist_ok=True)
    with open(chosen.cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        print(provision(chosen.device, chosen.home, chosen.cache))


if __name__ == "__main__":
    try:
        main()
    except (SetupError, OSError, zipfile.BadZipFile) as error:
        sys.exit(f"error: {error}")
