"""The ControlNets that a pipeline keeps: read once, whatever the number of pictures."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from sanakit.checkpoints.networks.identify import Found
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.common.errors import ConfigError, RequestError
from sanakit.models.transformers.controlnet import ControlNet
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.pipelines.controlling.use import ControlModel, ControlUse
from sanakit.scoring.annotators.annotate import ANNOTATORS

TRAINED_ON = "sanakit_control"
"""The entry of a file's metadata that names what its pictures were annotated by."""
MAX_KEPT = 4
"""ControlNets of earlier calls that a pipeline keeps in memory."""


class CarriedControls:
    """Those that were asked for, in the dtype and on the device of a transformer.

    Args:
        own: that of the model's folder, if it has one.
    """

    def __init__(self, own: Found[Any, Any] | None) -> None:
        self._own = own
        self._own_model: ControlModel | None = None
        self._kept: OrderedDict[str, ControlNet] = OrderedDict()

    def clear(self) -> None:
        """Let go of all, as where the transformer moves."""
        self._kept.clear()

    def completed(self, use: ControlUse) -> ControlUse:
        """With its network and its annotator named.

        Raises:
            RequestError: the network is not named and the model has none, or only its facts are here.
        """
        model = use.model
        if model is None or not (model.is_here or self._own is None):
            if self._own_model is None:
                self._own_model = ControlModel.at(_some(self._own))
            model = self._own_model if model in (None, self._own_model) else model
        assert model is not None
        return use.changed(model=model, type=use.type or kind_of(model.found))

    def network(self, model: ControlModel, transformer: LinearDiT) -> ControlNet:
        """Read once; the one that was used longest ago leaves where there are too many."""
        if model.sha256 not in self._kept:
            network = load_network(model.found, dtype=transformer.compute_dtype, device=transformer.device)
            self._kept[model.sha256] = network
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(model.sha256)
        return self._kept[model.sha256]


def kind_of(found: Found[Any, Any]) -> str:
    """The annotator that a ControlNet was trained with; "given" where it does not say."""
    told = found.header.metadata.get(TRAINED_ON, "given")
    return told if told.partition(":")[0] in ANNOTATORS else "given"


def check_controls(
    uses: Sequence[ControlUse], config: LinearDiTConfig, own: Found[Any, Any] | None, *, compile: bool
) -> list[str]:
    """What is unusual about the controls of requests, for notices.

    Raises:
        RequestError: one does not fit the transformer or is not here, or the step is compiled, which runs alone.
    """
    if uses and compile:
        raise RequestError("a compiled step runs without ControlNets; leave --compile (compile=True) out.")
    notes = []
    for use in uses:
        found = found_for(use, own) or (_some(own) if use.model is None else use.model.found)
        try:
            found.config.check_beside(config)
        except ConfigError as error:
            raise RequestError(f"{found.header.place}: {error}.") from None
        trained, asked = (kind.partition(":")[0] for kind in (kind_of(found), use.type or kind_of(found)))
        if trained not in (asked, "given") and asked != "given":
            name = "of the model" if use.model is None else use.model.name
            notes.append(f"the ControlNet {name} was trained on pictures of type {trained}, and is shown {asked}.")
    return notes


def found_for(use: ControlUse, own: Found[Any, Any] | None) -> Found[Any, Any] | None:
    """The network of a use, or that of the model where only its facts are here; None where neither is."""
    return use.model.found if use.model is not None and use.model.is_here else own


def _some(own: Found[Any, Any] | None) -> Found[Any, Any]:
    if own is None:
        raise RequestError("the model has no ControlNet of its own; name one with --control-model (model=).")
    return own
