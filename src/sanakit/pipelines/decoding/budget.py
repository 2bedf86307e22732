"""A model within a limit of memory: the widest weights whose predicted peak fits, of all networks or one at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from sanakit.checkpoints.identity.schemes import parse_schemes
from sanakit.checkpoints.opening import OpenedModel
from sanakit.common.byte_counts import readable_bytes
from sanakit.common.errors import RequestError
from sanakit.pipelines.decoding.memory import PictureMemory

logger = logging.getLogger(__name__)

MARGIN = 1.15
"""Predictions have been up to 13 % below the measured peak."""
# From wide to narrow, once networks take turns, which costs seconds of reading and changes no picture; weights that are
# published in bfloat16 lose nothing by the first.
_SCHEMES = (
    "transformer=bf16,autoencoder=bf16",
    "text_encoder=int8-weight,transformer=bf16,autoencoder=bf16",
    "text_encoder=int8-weight,transformer=int8-weight,autoencoder=bf16",
    "text_encoder=nf4,transformer=nf4,autoencoder=int8-weight",
)


def within(memory: int, model: OpenedModel, need: Callable[[OpenedModel], PictureMemory]) -> OpenedModel:
    """The model with the first of these ways that is predicted to stay within so many bytes; what was asked for as
    a scheme of fewer bits is never changed.

    Raises:
        RequestError: none does; it says what the least is.
    """
    tried = [(way, round(MARGIN * need(way).total)) for way in _ways(model)]
    fitting = next(((way, total) for way, total in tried if total <= memory), None)
    if fitting is None:
        least = min(total for _, total in tried)
        raise RequestError(
            f"memory={readable_bytes(memory)} is not enough for {model.card.name} at this size, which takes "
            f"{readable_bytes(least, decimals=1)} at the least; ask for a smaller size or give it more"
        )
    way, total = fitting
    if way is not model:
        told = [f"{name.replace('_', ' ')} in {scheme.name}" for name, scheme in way.schemes.items()]
        if not told and way.dtypes != model.dtypes:
            told = ["text encoder in bfloat16"]
        told += ["one network in memory at a time"] if way.in_turns else []
        limit, expected = readable_bytes(memory), readable_bytes(total)
        logger.warning("to stay within %s: %s; up to %s are expected", limit, ", ".join(told), expected)
    return way


def _ways(model: OpenedModel) -> Iterator[OpenedModel]:
    on_cpu = torch.device(model.device).type == "cpu"
    yield from (model, replace(model, in_turns=on_cpu))
    if model.schemes:
        return
    narrow = replace(model, dtypes={**model.dtypes, "text_encoder": torch.bfloat16})
    for in_turns in (False, on_cpu):
        yield replace(narrow, in_turns=in_turns)
    for words in _SCHEMES:
        schemes = parse_schemes(words)
        if model.makes_clips:  # convolutions over time stay as they are, which are all of such an autoencoder
            del schemes["autoencoder"]
        yield replace(narrow, schemes=schemes, in_turns=on_cpu)
