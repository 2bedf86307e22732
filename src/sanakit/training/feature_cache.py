"""Latents and text features of starter scenes, computed once and read from disk at every step.

A caption is encoded once; its scene is painted and encoded several times, moved and scaled a little each time, since
a few fixed pictures would be learned by heart.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from sanakit.data.starter.render import render
from sanakit.data.starter.scene import Scene
from sanakit.data.starter.scenes import StarterScenes
from sanakit.data.starter.sprites import load_sprite_bank
from sanakit.models.dc_ae import DCAutoencoder
from sanakit.models.text_condition import TextCondition
from sanakit.models.text_encoder import TextEncoder
from sanakit.training.distributed import ALONE, Ranks
from sanakit.training.files import save_state

logger = logging.getLogger(__name__)

_PART = 2048  # captions per file: what is lost when a run is stopped


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureCacheConfig:
    """How much is cached: ``num_captions`` scenes, each painted ``num_copies`` times."""

    num_captions: int = 24_576
    num_copies: int = 3
    resolution: int = 128
    seed: int = 7


def cache_text(
    encoder: TextEncoder, config: FeatureCacheConfig, folder: Path, *, ranks: Ranks = ALONE
) -> None:
    """Write ``text-NNNN.pt`` files with the embeds of every caption; those already there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = StarterScenes(load_sprite_bank(), "train", config.seed, size=config.resolution)
    for part in _own_parts(config, ranks):
        path = folder / f"text-{part:04d}.pt"
        if not path.exists():
            captions = [scenes.truth(index)[1] for index in _indices(part, config)]
            conditions = encoder.encode(captions, rows_per_call=64)
            embeds = torch.cat([condition.embeds[0] for condition in conditions]).bfloat16()   # (tokens, C)
            lengths = torch.tensor([condition.mask.shape[1] for condition in conditions])
            save_state({"embeds": embeds, "lengths": lengths}, path)
            logger.info("text part %d of %d: %d captions", part + 1, num_parts(config), len(captions))


@torch.no_grad()
def cache_latents(
    autoencoder: DCAutoencoder, config: FeatureCacheConfig, folder: Path, *, ranks: Ranks = ALONE,
    device: str = "cpu",
) -> None:
    """Write ``latent-NNNN.pt`` files ``(num_copies, captions, C, h, w)``, scaled; those already there are kept."""
    bank = load_sprite_bank()
    scenes = StarterScenes(bank, "train", config.seed, size=config.resolution)
    for part in _own_parts(config, ranks):
        path = folder / f"latent-{part:04d}.pt"
        if path.exists():
            continue
        copies = []
        for copy in range(config.num_copies):
            latents = []
            for index in _indices(part, config):
                scene = moved(scenes.truth(index)[0], np.random.default_rng((config.seed, copy, index)))
                latents.append(render(scene, bank, config.resolution))
            copies.append(_encode(autoencoder, latents, device))
        save_state({"latents": torch.stack(copies)}, path)
        logger.info("latent part %d of %d", part + 1, num_parts(config))


def _encode(autoencoder: DCAutoencoder, images: list[np.ndarray], device: str) -> Tensor:
    encoded = []
    for start in range(0, len(images), 32):
        pixels = torch.from_numpy(np.stack(images[start : start + 32])).permute(0, 3, 1, 2).to(device)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            encoded.append(autoencoder.encode(pixels.float() / 127.5 - 1).bfloat16().cpu())
    return torch.cat(encoded)


def moved(scene: Scene, rng: Generator) -> Scene:
    """The scene shifted and scaled as a whole within the canvas: every count, order and relation stays."""
    boxes = np.array([thing.box for thing in scene.objects])                    # (objects, 4)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    extent = high - low
    scale = min(rng.uniform(0.92, 1.08), 0.98 / extent.max())
    room = 1 - scale * extent
    centre = (low + high) / 2 + rng.uniform(-0.3, 0.3, 2) * room
    centre = np.clip(centre, scale * extent / 2, 1 - scale * extent / 2)
    corners = (boxes.reshape(-1, 2, 2) - (low + high) / 2) * scale + centre
    objects = tuple(
        replace(thing, box=(float(left), float(top), float(right), float(bottom)))
        for thing, (left, top, right, bottom) in zip(scene.objects, corners.reshape(-1, 4), strict=True)
    )
    return replace(scene, objects=objects)


class FeatureCache:
    """The cached samples, in a fresh order each epoch.

    Sample ``n`` of the whole run depends on the seed and ``n`` alone, whatever the number of processes.
    """

    def __init__(self, folder: Path, config: FeatureCacheConfig) -> None:
        parts = [torch.load(folder / f"text-{p:04d}.pt", weights_only=True) for p in range(num_parts(config))]
        self._embeds = torch.cat([part["embeds"] for part in parts])            # (tokens, C) bf16
        self._lengths = torch.cat([part["lengths"] for part in parts])
        self._starts = self._lengths.cumsum(0) - self._lengths
        self._longest = -(-int(self._lengths.max()) // 8) * 8  # one length for all batches: compiled blocks like that
        self._latents = torch.cat([
            torch.load(folder / f"latent-{p:04d}.pt", weights_only=True)["latents"] for p in range(num_parts(config))
        ], dim=1)                                                               # (copies, captions, C, h, w) bf16
        self._seed = config.seed

    def __len__(self) -> int:
        return self._latents.shape[0] * self._latents.shape[1]

    def batch(self, first: int, size: int) -> tuple[Tensor, TextCondition]:
        """Samples ``first`` to ``first + size - 1`` of the run: latents ``(B, C, h, w)`` float32, and their text."""
        chosen = torch.tensor([self._order(n // len(self))[n % len(self)] for n in range(first, first + size)])
        captions = chosen % self._latents.shape[1]
        latents = self._latents[chosen // self._latents.shape[1], captions].float()
        lengths = self._lengths[captions]
        positions = torch.arange(self._longest)
        mask = positions < lengths[:, None]                                     # (B, L)
        rows = (self._starts[captions][:, None] + positions).clamp(max=len(self._embeds) - 1)
        return latents, TextCondition(self._embeds[rows].float() * mask[:, :, None], mask)

    def _order(self, epoch: int) -> list[int]:
        if getattr(self, "_epoch", None) != epoch:
            generator = torch.Generator().manual_seed(self._seed + epoch)
            self._epoch, self._permutation = epoch, torch.randperm(len(self), generator=generator).tolist()
        return self._permutation


def num_parts(config: FeatureCacheConfig) -> int:
    """Files of each kind."""
    return -(-config.num_captions // _PART)


def _own_parts(config: FeatureCacheConfig, ranks: Ranks) -> range:
    return range(ranks.rank, num_parts(config), ranks.world)


def _indices(part: int, config: FeatureCacheConfig) -> range:
    return range(part * _PART, min((part + 1) * _PART, config.num_captions))
