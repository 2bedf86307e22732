"""What a model is, as a number: SHA-256 over the names, dtypes, shapes and bytes of its tensors.

Names are ours and in order, so a model has the same hash in one file or in shards, in diffusers' layout or upstream's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sanakit.checkpoints.identity.precision import COMPONENTS
from sanakit.checkpoints.networks.key_maps import Origin, rows_of

_CHUNK_BYTES = 1 << 24


def combined_hash(hashes: Mapping[str, str]) -> str:
    """One SHA-256 for a whole model of ``COMPONENTS``, whatever lies beside them; "" while one's is not known."""
    parts = [hashes.get(component, "") for component in COMPONENTS]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest() if all(parts) else ""


def hash_tensors(tensors: Mapping[str, Tensor], origins: Mapping[str, Origin] | None = None) -> str:
    """The content hash of a component, in hex.

    Args:
        tensors: as read from its files.
        origins: where each of our tensors lies in them; None for names that are kept, such as a text encoder's.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors if origins is None else origins):
        # parts whose rows, one after the other, are our tensor: nothing is copied
        parts = [tensors[name]] if origins is None else rows_of(tensors, origins[name])
        shape = list(parts[0].shape)
        shape = [sum(part.shape[0] for part in parts), *shape[1:]] if shape else shape
        dtype = str(parts[0].dtype).removeprefix("torch.")
        digest.update(f"{name} {dtype} {shape}\n".encode())
        for part in parts:
            _update_with_bytes(digest, part)
    return digest.hexdigest()


def hash_settings(settings: Any) -> str:
    """SHA-256 of plain values, such as the configs that decide beside the tensors what a network does."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


@torch.no_grad()
def sampled(tensors: Mapping[str, Tensor]) -> str:
    """A digest of the name, the shape and three values of every tensor: quick, and enough to notice other weights."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        flat = tensors[name].detach().reshape(-1)
        if flat.numel() and not flat.is_meta:
            values = flat[[0, len(flat) // 2, len(flat) - 1]].double().tolist()
            digest.update(f"{name} {list(tensors[name].shape)} {values}\n".encode())
    return digest.hexdigest()


def _update_with_bytes(digest: hashlib._Hash, tensor: Tensor) -> None:
    flat = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
    for start in range(0, flat.numel(), _CHUNK_BYTES):
        digest.update(flat[start : start + _CHUNK_BYTES].numpy().data)
