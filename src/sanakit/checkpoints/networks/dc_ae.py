"""The deep compression autoencoder in files: its names in every layout, its ``config.json``, its config from shapes.

The original (efficientvit) files wrap some convolutions in one more module in some variants and not in others.
``OriginalSpelling`` says which; it is read off the names of a file, or off a config when a file is written.

Source: efficientvit ``dc_ae.py`` and diffusers' ``AutoencoderDC``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from sanakit.checkpoints.networks.config_fields import (
    DIFFUSERS_VERSION,
    choose,
    count,
    counts,
    flag,
    lower,
    number,
    sequence,
    spread,
)
from sanakit.checkpoints.networks.key_maps import Drop, Fuse, KeyMap, Pointwise, Rename, Row
from sanakit.checkpoints.networks.kind import Json, NetworkKind, Shapes
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.layers.resample import DownOp, UpOp
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_clips import DCClipAutoencoder, DCClipAutoencoderConfig, TimeConfig
from sanakit.models.autoencoders.dc_ae_config import Activation, DCAutoencoderConfig, DCAutoencoderStage, NormKind
from sanakit.models.presets import DC_AE_PRESETS

_SIDES = (("encoder", "down_blocks"), ("decoder", "up_blocks"))

# The stem and the head; with an empty first stage they change the resolution too and hold one more ``conv``.
_ENDS = (
    ("encoder.conv_in", "encoder.project_in.conv"),
    ("encoder.conv_in.conv", "encoder.project_in.conv.conv"),
    ("decoder.norm_out", "decoder.project_out.op_list.0"),
    ("decoder.conv_out", "decoder.project_out.op_list.2.conv"),
    ("decoder.conv_out.conv", "decoder.project_out.op_list.2.conv.conv"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class OriginalSpelling:
    """Facts about a variant that change the original names without changing tensors."""

    encoder_shortcut: bool = True  # the encoder's last convolution sits in a residual block
    decoder_shortcut: bool = True  # the decoder's first convolution sits in a residual block
    unshuffle_downsample: bool = False  # convolution then pixel-unshuffle, rather than one strided convolution

    @classmethod
    def of(cls, config: DCAutoencoderConfig) -> OriginalSpelling:
        return cls(
            encoder_shortcut=config.encoder_shortcut,
            decoder_shortcut=config.decoder_shortcut,
            unshuffle_downsample=config.down == "pixel_unshuffle",
        )

    @classmethod
    def read(cls, names: Collection[str]) -> OriginalSpelling:
        return cls(
            encoder_shortcut="encoder.project_out.main.op_list.0.conv.weight" in names,
            decoder_shortcut="decoder.project_in.main.conv.weight" in names,
            unshuffle_downsample=any(
                name.startswith("encoder.stages.") and name.endswith(".main.conv.conv.weight") for name in names
            ),
        )


def _diffusers_dc_ae() -> KeyMap:
    ends = [ours for ours, _ in _ENDS] + ["encoder.conv_out", "decoder.conv_in"]
    rows: list[Row] = [Rename(f"{name}.{{leaf}}", f"{name}.{{leaf}}") for name in ends]
    for side, blocks in _SIDES:
        ours, theirs = side + ".stages.{s}.{j}", side + "." + blocks + ".{s}.{j}"
        attention = tuple(f"{theirs}.attn.{name}.{{leaf}}" for name in ("to_q", "to_k", "to_v"))
        rows += [
            *(Rename(f"{ours}.{name}.{{leaf}}", f"{theirs}.{name}.{{leaf}}") for name in ("conv1", "conv2", "norm")),
            Rename(ours + ".conv.{leaf}", theirs + ".conv.{leaf}"),
            Fuse(ours + ".attention.qkv.{leaf}", attention),
            Rename(
                ours + ".attention.multiscale.{k}.depthwise.{leaf}",
                theirs + ".attn.to_qkv_multiscale.{k}.proj_in.{leaf}",
            ),
            Rename(
                ours + ".attention.multiscale.{k}.pointwise.{leaf}",
                theirs + ".attn.to_qkv_multiscale.{k}.proj_out.{leaf}",
            ),
            Rename(ours + ".attention.out.{leaf}", theirs + ".attn.to_out.{leaf}"),
            Rename(ours + ".attention.norm.{leaf}", theirs + ".attn.norm_out.{leaf}"),
            Pointwise(ours + ".mix_ffn.expand.{leaf}", theirs + ".conv_out.conv_inverted.{leaf}"),
            Rename(ours + ".mix_ffn.depthwise.{leaf}", theirs + ".conv_out.conv_depth.{leaf}"),
            Pointwise(ours + ".mix_ffn.project.{leaf}", theirs + ".conv_out.conv_point.{leaf}"),
            Rename(ours + ".mix_ffn.norm.{leaf}", theirs + ".conv_out.norm.{leaf}"),
        ]
    return KeyMap(layout="diffusers", rows=tuple(rows))


DIFFUSERS_DC_AE = _diffusers_dc_ae()


def original_dc_ae(spelling: OriginalSpelling) -> KeyMap:
    latent_out = "encoder.project_out" + (".main" if spelling.encoder_shortcut else "") + ".op_list.0.conv"
    latent_in = "decoder.project_in" + (".main" if spelling.decoder_shortcut else "") + ".conv"
    ends = (*_ENDS, ("encoder.conv_out", latent_out), ("decoder.conv_in", latent_in))
    rows: list[Row] = [Rename(f"{ours}.{{leaf}}", f"{theirs}.{{leaf}}") for ours, theirs in ends]
    for side, _ in _SIDES:
        ours, theirs = side + ".stages.{s}.{j}", side + ".stages.{s}.op_list.{j}"
        attention, ffn = theirs + ".context_module.main", theirs + ".local_module.main"
        resample = ".main.conv" + (".conv" if side == "decoder" or spelling.unshuffle_downsample else "")
        rows += [
            Rename(ours + ".conv1.{leaf}", theirs + ".main.conv1.conv.{leaf}"),
            Rename(ours + ".conv2.{leaf}", theirs + ".main.conv2.conv.{leaf}"),
            Rename(ours + ".norm.{leaf}", theirs + ".main.conv2.norm.{leaf}"),
            Rename(ours + ".conv.{leaf}", theirs + resample + ".{leaf}"),
            Pointwise(ours + ".attention.qkv.{leaf}", attention + ".qkv.conv.{leaf}"),
            Rename(ours + ".attention.multiscale.{k}.depthwise.{leaf}", attention + ".aggreg.{k}.0.{leaf}"),
            Rename(ours + ".attention.multiscale.{k}.pointwise.{leaf}", attention + ".aggreg.{k}.1.{leaf}"),
            Pointwise(ours + ".attention.out.{leaf}", attention + ".proj.conv.{leaf}"),
            Rename(ours + ".attention.norm.{leaf}", attention + ".proj.norm.{leaf}"),
            Pointwise(ours + ".mix_ffn.expand.{leaf}", ffn + ".inverted_conv.conv.{leaf}"),
            Rename(ours + ".mix_ffn.depthwise.{leaf}", ffn + ".depth_conv.conv.{leaf}"),
            Pointwise(ours + ".mix_ffn.project.{leaf}", ffn + ".point_conv.conv.{leaf}"),
            Rename(ours + ".mix_ffn.norm.{leaf}", ffn + ".point_conv.norm.{leaf}"),
        ]
    return KeyMap(layout="original", rows=tuple(rows))


OF_CLIPS = "encoder.project_out.conv.weight"
"""A tensor of DC-AE-V, whose other names are those of DC-AE."""


def find_dc_ae_layout(names: Collection[str]) -> KeyMap | None:
    """The layout that a file's names are in; None when it is no such autoencoder."""
    if any(name.startswith("encoder.project_in.") for name in names) and OF_CLIPS not in names:
        return original_dc_ae(OriginalSpelling.read(names))
    if "decoder.norm_out.weight" in names and any(name.startswith("encoder.down_blocks.") for name in names):
        return DIFFUSERS_DC_AE.whole if any(".to_qkv." in name for name in names) else DIFFUSERS_DC_AE
    return None


