"""The linear transformer in files: its names in diffusers and upstream, its ``config.json``, its config from shapes.

Source: the table of NVlabs/Sana names against diffusers' ``SanaTransformer2DModel``; values are the same in all
layouts, only fused projections are split and 1x1 convolutions lose their two axes of length 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sanakit.checkpoints.networks.config_fields import DIFFUSERS_VERSION, MAX_COUNT, count, flag, number, require
from sanakit.checkpoints.networks.key_maps import Drop, Fuse, KeyMap, Pointwise, Rename, Row
from sanakit.checkpoints.networks.kind import Json, NetworkKind, Shapes
from sanakit.common.errors import CheckpointError
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

# Fields that say the same as ours: our name, how it is read, the default of diffusers' class (that of the 1.6B model).
_FIELDS: dict[str, tuple[str, Callable[[Mapping[str, Any], str, Any], Any], Any]] = {
    "attention_head_dim": ("head_dim", count, 32),
    "caption_channels": ("caption_channels", count, 2304),
    "cross_attention_head_dim": ("cross_head_dim", count, 112),
    "guidance_embeds": ("guidance_embeds", flag, False),
    "guidance_embeds_scale": ("guidance_scale_factor", number, 0.1),
    "in_channels": ("in_channels", count, 32),
    "mlp_ratio": ("mlp_ratio", number, 2.5),
    "num_layers": ("num_layers", count, 20),
    "patch_size": ("patch_size", count, 1),
    "sample_size": ("sample_size", count, 32),
    "timestep_scale": ("timestep_scale", number, 1.0),
}
_SPRINT_TIME = 0.001  # Sprint's pipelines tell their network the noise level itself, and not 1000 times it
_BUILT_IN = {"attention_bias": False, "norm_elementwise_affine": False, "norm_eps": 1e-6}
_CROSS_HEAD_DIMS = {1152: 72, 2240: 112}  # shapes do not show how cross-attention is split into heads
_SIZES = {"512": 16, "1024": 32, "2k": 64, "4k": 128}  # side of the trained latent, by the name of a size
_INTERPOLATION_SCALES = {64: 1.0, 128: 2.0}  # the trained sizes that have a positional embedding
_RECOMPUTED_POSITIONS = Drop("pos_embed", "the positional embedding is computed from the size of the picture")


def diffusers_linear_dit(*, guidance_embeds: bool) -> KeyMap:
    """``SanaTransformer2DModel``; with a guidance embedder (Sprint) its time embedder moves one level up."""
    time = "time_embed" if guidance_embeds else "time_embed.emb"
    guidance: tuple[Row, ...] = (
        Rename("guidance_embed.linear_{i}.{leaf}", "time_embed.guidance_embedder.linear_{i}.{leaf}"),
    )
    return KeyMap(
        layout="diffusers",
        rows=(
            Rename("patch_embed.{leaf}", "patch_embed.proj.{leaf}"),
            Rename("time_embed.linear_{i}.{leaf}", time + ".timestep_embedder.linear_{i}.{leaf}"),
            *(guidance if guidance_embeds else ()),
            Rename("modulation.{leaf}", "time_embed.linear.{leaf}"),
            Rename("caption_projection.linear_{i}.{leaf}", "caption_projection.linear_{i}.{leaf}"),
            Rename("caption_norm.weight", "caption_norm.weight"),
            Rename("blocks.{n}.scale_shift_table", "transformer_blocks.{n}.scale_shift_table"),
            Fuse("blocks.{n}.attention.qkv.{leaf}", _diffusers_rows("attn1", "to_q", "to_k", "to_v")),
            Rename("blocks.{n}.attention.norm_q.{leaf}", "transformer_blocks.{n}.attn1.norm_q.{leaf}"),
            Rename("blocks.{n}.attention.norm_k.{leaf}", "transformer_blocks.{n}.attn1.norm_k.{leaf}"),
            Rename("blocks.{n}.attention.out.{leaf}", "transformer_blocks.{n}.attn1.to_out.0.{leaf}"),
            Rename("blocks.{n}.cross_attention.q.{leaf}", "transformer_blocks.{n}.attn2.to_q.{leaf}"),
            Fuse("blocks.{n}.cross_attention.kv.{leaf}", _diffusers_rows("attn2", "to_k", "to_v")),
            Rename("blocks.{n}.cross_attention.norm_q.{leaf}", "transformer_blocks.{n}.attn2.norm_q.{leaf}"),
            Rename("blocks.{n}.cross_attention.norm_k.{leaf}", "transformer_blocks.{n}.attn2.norm_k.{leaf}"),
            Rename("blocks.{n}.cross_attention.out.{leaf}", "transformer_blocks.{n}.attn2.to_out.0.{leaf}"),
            Pointwise("blocks.{n}.mix_ffn.expand.{leaf}", "transformer_blocks.{n}.ff.conv_inverted.{leaf}"),
            Rename("blocks.{n}.mix_ffn.depthwise.{leaf}", "transformer_blocks.{n}.ff.conv_depth.{leaf}"),
            Pointwise("blocks.{n}.mix_ffn.project.{leaf}", "transformer_blocks.{n}.ff.conv_point.{leaf}"),
            Rename("final_scale_shift_table", "scale_shift_table"),
            Rename("final.{leaf}", "proj_out.{leaf}"),
            Drop("patch_embed.pos_embed", _RECOMPUTED_POSITIONS.reason),
        ),
    )


def upstream_blocks(theirs: str) -> tuple[Row, ...]:
    """Rows of the blocks under a name of upstream's."""
    return (
        Rename("blocks.{n}.scale_shift_table", theirs + ".scale_shift_table"),
        Rename("blocks.{n}.attention.qkv.{leaf}", theirs + ".attn.qkv.{leaf}"),
        Rename("blocks.{n}.attention.norm_q.{leaf}", theirs + ".attn.q_norm.{leaf}"),
        Rename("blocks.{n}.attention.norm_k.{leaf}", theirs + ".attn.k_norm.{leaf}"),
        Rename("blocks.{n}.attention.out.{leaf}", theirs + ".attn.proj.{leaf}"),
        Rename("blocks.{n}.cross_attention.q.{leaf}", theirs + ".cross_attn.q_linear.{leaf}"),
        Rename("blocks.{n}.cross_attention.kv.{leaf}", theirs + ".cross_attn.kv_linear.{leaf}"),
        Rename("blocks.{n}.cross_attention.norm_q.{leaf}", theirs + ".cross_attn.q_norm.{leaf}"),
        Rename("blocks.{n}.cross_attention.norm_k.{leaf}", theirs + ".cross_attn.k_norm.{leaf}"),
        Rename("blocks.{n}.cross_attention.out.{leaf}", theirs + ".cross_attn.proj.{leaf}"),
        Pointwise("blocks.{n}.mix_ffn.expand.{leaf}", theirs + ".mlp.inverted_conv.conv.{leaf}"),
        Rename("blocks.{n}.mix_ffn.depthwise.{leaf}", theirs + ".mlp.depth_conv.conv.{leaf}"),
        Pointwise("blocks.{n}.mix_ffn.project.{leaf}", theirs + ".mlp.point_conv.conv.{leaf}"),
    )


