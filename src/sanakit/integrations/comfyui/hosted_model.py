"""A model whose networks ComfyUI moves: each comes when its turn is and may leave when others need the room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.opening import open_model
from sanakit.integrations.comfyui import host
from sanakit.pipelines.text_to_image import TextToImagePipeline


@dataclass(frozen=True, kw_only=True)
class HostedBundle(ModelBundle):
    """Networks take turns as in a bundle that is short of memory, and ComfyUI says which of them stay.

    ``place`` is where they work, and ``patchers`` what ComfyUI knows of each.
    """

    place: torch.device
    patchers: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, bundle: ModelBundle, place: torch.device) -> HostedBundle:
        """The same model under ComfyUI's device manager."""
        patchers = {name: host.managed(network) for name, network in bundle.networks.items()}
        own = {each.name: getattr(bundle, each.name) for each in fields(bundle)}
        taking_turns = {name: network.__class__ for name, network in bundle.networks.items()}  # never called: see need
        return cls(**own | {"readers": taking_turns}, place=place, patchers=patchers)

    def need(self, component: str) -> None:
        host.bring(self.patchers[component])

    @property
    def device(self) -> torch.device:
        return self.place


def load_pipeline(source: str | Path, **options: Any) -> TextToImagePipeline:
    """A pipeline whose networks work where ComfyUI wants them to; options and errors are those of ``open_model``."""
    place = host.load_device()
    opened = open_model(source, device=place, **options)
    bundle = replace(opened, device=host.offload_device()).load()
    return TextToImagePipeline(HostedBundle.of(bundle, place), rescue_folder=host.rescue_folder())
