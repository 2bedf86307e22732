"""Networks in the format of ncnn: a ``.param`` of text, a layer a line, and a ``.bin`` with their weights one by one.

Two kinds of layers have weights here. A ``Convolution`` begins with a word of 4 bytes that says how its weights are
stored (``HALF`` for float16, filled up to whole words of 4 bytes; 0 for float32) and ends with its float32 bias; a
``PReLU`` is its float32 slopes. Nothing follows the last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sanakit.common.errors import CheckpointError

MAGIC = "7767517"  # the first line of every .param
HALF = 0x01306B47
MAX_WEIGHTS = 1 << 28  # of one layer; beyond it a .param is damaged

_OUT, _KERNEL, _HAS_BIAS, _COUNT = 0, 1, 5, 6  # a convolution's settings, by number


@dataclass(frozen=True, kw_only=True, slots=True)
class NcnnLayer:
    """``kind`` as ncnn calls it, its settings by number, and its tensors: float16 or float32, ``(O, I, k, k)``."""

    kind: str
    settings: Mapping[int, float]
    tensors: Mapping[str, Tensor]


def read_ncnn(param: Path, weights: Path) -> list[NcnnLayer]:
    """The layers in the order in which they run.

    Raises:
        CheckpointError: a file cannot be read, is damaged, or has weights in another form.
    """
    try:
        lines, content = param.read_text(encoding="ascii").splitlines(), weights.read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{param.parent} holds no network of ncnn that can be read ({error})") from error
    if not lines or lines[0].strip() != MAGIC:
        raise CheckpointError(f"{param} does not begin with {MAGIC}, so it is no network of ncnn")
    reader = _WeightReader(content, weights)
    layers = [_layer(line.split(), reader) for line in lines[2:] if line.strip()]
    if reader.position != len(content):
        raise CheckpointError(f"{weights} has {len(content)} bytes and its network takes {reader.position}")
    return layers


class _WeightReader:
    """The bytes of a ``.bin``, taken from front to back."""

    def __init__(self, content: bytes, path: Path) -> None:
        self.content, self.path, self.position = content, path, 0

    def take(self, dtype: str, count: int) -> Tensor:
        """``(count,)``; what is stored takes whole words of 4 bytes."""
        size = np.dtype(dtype).itemsize * count
        end = self.position + math.ceil(size / 4) * 4
        if not 0 < count <= MAX_WEIGHTS or end > len(self.content):
            raise CheckpointError(f"{self.path} is damaged: it ends before its network's weights do")
        values = np.frombuffer(self.content, dtype, count, self.position)
        self.position = end
        return torch.from_numpy(values.astype(values.dtype.newbyteorder("=")))


def _layer(words: list[str], reader: _WeightReader) -> NcnnLayer:
    """From a line: kind, name, numbers of inputs and outputs, their names, settings as ``number=value``."""
    try:
        pairs = [word.split("=") for word in words[4 + int(words[2]) + int(words[3]) :]]
        settings = {int(number): float(value) for number, value in pairs}
    except (ValueError, IndexError):
        raise CheckpointError(f"{reader.path} cannot be read: {' '.join(words)[:80]!r} is no layer of ncnn") from None
    kind = words[0]
    tensors = dict(_tensors(kind, settings, reader))
    return NcnnLayer(kind=kind, settings=settings, tensors=tensors)


def _tensors(kind: str, settings: Mapping[int, float], reader: _WeightReader) -> Iterator[tuple[str, Tensor]]:
    out, count = int(settings.get(_OUT, 0)), int(settings.get(_COUNT, 0))
    if kind == "PReLU":
        yield "weight", reader.take("<f4", out)
    if kind == "Convolution":
        kernel = int(settings.get(_KERNEL, 0))
        form = int(reader.take("<u4", 1).item())
        if form not in (HALF, 0):
            raise CheckpointError(f"{reader.path} has weights in the form {form:#x}; float16 and float32 are read")
        weight = reader.take("<f2" if form == HALF else "<f4", count)
        if out < 1 or kernel < 1 or count % (out * kernel**2):
            raise CheckpointError(f"{reader.path}: {count} weights are no {kernel}x{kernel} kernels of {out} channels")
        yield "weight", weight.view(out, -1, kernel, kernel)
        if settings.get(_HAS_BIAS):
            yield "bias", reader.take("<f4", out)