COPIED = "controlnet.{n}.copied_block"
OVER_TIME = (".mlp.t_conv.weight", ".ff.conv_temp.weight")
"""What the video transformer has beside these names, upstream and in diffusers."""
OF_DEPTH = "attn_res.final_proj.weight"
"""What that of SANA-Video 2.0 has."""
OF_CONTROLNET = "it is of the ControlNet that the file holds too"

UPSTREAM_LINEAR_DIT = KeyMap(
    layout="upstream",
    rows=(
        Rename("patch_embed.{leaf}", "x_embedder.proj.{leaf}"),
        Rename("time_embed.linear_1.{leaf}", "t_embedder.mlp.0.{leaf}"),
        Rename("time_embed.linear_2.{leaf}", "t_embedder.mlp.2.{leaf}"),
        Rename("guidance_embed.linear_1.{leaf}", "cfg_embedder.mlp.0.{leaf}"),
        Rename("guidance_embed.linear_2.{leaf}", "cfg_embedder.mlp.2.{leaf}"),
        Rename("modulation.{leaf}", "t_block.1.{leaf}"),
        Rename("caption_projection.linear_1.{leaf}", "y_embedder.y_proj.fc1.{leaf}"),
        Rename("caption_projection.linear_2.{leaf}", "y_embedder.y_proj.fc2.{leaf}"),
        Rename("caption_norm.weight", "attention_y_norm.weight"),
        *upstream_blocks("blocks.{n}"),
        Rename("final_scale_shift_table", "final_layer.scale_shift_table"),
        Rename("final.{leaf}", "final_layer.linear.{leaf}"),
        _RECOMPUTED_POSITIONS,
        Drop(
            "y_embedder.y_embedding",
            "the null caption is the text encoder's answer to an empty prompt",
            unwritten="upstream fills it from its text encoder as it starts",
        ),
        Drop("logvar_linear.{leaf}", "the loss weight of Sprint's training is not used for pictures"),
        *(Drop(f"controlnet.{{n}}.{name}.{{leaf}}", OF_CONTROLNET) for name in ("before_proj", "after_proj")),
        *(Drop(str(row.theirs), OF_CONTROLNET) for row in upstream_blocks(COPIED)),
    ),
)


