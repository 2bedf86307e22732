"""Names of the deep compression autoencoder's tensors in diffusers and in the original (efficientvit) files.

Both layouts wrap some convolutions in one more module in some variants and not in others. ``DCAutoencoderSpelling``
says which; it is read off the names of a file, or off a config when a file is written.

Source: efficientvit ``dc_ae.py`` and diffusers' ``AutoencoderDC``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sanakit.checkpoints.key_maps import Fuse, KeyMap, Pointwise, Rename, Row

SIDES = (("encoder", "down_blocks"), ("decoder", "up_blocks"))


@dataclass(frozen=True, kw_only=True, slots=True)
class DCAutoencoderSpelling:
    """Facts about a variant that change names without changing tensors."""

    space_to_depth_stem: bool = False  # the encoder's first stage is empty: its first convolution sits in a block
    depth_to_space_head: bool = False  # the decoder's first stage is empty: its last convolution sits in a block
    encoder_out_shortcut: bool = True  # the encoder's last convolution sits in a residual block
    decoder_in_shortcut: bool = True  # the decoder's first convolution sits in a residual block
    unshuffle_downsample: bool = False  # convolution then pixel-unshuffle, rather than one strided convolution


def diffusers_dc_ae(spelling: DCAutoencoderSpelling) -> KeyMap:
    stem = "encoder.conv_in.conv.{leaf}" if spelling.space_to_depth_stem else "encoder.conv_in.{leaf}"
    head = "decoder.conv_out.conv.{leaf}" if spelling.depth_to_space_head else "decoder.conv_out.{leaf}"
    rows: list[Row] = [
        Rename("encoder.conv_in.{leaf}", stem),
        Rename("encoder.conv_out.{leaf}", "encoder.conv_out.{leaf}"),
        Rename("decoder.conv_in.{leaf}", "decoder.conv_in.{leaf}"),
        Rename("decoder.norm_out.{leaf}", "decoder.norm_out.{leaf}"),
        Rename("decoder.conv_out.{leaf}", head),
    ]
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


def original_dc_ae(spelling: DCAutoencoderSpelling) -> KeyMap:
    stem = "encoder.project_in.conv" + (".conv" if spelling.space_to_depth_stem else "")
    head = "decoder.project_out.op_list.2.conv" + (".conv" if spelling.depth_to_space_head else "")
    latent_out = "encoder.project_out" + (".main" if spelling.encoder_out_shortcut else "") + ".op_list.0.conv"
    latent_in = "decoder.project_in" + (".main" if spelling.decoder_in_shortcut else "") + ".conv"
    rows: list[Row] = [
        Rename("encoder.conv_in.{leaf}", stem + ".{leaf}"),
        Rename("encoder.conv_out.{leaf}", latent_out + ".{leaf}"),
        Rename("decoder.conv_in.{leaf}", latent_in + ".{leaf}"),
        Rename("decoder.norm_out.{leaf}", "decoder.project_out.op_list.0.{leaf}"),
        Rename("decoder.conv_out.{leaf}", head + ".{leaf}"),
    ]
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
    """The layout and spelling that a file's names are in; None when it is no such autoencoder."""
    if any(name.startswith("encoder.project_in.") for name in names):
        return original_dc_ae(read_original_spelling(names))
    if any(name.startswith("encoder.down_blocks.") for name in names) and "encoder.mid_block" not in " ".join(names):
        return diffusers_dc_ae(
            DCAutoencoderSpelling(
                space_to_depth_stem="encoder.conv_in.conv.weight" in names,
                depth_to_space_head="decoder.conv_out.conv.weight" in names,
            )
        )
    return None


def read_original_spelling(names: Collection[str]) -> DCAutoencoderSpelling:
    return DCAutoencoderSpelling(
        space_to_depth_stem="encoder.project_in.conv.conv.weight" in names,
        depth_to_space_head="decoder.project_out.op_list.2.conv.conv.weight" in names,
        encoder_out_shortcut="encoder.project_out.main.op_list.0.conv.weight" in names,
        decoder_in_shortcut="decoder.project_in.main.conv.weight" in names,
        unshuffle_downsample=any(
            name.startswith("encoder.stages.") and name.endswith(".main.conv.conv.weight") for name in names
        ),
    )
