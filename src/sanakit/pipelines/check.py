"""Requests against a model before its weights are loaded."""

from __future__ import annotations

from collections.abc import Sequence

from sanakit.checkpoints.bundle import card_of, compression_of
from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.sources.sources import find_parts
from sanakit.models.transformers.linear_dit import LinearDiTConfig
from sanakit.pipelines.plan import PicturePlan, plan_pictures
from sanakit.pipelines.request import GenerationRequest

_LEAST_GRANULARITY = 32  # pixels


def granularity_of(transformer: LinearDiTConfig, compression: int) -> int:
    """Both sides of a generated picture are multiples of this many pixels."""
    return max(compression * transformer.patch_size, _LEAST_GRANULARITY)


def plan_for_source(source: str, requests: Sequence[GenerationRequest], hub: HubOptions) -> list[PicturePlan]:
    """Every picture of the requests, by the model's card and configs alone; none where it has no transformer.

    Raises:
        RequestError: the model cannot do what a request asks for.
        CheckpointError, DownloadError: as of ``find_parts``.
    """
    parts = find_parts(source, hub=hub)
    if parts.transformer is None:
        return []  # loading tells what is there instead
    granularity = granularity_of(parts.transformer.config, compression_of(parts.autoencoder))
    return plan_pictures(requests, card_of(parts), granularity)


def bytes_of_pictures(plans: Sequence[PicturePlan]) -> int:
    """Upper estimate of what their files take."""
    sides = [(plan.request.height or 0, plan.request.width or 0, plan.request.upscale) for plan in plans]
    return sum(4 * height * width * scale**2 for height, width, scale in sides)
