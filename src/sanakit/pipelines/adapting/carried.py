"""The adapters that a pipeline's network carries: read once, whatever the number of pictures."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

from sanakit.adapters.adapter import Adapter, Mix, Use, carry
from sanakit.checkpoints.adapters.files import read_adapter
from sanakit.checkpoints.adapters.fit import FittedAdapter, fit_adapter
from sanakit.checkpoints.adapters.places import Layers
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.common.errors import RequestError
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.pipelines.adapting.use import AdapterUse

MAX_KEPT = 64
"""Adapters of earlier calls that a pipeline keeps in memory."""

layers_of = lru_cache(maxsize=4)(lambda config: Layers.of(LINEAR_DIT, config))


def check_adapters(uses: Sequence[AdapterUse], config: LinearDiTConfig, *, compile: bool) -> list[str]:
    """What is unusual about the adapters of requests, for notices.

    Raises:
        CheckpointError: one does not fit the network, or changes nothing.
        RequestError: one is not here, or the step is compiled, which would not follow them.
    """
    if uses and compile:
        raise RequestError(
            "adapters cannot be chosen for a compiled step; leave --compile (compile=True) out, or make a model with "
            "the adapter inside: sanakit adapter fuse"
        )
    fitted = {use.sha256: _fitted(use.path, use.sha256, config) for use in uses}
    return [note for each in fitted.values() if (note := _note_of(each))]


@lru_cache(maxsize=MAX_KEPT)
def _fitted(path: Path, sha256: str, config: LinearDiTConfig) -> FittedAdapter:
    file = read_adapter(path)
    if file.sha256 != sha256:
        raise RequestError(f"{path} has changed since it was named; name it again.")
    return fit_adapter(file, layers_of(config))


def _note_of(fitted: FittedAdapter) -> str:
    file, left = fitted.file, fitted.left_out
    if not left:
        return ""
    told = f"{len(left)} of its parts are of no layer of this model that can carry them, and are left out"
    return f"{file.path.name}: {told}: {file.few(left)}"


class CarriedAdapters:
    """Those of one network, in its dtype and on its device."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Adapter] = OrderedDict()

    def clear(self) -> None:
        """Let go of all, as where the network moves."""
        self._kept.clear()

    def hang_in(self, network: LinearDiT) -> None:
        """Let a network carry them whose weights may have been read anew."""
        for adapter in self._kept.values():
            carry(network, adapter)

    def mix(self, uses: Sequence[AdapterUse], network: LinearDiT) -> Mix:
        """What a row takes; nothing of those that weigh nothing. The network carries it from now on."""
        return tuple(Use(self._adapter(use, network), use.weight) for use in uses if use.weight)

    def _adapter(self, use: AdapterUse, network: LinearDiT) -> Adapter:
        """Read once; the one that was used longest ago leaves where there are too many."""
        if use.sha256 not in self._kept:
            fitted = _fitted(use.path, use.sha256, network.config)
            self._kept[use.sha256] = deepcopy(fitted.adapter).to(network.device, network.compute_dtype)
            carry(network, self._kept[use.sha256])
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(use.sha256)
        return self._kept[use.sha256]
