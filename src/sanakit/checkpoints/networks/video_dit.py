"""The video transformer in files: its names in diffusers and upstream, its ``config.json``, its config from shapes.

Most names are those of the image transformer.

Source: the table of NVlabs/Sana names against diffusers' ``SanaVideoTransformer3DModel``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sanakit.checkpoints.networks.config_fields import DIFFUSERS_VERSION, count, counts, number, require, sequence
from sanakit.checkpoints.networks.key_maps import Drop, KeyMap, Rename
from sanakit.checkpoints.networks.kind import Json, NetworkKind, Shapes
from sanakit.checkpoints.networks.linear_dit import (
    OVER_TIME,
    UPSTREAM_LINEAR_DIT,
    diffusers_linear_dit,
    sizes_in_shapes,
    width_in_json,
)
from sanakit.common.errors import CheckpointError
from sanakit.models.transformers.video_dit import TurnedLinearAttention, VideoDiT, VideoDiTConfig

# Fields that say the same as ours: our name, how it is read, the default of diffusers' class.
_FIELDS: dict[str, tuple[str, Callable[[Mapping[str, Any], str, Any], Any], Any]] = {
    "caption_channels": ("caption_channels", count, 2304),
    "cross_attention_head_dim": ("cross_head_dim", count, 112),
    "in_channels": ("in_channels", count, 16),
    "mlp_ratio": ("mlp_ratio", number, 2.5),
    "num_layers": ("num_layers", count, 20),
    "rope_max_seq_len": ("rope_max_length", count, 1024),
    "sample_size": ("sample_size", count, 30),
}
_BUILT_IN = {
    "attention_bias": False, "dropout": 0.0, "guidance_embeds": False, "norm_elementwise_affine": False,
    "norm_eps": 1e-6,
}  # fmt: skip
_CLASS, _OWN_CLASS = "SanaVideoTransformer3DModel", "SanakitVideoTransformer"
_HEAD_DIM = 112  # of every published one: shapes do not show how a width is split into heads
_TRAINED_SIDES = {"480p": 30, "720p": 22}  # of the grid of tokens, by what files are called

DIFFUSERS_VIDEO_DIT = KeyMap(
    layout="diffusers",
    rows=(
        Rename("patch_embed.{leaf}", "patch_embedding.{leaf}"),
        Rename("blocks.{n}.mix_ffn.temporal.{leaf}", "transformer_blocks.{n}.ff.conv_temp.{leaf}"),
        *diffusers_linear_dit(guidance_embeds=False).rows[1:],
    ),
)
UPSTREAM_VIDEO_DIT = KeyMap(
    layout="upstream",
    rows=(
        Rename("blocks.{n}.mix_ffn.temporal.{leaf}", "blocks.{n}.mlp.t_conv.{leaf}"),
        *UPSTREAM_LINEAR_DIT.rows,
        Drop("logvar_linear.{n}.{leaf}", "the loss weight of training is not used for clips"),
    ),
)


def find_video_dit_layout(names: Collection[str]) -> KeyMap | None:
    """The layout that a file's names are in, told by its convolution over time; None when it has none."""
    upstream, diffusers = (any(name.endswith(mark) for name in names) for mark in OVER_TIME)
    if upstream:
        return UPSTREAM_VIDEO_DIT
    if diffusers:
        return DIFFUSERS_VIDEO_DIT.whole if any(".to_qkv." in name for name in names) else DIFFUSERS_VIDEO_DIT
    return None


