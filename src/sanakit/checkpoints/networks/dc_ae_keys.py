"""Names of the deep compression autoencoder's tensors in diffusers and in the original (efficientvit) files.

The original wraps some convolutions in one more module in some variants and not in others. ``OriginalSpelling`` says
which; it is read off the names of a file, or off a config when a file is written.

Source: efficientvit ``dc_ae.py`` and diffusers' ``AutoencoderDC``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sanakit.checkpoints.networks.key_maps import Fuse, KeyMap, Pointwise, Rename, Row
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig

SIDES = (("encoder", "down_blocks"), ("decoder", "up_blocks"))


# The stem and the head; with an empty first stage they change the resolution too and hold one more ``conv``.
ENDS = (
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
    ends = [ours for ours, _ in ENDS] + ["encoder.conv_out", "decoder.conv_in"]
    rows: list[Row] = [Rename(f"{name}.{{leaf}}", f"{name}.{{leaf}}") for name in ends]
    for side, blocks in SIDES:
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
    ends = (*ENDS, ("encoder.conv_out", latent_out), ("decoder.conv_in", latent_in))
    rows: list[Row] = [Rename(f"{ours}.{{leaf}}", f"{theirs}.{{leaf}}") for ours, theirs in ends]
    for side, _ in SIDES:
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


def find_dc_ae_layout(names: Collection[str]) -> KeyMap | None:
    """The layout that a file's names are in; None when it is no such autoencoder."""
    if any(name.startswith("encoder.project_in.") for name in names):
        return original_dc_ae(OriginalSpelling.read(names))
    if "decoder.norm_out.weight" in names and any(name.startswith("encoder.down_blocks.") for name in names):
        return DIFFUSERS_DC_AE
    return None
