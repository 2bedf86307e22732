"""``torch.save`` archives: their tensors are read, and whatever else they hold is neither made nor run.

Training scripts save weights beside optimisers, arguments and the states of generators. torch's own weights-only reader
refuses a file with any of these; here every name that is not needed for a tensor is answered by ``_Unread``.
"""

from __future__ import annotations

import logging
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from sanakit.common.errors import CheckpointError

ARCHIVE, LEGACY = b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # how files of torch.save begin
_STATE_KEYS = ("state_dict", "state_dict_ema", "model_state_dict", "ema", "model")  # where training scripts put weights
_REBUILDS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter")  # of torch._utils
_SHOWN = 3

logger = logging.getLogger(__name__)


def read_torch(path: Path) -> dict[str, Tensor]:
    """The tensors of an archive, mapped from the disk; those of the form before it, which has its own first bytes, too.

    Raises:
        CheckpointError: it is cut short, no such file, or holds no tensors.
    """
    with path.open("rb") as file:
        is_archive = file.read(len(ARCHIVE)) == ARCHIVE
    if is_archive and not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is cut short: a torch.save archive has its index at the end; download it again")
    asked: list[str] = []
    try:
        content = _load_archive(path, asked) if is_archive else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch raises, the file is not one of tensors
        forbidden = re.search(r"GLOBAL (\S+)", str(error))
        reason = _told([forbidden[1]]) if forbidden else first_sentence(error)
        raise CheckpointError(f"{path} is not an archive of tensors ({reason}), and is not opened") from error
    tensors = find_state(content)
    if not tensors:
        remark = f"; {_told(asked)}" if asked else ""
        raise CheckpointError(f"{path} holds no tensors under any of {', '.join(_STATE_KEYS)}, or at its top{remark}")
    if asked:
        logger.info("only the tensors of %s are read: %s", path, _told(asked))
    return tensors


def _load_archive(path: Path, asked: list[str]) -> object:
    """With torch's weights-only reader; where that meets something else, with one that knows tensors alone.

    The first one also refuses TorchScript, which torch would run without looking at the second.
    """
    with warnings.catch_warnings(action="ignore"):  # of what the first one may not know
        try:
            return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except pickle.UnpicklingError:
            reader: Any = SimpleNamespace(Unpickler=_reader_of_tensors(asked), __name__=__name__)
            return torch.load(path, map_location="cpu", mmap=True, weights_only=False, pickle_module=reader)


def _told(names: list[str]) -> str:
    shown = sorted(set(names))
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return f"it asks for {', '.join(shown[:_SHOWN])}{more}, which may run code"


def _reader_of_tensors(asked: list[str]) -> type[pickle.Unpickler]:
    """An unpickler to which nothing is known but tensors; other names are put into ``asked``."""

    class TensorsOnly(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) == ("collections", "OrderedDict"):
                return _Maker(OrderedDict)
            if (module, name) == ("torch", "Size"):
                return _Maker(torch.Size)
            if module == "torch._utils" and name in _REBUILDS:
                return _Maker(getattr(torch._utils, name))
            if name == "UntypedStorage":
                return SimpleNamespace(dtype=torch.uint8)  # of tensors of newer types, which say their own
            found = getattr(torch, name, None) if module == "torch" else None
            if isinstance(found, torch.dtype):
                return found
            asked.append(f"{module}.{name}")
            return _Unread

    return TensorsOnly


class _Maker:
    """A function that an archive may call, and of which it cannot change anything."""

    __slots__ = ("__make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self.__make = make

    def __call__(self, *args: Any) -> Any:
        return self.__make(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes what it should only call")


class _Unread(dict[Any, Any]):
    """Stands for an object of any other class, whose contents it forgets unless they are entries of a mapping."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Unread:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __call__(self, *args: Any, **kwargs: Any) -> _Unread:
        return _Unread()

    def __setstate__(self, state: Any) -> None:
        """Forgets it."""

    def append(self, item: Any) -> None:
        """Forgets it."""

    add = extend = append
    __hash__ = object.__hash__  # type: ignore[assignment]  # a key of a mapping, as members of an Enum are


def find_state(content: object) -> dict[str, Tensor]:
    """The tensors of a training checkpoint, or of a bare state dict; empty when there are none."""
    if not isinstance(content, dict):
        return {}
    inner = next((content[key] for key in _STATE_KEYS if isinstance(content.get(key), dict)), content)
    return {name: value for name, value in inner.items() if isinstance(value, Tensor)}


def first_sentence(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0][:160]
