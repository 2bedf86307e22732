"""A network in fewer bits: which of its layers take a scheme, and the exchange of these layers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from sanakit.common.errors import ConfigError, RequestError
from sanakit.layers.conv3x3 import Conv3x3
from sanakit.layers.cross_attention import CrossAttention
from sanakit.layers.linear import Linear
from sanakit.quantization.calibration import LayerInputs
from sanakit.quantization.layers import QuantizedLayer, empty_like
from sanakit.quantization.schemes import BFloat16, Int8Weight, Scheme, scheme_from_json, scheme_to_json

logger = logging.getLogger(__name__)

Seen = Mapping[str, LayerInputs]
"""What layers were given in calibration, by their names."""

METHOD = "sanakit"
"""Of ``quantization_config`` in a ``config.json``, where diffusers and transformers look for who can read it."""
FORMAT = 1
_MIN_CHANNELS = 32  # of a convolution; those with fewer hold few weights and touch pixels or latents


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantization:
    """Which layers of a network are in which scheme, and why others that hold weights are not."""

    layers: Mapping[str, Scheme] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.layers)

    @property
    def name(self) -> str:
        """Its schemes, that of most layers first: ``int8 and int8-weight``; "" for a plain network."""
        return " and ".join(name for name, _ in Counter(each.name for each in self.layers.values()).most_common())

    def to_json(self) -> dict[str, Any]:
        """``quantization_config`` of a ``config.json``: every layer by name, so that nothing is to be guessed."""
        schemes = dict.fromkeys(self.layers.values())
        groups = [
            {**scheme_to_json(scheme), "layers": [name for name, each in self.layers.items() if each == scheme]}
            for scheme in schemes
        ]
        return {"quant_method": METHOD, "format": FORMAT, "schemes": groups}

    @classmethod
    def from_json(cls, content: Any) -> Quantization:
        """Raises ConfigError for one of another program, or of a newer version, or with what is not known."""
        if not isinstance(content, dict) or content.get("quant_method") != METHOD:
            method = (content.get("quant_method") if isinstance(content, dict) else None) or "another program"
            raise ConfigError(
                f"its weights are quantized by {method}, which is not followed; turn them back into plain weights first"
            )
        if content.get("format") != FORMAT:
            raise ConfigError(f"its quantization_config is of format {content.get('format')}; this sanakit reads 1")
        layers: dict[str, Scheme] = {}
        groups = content.get("schemes")
        for group in groups if isinstance(groups, list) else [None]:
            group = group if isinstance(group, dict) else {}
            names = group.get("layers")
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ConfigError("its quantization_config does not say which layers are in which scheme")
            scheme = scheme_from_json({name: value for name, value in group.items() if name != "layers"})
            layers |= dict.fromkeys(names, scheme)
        return cls(layers=layers)


def quantize_(
    network: nn.Module, scheme: Scheme, *, only: Collection[str] | None = None, seen: Seen | None = None
) -> Quantization:
    """Exchange the layers of a network, in place, for ones that keep their weights in a scheme.

    Args:
        scheme: of linear layers; convolutions and embeddings take 8-bit weights where it is of fewer bits or of
            activations too.
        only: names of layers; None for all that can be and need not stay wide.
        seen: what the layers were given in calibration (`recorded`), which svdquant needs.

    Raises:
        RequestError: nothing of it can be quantized, some of it is already, or a calibrated scheme saw nothing.
        ConfigError: a layer's weights are not numbers.
    """
    return quantize_layers_(network, schemes_of(network, scheme, only), seen)


def schemes_of(network: nn.Module, scheme: Scheme, only: Collection[str] | None = None) -> Quantization:
    """What ``quantize_`` would do; arguments and errors as there."""
    if (done := quantization_of(network)).layers:
        raise RequestError(f"the network is quantized already ({done.name}); begin with the plain one")
    layers: dict[str, Scheme] = {}
    kept: dict[str, str] = {}
    outside = _outside(network)
    for name, layer in _weighty(network):
        if reason := outside.get(name) or _reason_to_stay(network, name, layer, scheme):
            kept[name] = reason
        elif only is not None and name not in only:
            kept[name] = "it was left out"
        else:
            layers[name] = scheme if isinstance(layer, nn.Linear) else _for_others(scheme)
    if not layers:
        raise RequestError(f"no layer of this {type(network).__name__} can be quantized as {scheme.name}")
    return Quantization(layers=layers, kept=kept)


def quantize_layers_(network: nn.Module, quantization: Quantization, seen: Seen | None = None) -> Quantization:
    """Each layer in its own scheme, one after the other, so that no second copy of the network is ever there."""
    for name, scheme in quantization.layers.items():
        layer = network.get_submodule(name)
        with torch.device("meta"):
            empty = empty_like(layer, scheme)
        try:
            _put(network, name, empty.take_(layer, (seen or {}).get(name)))
        except (ConfigError, RequestError) as error:
            raise type(error)(f"{name} cannot be quantized: {error}") from None
    logger.info(
        "quantized %d layers as %s; %d stay as they are", len(quantization.layers), quantization.name,
        len(quantization.kept),
    )  # fmt: skip
    return quantization


def lay_out_(network: nn.Module, quantization: Quantization) -> None:
    """Exchange the layers for empty ones, for a state to be loaded into.

    Raises:
        ConfigError: the network has no such layer, or it is none that can be quantized.
    """
    known = dict(_weighty(network)) if quantization else {}
    for name, scheme in quantization.layers.items():
        if name not in known:
            raise ConfigError(f"its quantization_config names the layer {name}, which there is not in such a network")
        _put(network, name, empty_like(known[name], scheme))


def quantization_of(network: nn.Module) -> Quantization:
    """The layers that are quantized."""
    found = {name: layer for name, layer in network.named_modules() if isinstance(layer, QuantizedLayer)}
    return Quantization(layers={name: layer.scheme for name, layer in found.items()})


def _weighty(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers that hold a matrix or more as ``weight``."""
    for name, layer in network.named_modules():
        weight = layer._parameters.get("weight")
        if weight is not None and weight.ndim > 1:
            yield name, layer


