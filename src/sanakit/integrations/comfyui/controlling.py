"""Nodes of pictures that control others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path
from sanakit.integrations.comfyui import host
from sanakit.integrations.comfyui.nodes import (
    CONTROLNET,
    CONTROLS,
    Inputs,
    Node,
    choice,
    number,
    stamp,
    text,
    whole,
    wire,
)
from sanakit.integrations.comfyui.tensors import as_arrays, as_batch
from sanakit.pipelines.controlling.use import MAX_SCALE, ControlModel, ControlUse
from sanakit.scoring.annotators.annotate import ANNOTATORS, WITH_THICKNESS, annotate
from sanakit.scoring.annotators.scribbles import MAX_THICKNESS

TRAINED = "what it was trained on"
_THICKNESS = whole("Of drawn lines; -1 is what suits, and what has no lines has none.", -1, MAX_THICKNESS, default=-1)


class LoadControlNet(Node):
    """Name a ControlNet: upstream's .pth, a diffusers folder, one safetensors, a hub id."""

    RETURN_TYPES = (CONTROLNET,)
    RETURN_NAMES = ("controlnet",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802, as ComfyUI calls it
        return {
            "required": {"controlnet": choice("From ComfyUI's folder of ControlNets.", [*host.control_names(), ""])},
            "optional": {"source": text("A path or a hub id, instead of the choice above.")},
        }

    @classmethod
    def IS_CHANGED(cls, controlnet: str, source: str = "") -> str:  # noqa: N802
        return stamp(_place(controlnet, source))

    def run(self, controlnet: str, source: str = "") -> tuple[ControlModel]:
        """Raises CheckpointError where there is no ControlNet."""
        return (ControlModel.of(source.strip() or _place(controlnet, source)),)


class Control(Node):
    """Let a picture control what is made; several are added together."""

    RETURN_TYPES = (CONTROLS,)
    RETURN_NAMES = ("controls",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        return {
            "required": {
                "image": wire("IMAGE", "One picture."),
                "type": choice("What is taken of it; given is a finished map.", [TRAINED, *ANNOTATORS]),
                "thickness": _THICKNESS,
                "scale": number("How much it counts; 1 as it was trained, 0 is nothing.", 0, MAX_SCALE, default=1.0),
                "start": number("Share of the steps from which it acts.", 0, 1),
                "end": number("Share of the steps until which it acts.", 0, 1, default=1.0),
            },
            "optional": {
                "controlnet": wire(CONTROLNET, "If not the model's own."),
                "controls": wire(CONTROLS, "To add this one to."),
            },
        }

    def run(
        self,
        image: Tensor,
        type: str,
        thickness: int,
        controlnet: ControlModel | None = None,
        controls: tuple[ControlUse, ...] = (),
        **given: float,
    ) -> tuple[tuple[ControlUse, ...]]:
        """Raises RequestError for several pictures, and for settings that do not fit together."""
        if len(image) != 1:
            raise RequestError(f"{len(image)} pictures come as one that controls; give each to a node of its own.")
        kind = None if type == TRAINED else _kind(type, thickness)
        return ((*controls, ControlUse(image=as_arrays(image)[0], type=kind, model=controlnet, **given)),)


class Annotate(Node):
    """See what a ControlNet is shown of pictures."""

    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("images",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        return {
            "required": {
                "images": wire("IMAGE", "Pictures."),
                "type": choice("What is taken of them.", [*ANNOTATORS]),
                "thickness": _THICKNESS,
            }
        }

    def run(self, images: Tensor, type: str, thickness: int) -> tuple[Tensor]:
        """Maps of the same size."""
        maps = [annotate(np.ascontiguousarray(each[..., :3]), _kind(type, thickness)) for each in as_arrays(images)]
        return (as_batch(maps),)


def _kind(name: str, thickness: int) -> str:
    return f"{name}:{thickness}" if thickness >= 0 and name in WITH_THICKNESS else name


def _place(controlnet: str, source: str) -> Path:
    if not (source.strip() or controlnet):
        raise RequestError("no ControlNet is chosen; put one into ComfyUI's models/controlnet, or name a source.")
    return as_path(source.strip()) if source.strip() else host.path_of(controlnet)
