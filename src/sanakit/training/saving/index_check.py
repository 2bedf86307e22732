"""The index of a saved state is a pickle, as torch writes it: what it would do is read before any of it is done.

Only the classes that torch's own writer puts there are let through. What such a pickle could name beside them is code
that runs as the file is opened, so a run folder from somebody else is no more than numbers here.
"""

from __future__ import annotations

import pickletools
from pathlib import Path

from sanakit.common.errors import CheckpointError

_METADATA = (
    "Metadata", "TensorStorageMetadata", "TensorProperties", "_MEM_FORMAT_ENCODING", "ChunkStorageMetadata",
    "MetadataIndex", "StorageMeta",
)  # fmt: skip
_DTYPES = (
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int64", "int32", "int16", "int8",
    "uint8", "bool", "Size",
)  # fmt: skip
_NAMES = frozenset(
    {f"torch.distributed.checkpoint.metadata.{name}" for name in _METADATA}
    | {f"torch.{name}" for name in _DTYPES}
    | {f"pathlib.{name}" for name in ("PosixPath", "WindowsPath")}
    | {f"pathlib._local.{name}" for name in ("PosixPath", "WindowsPath")}
    | {"torch.distributed.checkpoint.filesystem._StorageInfo", "torch.serialization._get_layout"}
)
_TEXTS = frozenset({"SHORT_BINUNICODE", "BINUNICODE"})
_GETS = frozenset({"BINGET", "LONG_BINGET"})
# Those of the writer. None takes from the stack what it did not put there, so the two before a name are its two texts.
_PLAIN = frozenset({
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1",
    "BINFLOAT", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "APPEND", "APPENDS",
    "SETITEM", "SETITEMS", "REDUCE", "NEWOBJ", "BUILD",
})  # fmt: skip


def check_index(path: Path) -> None:
    """Raises CheckpointError for a file that would do more than hold an index of tensors."""
    texts: list[str | None] = []  # the last things that were put on the stack, where they are texts
    memo: list[str | None] = []
    try:
        for opcode, argument, _ in pickletools.genops(path.read_bytes()):
            if opcode.name in _TEXTS:
                texts.append(str(argument))
            elif opcode.name in _GETS:
                texts.append(memo[int(str(argument))])
            elif opcode.name == "MEMOIZE":
                memo.append(texts[-1] if texts else None)
            elif opcode.name == "STACK_GLOBAL":
                _check_name(texts[-2:], path)
                texts = []
            elif opcode.name in _PLAIN:
                texts = []
            else:
                raise CheckpointError(_refusal(path, f"uses {opcode.name}"))
    except (ValueError, IndexError) as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error


def _check_name(texts: list[str | None], path: Path) -> None:
    name = ".".join(map(str, texts))
    if len(texts) < 2 or name not in _NAMES:
        raise CheckpointError(_refusal(path, f"names {name}"))


def _refusal(path: Path, what: str) -> str:
    return (
        f"{path} {what}, which no saved state of a run needs and which could run code when it is opened; it is not "
        f"opened, so continue from a folder whose maker you know, or begin anew elsewhere"
    )
