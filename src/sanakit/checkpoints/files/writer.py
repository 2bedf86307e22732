"""Writing weights; ``common/files.py`` sees to it that nothing is half-written."""

from __future__ import annotations

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
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # ``format`` is what transformers and diffusers look for before they open a file.
    save_file(contiguous, path, metadata={"format": "pt", **metadata})
    give_usual_rights(path)


def write_torch(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Upstream's form: a ``torch.save`` archive with the weights under ``state_dict``."""
    torch.save({"state_dict": {name: _own_storage(tensor.detach().cpu()) for name, tensor in tensors.items()}}, path)


def _own_storage(tensor: Tensor) -> Tensor:
    """A copy if the tensor is a part of a larger piece of memory, all of which ``torch.save`` would write."""
    is_part = tensor.untyped_storage().nbytes() != _num_bytes(tensor) or not tensor.is_contiguous()
    return tensor.clone(memory_format=torch.contiguous_format) if is_part else tensor


def _num_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
