"""What is known of the published checkpoints and is not in their files: precision line, guidance, flow shift.

A checkpoint is recognised by its name (hub id, file or folder), else by what its config and its tensors show.
Source: the model zoo and the inference settings of NVlabs/Sana and of the diffusers twins.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sanakit.checkpoints.identity.card import ImageDefaults, ModelCard, VideoDefaults
from sanakit.checkpoints.identity.precision import BFLOAT16_LINE, FLOAT16_LINE, UNKNOWN_LINE, PrecisionPolicy
from sanakit.checkpoints.identity.scheduler import known_solver, scheduler_defaults
from sanakit.models.text.text_encoder import TextEncoderConfig
from sanakit.models.transformers.linear_dit import LinearDiTConfig
from sanakit.models.transformers.video_dit import VideoDiTConfig
from sanakit.models.transformers.video_dit2 import VideoDiT2Config

DEFAULT_AUTOENCODER = "mit-han-lab/dc-ae-f32c32-sana-1.1-diffusers"
DEFAULT_LATENT_CHANNELS = 32  # of that autoencoder

_VERSION_1_NAME = re.compile(r"sana[_-](600m|1600m)[_-](512px|1024px)", re.IGNORECASE)
_PAG_LAYERS = {20: (8,), 28: (14,)}  # by depth, as upstream's demo; other depths take the middle block


def names_of(source: str, path: Path) -> str:
    """What may tell a published name: the source as written, the file, and a hub id in the path of the cache."""
    hub_ids = [part for part in path.parts if part.startswith("models--")]
    return " ".join([source if "/" in source else "", path.name, path.parent.name, *hub_ids])


def known_precision(
    names: str, config: LinearDiTConfig, *, stored: Collection[str], variant: str | None = None
) -> PrecisionPolicy:
    """The line of a transformer: by version and name first, then by the dtype that its tensors are stored in."""
    if config.qk_norm or config.interpolation_scale is not None or re.search("bf16", names, re.IGNORECASE):
        return BFLOAT16_LINE
    if _VERSION_1_NAME.search(names) or variant == "fp16":
        return FLOAT16_LINE
    if variant == "bf16" or set(stored) == {"bfloat16"}:
        return BFLOAT16_LINE
    return FLOAT16_LINE if set(stored) == {"float16"} else UNKNOWN_LINE


def known_card(
    *,
    source: str,
    names: str,
    config: LinearDiTConfig,
    compression: int,
    scheduler: Mapping[str, Any] | None,
    precision: PrecisionPolicy,
) -> ModelCard:
    """The card of a checkpoint that came without one; a scheduler's config, where there is one, has the last word."""
    defaults = ImageDefaults(
        base_size=config.sample_size * compression,
        flow_shift=_known_flow_shift(names, config, scheduler),
        solver=known_solver(scheduler),
        guidance_scale=4.5 if config.qk_norm else 5.0,
        pag_layers=_PAG_LAYERS.get(config.num_layers, (config.num_layers // 2,)),
    )
    return ModelCard(
        name=source.rstrip("/").rsplit("/", 1)[-1],
        family="sana-sprint" if config.guidance_embeds else "sana-1.5" if config.qk_norm else "sana",
        defaults=defaults.of_few_steps() if config.guidance_embeds else defaults,
        precision=precision,
        distilled=config.guidance_embeds,
        source=source,
    )


_CLIP_SIZES = {30: 480, 22: 720}  # by the side of the trained grid of tokens


def known_clip_card(
    *, source: str, config: VideoDiTConfig | VideoDiT2Config, compression: int, scheduler: Mapping[str, Any] | None
) -> ModelCard:
    """The same of a model of clips; the published ones work in bfloat16."""
    side = config.sample_size * config.patch_size[1] * compression
    second = isinstance(config, VideoDiT2Config)
    usual = 12.0 if second else 8.0
    shift = usual if scheduler is None else float(scheduler_defaults(scheduler).get("flow_shift", usual))
    own: dict[str, Any] = {"guidance_scale": 8.0, "num_frames": 193, "fps": 24, "motion_score": 20} if second else {}
    return ModelCard(
        name=source.rstrip("/").rsplit("/", 1)[-1],
        family="sana-video",
        defaults=VideoDefaults(
            base_size=_CLIP_SIZES.get(config.sample_size, side), flow_shift=shift, solver=known_solver(scheduler), **own
        ),
        precision=BFLOAT16_LINE,
        text=TextEncoderConfig(instruction="video"),
        source=source,
    )


def _known_flow_shift(names: str, config: LinearDiTConfig, scheduler: Mapping[str, Any] | None) -> float:
    """3 but for 4K (6) and for upstream's 0.6B at 1024 px (4, where its diffusers twin ships 3)."""
    if scheduler is not None:
        return float(scheduler_defaults(scheduler).get("flow_shift", 3.0))
    if config.interpolation_scale == 2.0:
        return 6.0
    return 4.0 if re.search(r"sana[_-]600m[_-]1024px", names, re.IGNORECASE) else 3.0