def _diffusers_rows(attention: str, *projections: str) -> tuple[str, ...]:
    return tuple(f"transformer_blocks.{{n}}.{attention}.{projection}.{{leaf}}" for projection in projections)


def find_linear_dit_layout(names: Collection[str]) -> KeyMap | None:
    """The layout that a file's names are in, told by its patch embedding; None when it is no such transformer."""
    if OF_DEPTH in names or any(name.endswith(OVER_TIME) for name in names):
        return None
    if any(name.startswith("x_embedder.proj.") for name in names):
        return UPSTREAM_LINEAR_DIT
    if any(name.startswith("controlnet_blocks.") for name in names):
        return None
    if any(name.startswith("transformer_blocks.") for name in names) and "caption_norm.weight" in names:
        layout = diffusers_linear_dit(guidance_embeds=any(".guidance_embedder." in name for name in names))
        return layout.whole if any(".to_qkv." in name for name in names) else layout
    return None


def linear_dit_to_json(config: LinearDiTConfig) -> Json:
    """``SanaTransformer2DModel``'s ``config.json``; refuses what that class cannot express."""
    for name, theirs in (("attention_eps", 1e-15), ("qk_norm_eps", 1e-5)):
        if getattr(config, name) != theirs:
            raise CheckpointError(
                f"{name}={getattr(config, name)} cannot be written: diffusers' transformer has {theirs} built in"
            )
    unit = _SPRINT_TIME if config.guidance_embeds else 1.0
    fields = {
        **{theirs: getattr(config, ours) for theirs, (ours, _, _) in _FIELDS.items()},
        **_BUILT_IN,
        "timestep_scale": config.timestep_scale / unit,
        "_class_name": "SanaTransformer2DModel",
        "_diffusers_version": DIFFUSERS_VERSION,
        "cross_attention_dim": config.hidden_size,
        "dropout": 0.0,
        "interpolation_scale": config.interpolation_scale,
        "num_attention_heads": config.hidden_size // config.head_dim,
        "num_cross_attention_heads": config.hidden_size // config.cross_head_dim,
        "out_channels": config.out_channels,
        "qk_norm": "rms_norm_across_heads" if config.qk_norm else None,
    }
    return dict(sorted(fields.items()))


def linear_dit_from_json(fields: Mapping[str, Any]) -> LinearDiTConfig:
    """Our config; absent fields take the defaults of diffusers' class."""
    plain = {ours: read(fields, theirs, default) for theirs, (ours, read, default) in _FIELDS.items()}
    if plain["guidance_embeds"]:
        plain["timestep_scale"] *= _SPRINT_TIME
    hidden_size = width_in_json(fields, plain["head_dim"], plain["cross_head_dim"], heads=70)
    for name, value in _BUILT_IN.items():
        require(fields, name, value)
    if fields.get("qk_norm") not in (None, "rms_norm_across_heads"):
        require(fields, "qk_norm", "rms_norm_across_heads")
    is_positioned = fields.get("interpolation_scale") is not None
    return LinearDiTConfig(
        **plain,
        hidden_size=hidden_size,
        out_channels=count(fields, "out_channels", 32) if fields.get("out_channels", 32) else plain["in_channels"],
        qk_norm=fields.get("qk_norm") is not None,
        interpolation_scale=number(fields, "interpolation_scale", 1.0) if is_positioned else None,
    )


