"""How a transformers model wants its pictures, read from its preprocessor_config.json, without torchvision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.checkpoints.files.hub import HubOptions, resolve_source
from sanakit.checkpoints.text.text_encoder_check import refuse_code_of_others
from sanakit.common.config import json_values
from sanakit.common.errors import CheckpointError, RequestError, first_sentence, own_code
from sanakit.common.free_memory import refuse_lack
from sanakit.common.paths import as_path

_FILTERS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers, of those that torch has too


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """Resize (to a square, or the shorter side and then a crop of the middle), and normalise.

    ``size`` is of the resized picture, ``crop`` of the cut, in pixels.
    """

    size: int
    crop: int | None
    filter_name: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @property
    def rule(self) -> str:
        antialiased = self.filter_name if self.filter_name == "nearest" else f"antialiased {self.filter_name}"
        if self.crop is None:
            return f"{antialiased} to {self.size} x {self.size}, aspect ratio not kept"
        return f"{antialiased} to {self.size} pixels of the shorter side, middle {self.crop} x {self.crop} cut out"

    def __call__(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1] to what the network reads."""
        images = self._resized(images)
        mean, deviation = (torch.tensor(values).view(3, 1, 1).to(images) for values in (self.mean, self.deviation))
        return (images - mean) / deviation

    def _resized(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if self.crop is None:
            target = (self.size, self.size)
        else:  # the longer side is cut to whole pixels, as transformers does
            shorter = min(height, width)
            target = (int(self.size * height / shorter), int(self.size * width / shorter))
        if target != (height, width):
            antialias = self.filter_name != "nearest"
            images = F.interpolate(images, size=target, mode=self.filter_name, antialias=antialias).clamp(0, 1)
        if self.crop is None:
            return images
        missing = [max(self.crop - side, 0) for side in target]
        images = F.pad(images, (missing[1] // 2, -(-missing[1] // 2), missing[0] // 2, -(-missing[0] // 2)))
        top, left = ((side - self.crop) // 2 for side in images.shape[-2:])
        return images[..., top : top + self.crop, left : left + self.crop]


def read_preprocessing(folder: Path) -> Preprocessing:
    """Raises:
    CheckpointError: the file is missing, or asks for something that is not offered here.
    """
    path = folder / "preprocessor_config.json"
    try:
        content: dict[str, Any] = json_values(path.read_bytes())
        crops = content.get("do_center_crop", "crop_size" in content)
        return Preprocessing(
            size=_side(content["size"]),
            crop=_side(content["crop_size"]) if crops else None,
            filter_name=_FILTERS[content.get("resample", 3)],
            mean=tuple(content["image_mean"]),
            deviation=tuple(content["image_std"]),
        )
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; a folder of a transformers vision model has one") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} does not say how pictures are resized, as CLIP, SigLIP and DINOv2 do ({error})"
        ) from error


def find_model_folder(name_or_path: str, hub: HubOptions | None = None) -> Path:
    """A folder as it is, or the folder in the hub's cache of an id, fetched if need be, with its code if it is trusted.

    Raises:
        RequestError: neither a folder nor the form of a hub id.
        DownloadError: it is not in the cache and cannot be fetched.
        CheckpointError: it is trusted, and asks for code of others.
    """
    folder, hub = as_path(name_or_path), hub or HubOptions()
    if not (folder / "config.json").is_file():
        if folder.exists() or name_or_path.count("/") != 1 or name_or_path.startswith((".", "/", "~")):
            raise RequestError(
                f"{name_or_path} is no folder with a config.json and no hub id such as openai/clip-vit-large-patch14"
            )
        folder = resolve_source(name_or_path, hub=hub)
    if hub.trusts(name_or_path):
        refuse_code_of_others(folder)
    return folder


def pretrained(loader: Any, folder: Path, otherwise: str, *, trusted: bool = False, **how: Any) -> Any:
    """What a class of transformers loads from a folder.

    Args:
        trusted: run the code that came with it.

    Raises:
        CheckpointError: it cannot; the sentence begins with ``otherwise``.
    """
    try:
        return loader.from_pretrained(folder, trust_remote_code=trusted, local_files_only=True, **how)
    except Exception as error:  # transformers raises many kinds
        refuse_lack(error)
        raise CheckpointError(f"{otherwise} ({own_code(error) or first_sentence(error)})") from error


def kind_of_model(folder: Path, *, trusted: bool = False) -> str:
    """What transformers calls the kind of a model, such as ``clip``; raises as ``pretrained``."""
    from transformers import AutoConfig

    return str(pretrained(AutoConfig, folder, f"{folder}/config.json cannot be read", trusted=trusted).model_type)


def _side(size: int | dict[str, int]) -> int:
    if isinstance(size, int):
        return size
    side = size.get("shortest_edge") or size["height"]
    if size.get("width", side) != side:
        raise ValueError(f"{size} is not square")
    return side
