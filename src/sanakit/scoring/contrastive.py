"""CLIP and SigLIP of transformers as scorers: 100 times the cosine of picture and text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.common.errors import CheckpointError
from sanakit.scoring.extractors.preprocessing import Preprocessing, find_model_folder, pretrained
from sanakit.scoring.extractors.vision_tower import features_of, load_transformers_model
from sanakit.scoring.pixels import are_pairs, as_images, same_size_batches

_BATCH = 16


class ContrastiveScorer:
    """``100 * cos(picture, text)``, without the clipping at 0 of some implementations, so that no sign is lost.

    Texts are cut to the length that the model was trained with, as its own tokenizer does.

    Source: Hessel et al., CLIPScore, arXiv:2104.08718 (there with the factor 2.5 and clipped).
    """

    def __init__(self, network: Any, tokenizer: Any, preprocessing: Preprocessing, *, name: str) -> None:
        self.network = network.eval().requires_grad_(False)
        self.tokenizer, self.preprocessing, self.name = tokenizer, preprocessing, name
        self.resize_rule = preprocessing.rule
        text = getattr(network.config, "text_config", None)  # which a model with code of its own may lack
        self.length = int(getattr(text, "max_position_embeddings", None) or tokenizer.model_max_length)
        self.full_rows = network.config.model_type == "siglip"  # trained on padded rows without a mask
        self.weights_hash = hash_tensors(self.network.state_dict())

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
        """One number for each picture with the text at the same place; higher is better."""
        if not are_pairs(images, texts):
            return []
        pictures, captions = self.pictures(images), self._texts(texts)  # (N, F) each
        return (100 * F.cosine_similarity(pictures, captions)).tolist()

    def cuts(self, text: str) -> bool:
        """Whether a text has more tokens than the model reads."""
        return len(text) > self.length // 2 and len(self.tokenizer(text, verbose=False)["input_ids"]) > self.length

    @torch.no_grad()
    def pictures(self, images: Sequence[Image.Image]) -> Tensor:
        """Features ``(N, F)``, as long as the network makes them."""
        batches = same_size_batches((image.convert("RGB") for image in images), _BATCH)
        pixels = (self.preprocessing(as_images(batch).to(self.network.device)) for batch in batches)
        return torch.cat([features_of(self.network.get_image_features(part)) for part in pixels])

    @torch.no_grad()
    def _texts(self, texts: Sequence[str]) -> Tensor:
        parts = []
        how = {"padding": "max_length" if self.full_rows else "longest", "truncation": True, "max_length": self.length}
        for start in range(0, len(texts), _BATCH):
            tokens = self.tokenizer(list(texts[start : start + _BATCH]), return_tensors="pt", **how)
            tokens = tokens.to(self.network.device)
            mask = None if self.full_rows else tokens["attention_mask"]
            parts.append(features_of(self.network.get_text_features(tokens["input_ids"], attention_mask=mask)))
        return torch.cat(parts)


def load_contrastive_scorer(
    name_or_path: str, *, device: str | torch.device = "cpu", hub: HubOptions | None = None
) -> ContrastiveScorer:
    """A folder or hub id of a transformers CLIP or SigLIP with its tokenizer.

    Raises:
        RequestError, DownloadError, CheckpointError: it is not there, or has no text tower.
    """
    network, preprocessing, kind = load_transformers_model(name_or_path, hub)
    from transformers import AutoTokenizer

    if not hasattr(network, "get_text_features"):
        raise CheckpointError(f"{name_or_path} is a {kind} model without a text tower; give a CLIP or SigLIP")
    otherwise, trusted = f"the tokenizer of {name_or_path} cannot be read", hub is not None and hub.trusts(name_or_path)
    tokenizer = pretrained(AutoTokenizer, find_model_folder(name_or_path, hub), otherwise, trusted=trusted)
    return ContrastiveScorer(network.to(device), tokenizer, preprocessing, name=f"{kind} {name_or_path}")
