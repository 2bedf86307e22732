"""A ControlNet beside a frozen transformer: what a recipe says of it, and the folder that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sanakit.checkpoints.diffusers_layout import save_network
from sanakit.checkpoints.identity.card import ModelCard
from sanakit.checkpoints.identity.precision import DTYPES
from sanakit.checkpoints.networks.controlnet import kind_of_controlnet
from sanakit.common.errors import ConfigError, RequestError
from sanakit.models.transformers.controlnet import ControlNet, Topology
from sanakit.pipelines.controlling.carried import TRAINED_ON
from sanakit.scoring.annotators.annotate import parse_kind


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlConfig:
    """What is trained in the place of the transformer, which stays as it is."""

    type: str = "edges"  # the annotator of its pictures; lines without a thickness have any
    blocks: int = 7  # of the transformer, that are copied
    topology: Topology = "upstream"

    def __post_init__(self) -> None:
        try:
            parse_kind(self.type)
        except RequestError as error:
            raise ConfigError(f"control.type: {error}") from None
        if self.blocks < 1:
            raise ConfigError(f"control.blocks={self.blocks} must be at least 1")


def export_controlnet(
    weights: Mapping[str, Tensor], network: ControlNet, config: ControlConfig, card: ModelCard, folder: Path
) -> None:
    """Write ``folder``, in the first dtype of the model's policy; it says what its pictures were annotated by.

    Args:
        weights: averaged, whole.
        card: of the model beside which it was trained.
    """
    with torch.device("meta"):
        made = ControlNet(network.config)
    made.load_state_dict(dict(weights), assign=True)
    made = made.to(DTYPES[card.precision.dtypes["transformer"][0]])
    facts = {TRAINED_ON: config.type, "trained_from": card.trained_from or ""}
    save_network(kind_of_controlnet(made.config), made, folder, force=True, metadata=facts)