_BLOCKS: dict[str, Literal["res", "vit"]] = {"ResBlock": "res", "EfficientViTBlock": "vit"}
_NORMS: dict[str, NormKind] = {"rms_norm": "rms", "batch_norm": "batch"}
_ACTIVATIONS: dict[str, Activation] = {"silu": "silu", "relu": "relu"}
_DOWN: dict[str, DownOp] = {"conv": "conv", "pixel_unshuffle": "pixel_unshuffle"}
_UP: dict[str, UpOp] = {"interpolate": "interpolate", "pixel_shuffle": "pixel_shuffle"}
_BLOCK_NAMES = {ours: theirs for theirs, ours in _BLOCKS.items()}
_NORM_NAMES = {ours: theirs for theirs, ours in _NORMS.items()}


def dc_ae_to_json(config: DCAutoencoderConfig) -> Json:
    """``AutoencoderDC``'s ``config.json``."""
    fields: Json = {
        "_class_name": "AutoencoderDC",
        "_diffusers_version": DIFFUSERS_VERSION,
        "attention_head_dim": config.head_dim,
        "decoder_act_fns": [stage.activation for stage in config.decoder],
        "decoder_conv_act_fn": config.head_activation,
        "decoder_in_shortcut": config.decoder_shortcut,
        "decoder_norm_types": [_NORM_NAMES[stage.norm] for stage in config.decoder],
        "downsample_block_type": config.down,
        "encoder_out_shortcut": config.encoder_shortcut,
        "in_channels": config.in_channels,
        "latent_channels": config.latent_channels,
        "scaling_factor": config.scaling_factor,
        "upsample_block_type": config.up,
    }
    for side, stages in (("encoder", config.encoder), ("decoder", config.decoder)):
        fields[f"{side}_block_types"] = [_BLOCK_NAMES[stage.block] for stage in stages]
        fields[f"{side}_block_out_channels"] = [stage.channels for stage in stages]
        fields[f"{side}_layers_per_block"] = [stage.num_blocks for stage in stages]
        fields[f"{side}_qkv_multiscales"] = [list(stage.scales) for stage in stages]
    return fields


