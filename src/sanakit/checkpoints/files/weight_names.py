"""What the name of a file of weights says: which component it belongs to, which variant it is, whether it is an index.

diffusers and transformers write ``STEM.fp16-00001-of-00002.safetensors`` with ``STEM.safetensors.index.fp16.json``, and
wrote ``.bin`` in the place of ``.safetensors``.
Two older spellings are still in published repositories: ``STEM-00001-of-00002.fp16.safetensors`` with
``STEM.safetensors.fp16.index.json``, and an index called ``STEM.fp16.safetensors.index.json``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from sanakit.common.errors import CheckpointError

TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt")  # of files that torch.save wrote
WEIGHT_SUFFIXES = (".safetensors", *TORCH_SUFFIXES)

_SHARD = r"(?:-\d{5}-of-\d{5})?"
_SUFFIX = r"(?P<suffix>\.safetensors|\.bin)"
_WEIGHTS = re.compile(rf"(?P<stem>[^.]+?){_SHARD}(?:\.(?P<variant>[^.]+?))?{_SHARD}{_SUFFIX}")
_INDEX = re.compile(
    rf"(?P<stem>[^.]+)(?:\.(?P<first>[^.]+))?{_SUFFIX}(?:\.(?P<second>[^.]+))?\.index(?:\.(?P<third>[^.]+))?\.json"
)


class WeightName(NamedTuple):
    """``stem`` such as ``model``; ``variant`` such as ``fp16``, None for the plain files; ``suffix`` of the weights."""

    stem: str
    variant: str | None
    suffix: str = ".safetensors"


def is_weight_file(name: str) -> bool:
    """Whether a file called so may hold weights; capitals are small letters here."""
    return name.lower().endswith(WEIGHT_SUFFIXES)


def read_weight_name(name: str) -> WeightName | None:
    """What the name of a file of weights, a shard or an index says; None for any other file."""
    if found := _WEIGHTS.fullmatch(name):
        return WeightName(found["stem"], found["variant"], found["suffix"])
    if found := _INDEX.fullmatch(name):
        return WeightName(found["stem"], found["first"] or found["second"] or found["third"], found["suffix"])
    return None


def weights_among(names: Iterable[str], stems: Collection[str]) -> dict[str, WeightName]:
    """The files called so, by name: the safetensors ones, else the others, as diffusers and transformers choose."""
    found = {name: each for name in names if (each := read_weight_name(name)) and each.stem in stems}
    return {name: each for name, each in found.items() if each.suffix == WEIGHT_SUFFIXES[0]} or found


def variants_among(names: Iterable[str], stem: str) -> set[str | None]:
    """The variants that files called ``names`` hold of one component, None being the plain one."""
    return {found.variant for found in weights_among(names, (stem,)).values()}


def choose_variant(available: set[str | None], wanted: str | None, *, holder: str) -> str | None:
    """The wanted variant, else the plain files, else the only one that there is.

    Raises:
        CheckpointError: there are several; ``holder`` begins its sentence.
    """
    if not available or wanted in available:
        return wanted
    if None in available:
        return None
    if len(available) == 1:
        return next(iter(available))
    named = " and ".join(sorted(filter(None, available)))
    raise CheckpointError(f"{holder} as {named}; choose one with variant")


def index_names(stem: str, variant: str | None, suffix: str = ".safetensors") -> tuple[str, ...]:
    """What the index of a sharded component may be called, today's spelling first."""
    if variant is None:
        return (f"{stem}{suffix}.index.json",)
    return (
        f"{stem}{suffix}.index.{variant}.json",
        f"{stem}{suffix}.{variant}.index.json",
        f"{stem}.{variant}{suffix}.index.json",
    )
