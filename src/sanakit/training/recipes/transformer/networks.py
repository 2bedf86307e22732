"""Transformers of pictures and of clips, as a recipe may train either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sanakit.common.config import from_mapping
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.models.transformers.video_dit import VideoDiT, VideoDiTConfig

TransformerConfig = LinearDiTConfig | VideoDiTConfig


def build_transformer(config: TransformerConfig) -> LinearDiT | VideoDiT:
    """With weights of no meaning yet."""
    return VideoDiT(config) if isinstance(config, VideoDiTConfig) else LinearDiT(config)


def patch_of(network: LinearDiT | Any) -> int:
    """Positions of a side of the latent in a token."""
    patch = network.config.patch_size
    return patch if isinstance(patch, int) else max(patch[1:])


def network_of_mapping(config: Mapping[str, Any]) -> LinearDiT | Any:
    """The network of a config as plain values."""
    kind: type[Any] = VideoDiTConfig if "attention" in config else LinearDiTConfig
    return build_transformer(from_mapping(kind, config))


@torch.no_grad()
def begin_as_pictures_(network: VideoDiT, pictures: LinearDiT) -> tuple[str, ...]:
    """Take the weights of a network of pictures wherever one of clips has the same; the convolutions over time are
    zero. What the other lacks or has in another shape stays as it is.

    With the other's ``interpolation_scale`` a single frame becomes exactly what the other makes of a picture. Else
    places are told in another way (rotary instead of added), which a training must get over first.

    Returns:
        the names of the tensors that stayed.

    Source: SANA-Video, arXiv:2509.24695, section 3.3.
    """
    theirs = dict(pictures.state_dict())
    if network.config.patch_size[0] == 1:
        theirs["patch_embed.weight"] = theirs["patch_embed.weight"].reshape(
            *theirs["patch_embed.weight"].shape[:2], 1, *network.config.patch_size[1:]
        )
    own = network.state_dict()
    taken = {name: value for name, value in theirs.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict({**own, **taken})
    return tuple(name for name in own if name not in taken)


def with_given_frames(prepared: Condition, clean: Tensor | None) -> Condition:
    """``clean (B, T)`` bool of clips; None of what has no given frames."""
    return prepared if clean is None else replace(prepared, clean=clean.to(prepared.mask.device))


def draw_given_frames(latent: Tensor, generator: torch.Generator, share: float) -> Tensor | None:
    """Which frames of clips ``(B, C, T, h, w)`` are given: of a share of them the first; None where none is, and of
    pictures."""
    if share == 0 or latent.ndim != 5 or latent.shape[2] == 1:
        return None
    drawn = torch.rand(len(latent), generator=generator, device=generator.device) < share
    clean = torch.zeros(len(latent), latent.shape[2], dtype=torch.bool, device=drawn.device)
    clean[:, 0] = drawn
    return clean