def _dc_ae_from_json(fields: Mapping[str, Any]) -> DCAutoencoderConfig:
    """Our config; absent fields take the defaults of diffusers' class."""
    return DCAutoencoderConfig(
        encoder=_stages_from_json(fields, "encoder", default_depths=(2, 2, 2, 3, 3, 3)),
        decoder=_stages_from_json(fields, "decoder", default_depths=(3, 3, 3, 3, 3, 3)),
        latent_channels=count(fields, "latent_channels", 32),
        in_channels=count(fields, "in_channels", 3),
        head_dim=count(fields, "attention_head_dim", 32),
        down=choose("downsample_block_type", lower(fields.get("downsample_block_type", "pixel_unshuffle")), _DOWN),
        up=choose("upsample_block_type", lower(fields.get("upsample_block_type", "pixel_shuffle")), _UP),
        encoder_shortcut=flag(fields, "encoder_out_shortcut", True),
        decoder_shortcut=flag(fields, "decoder_in_shortcut", True),
        head_activation=choose("decoder_conv_act_fn", fields.get("decoder_conv_act_fn", "relu"), _ACTIVATIONS),
        scaling_factor=number(fields, "scaling_factor", 1.0),
    )


def _stages_from_json(
    fields: Mapping[str, Any], side: str, *, default_depths: tuple[int, ...]
) -> tuple[DCAutoencoderStage, ...]:
    channels = counts(fields, f"{side}_block_out_channels", (128, 256, 512, 512, 1024, 1024))
    depths = counts(fields, f"{side}_layers_per_block", default_depths, least=0)
    scales_name = f"{side}_qkv_multiscales"
    scales = sequence(scales_name, fields.get(scales_name, ((), (), (), (5,), (5,), (5,))))
    kinds = spread(f"{side}_block_types", fields.get(f"{side}_block_types", "ResBlock"), len(channels))
    shared = fields if side == "decoder" else {}  # diffusers' encoder has one norm and one activation built in
    norms = spread("decoder_norm_types", shared.get("decoder_norm_types", "rms_norm"), len(channels))
    activations = spread("decoder_act_fns", shared.get("decoder_act_fns", "silu"), len(channels))
    if not len(channels) == len(depths) == len(scales) == len(kinds) == len(norms) == len(activations):
        raise CheckpointError(f"the {side}'s lists of the autoencoder's config.json differ in length")
    return tuple(
        DCAutoencoderStage(
            channels=channels[i],
            num_blocks=depths[i],
            block=choose(f"{side}_block_types", kinds[i], _BLOCKS),
            scales=counts({scales_name: scales[i]}, scales_name, ()),
            norm=choose("decoder_norm_types", norms[i], _NORMS),
            activation=choose("decoder_act_fns", activations[i], _ACTIVATIONS),
        )
        for i in range(len(channels))
    )


