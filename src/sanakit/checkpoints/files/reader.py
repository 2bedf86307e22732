"""Reading files of weights: safetensors, and the tensors of ``torch.save`` archives. No code in a file is ever run.

The first bytes of a file decide what it is, never its name, so that a pickle called ``.safetensors`` is told by name.
Tensors are mapped from the disk, not copied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from sanakit.checkpoints.files.stored import Listed, Stored, StoredTensors
from sanakit.checkpoints.files.torch_archive import ARCHIVE, LEGACY, read_torch
from sanakit.checkpoints.files.weight_names import WEIGHT_SUFFIXES, index_names
from sanakit.common.config import json_values
from sanakit.common.errors import CheckpointError

_EXPECTED = "expected a safetensors file, or a .pth of tensors"
_MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format itself
_WRAPPERS = ("model.diffusion_model.", "diffusion_model.", "module.", "_orig_mod.", "model.")
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
    "BOOL": "bool", "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip

WeightFormat = Literal["safetensors", "torch"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What a header says of a tensor; ``dtype`` as torch spells it, without ``torch.``."""

    dtype: str
    shape: tuple[int, ...]
    num_bytes: int


@dataclass(frozen=True, slots=True)
class WeightHeader:
    """The table of contents of one or several files that hold one component: ``stored`` says where each tensor lies."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    stored: dict[str, Listed] = field(default_factory=dict)

    @property
    def place(self) -> Path:
        """The file, or the folder of several, for error messages."""
        return self.files[0] if len(self.files) == 1 else self.files[0].parent


def read_header(files: Sequence[Path]) -> WeightHeader:
    """Names, shapes and dtypes of a component; of a safetensors file only the header is read.

    Raises:
        CheckpointError: a file is missing, cut short, corrupt, or no file of weights.
    """
    header = WeightHeader({}, files=tuple(files))
    part: Mapping[str, Listed]
    for path in files:
        if _detect_format(path) == "safetensors":
            part, metadata = _read_safetensors_header(path)
            header.metadata.update(metadata)
        else:
            part = read_torch(path)
        if twice := header.stored.keys() & part.keys():
            raise CheckpointError(f"{path} holds {min(twice)}, which another file of the same model holds already")
        header.stored.update(part)
    stored = strip_wrapper(header.stored)
    return replace(header, stored=stored, tensors={name: info_of(each) for name, each in stored.items()})


def read_listed(header: WeightHeader) -> Mapping[str, Tensor]:
    """All tensors of a component whose header was read, without the names of wrapping modules; each is mapped from its
    file as it is asked for, which raises CheckpointError where the file has changed since."""
    return StoredTensors(header.stored)


def read_tensors(files: Sequence[Path]) -> dict[str, Tensor]:
    """All tensors of a component; errors are those of ``read_header``."""
    return dict(read_listed(read_header(files)))


def _detect_format(path: Path) -> WeightFormat:
    """Which kind of weights a file holds, told by its first bytes; everything else is refused by name."""
    start = _read_start(path)
    if start.startswith((ARCHIVE, LEGACY)):
        if path.suffix == ".safetensors":
            raise CheckpointError(f"{path} is a torch.save file under a false name; rename it to .pth to have it read")
        return "torch"
    for is_this, description in (
        (not start, "is empty (0 bytes)"),
        (start.startswith(b"version https://git-lfs"), "is a git-lfs pointer; run `git lfs pull` where it came from"),
        (start.lstrip()[:1] == b"<", "is a web page, so the download was answered by an error or a login page"),
        (start.startswith(b"GGUF"), "is a GGUF file"),
        (start[:1] == b"\x80" and start[8:9] != b"{", "is a bare pickle, which can run code when it is opened"),
    ):
        if is_this:
            raise CheckpointError(f"{path} {description}; {_EXPECTED}")
    if len(start) > 8 and start[8:9] == b"{":
        return "safetensors"
    raise CheckpointError(
        f"{path} starts with {start[:8]!r}, which is no file of weights or a corrupt one; {_EXPECTED}"
    )


def _read_start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except FileNotFoundError:
        raise missing(path, _EXPECTED) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); {_EXPECTED}") from error


def _read_safetensors_header(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """Tensors and metadata: the JSON at the start of the file, checked against the length of the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, _MAX_HEADER_BYTES):
            raise CheckpointError(
                f"{path} is cut short or corrupt: its header should take {length} bytes and {size - 8} are there"
            )
        text = file.read(length)
    corrupt = CheckpointError(f"{path} has a corrupt safetensors header; download it again")
    try:
        content: dict[str, Any] = json_values(text)
        metadata = content.pop("__metadata__", None) or {}
        end = max((entry["data_offsets"][1] for entry in content.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise corrupt from error
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(
            f"{path} has __metadata__ that is no mapping of texts, as the safetensors format has it; write it again "
            f"with the safetensors library"
        )
    if size != 8 + length + end:
        raise CheckpointError(
            f"{path} is cut short or corrupt: it should have {8 + length + end} bytes and has {size}; download it again"
        )
    try:
        return {name: _stored(path, 8 + length, entry) for name, entry in content.items()}, metadata
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise corrupt from error


def _stored(path: Path, begin: int, entry: Mapping[str, Any]) -> Stored:
    """By its entry in a header; ValueError where its place and its shape do not fit together."""
    (start, end), shape = entry["data_offsets"], tuple(entry["shape"])
    dtype, count = _DTYPES.get(entry["dtype"], entry["dtype"].lower()), math.prod(shape)
    itemsize = getattr(getattr(torch, dtype, None), "itemsize", None)
    fits = all(type(side) is int and side >= 0 for side in (start, *shape))
    if not fits or end < start or (itemsize not in (None, (end - start) / max(count, 1)) and count):
        raise ValueError(f"{shape} values of {dtype} do not take the bytes from {start} to {end}")
    stride = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return Stored(path=path, start=begin + start, count=count, dtype=dtype, shape=shape, stride=stride)


def info_of(stored: Listed) -> TensorInfo:
    """What a header says of it."""
    dtype = str(stored.dtype).removeprefix("torch.")
    itemsize = getattr(getattr(torch, dtype, None), "itemsize", 1)
    return TensorInfo(dtype, tuple(stored.shape), math.prod(stored.shape) * itemsize)


def strip_wrapper(tensors: dict[str, T]) -> dict[str, T]:
    """Remove the prefixes that all names share because the network was saved inside other modules."""
    for prefix in _WRAPPERS:
        if tensors and all(name.startswith(prefix) for name in tensors):
            return strip_wrapper({name.removeprefix(prefix): value for name, value in tensors.items()})
    return tensors


def find_weight_files(
    folder: Path, *, stem: str = "diffusion_pytorch_model", variant: str | None = None
) -> tuple[Path, ...]:
    """The files of one component: ``stem[.variant].safetensors`` (or ``.bin``, ``.pth``), or the shards of an index.

    Raises:
        CheckpointError: none is there; the sentence says which variants are.
    """
    dotted = f"{stem}.{variant}" if variant else stem
    for suffix in WEIGHT_SUFFIXES:
        for name in index_names(stem, variant, suffix):
            if is_there(folder / name):
                return _read_index(folder / name)
        if is_there(folder / f"{dotted}{suffix}"):
            return (folder / f"{dotted}{suffix}",)
    found = sorted(path.name for path in folder.glob(f"{stem}*"))
    wanted = f"variant={variant!r}" if variant else f"{stem}.safetensors"
    raise CheckpointError(f"{folder} has no weights for {wanted}; it holds {', '.join(found[:4]) or 'no such file'}")


def _read_index(index: Path) -> tuple[Path, ...]:
    """The shards named by an ``.index.json``, all of which must be there."""
    listed = read_json(index).get("weight_map")
    found = list(listed.values()) if isinstance(listed, dict) else []
    if not found or any(not isinstance(name, str) or Path(name).name != name for name in found):
        raise CheckpointError(f"{index} does not name the files of its shards; download it again")
    names = sorted(set(found))
    missing = [name for name in names if not is_there(index.parent / name)]
    if missing:
        raise CheckpointError(f"{index.parent} lacks {len(missing)} of {len(names)} shards, the first is {missing[0]}")
    return tuple(index.parent / name for name in names)


def is_there(path: Path) -> bool:
    """Whether it is a file.

    Raises:
        CheckpointError: it is a link to nothing, as in a cache that was moved or cleaned away.
    """
    return exists(path) and path.is_file()


def is_folder_there(path: Path) -> bool:
    """The same of a folder."""
    return exists(path) and path.is_dir()


def exists(path: Path) -> bool:
    """The same of either."""
    if path.is_symlink() and not path.exists():
        raise missing(path)
    return path.exists()


def missing(path: Path, remark: str = "") -> CheckpointError:
    """What to say of a file that does not exist; ``remark`` ends the sentence."""
    reason = "does not exist"
    if path.is_symlink():
        remark = "a cache that it leads into was moved or cleaned away; copy it from there as a file, or fetch it again"
        reason = f"is a link to {path.readlink()}, which is not there"
    return CheckpointError(f"{path} {reason}" + (f"; {remark}" if remark else ""))


def read_json(path: Path) -> dict[str, Any]:
    try:
        return parse_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error


def parse_json(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        content = json_values(text)
    except ValueError as error:
        raise CheckpointError(f"{where} is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{where} holds a {type(content).__name__} where a JSON object was expected")
    return content
