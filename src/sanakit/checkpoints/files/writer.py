"""Writing weights: beside the target first, renamed into place when whole, so that nothing is ever half-written."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from sanakit.common.errors import OutputError, RequestError

MAX_SHARD_BYTES = 10_000_000_000  # diffusers' own limit


@contextmanager
def written_aside(target: Path, *, force: bool = False) -> Iterator[Path]:
    """A path to write a file or folder to, which takes the place of ``target`` when the block ends well.

    Raises:
        RequestError: ``target`` exists and ``force`` is not set.
        OutputError: the disk is full, or the place cannot be written; nothing is left behind.
    """
    if target.exists() and not force:
        raise RequestError(f"{target} exists already; choose another name, or force it to be replaced")
    building: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        yield building / target.name
        replace(building / target.name, target, aside=building / "replaced")
    except OSError as error:
        raise OutputError(f"{target} could not be written ({error.strerror or error})") from error
    except (SafetensorError, RuntimeError) as error:  # safetensors and torch wrap the system's error in their own
        if "os error" in str(error) or "inline_container" in str(error):
            reason = str(error).splitlines()[0]
            raise OutputError(f"{target} could not be written ({reason}); is the disk full?") from error
        raise
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)


def replace(finished: Path, target: Path, *, aside: Path) -> None:
    """Rename into place; a folder in the way is moved aside first, and back when the rename fails."""
    if not target.is_dir():
        os.replace(finished, target)
        return
    os.rename(target, aside)
    try:
        os.rename(finished, target)
    except OSError:
        os.rename(aside, target)
        raise


def write_weights(
    folder: Path,
    tensors: Mapping[str, Tensor],
    *,
    metadata: Mapping[str, str],
    stem: str = "diffusion_pytorch_model",
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write one component's safetensors into ``folder``, with an index when it takes several files."""
    shards = split_into_shards(tensors, max_shard_bytes)
    if len(shards) == 1:
        write_safetensors(folder / f"{stem}.safetensors", shards[0], metadata)
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"{stem}-{number:05d}-of-{len(shards):05d}.safetensors"
        write_safetensors(folder / name, shard, metadata)
        weight_map |= dict.fromkeys(shard, name)
    total = sum(num_bytes(tensor) for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(folder / f"{stem}.safetensors.index.json", index)


def split_into_shards(tensors: Mapping[str, Tensor], max_bytes: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    filled = 0
    for name, tensor in tensors.items():
        if shards[-1] and filled + num_bytes(tensor) > max_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor
        filled += num_bytes(tensor)
    return shards


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # ``format`` is what transformers and diffusers look for before they open a file.
    save_file(contiguous, path, metadata={"format": "pt", **metadata})
    path.chmod(0o644)  # safetensors makes files that nobody else may read


def write_torch(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Upstream's form: a ``torch.save`` archive with the weights under ``state_dict``."""
    torch.save({"state_dict": {name: own_storage(tensor.detach().cpu()) for name, tensor in tensors.items()}}, path)


def own_storage(tensor: Tensor) -> Tensor:
    """A copy if the tensor is a part of a larger piece of memory, all of which ``torch.save`` would write."""
    is_part = tensor.untyped_storage().nbytes() != num_bytes(tensor) or not tensor.is_contiguous()
    return tensor.clone(memory_format=torch.contiguous_format) if is_part else tensor


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def num_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