def infer_dc_ae(shapes: Shapes, names: str = "") -> DCAutoencoderConfig:
    """The published variant whose tensors have these shapes; ``names`` decides between twins (``in`` and ``mix``)."""
    fitting = [name for name in DC_AE_PRESETS if _preset_shapes(name) == shapes]
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
def _preset_shapes(name: str) -> dict[str, tuple[int, ...]]:
    return DC_AE.shapes(DC_AE_PRESETS[name])


DC_AE = NetworkKind(
    component="autoencoder",
    folder="vae",
    class_name="AutoencoderDC",
    noun="DC-AE autoencoder",
    build=DCAutoencoder,
    to_json=dc_ae_to_json,
    from_json=_dc_ae_from_json,
    read_shapes=infer_dc_ae,
    layout_of=find_dc_ae_layout,
    layouts=lambda config: {"diffusers": DIFFUSERS_DC_AE, "upstream": original_dc_ae(OriginalSpelling.of(config))},
    block_name=r"(encoder|decoder)\.stages\.\d+\.\d+\.(?!conv\.)",
    num_blocks=lambda config: sum(stage.num_blocks for stage in (*config.encoder, *config.decoder)),
)


# The causal autoencoder of clips around a DC-AE: the names of that below `picture`, and what puts frames together.
_PICTURE, _TIME = "picture", ("frames", "channels", "num_blocks")
_MARK = "gather.conv_in.weight"


def _below(row: Row) -> Row:
    match row:
        case Drop():
            return replace(row, theirs=f"{_PICTURE}.{row.theirs}")
        case Fuse():
            return replace(row, ours=f"{_PICTURE}.{row.ours}", theirs=tuple(f"{_PICTURE}.{n}" for n in row.theirs))
        case _:
            return replace(row, ours=f"{_PICTURE}.{row.ours}", theirs=f"{_PICTURE}.{row.theirs}")


def _same(name: str) -> Row:
    return Rename(name, name)


CLIP_LAYOUT = KeyMap(
    layout="diffusers",
    rows=(
        *map(_below, DIFFUSERS_DC_AE.rows),
        *(_same(f"{side}.{conv}.{{leaf}}") for side in ("gather", "spread") for conv in ("conv_in", "conv_out")),
        *(
            _same(f"{side}.blocks.{{n}}.{part}.{{leaf}}")
            for side in ("gather", "spread")
            for part in ("conv1", "conv2", "norm")
        ),
    ),
)


def _clips_to_json(config: DCClipAutoencoderConfig) -> Json:
    return {
        "_class_name": DC_CLIP_AE.class_name,
        _PICTURE: DC_AE.to_json(config.picture),
        **{name: getattr(config.time, name) for name in _TIME},
    }


def _clips_from_json(fields: Mapping[str, Any]) -> DCClipAutoencoderConfig:
    picture, known = fields.get(_PICTURE), TimeConfig()
    if not isinstance(picture, Mapping):
        raise CheckpointError(
            "the autoencoder's config.json has no picture, the config of the one that its frames take"
        )
    numbers = {name: count(fields, name, getattr(known, name)) for name in _TIME}
    try:
        return DCClipAutoencoderConfig(picture=DC_AE.from_json(picture), time=TimeConfig(**numbers))
    except ConfigError as error:
        raise CheckpointError(f"the autoencoder's config.json: {error}") from error


def _infer_clips(shapes: Shapes, names: str = "") -> DCClipAutoencoderConfig:
    raise CheckpointError(
        "an autoencoder of clips does not tell its shape; keep the config.json of its folder beside it"
    )


def _clips_layout_of(names: Collection[str]) -> KeyMap | None:
    if _MARK not in names:
        return None
    return CLIP_LAYOUT.whole if any(".to_qkv." in name for name in names) else CLIP_LAYOUT


DC_CLIP_AE = NetworkKind(
    component="autoencoder",
    folder="vae",
    class_name="SanakitClipAutoencoderDC",
    noun="DC-AE autoencoder of clips",
    build=DCClipAutoencoder,
    to_json=_clips_to_json,
    from_json=_clips_from_json,
    read_shapes=_infer_clips,
    layout_of=_clips_layout_of,
    layouts=lambda config: {"diffusers": CLIP_LAYOUT},
    block_name=r"(gather|spread)\.blocks\.\d+\.",
    num_blocks=lambda config: 2 * config.time.num_blocks,
    of_diffusers=False,
)
