"""Which dtype every part of a model may run in, and why.

A wrong dtype raises no error and spoils the picture, so the policy travels with the weights and is enforced here:
one line of SANA checkpoints works in float16 (with clamping) and is corrupted by bfloat16, the other works in
bfloat16 and overflows float16; autoencoder and text encoder overflow float16 in every line
(diffusers#9982, #10241, #10336; NVlabs/Sana#154). float32 is right for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from sanakit.common.errors import RequestError

DtypeName = Literal["float16", "bfloat16", "float32"]
DtypeRequest = str | torch.dtype | Mapping[str, str | torch.dtype] | None

COMPONENTS = ("transformer", "autoencoder", "text_encoder")
DTYPES: dict[DtypeName, torch.dtype] = {
    "float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32
}  # fmt: skip
SPELLINGS: dict[str, DtypeName] = {
    "float16": "float16", "fp16": "float16", "half": "float16",
    "bfloat16": "bfloat16", "bf16": "bfloat16",
    "float32": "float32", "fp32": "float32", "float": "float32", "full": "float32",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecisionPolicy:
    """The dtypes that each component works in; the first is what it takes on an accelerator when none is asked for."""

    transformer: tuple[DtypeName, ...]
    autoencoder: tuple[DtypeName, ...] = ("bfloat16", "float32")
    text_encoder: tuple[DtypeName, ...] = ("bfloat16", "float32")
    reason: str = ""  # why the transformer is held to these


FLOAT16_LINE = PrecisionPolicy(
    transformer=("float16", "float32"),
    reason="these weights were released for float16 and give corrupted pictures in bfloat16 (diffusers#9982)",
)
BFLOAT16_LINE = PrecisionPolicy(
    transformer=("bfloat16", "float32"),
    reason="these weights were trained in bfloat16 and their activations overflow float16",
)
UNKNOWN_LINE = PrecisionPolicy(
    transformer=("float32",),
    reason="nothing tells whether these weights are of the float16 or of the bfloat16 line, and the other one gives "
    "corrupted pictures",
)
OWN_LINE = PrecisionPolicy(
    transformer=("bfloat16", "float32"), reason="these weights were trained in float32 and checked in bfloat16"
)


class ComponentDtypes(NamedTuple):
    """What every part is loaded as."""

    transformer: torch.dtype
    autoencoder: torch.dtype
    text_encoder: torch.dtype


def resolve_dtypes(
    policy: PrecisionPolicy, requested: DtypeRequest, device: torch.device | str, force: bool = False
) -> ComponentDtypes:
    """Choose and check the dtype of every component.

    Args:
        policy: what the checkpoint works in.
        requested: None or "auto" for the policy's choice (float32 on the CPU); one dtype for the transformer, which the
            other parts follow where they can; or a dtype per component by name.
        device: where it will run.
        force: take the requested dtypes although the policy refuses them.

    Raises:
        RequestError: the dtype is unknown, or refused; the sentence gives the reason and what would be right.
    """
    wishes = parse_request(requested)
    on_cpu = torch.device(device).type == "cpu"
    chosen: list[torch.dtype] = []
    for component in COMPONENTS:
        allowed: tuple[DtypeName, ...] = getattr(policy, component)
        default: DtypeName = "float32" if on_cpu and "float32" in allowed else allowed[0]
        wish = wishes.get(component, default)
        if component != "transformer" and not isinstance(requested, Mapping) and wish not in allowed:
            wish = default  # one dtype for all is meant for the transformer
        if wish == "float16" and on_cpu:
            raise RequestError("float16 is not offered on the CPU, where it is slow; use float32 or bfloat16")
        if wish not in allowed and not force:
            raise RequestError(refusal(component, wish, allowed, policy.reason))
        chosen.append(DTYPES[wish])
    return ComponentDtypes(*chosen)


def parse_request(requested: DtypeRequest) -> dict[str, DtypeName]:
    """The wish per component; components without one are left out."""
    if requested is None or requested == "auto":
        return {}
    if not isinstance(requested, Mapping):
        return dict.fromkeys(COMPONENTS, parse_dtype(requested))
    if strangers := set(requested) - set(COMPONENTS):
        raise RequestError(f"{min(strangers)!r} is no component of a model; they are {', '.join(COMPONENTS)}")
    return {name: parse_dtype(value) for name, value in requested.items()}


def parse_dtype(value: str | torch.dtype) -> DtypeName:
    name = str(value).removeprefix("torch.").lower()
    if name not in SPELLINGS:
        raise RequestError(f"dtype {value} is not offered; use float32, bfloat16 or float16")
    return SPELLINGS[name]


def refusal(component: str, wish: DtypeName, allowed: tuple[DtypeName, ...], reason: str) -> str:
    why = reason if component == "transformer" else "its activations overflow float16 and the pictures turn black"
    name = component.replace("_", " ")
    return f"the {name} is not run in {wish}: {why}; use {' or '.join(allowed)}, or force it to see for yourself"
