"""The kinds of networks whose weights are read and written. A new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from sanakit.checkpoints.networks.controlnet import DIFFUSERS_CONTROLNET, UPSTREAM_CONTROLNET
from sanakit.checkpoints.networks.dc_ae import DC_AE, DC_CLIP_AE
from sanakit.checkpoints.networks.dc_ae_v import DC_AE_V
from sanakit.checkpoints.networks.kind import NetworkKind
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.checkpoints.networks.ltx2 import LTX2
from sanakit.checkpoints.networks.refiner.latent_upsampler import LATENT_UPSAMPLER
from sanakit.checkpoints.networks.refiner.ltx2_connectors import LTX2_CONNECTORS
from sanakit.checkpoints.networks.refiner.ltx2_video import LTX2_VIDEO
from sanakit.checkpoints.networks.video_dit import VIDEO_DIT
from sanakit.checkpoints.networks.video_dit2 import VIDEO_DIT2
from sanakit.checkpoints.networks.wan import WAN

KINDS: tuple[NetworkKind[Any, Any], ...] = (
    LINEAR_DIT,
    VIDEO_DIT,
    VIDEO_DIT2,
    DC_AE,
    WAN,
    LTX2,
    DC_AE_V,
    LTX2_VIDEO,
    LTX2_CONNECTORS,
    LATENT_UPSAMPLER,
    DC_CLIP_AE,
    DIFFUSERS_CONTROLNET,
    UPSTREAM_CONTROLNET,
)


def kinds_of_names(names: Collection[str]) -> list[NetworkKind[Any, Any]]:
    """The kinds whose tensors a file's names are, in any layout; several where it holds as many networks."""
    return [kind for kind in KINDS if kind.layout_of(names) is not None]


def kind_of_class(class_name: object) -> NetworkKind[Any, Any] | None:
    """The kind that a ``config.json`` calls so."""
    return next((kind for kind in KINDS if kind.is_called(class_name)), None)


def kind_of_network(network: nn.Module) -> NetworkKind[Any, Any]:
    """The kind of a network in memory."""
    return next(kind for kind in KINDS if kind.build is type(network))


def kinds_by_folder() -> dict[str, tuple[NetworkKind[Any, Any], ...]]:
    """What each folder of a diffusers folder may hold."""
    return {each.folder: tuple(kind for kind in KINDS if kind.folder == each.folder) for each in KINDS}


def nouns(conjunction: str) -> str:
    """All of them in a sentence."""
    return conjunction.join(dict.fromkeys(kind.noun for kind in KINDS))


# What other files of weights are told by: a piece of a tensor's name, and what has it. The first that fits is named.
_MARKS = (
    ("lora_A", "a LoRA adapter"),
    ("lora_down", "a LoRA adapter"),
    ("quantization", "a quantized model"),
    ("qweight", "a quantized model"),
    ("joint_blocks", "a Stable Diffusion 3 transformer"),
    ("double_blocks", "a Flux transformer"),
    ("single_transformer_blocks", "a Flux transformer"),
    ("input_blocks", "a Stable Diffusion UNet"),
    ("up_blocks.0.attentions", "a Stable Diffusion UNet"),
    ("encoder.mid", "a KL autoencoder"),
    ("mid_block", "a UNet or a KL autoencoder"),
    ("self_attn.q_proj", "a language model"),
    ("prompt_adaln_single", "a transformer of LTX-2.3 or later"),
    ("video_aggregate_embed", "connectors of LTX-2.3 or later"),
    ("audio_vae.", "LTX-2's autoencoder of sound"),
    ("adaln_single", "a PixArt transformer"),
    ("attn.qkv.bias", "a PixArt or DiT transformer"),
)


def looks_like(names: Collection[str]) -> str:
    """What a set of tensor names seems to be, for an error message."""
    for mark, description in _MARKS:
        if any(mark in name for name in names):
            return f"it looks like {description}"
    return f"its first tensor is {min(names)}" if names else "it holds no tensors"
