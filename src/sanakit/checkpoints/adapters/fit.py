"""An adapter's file made into side paths of a network, or the reason why it is not for that network."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sanakit.adapters.adapter import Adapter
from sanakit.adapters.side_paths import Full, Hadamard, Kronecker, LowRank, Place, SidePath
from sanakit.checkpoints.adapters.files import AdapterFile, read_adapter
from sanakit.checkpoints.adapters.places import Layers
from sanakit.common.errors import CheckpointError
from sanakit.models.presets import LINEAR_DIT_PRESETS

LOHA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
_LOKR = (("lokr_w1", "lokr_w1_a", "lokr_w1_b"), ("lokr_w2", "lokr_w2_a", "lokr_w2_b"))
_TANGLED = re.compile(r"\)[*+?{]|(?:(?:[*+{(]|(?<!\()\?).*){4}|.{201}", re.DOTALL)
"""Patterns whose search may not end: long ones, and those with repeated groups or with many groups and repetitions."""
_RANKED = ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b")  # whose rows are the rank


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedAdapter:
    """An adapter for one network.

    Attributes:
        adapter: in float32, frozen.
        file: that it came from.
        matched: the layer of the file behind each of its paths, by the path's name.
        unmatched: layers of the file that are not of this network, such as those of a text encoder.
    """

    adapter: Adapter
    file: AdapterFile
    matched: Mapping[str, str]
    unmatched: tuple[str, ...]

    @property
    def left_out(self) -> list[str]:
        """What of the file plays no part: layers of other networks, and tensors of no known kind."""
        return [*self.unmatched, *self.file.strange]


def fit_adapter(file: AdapterFile, layers: Layers) -> FittedAdapter:
    """Match the layers of a file with those of a network.

    Raises:
        CheckpointError: it matches no layer, is of another size, is damaged, or changes nothing.
    """
    paths: dict[str, SidePath] = {}
    matched: dict[str, str] = {}
    unmatched: list[str] = []
    misfits: list[str] = []
    for name, parts in file.layers.items():
        place = layers.find(name)
        if place is None:
            unmatched.append(name)
            continue
        path = path_of(file, name, parts, place)
        if isinstance(path, str):
            misfits.append(path)
            continue
        own = _plain_name(place, layers)
        if own in paths:
            raise CheckpointError(f"{file.path} names {own} twice, as {matched[own]} and as {name}")
        paths[own], matched[own] = path, name
    _refuse_others(file, layers, misfits, unmatched, any_fits=bool(paths))
    norms = {name: float(torch.linalg.vector_norm(path.matrix().detach() * path.scale)) for name, path in paths.items()}
    if endless := [matched[name] for name, norm in norms.items() if not math.isfinite(norm)]:
        raise CheckpointError(f"{file.path} is damaged: the change of {file.few(endless)} is no number")
    if not any(norms[name] or path.magnitude is not None for name, path in paths.items()):
        raise CheckpointError(
            f"{file.path} changes nothing: all of its {len(paths)} layers are zero, as before training"
        )
    adapter = Adapter(paths).eval().requires_grad_(False)
    return FittedAdapter(adapter=adapter, file=file, matched=matched, unmatched=tuple(unmatched))


def open_adapter(source: Any, layers: Layers) -> FittedAdapter:
    """Read a file and match it; errors are those of both."""
    return fit_adapter(read_adapter(source), layers)


def _refuse_others(
    file: AdapterFile, layers: Layers, misfits: list[str], unmatched: list[str], *, any_fits: bool
) -> None:
    if misfits:
        raise CheckpointError(f"{file.path} does not fit this model: {file.few(misfits)}{_maybe_of(file)}")
    deeper = [name for name in unmatched if layers.is_of_deeper(name)]
    if deeper:
        raise CheckpointError(
            f"{file.path} is of a deeper model than this one, which has no {file.few(deeper)}{_maybe_of(file)}"
        )
    if not any_fits:
        raise CheckpointError(
            f"{file.path} matches no layer of this model: it has {file.few(unmatched)}, so it was made for a model of "
            f"another kind"
        )


def _maybe_of(file: AdapterFile) -> str:
    """Published networks of the width that the file's layers have."""
    sides = {side for parts in file.layers.values() if "down" in parts for side in parts["down"].shape[1:2]}
    names = [name for name, config in LINEAR_DIT_PRESETS.items() if config.hidden_size in sides]
    return f"; it has the width of {file.few(names, 2)}" if names else ""


