"""Which dtype every part of a model may run in, and why.

A wrong dtype raises no error and spoils the picture, so the policy travels with the weights and is enforced here:
one line of SANA checkpoints works in float16 (with clamping) and is corrupted by bfloat16, the other works in
bfloat16 and overflows float16; autoencoder and text encoder overflow float16 in every line
(diffusers#9982, #10241, #10336; NVlabs/Sana#154). float32 is right for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from sanakit.common.errors import ConfigError, RequestError

DtypeName = Literal["float16", "bfloat16", "float32"]
DtypeRequest = str | torch.dtype | Mapping[str, str | torch.dtype] | None

COMPONENTS = ("transformer", "autoencoder", "text_encoder")
DTYPES: dict[DtypeName, torch.dtype] = {name: getattr(torch, name) for name in get_args(DtypeName)}
_SPELLINGS: dict[str, DtypeName] = {
    "float16": "float16", "fp16": "float16", "half": "float16",
    "bfloat16": "bfloat16", "bf16": "bfloat16",
    "float32": "float32", "fp32": "float32", "float": "float32", "full": "float32",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PrecisionPolicy:
    """The dtypes that each component works in; the first is what it takes on an accelerator when none is asked for."""

    dtypes: Mapping[str, tuple[DtypeName, ...]]  # by component
    reason: str = ""  # why the transformer is held to these

    def __post_init__(self) -> None:
        """Components that are not mentioned work in bfloat16 and float32, as all but some transformers do."""
        usual = dict.fromkeys(COMPONENTS, ("bfloat16", "float32"))
        object.__setattr__(self, "dtypes", {**usual, **self.dtypes})

    def to_json(self) -> dict[str, Any]:
        """As in the model card."""
        return {**{name: list(dtypes) for name, dtypes in self.dtypes.items()}, "reason": self.reason}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], *, where: str) -> PrecisionPolicy:
        """Raises:
        ConfigError: a dtype or a component that there is not, or nothing about the transformer.
        """
        dtypes = {name: tuple(value) for name, value in content.items() if name != "reason"}
        if unknown := dtypes.keys() - set(COMPONENTS):
            raise ConfigError(f"{where} names the component {min(unknown)!r}; it is one of {', '.join(COMPONENTS)}")
        if "transformer" not in dtypes:
            raise ConfigError(f"{where} does not say which dtypes the transformer works in")
        if strangers := {str(dtype) for value in dtypes.values() for dtype in value} - set(DTYPES):
            raise ConfigError(f"{where} names the dtype {min(strangers)!r}; it is one of {', '.join(DTYPES)}")
        return cls(dtypes, str(content.get("reason", "")))


FLOAT16_LINE = PrecisionPolicy(
    {"transformer": ("float16", "float32")},
    reason="these weights were released for float16 and give corrupted pictures in bfloat16 (diffusers#9982)",
)
BFLOAT16_LINE = PrecisionPolicy(
    {"transformer": ("bfloat16", "float32")},
    reason="these weights were trained in bfloat16 and their activations overflow float16",
)
UNKNOWN_LINE = PrecisionPolicy(
    {"transformer": ("float32",)},
    reason="nothing tells whether these weights are of the float16 or of the bfloat16 line, and the other one gives "
    "corrupted pictures",
)
OWN_LINE = PrecisionPolicy(
    {"transformer": ("bfloat16", "float32")}, reason="these weights were trained in float32 and checked in bfloat16"
)
_ON_FROM_OWN = PrecisionPolicy(
    OWN_LINE.dtypes,
    reason="these weights were trained on from ones that were trained in float32 and checked in bfloat16",
)


def trained_policy(dtype: DtypeName) -> PrecisionPolicy:
    """Of a new network that was trained in this dtype; nobody has compared its pictures in several."""
    how = "bfloat16 over float32 weights" if dtype == "bfloat16" else "float32"
    return PrecisionPolicy(OWN_LINE.dtypes, reason=f"these weights were trained in {how} and are stored in bfloat16")


def continued_policy(begun: PrecisionPolicy) -> PrecisionPolicy:
    """Of weights that were trained on: the dtypes and the reason stay, a check that was made before is told as such."""
    return _ON_FROM_OWN if begun.reason == OWN_LINE.reason else begun


def resolve_dtypes(
    policy: PrecisionPolicy, requested: DtypeRequest, device: torch.device | str, force: bool = False
) -> dict[str, torch.dtype]:
    """Choose and check the dtype of every component, by its name.

    Args:
        policy: what the checkpoint works in.
        requested: None or "auto" for the policy's choice (float32 on the CPU); one dtype for the transformer, which the
            other parts follow where they can; or a dtype per component by name.
        device: where it will run.
        force: take the requested dtypes although the policy refuses them.

    Raises:
        RequestError: the dtype is unknown, or refused; the sentence gives the reason and what would be right.
    """
    wishes = parse_dtypes(requested)
    on_cpu = torch.device(device).type == "cpu"
    chosen: dict[str, torch.dtype] = {}
    for component in COMPONENTS:
        allowed = policy.dtypes[component]
        default: DtypeName = "float32" if on_cpu and "float32" in allowed else allowed[0]
        wish = wishes.get(component, default)
        if component != "transformer" and not isinstance(requested, Mapping) and wish not in allowed:
            wish = default  # one dtype for all is meant for the transformer
        if wish == "float16" and on_cpu:
            raise RequestError("float16 is not offered on the CPU, where it is slow; use float32 or bfloat16")
        if wish not in allowed and not force:
            raise RequestError(_refusal(component, wish, allowed, policy.reason))
        chosen[component] = DTYPES[wish]
    return chosen


def parse_dtypes(requested: DtypeRequest) -> dict[str, DtypeName]:
    """The wish per component; components without one are left out. Raises RequestError for what is no dtype."""
    if requested is None or requested == "auto":
        return {}
    if not isinstance(requested, Mapping):
        return dict.fromkeys(COMPONENTS, _parse_dtype(requested))
    if strangers := set(requested) - set(COMPONENTS):
        raise RequestError(f"{min(strangers)!r} is no component of a model; they are {', '.join(COMPONENTS)}")
    return {name: _parse_dtype(value) for name, value in requested.items()}


def _parse_dtype(value: str | torch.dtype) -> DtypeName:
    name = str(value).removeprefix("torch.").lower()
    if name not in _SPELLINGS:
        raise RequestError(f"dtype {value} is not offered; use float32, bfloat16 or float16")
    return _SPELLINGS[name]


def _refusal(component: str, wish: DtypeName, allowed: tuple[DtypeName, ...], reason: str) -> str:
    why = reason if component == "transformer" else "its activations overflow float16 and the pictures turn black"
    name = component.replace("_", " ")
    because = f": {why}" if why else ""
    return f"the {name} is not run in {wish}{because}; use {' or '.join(allowed)}, or force it to see for yourself"