def video_dit_to_json(config: VideoDiTConfig) -> Json:
    """``config.json``; refuses what diffusers' class cannot express. It would ignore positions that are added, so that
    a network with them is called otherwise."""
    attention = config.attention
    if (attention.eps, attention.qk_norm_eps) != (1e-15, 1e-5):
        raise CheckpointError(
            f"eps={attention.eps} and qk_norm_eps={attention.qk_norm_eps} cannot be written: diffusers' transformer "
            f"has 1e-15 and 1e-05 built in"
        )
    fields = {
        **{theirs: getattr(config, ours) for theirs, (ours, _, _) in _FIELDS.items()},
        **_BUILT_IN,
        "_class_name": _CLASS if config.interpolation_scale is None else _OWN_CLASS,
        "_diffusers_version": DIFFUSERS_VERSION,
        "attention_head_dim": attention.head_dim,
        "cross_attention_dim": config.hidden_size,
        "guidance_embeds_scale": 0.1,
        "interpolation_scale": config.interpolation_scale,
        "num_attention_heads": config.hidden_size // attention.head_dim,
        "num_cross_attention_heads": config.hidden_size // config.cross_head_dim,
        "out_channels": config.out_channels,
        "patch_size": list(config.patch_size),
        "qk_norm": "rms_norm_across_heads" if attention.qk_norm else None,
    }
    return dict(sorted(fields.items()))


def _video_dit_from_json(fields: Mapping[str, Any]) -> VideoDiTConfig:
    """Our config; absent fields take the defaults of diffusers' class."""
    plain = {ours: read(fields, theirs, default) for theirs, (ours, read, default) in _FIELDS.items()}
    head_dim = count(fields, "attention_head_dim", _HEAD_DIM)
    hidden_size = width_in_json(fields, head_dim, plain["cross_head_dim"], heads=20)
    for name, value in _BUILT_IN.items():
        require(fields, name, value)
    if fields.get("qk_norm", "rms_norm_across_heads") is not None:
        require(fields, "qk_norm", "rms_norm_across_heads")
    patch = counts(fields, "patch_size", (1, 2, 2))
    if len(sequence("patch_size", patch)) != 3:
        raise CheckpointError(f"patch_size in config.json is {list(patch)}; it should be of frames, rows and columns")
    return VideoDiTConfig(
        **plain,
        hidden_size=hidden_size,
        attention=TurnedLinearAttention(
            head_dim=head_dim, qk_norm=fields.get("qk_norm", "rms_norm_across_heads") is not None
        ),
        out_channels=count(fields, "out_channels", 16) if fields.get("out_channels", 16) else plain["in_channels"],
        patch_size=(patch[0], patch[1], patch[2]),
        interpolation_scale=_interpolation_scale(fields),
    )


def _interpolation_scale(fields: Mapping[str, Any]) -> float | None:
    """Which diffusers' class has as a setting and does not follow."""
    given = fields.get("interpolation_scale")
    return None if given is None or fields.get("_class_name") == _CLASS else number(fields, "interpolation_scale", 1.0)


def infer_video_dit(shapes: Shapes, names: str = "") -> VideoDiTConfig:
    """The config of a transformer.

    Args:
        shapes: of its tensors, under our names.
        names: what the file and the source are called; the trained size shows there and nowhere else.

    Raises:
        CheckpointError: the shapes are those of no published size.
    """
    sizes, (time, height, width) = sizes_in_shapes(shapes, noun="SANA-Video transformer", axes=3)
    if (hidden_size := sizes["hidden_size"]) % _HEAD_DIM:
        raise CheckpointError(
            f"a width of {hidden_size} does not say how attention is split into heads (published models have heads "
            f"of {_HEAD_DIM}); keep the config.json of its folder beside the weights"
        )
    named = re.search("|".join(_TRAINED_SIDES), names, re.IGNORECASE)
    return VideoDiTConfig(
        **sizes,
        cross_head_dim=_HEAD_DIM,
        attention=TurnedLinearAttention(head_dim=_HEAD_DIM, qk_norm="blocks.0.attention.norm_q.weight" in shapes),
        patch_size=(time, height, width),
        sample_size=_TRAINED_SIDES[named[0].lower()] if named else 30 if height == 2 else 22,
    )


VIDEO_DIT = NetworkKind(
    component="transformer",
    folder="transformer",
    class_name=_CLASS,
    own_class=_OWN_CLASS,
    noun="SANA-Video transformer",
    build=VideoDiT,
    to_json=video_dit_to_json,
    from_json=_video_dit_from_json,
    read_shapes=infer_video_dit,
    layout_of=find_video_dit_layout,
    layouts=lambda config: {"diffusers": DIFFUSERS_VIDEO_DIT, "upstream": UPSTREAM_VIDEO_DIT},
)
