"""Which component of a model is asked for in which scheme of fewer bits."""

from __future__ import annotations

from collections.abc import Mapping

from sanakit.checkpoints.identity.precision import COMPONENTS
from sanakit.common.errors import RequestError
from sanakit.quantization.schemes import Scheme, scheme_named

SchemeRequest = str | Mapping[str, str] | None
"""One name for the transformer, which the other parts follow as far as it is good for them, or a name by component."""

PLAIN = "plain"
"""The name of no scheme, where another would follow."""

_EIGHT_BITS = {"autoencoder": "int8-weight", "text_encoder": "int8-weight"}
_FOLLOWING = {
    "bf16": {"autoencoder": "bf16", "text_encoder": "bf16"},
    "int8-weight": {"autoencoder": "int8-weight", "text_encoder": "int8-weight"},
    "int8": {"autoencoder": "int8", "text_encoder": "int8-weight"},
    "int4-weight": _EIGHT_BITS,
    "nf4": _EIGHT_BITS,
    "svdquant": _EIGHT_BITS,
}


def parse_schemes(requested: SchemeRequest) -> dict[str, Scheme]:
    """The scheme of every component that is to be quantized.

    Args:
        requested: ``"int8"``, ``"transformer=int8,text_encoder=plain"`` or the same as a mapping; None for none.

    Raises:
        RequestError: a scheme or a component that there is not, with the nearest name.
    """
    if requested is None:
        return {}
    if isinstance(requested, str) and "=" in requested:
        pairs = (part.partition("=") for part in requested.split(","))
        requested = {name.strip().replace("-", "_"): value.strip() for name, _, value in pairs}
    if isinstance(requested, Mapping):
        if strangers := set(requested) - set(COMPONENTS):
            raise RequestError(f"{min(strangers)!r} is no component of a model; they are {', '.join(COMPONENTS)}")
        return {name: scheme_named(value) for name, value in requested.items() if value != PLAIN}
    first = scheme_named(requested)
    return {name: scheme_named(value) for name, value in {"transformer": first.name, **_FOLLOWING[first.name]}.items()}


def scheme_names(schemes: Mapping[str, Scheme]) -> dict[str, str]:
    """As in records, cards and requests."""
    return {name: scheme.name for name, scheme in schemes.items()}
