"""The ways in which a layer's weights are kept in fewer bits, by name; a new one is a config here and its codec."""

from __future__ import annotations

from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, ClassVar

from sanakit.common.errors import ConfigError, RequestError

MAX_GROUP = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class BFloat16:
    """Weights in bfloat16, activations as they are."""

    name: ClassVar[str] = "bf16"
    rounds_activations: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Int8Weight:
    """Weights in 8 bits with one scale a row (an output channel), activations as they are."""

    name: ClassVar[str] = "int8-weight"
    rounds_activations: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Int8:
    """The same weights, and activations in 8 bits with one scale a token (SANA, arXiv:2410.10629, section 4)."""

    name: ClassVar[str] = "int8"
    rounds_activations: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True, slots=True)
class FP8:
    """Weights in 8-bit floats (e4m3) with one scale a row, and activations in such with one scale a token
    (arXiv:2209.05433)."""

    name: ClassVar[str] = "fp8"
    rounds_activations: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Int4Weight:
    """Weights in 4 bits, whole numbers with one scale for each group of channels of a row."""

    name: ClassVar[str] = "int4-weight"
    rounds_activations: ClassVar[bool] = False
    group_size: int = 64

    def __post_init__(self) -> None:
        _check_group(self.group_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class NF4:
    """The same with the quantiles of a normal distribution as levels (QLoRA, arXiv:2305.14314)."""

    name: ClassVar[str] = "nf4"
    rounds_activations: ClassVar[bool] = False
    group_size: int = 64

    def __post_init__(self) -> None:
        _check_group(self.group_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class SVDQuant:
    """Weights and activations in 4 bits with a low-rank branch in bfloat16 beside them (arXiv:2411.05007).

    It is calibrated: which channels are smoothed follows from what the layers see as pictures are made.
    """

    name: ClassVar[str] = "svdquant"
    rounds_activations: ClassVar[bool] = True
    group_size: int = 64
    rank: int = 32

    def __post_init__(self) -> None:
        _check_group(self.group_size)
        if not 1 <= self.rank <= MAX_GROUP:
            raise ConfigError(f"rank={self.rank} must be from 1 to {MAX_GROUP}")


@dataclass(frozen=True, kw_only=True, slots=True)
class NVFP4:
    """Weights and activations in 4-bit floats (e2m1) with a scale in 8 (e4m3) for each 16 of them, and one for all
    (arXiv:2509.25149): what hardware with it computes, as a reference that runs anywhere and is not quick."""

    name: ClassVar[str] = "nvfp4"
    rounds_activations: ClassVar[bool] = True


Scheme = BFloat16 | Int8Weight | Int8 | FP8 | Int4Weight | NF4 | SVDQuant | NVFP4
SCHEMES: dict[str, type[Scheme]] = {
    kind.name: kind for kind in (BFloat16, Int8Weight, Int8, FP8, Int4Weight, NF4, SVDQuant, NVFP4)
}


def scheme_named(name: str) -> Scheme:
    """The scheme of a name with its usual settings; raises RequestError with the nearest name."""
    if not isinstance(name, str) or name not in SCHEMES:
        close = get_close_matches(str(name), SCHEMES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"they are {', '.join(SCHEMES)}"
        raise RequestError(f"there is no way to quantize called {name!r}; {hint}")
    return SCHEMES[name]()


def scheme_to_json(scheme: Scheme) -> dict[str, Any]:
    return {"type": scheme.name, **{each.name: getattr(scheme, each.name) for each in fields(scheme)}}


def scheme_from_json(content: Any) -> Scheme:
    """Raises ConfigError for a scheme, or a setting of one, that is not known."""
    name = content.get("type") if isinstance(content, dict) else content
    if not isinstance(name, str) or name not in SCHEMES:
        raise ConfigError(f"its weights are quantized as {name!r}, and known are {', '.join(SCHEMES)}")
    kind = SCHEMES[name]
    settings = {name: value for name, value in content.items() if name != "type"}
    if unknown := settings.keys() - {each.name for each in fields(kind)}:
        raise ConfigError(f"{kind.name} has no setting {min(unknown)}")
    if not all(type(value) is int for value in settings.values()):
        raise ConfigError(f"the settings of {kind.name} are whole numbers, not {settings}")
    return kind(**settings)


def _check_group(size: int) -> None:
    if size < 2 or size % 2 or size > MAX_GROUP:
        raise ConfigError(f"group_size={size} must be an even number from 2 to {MAX_GROUP}")
