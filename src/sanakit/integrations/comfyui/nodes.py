"""What all nodes share: the types that pass between them, and how their inputs are written.

A node is a class as ComfyUI has had them from the start, which every version of it loads and which needs nothing of it
until a graph runs. Its name in a graph is for ever, since graphs that people saved have it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from sanakit.pipelines.latent_file import SavedLatent
from sanakit.pipelines.text_to_image import TextToImagePipeline

MODEL, PROMPT, LATENT, RECORDS = "SANAKIT_MODEL", "SANAKIT_PROMPT", "SANAKIT_LATENT", "SANAKIT_RECORDS"
ADAPTERS, PICTURES, SETTINGS = "SANAKIT_ADAPTERS", "SANAKIT_PICTURES", "SANAKIT_SETTINGS"
CONTROLNET, CONTROLS = "SANAKIT_CONTROLNET", "SANAKIT_CONTROLS"

OWN = "the model's own"
"""Of a choice that is left to the model."""

Input = tuple[Any, ...]
Inputs = dict[str, dict[str, Any]]
Fields = Mapping[str, Any]
"""Of a ``GenerationRequest``."""


class Node:
    """What ComfyUI reads of every node."""

    CATEGORY: ClassVar[str] = "sanakit"
    FUNCTION: ClassVar[str] = "run"
    RETURN_TYPES: ClassVar[tuple[str, ...]] = ()
    RETURN_NAMES: ClassVar[tuple[str, ...]] = ()


class Prompt(NamedTuple):
    """Texts that a model was told; their embeds are kept by its text encoder."""

    prompt: str
    negative_prompt: str
    use_instruction: bool


@dataclass(frozen=True, slots=True, eq=False)
class Latents:
    """Finished latents with their records, and the pipeline that decodes them."""

    pipeline: TextToImagePipeline
    latents: list[SavedLatent]


def text(told: str, *, multiline: bool = False, default: str = "") -> Input:
    return "STRING", {"default": default, "multiline": multiline, "tooltip": told}


def choice(told: str, names: list[str], default: str | None = None, **more: Any) -> Input:
    return names, {"default": default or names[0], "tooltip": told, **more}


def switch(told: str, *, default: bool = False) -> Input:
    return "BOOLEAN", {"default": default, "tooltip": told}


def whole(told: str, low: int, high: int, *, default: int = 0, **more: Any) -> Input:
    return "INT", {"default": default, "min": low, "max": high, "tooltip": told, **more}


def number(told: str, low: float, high: float, *, default: float = 0.0, step: float = 0.05) -> Input:
    facts = {"default": default, "min": low, "max": high, "step": step, "round": False, "tooltip": told}
    return "FLOAT", facts


def wire(kind: str, told: str) -> Input:
    return kind, {"tooltip": told}


def stamp(path: Path) -> str:
    """What changes when a file, or one in a folder, is written anew; "" where there is none."""
    files = sorted(path.rglob("*")) if os.path.isdir(path) else [path] if os.path.isfile(path) else []
    facts = [(file.name, file.stat()) for file in files if file.is_file()]
    return " ".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in facts)
