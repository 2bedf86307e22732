"""The same networks in diffusers, on the same memory. The one place of the package that imports diffusers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from sanakit.checkpoints.networks.kind import NetworkState


def peer_version() -> str | None:
    """Of diffusers; None where it is not installed."""
    return version("diffusers") if importlib.util.find_spec("diffusers") is not None else None


def peer_network(state: NetworkState[Any, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """diffusers' class of that kind of network over ``tensors`` under our names: its parameters are views of them.

    Raises:
        CheckpointError: the class cannot compute what this config says.
    """
    import diffusers

    build: Callable[..., nn.Module] = getattr(diffusers, state.kind.class_name)
    fields = {name: value for name, value in state.kind.to_json(state.config).items() if not name.startswith("_")}
    with torch.device("meta"):
        network = build(**fields)
    theirs = state.kind.layouts(state.config)["diffusers"].from_ours(tensors)
    network.load_state_dict(theirs, strict=True, assign=True)
    if any(buffer.is_meta for buffer in network.buffers()):  # not in files: positions
        _fill_buffers(network, build(**fields | {"num_layers": 1}))
    return network.eval().requires_grad_(False)


def _fill_buffers(network: nn.Module, small: nn.Module) -> None:
    like = next(network.parameters())
    for name, buffer in small.named_buffers():
        owner, _, leaf = name.rpartition(".")
        network.get_submodule(owner).register_buffer(leaf, buffer.to(like), persistent=False)
