"""Random weights with which every part of a network counts.

Weights as constructed hide work and errors: zero biases, unit norms and small gates make branches vanish, and two
implementations that differ there would agree. Here matrices keep the size of their input, and biases, norms, tables
and gates move off their defaults, so that each tensor moves the output.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from sanakit.checkpoints.networks.dc_ae import DC_AE
from sanakit.checkpoints.networks.kind import C, M, NetworkKind, NetworkState
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.quantization.quantize import quantize_
from sanakit.quantization.schemes import Scheme

SPREAD = 0.2
"""By which vectors move off their default."""


def random_transformer(config: LinearDiTConfig, seed: int, dtype: torch.dtype) -> NetworkState[Any, LinearDiT]:
    """Its tensors; ``built`` makes the network of them."""
    return _random_state(LINEAR_DIT, config, seed, dtype)


def random_autoencoder(config: DCAutoencoderConfig, seed: int, dtype: torch.dtype) -> NetworkState[Any, DCAutoencoder]:
    """Its tensors; ``built`` makes the network of them."""
    return _random_state(DC_AE, config, seed, dtype)


def built(state: NetworkState[Any, M], device: str, scheme: Scheme | None = None) -> M:
    """The network that holds these very tensors, as loading it from files would build it; in a scheme of fewer bits it
    holds new ones.

    Raises:
        RequestError: such a network cannot be quantized so.
    """
    tensors = {name: tensor.to(device) for name, tensor in state.tensors.items()}
    network = NetworkState(kind=state.kind, config=state.config, tensors=tensors).build()
    network.eval().requires_grad_(False)
    if scheme is not None:
        quantize_(network, scheme)
    return network


def _random_state(kind: NetworkKind[C, M], config: C, seed: int, dtype: torch.dtype) -> NetworkState[C, M]:
    tensors = {name: draw(name, shape, seed, dtype) for name, shape in kind.shapes(config).items()}
    return NetworkState(kind=kind, config=config, tensors=tensors)


def draw(name: str, shape: tuple[int, ...], seed: int, dtype: torch.dtype, *, norm: float = 1.0) -> Tensor:
    """A tensor by its name and shape, whatever is drawn beside it; ``norm`` is what weights of norms stand for 1 as."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))
    tensor = torch.empty(shape, dtype=dtype)
    if name.endswith("num_batches_tracked"):
        return torch.ones(shape, dtype=torch.int64)
    if name.endswith("scale_shift_table"):
        return tensor.normal_(0.0, SPREAD + shape[-1] ** -0.5, generator=generator)
    if tensor.ndim < 2:
        centre = norm if name.endswith(("weight", "running_var")) else 0.0
        return tensor.uniform_(-(3**0.5) * SPREAD, 3**0.5 * SPREAD, generator=generator).add_(centre)
    bound = (3 / tensor[0].numel()) ** 0.5
    return tensor.uniform_(-bound, bound, generator=generator)