def _reason_to_stay(network: nn.Module, name: str, layer: nn.Module, scheme: Scheme) -> str:
    if type(layer) not in (nn.Linear, Linear, nn.Conv2d, Conv3x3, nn.Embedding):
        return f"it is a {type(layer).__name__}, of which no quantized form is known"
    if isinstance(layer, nn.Conv2d):
        if layer.groups > 1:
            return "it is a depth-wise or grouped convolution, which holds few weights"
        if layer.padding_mode != "zeros" or min(layer.in_channels, layer.out_channels) < _MIN_CHANNELS:
            return "it is a convolution at the end of a network, which holds few weights"
    parent, _, leaf = name.rpartition(".")
    is_of_text = leaf == "kv" and isinstance(network.get_submodule(parent), CrossAttention)
    if is_of_text and scheme.rounds_activations:
        return "it makes keys and values of the text, once a prompt, and is sensitive to rounding"
    return ""


def _outside(network: nn.Module) -> dict[str, str]:
    """The linear layers that are part of no block, in networks that name theirs; and why they stay."""
    inside = {part for unit in getattr(network, "units", ()) for part in unit.modules()}
    reason = "it lies outside of the blocks, where time, text and latent come in and out"
    linears = (name for name, part in network.named_modules() if isinstance(part, nn.Linear) and part not in inside)
    return dict.fromkeys(linears, reason) if inside else {}


def _for_others(scheme: Scheme) -> Scheme:
    """Of layers other than linear ones."""
    return scheme if isinstance(scheme, BFloat16) else Int8Weight()


def _put(network: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, layer)
