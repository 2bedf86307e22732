"""The ``config.json`` files of a diffusers folder, to and from our configs.

Only what our networks can compute is read: a field with another value is refused by name, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from sanakit.common.errors import CheckpointError
from sanakit.layers.resample import DownOp, UpOp
from sanakit.models.autoencoders.dc_ae_config import Activation, DCAutoencoderConfig, NormKind, Stage
from sanakit.models.transformers.linear_dit import LinearDiTConfig

DIFFUSERS_VERSION = "0.42.0"  # the release whose fields these are; diffusers reads it, and accepts older ones
MAX_COUNT, MAX_NUMBER = 65536, 10_000  # far above every published model
Json = dict[str, Any]
T = TypeVar("T")

BLOCKS: dict[str, Literal["res", "vit"]] = {"ResBlock": "res", "EfficientViTBlock": "vit"}
NORMS: dict[str, NormKind] = {"rms_norm": "rms", "batch_norm": "batch"}
ACTIVATIONS: dict[str, Activation] = {"silu": "silu", "relu": "relu"}
DOWN: dict[str, DownOp] = {"conv": "conv", "pixel_unshuffle": "pixel_unshuffle"}
UP: dict[str, UpOp] = {"interpolate": "interpolate", "pixel_shuffle": "pixel_shuffle"}
BLOCK_NAMES = {ours: theirs for theirs, ours in BLOCKS.items()}
NORM_NAMES = {ours: theirs for theirs, ours in NORMS.items()}


def linear_dit_to_json(config: LinearDiTConfig) -> Json:
    """``SanaTransformer2DModel``'s ``config.json``; refuses what that class cannot express."""
    for name, theirs in (("attention_eps", 1e-15), ("qk_norm_eps", 1e-5)):
        if getattr(config, name) != theirs:
            raise CheckpointError(
                f"{name}={getattr(config, name)} cannot be written: diffusers' transformer has {theirs} built in"
            )
    return {
        "_class_name": "SanaTransformer2DModel",
        "_diffusers_version": DIFFUSERS_VERSION,
        "attention_bias": False,
        "attention_head_dim": config.head_dim,
        "caption_channels": config.caption_channels,
        "cross_attention_dim": config.hidden_size,
        "cross_attention_head_dim": config.cross_head_dim,
        "dropout": 0.0,
        "guidance_embeds": config.guidance_embeds,
        "guidance_embeds_scale": config.guidance_scale_factor,
        "in_channels": config.in_channels,
        "interpolation_scale": config.interpolation_scale,
        "mlp_ratio": config.mlp_ratio,
        "norm_elementwise_affine": False,
        "norm_eps": 1e-6,
        "num_attention_heads": config.hidden_size // config.head_dim,
        "num_cross_attention_heads": config.hidden_size // config.cross_head_dim,
        "num_layers": config.num_layers,
        "out_channels": config.out_channels,
        "patch_size": config.patch_size,
        "qk_norm": "rms_norm_across_heads" if config.qk_norm else None,
        "sample_size": config.sample_size,
        "timestep_scale": config.timestep_scale,
    }


