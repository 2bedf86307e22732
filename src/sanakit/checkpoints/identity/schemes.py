"""Which component of a model is asked for in which scheme of fewer bits."""

from __future__ import annotations

from collections.abc import Mapping

from sanakit.checkpoints.identity.precision import COMPONENTS
from sanakit.common.errors import RequestError
from sanakit.quantization.schemes import Scheme, SVDQuant, scheme_named

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
        RequestError: a scheme or a component that there is not, with the nearest name; one that a component cannot
            take, or two for one component.
    """
    if requested is None:
        return {}
    if isinstance(requested, str):
        requested = _by_component(requested)
    if strangers := set(requested) - set(COMPONENTS):
        raise RequestError(f"{min(strangers)!r} is no component of a model; they are {', '.join(COMPONENTS)}")
    schemes = {name: scheme_named(value) for name, value in requested.items() if value != PLAIN}
    for name, scheme in schemes.items():
        if isinstance(scheme, SVDQuant) and name != "transformer":
            raise RequestError(f"{name}={scheme.name} cannot be, since transformers alone are calibrated; take another")
    return schemes


def check_uncalibrated(schemes: Mapping[str, Scheme]) -> None:
    """Raises RequestError for schemes that plain weights cannot be given as they are loaded."""
    for name, scheme in schemes.items():
        if isinstance(scheme, SVDQuant):
            raise RequestError(
                f"{name}={scheme.name} cannot be made as weights are loaded, since it is calibrated on prompts; "
                f"write a folder with sanakit quantize MODEL FOLDER --scheme {scheme.name}, and load that"
            )


def _by_component(text: str) -> dict[str, str]:
    if "=" not in text:
        first = scheme_named(text.strip()).name
        return {"transformer": first, **_FOLLOWING[first]}
    found: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        name = name.strip().replace("-", "_")
        if name in found:
            raise RequestError(f"{text!r} names {name} twice; give it one scheme")
        found[name] = value.strip()
    return found


def scheme_names(schemes: Mapping[str, Scheme]) -> dict[str, str]:
    """As in records, cards and requests."""
    return {name: scheme.name for name, scheme in schemes.items()}
