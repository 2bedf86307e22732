"""An adapter's file: its tensors by layer, whoever wrote it, and what it says of itself."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from sanakit.checkpoints.files.reader import parse_json, read_header, read_json, read_listed
from sanakit.checkpoints.networks.kind import FLOATING
from sanakit.common.errors import CheckpointError
from sanakit.common.paths import as_path

METADATA = "lora_adapter_metadata"
"""The entry of diffusers' files that holds PEFT's config, every setting behind ``transformer.``."""

NAMES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
"""Of the file in an adapter's folder, as diffusers and PEFT write it."""

_LEAVES = tuple(
    (re.compile(rf"(?P<layer>.+)\.(?:{pattern})"), part)
    for pattern, part in (
        (r"(?:lora_A|lora_down|lora\.down|lora_linear_layer\.down)(?:\.\w+)?\.weight", "down"),
        (r"(?:lora_B|lora_up|lora\.up|lora_linear_layer\.up)(?:\.\w+)?\.weight", "up"),
        (r"(?:lora_magnitude_vector|dora_scale)(?:\.\w+)*", "magnitude"),
        (r"(?P<part>hada_w[12]_[ab])(?:\.\w+)?", ""),
        (r"(?P<part>lokr_w[12](?:_[ab])?)(?:\.\w+)?", ""),
        (r"(?P<part>alpha|diff)", ""),
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterFile:
    """What a file holds, not matched to any network yet.

    Attributes:
        path: of the file.
        sha256: of its bytes.
        layers: the tensors of each layer that the file names, by what they are: ``down``, ``up``, ``alpha`` ...
        strange: names of tensors that are no part of a side path.
        spelling: whose names they are, in words.
        metadata: of the file.
        peft: settings of PEFT, inside the file or in ``adapter_config.json`` beside it.
    """

    path: Path
    sha256: str
    layers: Mapping[str, Mapping[str, Tensor]]
    strange: tuple[str, ...]
    spelling: str
    metadata: Mapping[str, str]
    peft: Mapping[str, Any]

    @property
    def tags(self) -> dict[str, str]:
        """Of its metadata, what galleries show."""
        return {name: text for name, text in self.metadata.items() if name.startswith(("ss_", "modelspec."))}

    def few(self, names: Sequence[str], count: int = 3) -> str:
        """The first of several names, for a sentence."""
        rest = len(names) - count
        return ", ".join(names[:count]) + (f" and {rest} more" if rest > 0 else "")


def find_adapter(source: str | Path) -> Path:
    """The file of an adapter: itself, or the one in its folder.

    Raises:
        CheckpointError: there is none, or it is no safetensors file.
    """
    path = as_path(source)
    if path.is_dir():
        found = [path / name for name in NAMES if (path / name).is_file()] or sorted(path.glob("*.safetensors"))
        if len(found) != 1:
            raise CheckpointError(f"{path} holds {len(found) or 'no'} adapters; name the .safetensors file")
        return found[0]
    if not path.is_file():
        raise CheckpointError(f"there is no adapter {path}; give a .safetensors file")
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path} is no .safetensors file; adapters of other kinds can run code and are not read")
    return path


def read_adapter(source: str | Path) -> AdapterFile:
    """Read a file, or the one in a folder; tensors stay mapped from it until they are used.

    Raises:
        CheckpointError: it cannot be read, holds no side path, or two under the names of one.
    """
    path = find_adapter(source)
    state = path.stat()
    return _read(path.absolute(), (state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=16)
def _read(path: Path, _state: tuple[int, int]) -> AdapterFile:
    header = read_header([path])
    tensors = read_listed(header)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    layers: dict[str, dict[str, Tensor]] = {}
    strange = []
    for name in tensors:
        found = next(((match, part) for pattern, part in _LEAVES if (match := pattern.fullmatch(name))), None)
        if found is None:
            strange.append(name)
            continue
        match, part = found
        part = part or match["part"]
        own = layers.setdefault(match["layer"], {})
        if part in own:
            raise CheckpointError(f"{path} holds two adapters ({name} is there under another name too); split them")
        if header.tensors[name].dtype not in FLOATING:
            raise CheckpointError(f"{path} holds {name} in {header.tensors[name].dtype}; an adapter has real numbers")
        own[part] = tensors[name]
    if not layers:
        raise CheckpointError(f"{path} holds no adapter: {', '.join(strange[:3]) or 'nothing'} is no side path")
    return AdapterFile(
        path=path,
        sha256=sha256,
        layers=layers,
        strange=tuple(strange),
        spelling=_spelling(_first_name(path)),
        metadata=header.metadata,
        peft=_peft_settings(path, header.metadata),
    )


def _first_name(path: Path) -> str:
    """As it is in the file, with what the names are wrapped in."""
    try:
        with safe_open(path, "pt") as file:
            return min(file.keys())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from None


def _spelling(name: str) -> str:
    starts = {
        "base_model.model.": "PEFT",
        "transformer.": "diffusers",
        "diffusion_model.": "ComfyUI",
        "lycoris_": "LyCORIS",
        "lora_": "kohya",
    }
    return next((whose for start, whose in starts.items() if name.startswith(start)), "plain names")


def _peft_settings(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if METADATA in metadata:
        settings = parse_json(metadata[METADATA], f"{METADATA} in {path}")
        return {name.removeprefix("transformer."): value for name, value in settings.items()}
    beside = path.with_name("adapter_config.json")
    return read_json(beside) if path.name == NAMES[1] and beside.is_file() else {}
