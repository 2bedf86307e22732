"""DC-AE-V in files: its names upstream (DC-Gen), and a ``config.json`` of our own, as diffusers has no such class."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sanakit.checkpoints.networks.config_fields import count, counts
from sanakit.checkpoints.networks.dc_ae import OF_CLIPS
from sanakit.checkpoints.networks.key_maps import KeyMap, Rename, Row
from sanakit.checkpoints.networks.kind import Json, NetworkKind
from sanakit.models.autoencoders.dc_ae_v import DCAEV, DCAEVConfig
from sanakit.models.presets import DC_AE_V_PRESETS


def _upstream() -> KeyMap:
    rows: list[Row] = [
        Rename("encoder.conv_in.conv.{leaf}", "encoder.project_in.conv.conv.{leaf}"),
        Rename("encoder.conv_out.{leaf}", "encoder.project_out.conv.{leaf}"),
        Rename("decoder.conv_in.{leaf}", "decoder.project_in.conv.{leaf}"),
        Rename("decoder.norm_out.{leaf}", "decoder.project_out.op_list.0.{leaf}"),
        Rename("decoder.conv_out.conv.{leaf}", "decoder.project_out.op_list.2.conv.conv.{leaf}"),
    ]
    parts = {"conv1": "conv1.conv", "conv2": "conv2.conv", "norm": "conv2.norm", "conv": "conv.conv"}
    for side in ("encoder", "decoder"):
        ours, theirs = f"{side}.stages.{{n}}.{{m}}", f"{side}.stages.{{n}}.op_list.{{m}}.main"
        rows += [Rename(f"{ours}.{our}.{{leaf}}", f"{theirs}.{their}.{{leaf}}") for our, their in parts.items()]
    return KeyMap(layout="upstream", rows=tuple(rows))


UPSTREAM_DC_AE_V = _upstream()


def find_dc_ae_v_layout(names: Collection[str]) -> KeyMap | None:
    """Upstream's, which a file's names are in; None when it is no such autoencoder."""
    marks = ("encoder.project_in.conv.conv.weight", OF_CLIPS)
    return UPSTREAM_DC_AE_V if all(mark in names for mark in marks) else None


def dc_ae_v_to_json(config: DCAEVConfig) -> Json:
    """The ``config.json``."""
    return {
        "_class_name": "DCAEV",
        "channels": list(config.channels),
        "chunk": config.chunk,
        "in_channels": config.in_channels,
        "latent_channels": config.latent_channels,
        "num_blocks": list(config.num_blocks),
        "temporal_compression": config.temporal_compression,
    }


def _from_json(fields: Mapping[str, Any]) -> DCAEVConfig:
    known = DCAEVConfig()
    return DCAEVConfig(
        channels=counts(fields, "channels", known.channels),
        num_blocks=counts(fields, "num_blocks", known.num_blocks, least=0),
        latent_channels=count(fields, "latent_channels", known.latent_channels),
        in_channels=count(fields, "in_channels", known.in_channels),
        temporal_compression=count(fields, "temporal_compression", known.temporal_compression),
        chunk=count(fields, "chunk", known.chunk),
    )


DC_AE_V = NetworkKind(
    component="autoencoder",
    folder="vae",
    class_name="DCAEV",
    noun="DC-AE-V autoencoder",
    build=DCAEV,
    to_json=dc_ae_v_to_json,
    from_json=_from_json,
    published=DC_AE_V_PRESETS.values(),
    layout_of=find_dc_ae_v_layout,
    layouts=lambda config: {"diffusers": UPSTREAM_DC_AE_V, "upstream": UPSTREAM_DC_AE_V},
    block_name=r"(encoder|decoder)\.stages\.\d+\.\d+\.",
    num_blocks=lambda config: 2 * (sum(config.num_blocks) + len(config.stages) - 1),
    of_diffusers=False,
)
