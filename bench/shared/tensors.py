"""Tensors in files: safetensors with single-precision values, as the bundle's reader takes them, and bare samples."""

import json
import struct
from pathlib import Path

import numpy as np


def write(path: Path, tensors: dict[str, np.ndarray], texts: dict[str, str] | None = None) -> None:
    """`texts` goes to `__metadata__`."""
    header, data = {"__metadata__": texts} if texts else {}, []
    begin = 0
    for name, values in sorted(tensors.items()):
        raw = np.ascontiguousarray(values, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [begin, begin + len(raw)]}
        begin += len(raw)
        data.append(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))
