"""A network's config from the shapes of its tensors, for files that come without a ``config.json``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cache

import torch

from sanakit.common.errors import CheckpointError
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.models.presets import DC_AE_PRESETS
from sanakit.models.transformers.linear_dit import LinearDiTConfig

Shapes = Mapping[str, tuple[int, ...]]

CROSS_HEAD_DIMS = {1152: 72, 2240: 112}  # shapes do not show how cross-attention is split into heads
SIZES = {"512": 16, "1024": 32, "2k": 64, "4k": 128}  # side of the trained latent, by the name of a size
INTERPOLATION_SCALES = {64: 1.0, 128: 2.0}  # the trained sizes that have a positional embedding


def infer_linear_dit_config(
    shapes: Shapes, *, names: str = "", position_shape: tuple[int, ...] | None = None
) -> LinearDiTConfig:
    """The config of a transformer.

    Args:
        shapes: of its tensors, under our names.
        names: what the file and the source are called; the trained size shows there and nowhere else.
        position_shape: of the file's stored positional embedding ``(1, N, C)``, if it has one.

    Raises:
        CheckpointError: the shapes are those of no published size.
    """
    try:
        hidden_size, in_channels, patch_size, _ = shapes["patch_embed.weight"]
        caption_channels = shapes["caption_projection.linear_1.weight"][1]
        out_channels = shapes["final.weight"][0] // patch_size**2
        inner_size = shapes["blocks.0.mix_ffn.project.weight"][1]
        indices = {int(found[1]) for name in shapes if (found := re.match(r"blocks\.(\d+)\.", name))}
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"the file is no whole SANA transformer: {error} is not as it should be, so its size cannot be told"
        ) from error
    if hidden_size not in CROSS_HEAD_DIMS:
        known = " or ".join(map(str, CROSS_HEAD_DIMS))
        raise CheckpointError(
            f"a width of {hidden_size} does not say how cross-attention is split into heads (published models have "
            f"{known}); keep the config.json of its folder beside the weights"
        )
    sample_size = trained_side(names, position_shape, patch_size)
    return LinearDiTConfig(
        hidden_size=hidden_size,
        num_layers=max(indices) + 1,
        cross_head_dim=CROSS_HEAD_DIMS[hidden_size],
        in_channels=in_channels,
        out_channels=out_channels,
        patch_size=patch_size,
        caption_channels=caption_channels,
        mlp_ratio=inner_size / hidden_size,
        qk_norm="blocks.0.attention.norm_q.weight" in shapes,
        guidance_embeds="guidance_embed.linear_1.weight" in shapes,
        sample_size=sample_size,
        interpolation_scale=INTERPOLATION_SCALES.get(sample_size),
    )


def trained_side(names: str, position_shape: tuple[int, ...] | None, patch_size: int) -> int:
    """Side of the latent that a transformer was trained on: from its name, else its positions, else 32 (1024 px)."""
    if found := re.search(r"(512|1024|2k|4k)px", names, re.IGNORECASE):
        return SIZES[found[1].lower()]
    return round(position_shape[1] ** 0.5) * patch_size if position_shape else 32


def infer_dc_ae_config(shapes: Shapes, *, names: str = "") -> DCAutoencoderConfig:
    """The published variant whose tensors have these shapes; ``names`` decides between twins (``in`` and ``mix``)."""
    fitting = [name for name in DC_AE_PRESETS if preset_shapes(name) == shapes]
    if not fitting:
        raise CheckpointError(
            f"the autoencoder's {len(shapes)} tensors fit none of the published ones "
            f"({', '.join(DC_AE_PRESETS)}); keep the config.json of its folder beside the weights"
        )
    named = [name for name in fitting if name in names.lower()] or fitting
    configs = {DC_AE_PRESETS[name] for name in named}
    if len(configs) > 1:
        raise CheckpointError(
            f"the autoencoder may be {' or '.join(named)}, which differ in their scaling factor only; name the file "
            f"after the right one, or put its config.json beside it"
        )
    return configs.pop()


@cache
def preset_shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        state = DCAutoencoder(DC_AE_PRESETS[name]).state_dict()
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


# What other files of weights are told by: a piece of a tensor's name, and what has it. The first that fits is named.
MARKS = (
    ("lora_A", "a LoRA adapter"),
    ("lora_down", "a LoRA adapter"),
    ("controlnet_blocks", "a ControlNet"),
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
    ("adaln_single", "a PixArt transformer"),
    ("attn.qkv.bias", "a PixArt or DiT transformer"),
)


def looks_like(names: Collection[str]) -> str:
    """What a set of tensor names seems to be, for an error message."""
    for mark, description in MARKS:
        if any(mark in name for name in names):
            return f"it looks like {description}"
    return f"its first tensor is {min(names)}" if names else "it holds no tensors"
