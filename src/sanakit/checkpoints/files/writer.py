"""Writing weights; ``common/files.py`` sees to it that nothing is half-written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from sanakit.common.files import give_usual_rights, write_json

STEM = "diffusion_pytorch_model"
MAX_SHARD_BYTES = 10_000_000_000  # diffusers' own limit


def write_weights(folder: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write one component's safetensors into ``folder``, with an index when it takes several files."""
    shards = _split_into_shards(tensors)
    if len(shards) == 1:
        write_safetensors(folder / f"{STEM}.safetensors", shards[0], metadata)
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"{STEM}-{number:05d}-of-{len(shards):05d}.safetensors"
        write_safetensors(folder / name, shard, metadata)
        weight_map |= dict.fromkeys(shard, name)
    total = sum(_num_bytes(tensor) for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(folder / f"{STEM}.safetensors.index.json", index)


def _split_into_shards(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    filled = 0
    for name, tensor in tensors.items():
        if shards[-1] and filled + _num_bytes(tensor) > MAX_SHARD_BYTES:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor
        filled += _num_bytes(tensor)
    return shards


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """The same bytes for the same tensors and metadata, each time."""
    # ``format`` is what transformers and diffusers look for before they open a file.
    save_file(_apart(tensors), path, metadata={"format": "pt", **metadata})
    _sort_metadata(path)
    give_usual_rights(path)


def _sort_metadata(path: Path) -> None:
    """safetensors writes the entries of the metadata in another order each time; none of them changes its length."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(text) <= length, "safetensors writes its header in another way"
        file.seek(8)
        file.write(text.ljust(length))


def write_torch(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Upstream's form: a ``torch.save`` archive with the weights under ``state_dict``."""
    with path.open("wb") as file:  # of a path, torch writes the name into the file
        torch.save({"state_dict": _apart(tensors)}, file)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, each in a piece of memory of its own: not within a larger one, nor under two names."""
    seen: set[int] = set()
    apart: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu()
        place = tensor.untyped_storage().data_ptr()
        is_part = tensor.untyped_storage().nbytes() != _num_bytes(tensor) or not tensor.is_contiguous()
        apart[name] = tensor.clone(memory_format=torch.contiguous_format) if is_part or place in seen else tensor
        seen.add(place)
    return apart


def _num_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
