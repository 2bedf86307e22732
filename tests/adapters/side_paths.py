"""Adapters of every kind with random weights, for tests."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sanakit.adapters.adapter import Adapter
from sanakit.adapters.side_paths import Full, Hadamard, Kronecker, LowRank, Place, SidePath
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

TINY = LinearDiTConfig(
    hidden_size=32, num_layers=2, cross_head_dim=16, in_channels=4, out_channels=4, caption_channels=12, sample_size=8
)


def network(config: LinearDiTConfig = TINY, seed: int = 0) -> LinearDiT:
    torch.manual_seed(seed)
    return LinearDiT(config).eval().requires_grad_(False)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) / shape[-1] ** 0.5


def low_rank(place: Place, seed: int, **more: object) -> SidePath:
    return LowRank(place, draw(3, place.in_features, seed=seed), draw(place.out_features, 3, seed=seed + 1), **more)


def dora(place: Place, seed: int) -> SidePath:
    return low_rank(place, seed, magnitude=1 + draw(place.out_features, seed=seed + 2).abs())


def hadamard(place: Place, seed: int, rank: int = 3) -> SidePath:
    sizes = [(place.out_features, rank), (rank, place.in_features)] * 2
    return Hadamard(place, tuple(draw(*size, seed=seed + i) for i, size in enumerate(sizes)), scale=4.0)


def wide_hadamard(place: Place, seed: int) -> SidePath:
    return hadamard(place, seed, rank=12)


def kronecker(place: Place, seed: int) -> SidePath:
    left = (draw(4, 2, seed=seed),)
    right = (draw(place.out_features // 4, 2, seed=seed + 1), draw(2, place.in_features // 2, seed=seed + 2))
    return Kronecker(place, left, right, scale=2.0)


def full(place: Place, seed: int) -> SidePath:
    return Full(place, draw(place.out_features, place.in_features, seed=seed))


KINDS: dict[str, Callable[[Place, int], SidePath]] = {
    "lora": lambda place, seed: low_rank(place, seed, scale=0.5),
    "dora": dora,
    "loha": hadamard,
    "wide loha": wide_hadamard,
    "lokr": kronecker,
    "full": full,
}
LAYERS = (
    "attention.qkv", "attention.out", "cross_attention.q", "cross_attention.kv", "cross_attention.out",
    "mix_ffn.expand", "mix_ffn.project",
)  # fmt: skip
OTHERS = ("caption_projection.linear_1", "time_embed.linear_2", "modulation", "patch_embed", "final")


def adapter(model: nn.Module, kind: str, *, seed: int = 0, layers: tuple[str, ...] = (*LAYERS, *OTHERS)) -> Adapter:
    """On all layers of the first block and on the others; of queries, keys and values only the middle."""
    names = [f"blocks.0.{name}" if name in LAYERS else name for name in layers]
    paths = {}
    for number, name in enumerate(names):
        weight = model.get_submodule(name).weight
        rows, columns = weight.shape[:2]
        start, rows = (rows // 3, rows // 3) if name.endswith("qkv") else (0, rows)
        place = Place(layer=name, start=start, out_features=rows, in_features=columns)
        paths[name] = KINDS[kind](place, 100 * seed + 10 * number)
    return Adapter(paths).eval().requires_grad_(False)