def linear_dit_from_json(fields: Mapping[str, Any]) -> LinearDiTConfig:
    """Our config; absent fields take the defaults of diffusers' class, which are those of the 1.6B model."""
    head_dim, cross_head_dim = count(fields, "attention_head_dim", 32), count(fields, "cross_attention_head_dim", 112)
    hidden_size = count(fields, "num_attention_heads", 70) * head_dim
    if hidden_size > MAX_COUNT:
        raise CheckpointError(f"num_attention_heads in config.json gives a width of {hidden_size}, above {MAX_COUNT}")
    require(fields, "attention_bias", False)
    require(fields, "norm_elementwise_affine", False)
    require(fields, "norm_eps", 1e-6)
    require(fields, "cross_attention_dim", hidden_size, default=2240)
    require(fields, "num_cross_attention_heads", hidden_size // cross_head_dim, default=20)
    if fields.get("qk_norm") not in (None, "rms_norm_across_heads"):
        require(fields, "qk_norm", "rms_norm_across_heads")
    in_channels = count(fields, "in_channels", 32)
    is_positioned = fields.get("interpolation_scale") is not None
    return LinearDiTConfig(
        hidden_size=hidden_size,
        num_layers=count(fields, "num_layers", 20),
        cross_head_dim=cross_head_dim,
        head_dim=head_dim,
        in_channels=in_channels,
        out_channels=count(fields, "out_channels", 32) if fields.get("out_channels", 32) else in_channels,
        patch_size=count(fields, "patch_size", 1),
        caption_channels=count(fields, "caption_channels", 2304),
        mlp_ratio=number(fields, "mlp_ratio", 2.5),
        qk_norm=fields.get("qk_norm") is not None,
        guidance_embeds=flag(fields, "guidance_embeds", False),
        guidance_scale_factor=number(fields, "guidance_embeds_scale", 0.1),
        timestep_scale=number(fields, "timestep_scale", 1.0),
        interpolation_scale=number(fields, "interpolation_scale", 1.0) if is_positioned else None,
        sample_size=count(fields, "sample_size", 32),
    )


def dc_ae_to_json(config: DCAutoencoderConfig) -> Json:
    """``AutoencoderDC``'s ``config.json``."""
    fields: Json = {
        "_class_name": "AutoencoderDC",
        "_diffusers_version": DIFFUSERS_VERSION,
        "attention_head_dim": config.head_dim,
        "decoder_act_fns": [stage.activation for stage in config.decoder],
        "decoder_conv_act_fn": config.head_activation,
        "decoder_in_shortcut": config.decoder_shortcut,
        "decoder_norm_types": [NORM_NAMES[stage.norm] for stage in config.decoder],
        "downsample_block_type": config.down,
        "encoder_out_shortcut": config.encoder_shortcut,
        "in_channels": config.in_channels,
        "latent_channels": config.latent_channels,
        "scaling_factor": config.scaling_factor,
        "upsample_block_type": config.up,
    }
    for side, stages in (("encoder", config.encoder), ("decoder", config.decoder)):
        fields[f"{side}_block_types"] = [BLOCK_NAMES[stage.block] for stage in stages]
        fields[f"{side}_block_out_channels"] = [stage.channels for stage in stages]
        fields[f"{side}_layers_per_block"] = [stage.num_blocks for stage in stages]
        fields[f"{side}_qkv_multiscales"] = [list(stage.scales) for stage in stages]
    return fields


def dc_ae_from_json(fields: Mapping[str, Any]) -> DCAutoencoderConfig:
    """Our config; absent fields take the defaults of diffusers' class."""
    return DCAutoencoderConfig(
        encoder=stages_from_json(fields, "encoder", default_depths=(2, 2, 2, 3, 3, 3)),
        decoder=stages_from_json(fields, "decoder", default_depths=(3, 3, 3, 3, 3, 3)),
        latent_channels=count(fields, "latent_channels", 32),
        in_channels=count(fields, "in_channels", 3),
        head_dim=count(fields, "attention_head_dim", 32),
        down=choose("downsample_block_type", lower(fields.get("downsample_block_type", "pixel_unshuffle")), DOWN),
        up=choose("upsample_block_type", lower(fields.get("upsample_block_type", "pixel_shuffle")), UP),
        encoder_shortcut=flag(fields, "encoder_out_shortcut", True),
        decoder_shortcut=flag(fields, "decoder_in_shortcut", True),
        head_activation=choose("decoder_conv_act_fn", fields.get("decoder_conv_act_fn", "relu"), ACTIVATIONS),
        scaling_factor=number(fields, "scaling_factor", 1.0),
    )


def stages_from_json(fields: Mapping[str, Any], side: str, *, default_depths: tuple[int, ...]) -> tuple[Stage, ...]:
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
        Stage(
            channels=channels[i],
            num_blocks=depths[i],
            block=choose(f"{side}_block_types", kinds[i], BLOCKS),
            scales=counts({scales_name: scales[i]}, scales_name, ()),
            norm=choose("decoder_norm_types", norms[i], NORMS),
            activation=choose("decoder_act_fns", activations[i], ACTIVATIONS),
        )
        for i in range(len(channels))
    )


def spread(name: str, value: Any, length: int) -> Sequence[Any]:
    return [value] * length if isinstance(value, str) else sequence(name, value)


def sequence(name: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise CheckpointError(f"{name} in config.json is {value!r}; it should be a list")
    return value


def lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def count(fields: Mapping[str, Any], name: str, default: int, *, least: int = 1) -> int:
    """A size or a number of things; bounded, so that a damaged file cannot ask for a network without end."""
    value = fields.get(name, default)
    if type(value) is not int or not least <= value <= MAX_COUNT:  # True is an int, and no number of things
        raise CheckpointError(f"{name} in config.json is {value!r}; it should be a number from {least} to {MAX_COUNT}")
    return value


def counts(fields: Mapping[str, Any], name: str, default: Sequence[int], *, least: int = 1) -> tuple[int, ...]:
    return tuple(count({name: value}, name, 0, least=least) for value in sequence(name, fields.get(name, default)))


def number(fields: Mapping[str, Any], name: str, default: float) -> float:
    value = fields.get(name, default)
    if type(value) not in (int, float) or not 0 < value <= MAX_NUMBER:
        raise CheckpointError(f"{name} in config.json is {value!r}; it should be above 0, at most {MAX_NUMBER}")
    return float(value)


def flag(fields: Mapping[str, Any], name: str, default: bool) -> bool:
    value = fields.get(name, default)
    if not isinstance(value, bool):
        raise CheckpointError(f"{name} in config.json is {value!r}; it should be true or false")
    return value


def choose(name: str, value: Any, known: Mapping[str, T]) -> T:
    if not isinstance(value, str) or value not in known:
        raise CheckpointError(f"{name} in config.json is {value!r}; sanakit knows {', '.join(known)}")
    return known[value]


def require(fields: Mapping[str, Any], name: str, expected: Any, *, default: Any = None) -> None:
    """Refuse a field that would need another network than ours."""
    found = fields.get(name, default)
    if found is not None and found != expected:
        raise CheckpointError(f"{name} in config.json is {found!r}; sanakit's network computes {expected!r} only")
