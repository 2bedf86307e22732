"""``torch.save`` archives: their tensors are read, and whatever else they hold is neither made nor run.

Training scripts save weights beside optimisers, arguments and the states of generators, and torch's weights-only reader
refuses a file with any of these. Here the archive's instructions are followed one by one: they make plain values and
tensors, and every other name is answered by ``Unread``, which is nothing.
"""

from __future__ import annotations

import logging
import pickletools
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sanakit.checkpoints.files.instructions import Name, follow
from sanakit.checkpoints.files.stored import Stored
from sanakit.common.errors import CheckpointError, first_sentence
from sanakit.common.free_memory import refuse_lack

ARCHIVE, LEGACY = b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # how files of torch.save begin
_STATE_KEYS = ("state_dict", "state_dict_ema", "model_state_dict", "ema", "model")  # where training scripts put weights
_SHOWN = 3
_TYPES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128, "Untyped": torch.uint8,
}  # fmt: skip

logger = logging.getLogger(__name__)


def read_torch(path: Path) -> dict[str, Stored | Tensor]:
    """Where the tensors of an archive lie; those of the form before it, which begins otherwise, are read.

    Raises:
        CheckpointError: it is cut short, no such file, or holds no tensors.
    """
    with path.open("rb") as file:
        start = file.read(len(LEGACY))
    is_archive = start.startswith(ARCHIVE)
    if not is_archive and start != LEGACY:
        raise CheckpointError(f"{path} is cut short, or no file that torch.save wrote; download it again")
    if is_archive and not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is cut short: a torch.save archive has its index at the end; download it again")
    asked: list[str] = []
    try:
        if is_archive:
            with zipfile.ZipFile(path) as archive:
                content = _Archive(path, archive, asked).content()
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive fails anywhere
        refuse_lack(error)
        forbidden = re.search(r"GLOBAL (\S+)", str(error))
        reason = _told([forbidden[1]]) if forbidden else first_sentence(error)
        raise CheckpointError(
            f"{path} is not an archive of tensors ({reason}), or it is damaged, and is not opened"
        ) from error
    tensors = find_state(content)
    if not tensors:
        remark = f"; {_told(asked)}" if asked else ""
        raise CheckpointError(f"{path} holds no tensors under any of {', '.join(_STATE_KEYS)}, or at its top{remark}")
    if asked:
        logger.info("only the tensors of %s are read: %s", path, _told(asked))
    return tensors


class _Archive:
    """The members of an archive: ``data.pkl`` with the instructions, and ``data/0``, ``data/1``, ... with numbers."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, asked: list[str]) -> None:
        self.path, self.archive, self.asked = path, archive, asked
        found = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(found) != 1:
            raise ValueError(f"it has {len(found)} members called data.pkl, where torch writes one")
        self.root = found[0].removesuffix("data.pkl")
        if f"{self.root}byteorder" in archive.namelist() and self.read("byteorder") != b"little":
            raise ValueError("its numbers begin with their high bytes")
        self.makers: dict[str, Callable[..., Any]] = {
            "collections.OrderedDict": dict,
            "torch.Size": tuple,
            "torch._utils._rebuild_tensor": self.tensor,
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_tensor_v3": self.tensor_of_type,
            "torch._utils._rebuild_parameter": lambda tensor, *rest: tensor,
            "torch._utils._rebuild_parameter_with_state": lambda tensor, *rest: tensor,
            "torch._tensor._rebuild_from_type_v2": lambda name, kind, args, state: self.call(name, args),
        }

    def content(self) -> Any:
        return follow(pickletools.genops(self.read("data.pkl")), self.call, self.storage)

    def read(self, name: str) -> bytes:
        return self.archive.read(self.member(name))

    def member(self, name: str) -> zipfile.ZipInfo:
        """Of as many bytes as the file has for it: what is compressed could unpack to any number."""
        member = self.archive.getinfo(f"{self.root}{name}")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError("it was packed again, with compression")
        return member

    def call(self, name: Any, args: Any) -> Any:
        """What a name makes of its arguments; None where it is none that tensors need."""
        if isinstance(name, Name) and name.path in self.makers:
            return self.makers[name.path](*args)
        if isinstance(name, Name):
            self.asked.append(name.path)
        return None

    def storage(self, entry: Any) -> Stored:
        """The numbers of one or several tensors, in one dimension."""
        _, kind, key, _, count = entry
        dtype = _TYPES[kind.path.rsplit(".", 1)[-1].removesuffix("Storage")]
        member = self.member(f"data/{key}")
        if member.file_size != count * dtype.itemsize:
            raise ValueError(f"{member.filename} should have {count * dtype.itemsize} bytes")
        with self.path.open("rb") as file:
            file.seek(member.header_offset + 26)  # of the header before the numbers: lengths of its two last fields
            lengths = file.read(4)
        start = member.header_offset + 30 + sum(int.from_bytes(lengths[i : i + 2], "little") for i in (0, 2))
        name = str(dtype).removeprefix("torch.")
        return Stored(path=self.path, start=start, count=count, dtype=name, shape=(count,), stride=(1,))

    def tensor(self, numbers: Stored, offset: int, shape: Any, stride: Any, *rest: Any) -> Stored:
        stored = replace(numbers, offset=offset, shape=tuple(shape), stride=tuple(stride))
        stored.read()  # which refuses what lies outside
        return stored

    def tensor_of_type(self, numbers: Stored, offset: int, shape: Any, stride: Any, *rest: Any) -> Stored:
        """Of a type without a storage of its own, such as eight-bit floats: it is named after gradient and hooks."""
        name = rest[2].path.removeprefix("torch.")
        count = numbers.count * getattr(torch, numbers.dtype).itemsize // getattr(torch, name).itemsize
        return self.tensor(replace(numbers, dtype=name, count=count), offset, shape, stride)


def _told(names: list[str]) -> str:
    shown = sorted(set(names))
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return f"it asks for {', '.join(shown[:_SHOWN])}{more}, which may run code"


def find_state(content: object) -> dict[str, Stored | Tensor]:
    """The tensors of a training checkpoint, or of a bare state dict; empty when there are none."""
    if not isinstance(content, dict):
        return {}
    places = [*(content[key] for key in _STATE_KEYS if isinstance(content.get(key), dict)), content]
    found = ({name: value for name, value in place.items() if isinstance(value, (Stored, Tensor))} for place in places)
    return next(filter(None, found), {})
