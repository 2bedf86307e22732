"""How well a picture fits a text: scorers behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from PIL import Image

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.scoring.named import NamedNetwork


class ImageTextScorer(NamedNetwork, Protocol):
    """Pictures and texts to similarities."""

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
        """One number for each picture with the text at the same place; higher is better."""
        ...


def load_scorer(
    name_or_path: str, *, device: str | torch.device = "cpu", hub: HubOptions | None = None
) -> ImageTextScorer:
    """A scorer: "starter" (the dual encoder that ships), or a folder or hub id of a transformers CLIP or SigLIP.

    Args:
        hub: how a hub id is fetched, and the one source whose own code may be run.

    Raises:
        RequestError: the folder holds another kind of model, or the name is neither a folder nor a hub id.
        DownloadError: a hub id whose files are not in the cache and cannot be fetched.
        CheckpointError: weights that cannot be read.
    """
    if name_or_path == "starter":
        from sanakit.scoring.dual_encoder import load_starter_scorer

        return load_starter_scorer(device=device)
    from sanakit.scoring.contrastive import load_contrastive_scorer

    return load_contrastive_scorer(name_or_path, device=device, hub=hub)
