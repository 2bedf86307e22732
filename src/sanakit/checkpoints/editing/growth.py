"""A deeper network from a trained one (SANA-1.5, arXiv:2501.18427, section 2.1): pure functions on its tensors.

Strategies, as the paper names them:

- ``partial-preservation``: the last blocks, which have specialised in the output, are dropped; the others are followed
  by new ones that add nothing to their input until they are trained. The one that the paper found stable.
- ``cyclic-replication``: block ``i`` is a copy of block ``i mod n``.
- ``block-expansion``: each block is followed by its own copies.

Tensors have our names. What is copied from a block that stays is the same tensor, not a copy of its memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, assert_never

import torch
from torch import Tensor

from sanakit.common.errors import RequestError
from sanakit.models.transformers.linear_dit import LinearDiTConfig

Strategy = Literal["partial-preservation", "cyclic-replication", "block-expansion"]
DROP_LAST = 2  # of 20 in the paper

_PROJECTIONS = ("attention.out.weight", "cross_attention.out.weight", "mix_ffn.project.weight")
_NORMS = tuple(f"{part}.{norm}.weight" for part in ("attention", "cross_attention") for norm in ("norm_q", "norm_k"))
_DEPTHWISE = "mix_ffn.depthwise.weight"


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowthConfig:
    """What is made of a trained network before it is trained further."""

    num_layers: int  # of the new network, more than the trained one's
    strategy: Strategy = "partial-preservation"
    drop_last: int = DROP_LAST  # trained blocks that partial-preservation leaves out; the other strategies keep all
    qk_norm: bool = False  # also add norms of queries and keys
    seed: int = 0  # of the new blocks' weights

    def grown_config(self, trained: LinearDiTConfig) -> LinearDiTConfig:
        """The config of the deeper network; raises as ``grow`` does."""
        self.origins(trained.num_layers)
        return replace(_with_qk_norm(trained) if self.qk_norm else trained, num_layers=self.num_layers)

    def origins(self, num_trained: int) -> tuple[int | None, ...]:
        """For each block of the deeper network the trained one that it copies, None for a new one.

        Raises:
            RequestError: a number of blocks that the strategy cannot reach.
        """
        num_layers, dropped = self.num_layers, self.drop_last
        if num_layers <= num_trained:
            raise RequestError(f"a network of {num_trained} blocks does not grow to {num_layers}; ask for more of them")
        match self.strategy:
            case "partial-preservation":
                if not 0 <= dropped < num_trained:
                    raise RequestError(
                        f"{dropped} of {num_trained} blocks cannot be dropped; give a number from 0 to "
                        f"{num_trained - 1}"
                    )
                kept = num_trained - dropped
                return (*range(kept), *(None for _ in range(num_layers - kept)))
            case "cyclic-replication":
                return tuple(index % num_trained for index in range(num_layers))
            case "block-expansion":
                if num_layers % num_trained:
                    raise RequestError(
                        f"block-expansion repeats each of {num_trained} blocks equally often, which {num_layers} is "
                        f"not; give a multiple of {num_trained}"
                    )
                return tuple(index // (num_layers // num_trained) for index in range(num_layers))
            case _:
                assert_never(self.strategy)


@dataclass(frozen=True, kw_only=True, slots=True)
class DerivedNetwork:
    """A network made from another one's tensors; ``origins`` says which block each of its blocks was, None if new."""

    config: LinearDiTConfig
    tensors: Mapping[str, Tensor]
    origins: tuple[int | None, ...]


def grow(tensors: Mapping[str, Tensor], config: LinearDiTConfig, growth: GrowthConfig) -> DerivedNetwork:
    """The deeper network.

    Args:
        tensors: of the trained network, under our names.
        config: of the trained network.
        growth: what is made of it.

    Raises:
        RequestError: a number of blocks that the strategy cannot reach, or norms that are there already.
    """
    if growth.qk_norm:
        normed = add_qk_norm(tensors, config)
        tensors, config = normed.tensors, normed.config
    origins = growth.origins(config.num_layers)
    generator = torch.Generator().manual_seed(growth.seed)
    grown, used = outside_blocks(tensors), set[int]()
    for index, origin in enumerate(origins):
        if origin is None:
            like = sorted(block_tensors(tensors, 0).items())
            block = {name: _initial(name, tensor, generator) for name, tensor in like}
        else:
            block = block_tensors(tensors, origin)
            if origin in used:
                block = {name: tensor.clone() for name, tensor in block.items()}  # files hold no tensor twice
            used.add(origin)
        grown |= {f"blocks.{index}.{name}": tensor for name, tensor in block.items()}
    return DerivedNetwork(config=replace(config, num_layers=growth.num_layers), tensors=grown, origins=origins)


def add_qk_norm(tensors: Mapping[str, Tensor], config: LinearDiTConfig) -> DerivedNetwork:
    """Norms of queries and keys with weights of one, as SANA-1.5 has them.

    This changes what the network computes: about a thousand steps of training bring it back (arXiv:2501.18427).

    Raises:
        RequestError: it has them already.
    """
    normed = _with_qk_norm(config)
    like = tensors["caption_norm.weight"]
    new = {
        f"blocks.{index}.{name}": like.new_ones(config.hidden_size)
        for index in range(config.num_layers)
        for name in _NORMS
    }
    origins = tuple(range(config.num_layers))
    return DerivedNetwork(config=normed, tensors={**tensors, **new}, origins=origins)


def _with_qk_norm(config: LinearDiTConfig) -> LinearDiTConfig:
    if config.qk_norm:
        raise RequestError("this network has norms of its queries and keys already; leave qk-norm out")
    return replace(config, qk_norm=True)


def keep_blocks(tensors: Mapping[str, Tensor], config: LinearDiTConfig, kept: tuple[int, ...]) -> DerivedNetwork:
    """The network of the blocks numbered in ``kept``, one after the other."""
    left = outside_blocks(tensors)
    for index, origin in enumerate(kept):
        left |= {f"blocks.{index}.{name}": tensor for name, tensor in block_tensors(tensors, origin).items()}
    return DerivedNetwork(config=replace(config, num_layers=len(kept)), tensors=left, origins=kept)


def block_tensors(tensors: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """The tensors of one block, named as within it."""
    prefix = f"blocks.{index}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def outside_blocks(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of everything but the blocks."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("blocks.")}


def _initial(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """A tensor of a block that adds zero to its input: all three of its branches end in a matrix of zeros.

    Norms are one and biases zero; depth-wise filters are drawn with a deviation of 0.2, all else with 0.02.
    """
    if name in _NORMS:
        return torch.ones_like(like)
    if name in _PROJECTIONS or name.endswith("bias"):
        return torch.zeros_like(like)
    deviation = 0.2 if name == _DEPTHWISE else 0.02
    return (torch.randn(like.shape, generator=generator) * deviation).to(like.dtype)
