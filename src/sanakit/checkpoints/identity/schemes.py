"""Which component of a model is asked for in which scheme of fewer bits."""

from __future__ import annotations

from collections.abc import Mapping

from sanakit.checkpoints.identity.precision import COMPONENTS
from sanakit.common.errors import RequestError
from sanakit.quantization.schemes import Scheme, scheme_named

SchemeRequest = str | Mapping[str, str] | None
"""One name for the transformer, which the autoencoder follows, or a name by component."""

PLAIN = "plain"
"""The name of no scheme, where another would follow."""

_FOLLOWING = {
    "bf16": {"autoencoder": "bf16", "text_encoder": "bf16"},
    "int8": {"autoencoder": "int8"},
    **{name: {"autoencoder": "int8-weight"} for name in ("int8-weight", "fp8", "int4-weight", "nf4", "svdquant")},
}
"""Of the other components; text encoders are rounded by name alone, since guidance carries their errors far."""


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