def width_in_json(fields: Mapping[str, Any], head_dim: int, cross_head_dim: int, *, heads: int) -> int:
    """The width that a ``config.json`` tells, of ``heads`` where it tells none; what follows from it must fit."""
    width = count(fields, "num_attention_heads", heads) * head_dim
    if width > MAX_COUNT:
        raise CheckpointError(f"num_attention_heads in config.json gives a width of {width}, above {MAX_COUNT}")
    require(fields, "cross_attention_dim", width, default=2240)
    require(fields, "num_cross_attention_heads", width // cross_head_dim, default=20)
    return width


def infer_linear_dit(shapes: Shapes, names: str = "") -> LinearDiTConfig:
    """The config of a transformer.

    Args:
        shapes: of its tensors, under our names, and of a stored positional embedding ``(1, N, C)``.
        names: what the file and the source are called; the trained size shows there and nowhere else.

    Raises:
        CheckpointError: the shapes are those of no published size.
    """
    sizes, (patch_size, _) = sizes_in_shapes(shapes, noun="SANA transformer", axes=2)
    sample_size = _trained_side(names, shapes, patch_size)
    return LinearDiTConfig(
        **sizes,
        cross_head_dim=cross_head_dim_of(sizes["hidden_size"]),
        patch_size=patch_size,
        qk_norm="blocks.0.attention.norm_q.weight" in shapes,
        guidance_embeds=(is_sprint := "guidance_embed.linear_1.weight" in shapes),
        timestep_scale=_SPRINT_TIME if is_sprint else 1.0,
        sample_size=sample_size,
        interpolation_scale=_INTERPOLATION_SCALES.get(sample_size),
    )


def sizes_in_shapes(shapes: Shapes, *, noun: str, axes: int) -> tuple[dict[str, Any], tuple[int, ...]]:
    """What tensors of a transformer say by their shapes alone: fields of its config, and its patch of so many axes.

    Raises:
        CheckpointError: one is missing, or has another shape.
    """
    try:
        hidden_size, in_channels, *patch = shapes["patch_embed.weight"]
        if len(patch) != axes:
            raise ValueError("patch_embed.weight")
        sizes = {
            "hidden_size": hidden_size,
            "in_channels": in_channels,
            "caption_channels": shapes["caption_projection.linear_1.weight"][1],
            "out_channels": shapes["final.weight"][0] // math.prod(patch),
            "mlp_ratio": shapes["blocks.0.mix_ffn.project.weight"][1] / hidden_size,
            "num_layers": 1 + max(int(found[1]) for name in shapes if (found := re.match(r"blocks\.(\d+)\.", name))),
        }
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"the file is no whole {noun}: {error} is not as it should be, so its size cannot be told"
        ) from error
    return sizes, tuple(patch)


def cross_head_dim_of(hidden_size: int) -> int:
    """Channels of a head of cross-attention, which shapes do not show; raises CheckpointError for a width that no
    published model has."""
    if hidden_size not in _CROSS_HEAD_DIMS:
        known = " or ".join(map(str, _CROSS_HEAD_DIMS))
        raise CheckpointError(
            f"a width of {hidden_size} does not say how cross-attention is split into heads (published models have "
            f"{known}); keep the config.json of its folder beside the weights"
        )
    return _CROSS_HEAD_DIMS[hidden_size]


def _trained_side(names: str, shapes: Shapes, patch_size: int) -> int:
    """Side of the latent that a transformer was trained on: from its name, else its positions, else 32 (1024 px)."""
    if found := re.search(r"(512|1024|2k|4k)px", names, re.IGNORECASE):
        return _SIZES[found[1].lower()]
    stored = shapes.get("pos_embed") or shapes.get("patch_embed.pos_embed") or ()
    return round(stored[1] ** 0.5) * patch_size if len(stored) == 3 else 32


def _is_norm(name: str) -> bool:
    return any(mark in name for mark in ("norm_q", "norm_k", "q_norm", "k_norm"))


def _diagnose(found: Sequence[str], missing: Sequence[str], strangers: Sequence[str]) -> str:
    if strangers and all(map(_is_norm, strangers)):
        return "it has query and key norms, as SANA-1.5 has, and its config says that it has none"
    if missing and all(map(_is_norm, missing)) and not any(map(_is_norm, found)):
        return "it lacks query and key norms, as SANA 1.0 does, and its config says that it has them"
    if any("guidance" in name or "cfg_embedder" in name for name in (*missing, *strangers)):
        return "one of file and config is of SANA-Sprint and the other is not"
    return ""


LINEAR_DIT = NetworkKind(
    component="transformer",
    folder="transformer",
    class_name="SanaTransformer2DModel",
    noun="SANA transformer",
    build=LinearDiT,
    to_json=linear_dit_to_json,
    from_json=linear_dit_from_json,
    read_shapes=infer_linear_dit,
    layout_of=find_linear_dit_layout,
    layouts=lambda config: {
        "diffusers": diffusers_linear_dit(guidance_embeds=config.guidance_embeds),
        "upstream": UPSTREAM_LINEAR_DIT,
    },
    diagnose=_diagnose,
)
