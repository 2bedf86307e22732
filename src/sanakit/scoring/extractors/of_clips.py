"""Features of clips: of their frames and how these change, or of a network that looks at clips."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.common.errors import CheckpointError, need_transformers
from sanakit.scoring.extractors.extractor import FeatureExtractor
from sanakit.scoring.extractors.preprocessing import (
    Preprocessing,
    find_model_folder,
    kind_of_model,
    pretrained,
    read_preprocessing,
)
from sanakit.scoring.named import NamedNetwork

FRAMES = "frames"


class ClipExtractor(NamedNetwork, Protocol):
    """Clips to features; two sets of features from one extractor can be compared, from different ones never."""

    def __call__(self, clip: Tensor, frame_features: Tensor) -> Tensor:
        """A clip ``(T, 3, H, W)`` in [0, 1], and what the extractor of pictures makes of its frames ``(T, F)``, to
        features ``(G,)``, float32."""
        ...


class FrameStatistics:
    """The mean of the features of frames, and the mean size of their change from frame to frame: ``(2 F,)``.

    A clip that stands still has zeros in the second half, and the same clip backwards has the same features.
    """

    def __init__(self, frames: FeatureExtractor) -> None:
        self.name, self.resize_rule = f"mean and change of {frames.name}", frames.resize_rule
        self.weights_hash = frames.weights_hash

    def __call__(self, clip: Tensor, frame_features: Tensor) -> Tensor:
        changes = frame_features.diff(dim=0).abs() if len(frame_features) > 1 else torch.zeros_like(frame_features)
        return torch.cat([frame_features.mean(0), changes.mean(0)])


class VideoMAE(nn.Module):
    """A frozen VideoMAE of transformers; the mean of its tokens, of as many frames as it takes, evenly spaced.

    Source: VideoMAE, arXiv:2203.12602; as features of a Fréchet distance: Ge et al., arXiv:2404.12391.
    """

    def __init__(self, network: Any, preprocessing: Preprocessing, *, name: str) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.preprocessing, self.name = preprocessing, name
        self.num_frames: int = network.config.num_frames
        self.resize_rule = f"{preprocessing.rule}, {self.num_frames} frames evenly spaced"
        self.weights_hash = hash_tensors(self.network.state_dict())

    def forward(self, clip: Tensor, frame_features: Tensor) -> Tensor:
        chosen = torch.linspace(0, len(clip) - 1, self.num_frames).round().long()
        pixels = self.preprocessing(clip[chosen.to(clip.device)])
        found: Tensor = self.network(pixel_values=pixels[None]).last_hidden_state  # (1, N, G)
        return found[0].mean(0).float()


def load_clip_extractor(
    name_or_path: str, frames: FeatureExtractor, *, device: str | torch.device = "cpu", hub: HubOptions | None = None
) -> ClipExtractor:
    """``frames``, or a folder or hub id of a transformers VideoMAE.

    Raises:
        RequestError, DownloadError, CheckpointError, MissingExtraError: it is not there, or another kind of model.
    """
    if name_or_path == FRAMES:
        return FrameStatistics(frames)
    need_transformers(f"{name_or_path} as an extractor of clips")
    from transformers import VideoMAEModel

    folder = find_model_folder(name_or_path, hub)
    kind = kind_of_model(folder)
    if kind != "videomae":
        raise CheckpointError(f"{name_or_path} is a {kind} model; give a VideoMAE, or {FRAMES}")
    network = pretrained(VideoMAEModel, folder, f"{name_or_path} cannot be loaded", dtype=torch.float32)
    return VideoMAE(network, read_preprocessing(folder), name=f"{kind} {name_or_path}").to(device)
