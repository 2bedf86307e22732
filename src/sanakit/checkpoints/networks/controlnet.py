"""ControlNets in files: diffusers' ``SanaControlNetModel``, and upstream's, whose ``.pth`` holds the transformer too.

The same names mean two networks that compute different things, so neither is ever written as the other. Source: the
names of NVlabs/Sana's ``SanaMSControlNet`` and of diffusers' class.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from sanakit.checkpoints.networks.key_maps import Drop, KeyMap, Rename
from sanakit.checkpoints.networks.kind import Json, NetworkKind, Shapes
from sanakit.checkpoints.networks.linear_dit import (
    COPIED,
    UPSTREAM_LINEAR_DIT,
    cross_head_dim_of,
    diffusers_linear_dit,
    linear_dit_from_json,
    linear_dit_to_json,
    upstream_blocks,
)
from sanakit.common.errors import CheckpointError
from sanakit.models.transformers.controlnet import ControlNet, ControlNetConfig, Topology
from sanakit.models.transformers.linear_dit import LinearDiTConfig

UPSTREAM_CLASS = "SanaMSControlNet"
_FIELDS = tuple(LinearDiTConfig.__dataclass_fields__)
# What the transformer's class has and SanaControlNetModel has not, with the values that it computes.
_FIXED: Json = {"guidance_embeds": False, "guidance_embeds_scale": 0.1, "qk_norm": None, "timestep_scale": 1.0}

DIFFUSERS = KeyMap(
    layout="diffusers",
    rows=(
        Rename("before.{leaf}", "input_block.{leaf}"),
        Rename("after.{n}.{leaf}", "controlnet_blocks.{n}.{leaf}"),
        *(
            row if isinstance(row, Drop) or row.ours.startswith("blocks.") else replace(row, ours=f"own.{row.ours}")
            for row in diffusers_linear_dit(guidance_embeds=False).rows
            if isinstance(row, Drop) or not row.ours.startswith("final")
        ),
    ),
)

UPSTREAM = KeyMap(
    layout="upstream",
    rows=(
        Rename("before.{leaf}", "controlnet.0.before_proj.{leaf}"),
        Rename("after.{n}.{leaf}", "controlnet.{n}.after_proj.{leaf}"),
        *upstream_blocks(COPIED),
        *(
            Drop(str(row.theirs), "it is of the transformer that the file holds too")
            for row in UPSTREAM_LINEAR_DIT.rows
            if not str(row.theirs).startswith("controlnet.")
        ),
    ),
)


def _to_json(config: ControlNetConfig) -> Json:
    """``config.json``; refuses what diffusers' class cannot express."""
    fields = linear_dit_to_json(_plain(config))
    if config.topology == "upstream":
        return {**fields, "_class_name": UPSTREAM_CLASS}
    for name, value in _FIXED.items():
        if fields.pop(name) != value:
            raise CheckpointError(f"{name} cannot be written: diffusers' ControlNet has {value} built in")
    return {**fields, "_class_name": "SanaControlNetModel"}


def _plain(config: LinearDiTConfig) -> LinearDiTConfig:
    return LinearDiTConfig(**{name: getattr(config, name) for name in _FIELDS})


def _of(config: LinearDiTConfig, topology: Topology) -> ControlNetConfig:
    return ControlNetConfig(**{name: getattr(config, name) for name in _FIELDS}, topology=topology)


def _diffusers_from_json(fields: Mapping[str, Any]) -> ControlNetConfig:
    return _of(linear_dit_from_json({"num_layers": 7, **fields}), "diffusers")


def _upstream_from_json(fields: Mapping[str, Any]) -> ControlNetConfig:
    return _of(linear_dit_from_json(fields), "upstream")


def _infer(shapes: Shapes, names: str, topology: Topology) -> ControlNetConfig:
    """Of what shares the transformer's embedders, the latent's and the text's channels are those of its transformer."""
    try:
        hidden_size = shapes["before.weight"][0]
        inner_size = shapes["blocks.0.mix_ffn.project.weight"][1]
        embed = shapes.get("own.patch_embed.weight") or shapes.get("x_embedder.proj.weight") or (0, 32, 1, 1)
        caption = shapes.get("own.caption_projection.linear_1.weight") or shapes.get("y_embedder.y_proj.fc1.weight")
        config = LinearDiTConfig(
            hidden_size=hidden_size,
            num_layers=1 + max(int(found[1]) for name in shapes if (found := re.match(r"after\.(\d+)\.", name))),
            cross_head_dim=cross_head_dim_of(hidden_size),
            in_channels=embed[1],
            out_channels=embed[1],
            patch_size=embed[2],
            caption_channels=caption[1] if caption else 2304,
            mlp_ratio=inner_size / hidden_size,
            qk_norm="blocks.0.attention.norm_q.weight" in shapes,
        )
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"the file is no whole ControlNet: {error} is not as it should be") from error
    return _of(config, topology)


def _layout_if(prefix: str, layout: KeyMap) -> Any:
    def layout_of(names: Collection[str]) -> KeyMap | None:
        return layout if any(name.startswith(prefix) for name in names) else None

    return layout_of


DIFFUSERS_CONTROLNET = NetworkKind(
    component="controlnet",
    folder="controlnet",
    class_name="SanaControlNetModel",
    noun="ControlNet",
    build=ControlNet,
    to_json=_to_json,
    from_json=_diffusers_from_json,
    read_shapes=lambda shapes, names: _infer(shapes, names, "diffusers"),
    layout_of=_layout_if("controlnet_blocks.", DIFFUSERS),
    layouts=lambda config: {"diffusers": DIFFUSERS},
)

UPSTREAM_CONTROLNET = replace(
    DIFFUSERS_CONTROLNET,
    class_name=UPSTREAM_CLASS,
    from_json=_upstream_from_json,
    read_shapes=lambda shapes, names: _infer(shapes, names, "upstream"),
    layout_of=_layout_if("controlnet.", UPSTREAM),
    layouts=lambda config: {"diffusers": UPSTREAM, "upstream": UPSTREAM},
    of_diffusers=False,
)


def kind_of_controlnet(config: ControlNetConfig) -> NetworkKind[ControlNetConfig, ControlNet]:
    """By what it computes."""
    return DIFFUSERS_CONTROLNET if config.topology == "diffusers" else UPSTREAM_CONTROLNET