def path_of(file: AdapterFile, name: str, parts: Mapping[str, Tensor], place: Place) -> SidePath | str:
    """The side path of one layer; a text where its sizes are those of another.

    Raises:
        CheckpointError: parts are missing, do not fit together, or hold what is no number.
    """
    where = f"{file.path} is damaged or of a kind that is not known: {name}"
    for part, tensor in parts.items():
        if not tensor.numel() or not torch.isfinite(tensor.float()).all():
            raise CheckpointError(f"{where} has {part} of shape {tuple(tensor.shape)} that holds what is no number")
    factors = {part: _matrix(tensor) for part, tensor in parts.items() if part not in ("alpha", "magnitude")}
    shape = _shape_of(factors)
    if shape is None:
        strange = (tensor.removeprefix(f"{name}.") for tensor in file.strange if tensor.startswith(f"{name}."))
        told = ", ".join([*(f"{part} {tuple(tensor.shape)}" for part, tensor in parts.items()), *strange])
        raise CheckpointError(f"{where} has {told}, which make no matrix")
    if shape != (place.out_features, place.in_features):
        return f"{name} is {shape[0]}x{shape[1]} and not {place.out_features}x{place.in_features}"
    magnitude = parts.get("magnitude")
    if magnitude is not None:
        if magnitude.numel() != place.out_features or (magnitude.ndim == 2 and magnitude.shape[0] == 1):
            told = f"the magnitude of {name} has the shape {tuple(magnitude.shape)} and not {place.out_features} rows"
            return (
                f"{told} (LyCORIS's of columns, wd_on_output=False, is not read)"
                if magnitude.shape[:1] == (1,)
                else told
            )
        magnitude = _matrix(magnitude).flatten()
    return _path(place, factors, scale=_scale(file, name, parts), magnitude=magnitude)


def _path(
    place: Place, factors: Mapping[str, Tensor], *, scale: float = 1.0, magnitude: Tensor | None = None
) -> SidePath:
    """KeyError or ValueError where a factor is missing or too many."""
    how: dict[str, Any] = {"scale": scale, "magnitude": magnitude}
    if factors.keys() == {"down", "up"}:
        return LowRank(place, factors["down"], factors["up"], **how)
    if factors.keys() == {"diff"} and magnitude is None:
        return Full(place, factors["diff"], scale=scale)
    if factors.keys() == set(LOHA):
        return Hadamard(place, tuple(factors[part] for part in LOHA), **how)  # type: ignore[arg-type]
    left, right = (tuple(factors[part] for part in side if part in factors) for side in _LOKR)
    if len(left) + len(right) != len(factors) or {len(left), len(right)} - {1, 2}:
        raise ValueError
    return Kronecker(place, left, right, **how)


def _matrix(tensor: Tensor) -> Tensor:
    """In float32, in memory of its own; of a 1x1 convolution without its last axes."""
    flat = tensor.flatten(1) if tensor.ndim == 4 and tensor.shape[2:] == (1, 1) else tensor
    return flat.detach().to(torch.float32, copy=True)


def _shape_of(factors: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """Of the change that factors tell, by multiplying their shapes; None if they make none."""
    place = Place(layer="", start=0, out_features=1, in_features=1)
    try:
        matrix = _path(place, {part: torch.empty_like(each, device="meta") for part, each in factors.items()}).matrix()
    except (ValueError, RuntimeError):
        return None
    sides = {factors[part].shape[axis] for part, axis in zip(LOHA, (0, 1, 0, 1), strict=True) if part in factors}
    is_matrix = matrix.ndim == 2 and all(each.ndim == 2 for each in factors.values()) and sides <= {*matrix.shape}
    return (matrix.shape[0], matrix.shape[1]) if is_matrix else None


def _scale(file: AdapterFile, name: str, parts: Mapping[str, Tensor]) -> float:
    """Alpha over the rank; alpha is that of the layer, else PEFT's, else the rank."""
    ranks = [parts[part].shape[0] for part in _RANKED if part in parts]
    settings = file.peft
    try:
        rank = float(ranks[0] if ranks else _pattern(settings.get("rank_pattern"), name, settings.get("r", 0)))
        if (alpha := parts.get("alpha")) is not None:
            return float(alpha) / rank if ranks else 1.0
        own = _pattern(settings.get("alpha_pattern"), name, settings.get("lora_alpha", settings.get("alpha")))
        scale = 1.0 if own is None or not rank else float(own) / (rank**0.5 if settings.get("use_rslora") else rank)
    except (TypeError, ValueError, AttributeError, RuntimeError, re.error) as error:
        raise CheckpointError(f"{file.path} has a config or an alpha that cannot be read ({error})") from None
    if not math.isfinite(scale):
        raise CheckpointError(f"{file.path} has an alpha of {name} that is no number")
    return scale


def _pattern(patterns: Mapping[str, Any] | None, name: str, default: Any) -> Any:
    """What PEFT's ``alpha_pattern`` says of a layer: by the end of its name, or a pattern for that."""
    if tangled := [end for end in patterns or () if _TANGLED.search(end)]:
        raise ValueError(f"the pattern {tangled[0]!r:.60} is tangled or long, and could be searched for ever")
    found = (value for end, value in (patterns or {}).items() if re.fullmatch(rf"(?:.*\.)?(?:{end})", name))
    return next(found, default)


def _plain_name(place: Place, layers: Layers) -> str:
    """diffusers' name of a place; of one that diffusers has in pieces, that of its layer."""
    return next((name for name, own in layers.diffusers.items() if own == place), place.layer)
