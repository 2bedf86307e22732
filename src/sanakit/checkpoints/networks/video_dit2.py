"""The transformer of SANA-Video 2.0 in files: its names upstream, and a ``config.json`` of our own, as diffusers has no
such class."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sanakit.checkpoints.networks.config_fields import count, counts, number
from sanakit.checkpoints.networks.key_maps import KeyMap, Rename
from sanakit.checkpoints.networks.kind import Json, NetworkKind, Shapes
from sanakit.checkpoints.networks.linear_dit import OF_DEPTH, UPSTREAM_LINEAR_DIT
from sanakit.common.config import to_mapping
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.models.transformers.video_dit2 import VideoDiT2, VideoDiT2Config

_ATTENTION = {"beta": "beta_proj", "norm_out": "o_norm", "gate": "output_gate"}
_FFN = {"gate": "gate_proj", "expand": "up_proj", "project": "down_proj"}
_MIXES = {"attention": "attn_proj", "ffn": "mlp_proj", "final": "final_proj"}

UPSTREAM_VIDEO_DIT2 = KeyMap(
    layout="upstream",
    rows=(
        *(Rename(f"mix_{ours}.{{leaf}}", f"attn_res.{theirs}.{{leaf}}") for ours, theirs in _MIXES.items()),
        *(
            Rename(f"blocks.{{n}}.{part}.{ours}.{{leaf}}", f"blocks.{{n}}.{other}.{theirs}.{{leaf}}")
            for part, other, names in (("attention", "attn", _ATTENTION), ("ffn", "mlp", _FFN))
            for ours, theirs in names.items()
        ),
        *UPSTREAM_LINEAR_DIT.rows,
    ),
)


def find_video_dit2_layout(names: Collection[str]) -> KeyMap | None:
    """Upstream's, which a file's names are in, told by its mixture of states; None when it has none."""
    return UPSTREAM_VIDEO_DIT2 if OF_DEPTH in names else None


def video_dit2_to_json(config: VideoDiT2Config) -> Json:
    """The ``config.json``: the fields of our config."""
    fields: Json = to_mapping(config)
    return {"_class_name": "SanaVideo2", **fields, "patch_size": list(config.patch_size)}


def _from_json(fields: Mapping[str, Any]) -> VideoDiT2Config:
    known = VideoDiT2Config()
    sizes = {
        name: count(fields, name, getattr(known, name), least=0 if name == "num_anchors" else 1)
        for name in VideoDiT2Config.__dataclass_fields__
        if name not in ("patch_size", "mlp_ratio")
    }
    patch = counts(fields, "patch_size", known.patch_size)
    if len(patch) != 3:
        raise CheckpointError(f"patch_size in config.json is {list(patch)}; it should be of frames, rows and columns")
    ratio = number(fields, "mlp_ratio", known.mlp_ratio)
    return VideoDiT2Config(**sizes, mlp_ratio=ratio, patch_size=(patch[0], patch[1], patch[2]))


def _infer(shapes: Shapes, names: str = "") -> VideoDiT2Config:
    """The sizes of a transformer; heads and groups of layers, which shapes do not show, are as in published ones."""
    try:
        hidden_size, in_channels, time, height, width = shapes["patch_embed.weight"]
        layers = {int(name.split(".")[1]) for name in shapes if name.startswith("blocks.")}
        linear = {int(name.split(".")[1]) for name in shapes if name.endswith(".attention.beta.weight")}
        config = VideoDiT2Config(
            hidden_size=hidden_size,
            num_layers=len(layers),
            num_anchors=len(layers - linear),
            in_channels=in_channels,
            patch_size=(time, height, width),
            caption_channels=shapes["caption_projection.linear_1.weight"][1],
            mlp_ratio=shapes["blocks.0.ffn.gate.weight"][0] / hidden_size,
        )
    except (KeyError, ValueError, IndexError, ZeroDivisionError, ConfigError) as error:
        raise CheckpointError(f"the file is no whole SANA-Video 2.0 transformer: {error}") from error
    if set(config.anchors) != layers - linear:
        raise CheckpointError("its layers with softmax attention stand elsewhere than in the published models")
    return config


VIDEO_DIT2 = NetworkKind(
    component="transformer",
    folder="transformer",
    class_name="SanaVideo2",
    noun="SANA-Video 2.0 transformer",
    build=VideoDiT2,
    to_json=video_dit2_to_json,
    from_json=_from_json,
    read_shapes=_infer,
    layout_of=find_video_dit2_layout,
    layouts=lambda config: {"diffusers": UPSTREAM_VIDEO_DIT2, "upstream": UPSTREAM_VIDEO_DIT2},
    of_diffusers=False,
)
