"""The extractor that a word on the command line means."""

from __future__ import annotations

from typing import get_args

import torch

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path
from sanakit.scoring.extractors.efficientnet_lite import load_efficientnet_lite0
from sanakit.scoring.extractors.extractor import FeatureExtractor
from sanakit.scoring.extractors.inception import Resize, load_inception
from sanakit.scoring.extractors.vision_tower import load_vision_tower

DEFAULT = "efficientnet-lite0"


def load_extractor(
    name_or_path: str = DEFAULT,
    *,
    resize: str | None = None,
    device: str | torch.device = "cpu",
    hub: HubOptions | None = None,
) -> FeatureExtractor:
    """``efficientnet-lite0``; a file of Inception-v3; a folder or hub id of a transformers CLIP, SigLIP or DINOv2.

    Args:
        resize: "bilinear" (pytorch-fid) or "bicubic" (clean-fid), for Inception-v3 only: the others have one rule.
        hub: how a hub id is fetched, and the one source whose own code may be run.

    Raises:
        RequestError: a resize rule that is not there, or a name that means nothing.
        CheckpointError, DownloadError, MissingExtraError: its weights cannot be had.
    """
    path = as_path(name_or_path)
    if path.is_file():
        if resize is not None and resize not in get_args(Resize):
            raise RequestError(f"resize={resize} is not offered; use {' or '.join(get_args(Resize))}")
        return load_inception(path, resize="bicubic" if resize == "bicubic" else "bilinear", device=device)
    if resize is not None:
        raise RequestError(f"resize={resize} is for Inception-v3; {name_or_path} has one rule of its own, leave it out")
    if name_or_path == DEFAULT:
        return load_efficientnet_lite0(device=device)
    return load_vision_tower(name_or_path, device=device, hub=hub)
