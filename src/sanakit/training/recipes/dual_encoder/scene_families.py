"""Families of starter scenes for a dual encoder: a scene and wrong ones, so that every batch holds its hard negatives.

Each member has a picture and a caption of its own, so the others' captions are wrong of its picture and the other
way round. Features of both are computed once and kept in the folder of the run.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from sanakit.common.config import to_mapping
from sanakit.common.errors import ConfigError
from sanakit.common.files import write_json, written_aside
from sanakit.common.pixels import to_unit
from sanakit.common.quick_bfloat16 import has_quick_bfloat16
from sanakit.features.text_rows import TextRows
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.text.text_encoder import TextEncoder
from sanakit.scoring.dual_encoder import PictureReader
from sanakit.worlds.scenes.captions import caption
from sanakit.worlds.scenes.render import render
from sanakit.worlds.scenes.scene import Scene, Split
from sanakit.worlds.scenes.scene_labels import scene_codes
from sanakit.worlds.scenes.scenes import sample_scene
from sanakit.worlds.scenes.sprites import load_sprite_bank
from sanakit.worlds.scenes.wrong_scenes import WRONG_KINDS, placed_again, wrong_scene

logger = logging.getLogger(__name__)

FAMILY_SIZE = 6
_CONFIG = "families.json"
_PART = 50  # families per file: what is lost when a run is stopped


@dataclass(frozen=True, kw_only=True, slots=True)
class FamiliesConfig:
    """How much is cached: families of six scenes, each painted ``num_copies`` times, every time elsewhere.

    ``num_families`` begin with any scene and ``num_position_families`` with two objects in a relation: to bind each
    object to its place is the last thing that a dual encoder learns, and takes the most examples.

    ``reconstructed_share`` of the pictures went through the starter's autoencoder with up to ``latent_noise``
    (of a latent of rms 1), so that scores hold on generated pictures, which are less sharp than painted ones.
    """

    num_families: int = 800
    num_position_families: int = 400
    num_copies: int = 2
    reconstructed_share: float = 0.2
    latent_noise: float = 0.3
    seed: int = 11

    def __post_init__(self) -> None:
        if self.num_families < 1 or self.num_copies < 1:
            raise ConfigError(f"num_families={self.num_families} and num_copies={self.num_copies} must be at least 1")
        if self.num_position_families < 0:
            raise ConfigError(f"num_position_families={self.num_position_families} must not be negative")
        if not 0 <= self.reconstructed_share <= 1 or self.latent_noise < 0:
            raise ConfigError(
                f"reconstructed_share={self.reconstructed_share} must lie within [0, 1], and "
                f"latent_noise={self.latent_noise} must not be negative"
            )

    @property
    def total(self) -> int:
        """Families of both sorts."""
        return self.num_families + self.num_position_families


def scene_family(rng: Generator, split: Split = "train", *, related: bool = False) -> tuple[Scene, ...]:
    """A random scene and five that differ from it in one thing each, all kinds that it allows in turns.

    In the split "train" no member holds a held-out combination. With ``related`` the scene is of two objects in a
    relation.
    """
    base = sample_scene(rng, split)
    while related and base.relation is None:
        base = sample_scene(rng, split)
    kinds = cycle([WRONG_KINDS[i] for i in rng.permutation(len(WRONG_KINDS))])
    others = (wrong_scene(base, kind, rng, allow_heldout=split == "heldout") for kind in kinds)
    return base, *islice((other for other in others if other is not None), FAMILY_SIZE - 1)


@torch.no_grad()
def cache_families(
    config: FamiliesConfig, folder: Path, *, encoder: TextEncoder, reader: PictureReader, autoencoder: DCAutoencoder
) -> None:
    """Write ``families-NNNN.pt``: patches ``(copies, scenes, 16, C)``, codes, and the embeds of every caption.

    Parts that are there are kept.

    Raises:
        ConfigError: the folder holds features of another config.
    """
    check_families(config, folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _CONFIG, to_mapping(config))
    paths = part_files(config, folder)
    for part, path in enumerate(paths):
        if path.exists():
            continue
        scenes, captions = _scenes_and_captions(config, part)
        conditions = encoder.encode(captions, rows_per_call=64)
        copies = [_placed(scenes, config, part, copy) for copy in range(config.num_copies)]
        patches = [
            _read(copy, config, reader, autoencoder, seed=config.num_copies * part + number)
            for number, copy in enumerate(copies)
        ]
        content = {
            "embeds": torch.cat([condition.embeds[0] for condition in conditions]).bfloat16().cpu(),
            "lengths": torch.tensor([condition.mask.shape[1] for condition in conditions]),
            "patches": torch.stack(patches),
            "codes": torch.stack([scene_codes(copy) for copy in copies]),
        }
        with written_aside(path) as building:
            torch.save(content, building)
        logger.info("families part %d of %d", part + 1, len(paths))


def check_families(config: FamiliesConfig, folder: Path) -> bool:
    """Whether all features of this config are there.

    Raises:
        ConfigError: the folder holds features of another config.
    """
    if (folder / _CONFIG).exists():
        found = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        if found != to_mapping(config):
            raise ConfigError(f"{folder} holds features of other data ({found}); give the run another folder")
    return all(path.exists() for path in part_files(config, folder))


def part_files(config: FamiliesConfig, folder: Path) -> list[Path]:
    return [folder / f"families-{part:04d}.pt" for part in range(-(-config.total // _PART))]


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Pictures and captions at the same place, with the codes that tell which caption is right of which picture."""

    patches: Tensor  # (B, 16, C)
    text: TextCondition  # (B, L, C)
    codes: Tensor  # (B, 11)

    def to(self, device: torch.device | str) -> PairBatch:
        text = TextCondition(self.text.embeds.to(device), self.text.mask.to(device))
        return PairBatch(self.patches.to(device), text, self.codes.to(device))


class FamilyBatches:
    """The cached families in a fresh order each epoch; micro-batch ``number`` follows from seed and number alone."""

    def __init__(self, folder: Path, config: FamiliesConfig, *, batch_size: int, seed: int) -> None:
        if batch_size % FAMILY_SIZE:
            raise ConfigError(f"batch_size={batch_size} must be a multiple of {FAMILY_SIZE}, the size of a family")
        parts = [torch.load(path, weights_only=True, mmap=True) for path in part_files(config, folder)]
        self._patches = torch.cat([part["patches"] for part in parts], dim=1)  # (copies, scenes, 16, C) bf16
        self._codes = torch.cat([part["codes"] for part in parts], dim=1)  # (copies, scenes, 11)
        embeds, lengths = (torch.cat([part[name] for part in parts]) for name in ("embeds", "lengths"))
        self._texts = TextRows(embeds, lengths)  # bf16
        self._seed, self._families_per_batch = seed, batch_size // FAMILY_SIZE
        self._num_families = config.total
        self.num_batches: int | None = -(-config.total // self._families_per_batch)

    def num_samples(self, number: int) -> int:
        return len(self._chosen(number))

    def batch(self, number: int) -> PairBatch:
        """Micro-batch ``number`` of the run, in float32 on the CPU; each member in one of its copies, by chance."""
        chosen = self._chosen(number)
        copies = torch.from_numpy(
            np.random.default_rng((self._seed, number, 1)).integers(len(self._patches), size=len(chosen))
        )
        patches, codes = self._patches[copies, chosen].float(), self._codes[copies, chosen]
        return PairBatch(patches, self._texts.batch(chosen), codes)

    def statistics(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Mean and standard deviation per channel: of patches, and of text states."""
        patches = self._patches[0, :: max(1, self._patches.shape[1] // 2000)].float().flatten(0, 1)
        embeds = self._texts.embeds[:20_000].float()
        return _mean_std(patches), _mean_std(embeds)

    def _chosen(self, number: int) -> Tensor:
        """Places of the scenes in a micro-batch, families together."""
        assert self.num_batches is not None
        epoch, place = divmod(number, self.num_batches)
        order = np.random.default_rng((self._seed, epoch)).permutation(self._num_families)
        families = torch.from_numpy(order[place * self._families_per_batch :][: self._families_per_batch])
        return (families[:, None] * FAMILY_SIZE + torch.arange(FAMILY_SIZE)).flatten()


def reconstructed(pixels: Tensor, autoencoder: DCAutoencoder, noise: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures ``(B, 3, H, W)`` in [0, 1] through the autoencoder, with ``noise`` ``(B,)`` on their latents."""
    device = pixels.device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_quick_bfloat16(device)):
        latent = autoencoder.encode(pixels * 2 - 1).float()
        drawn = torch.randn(latent.shape, generator=generator).to(device)
        decoded = autoencoder.decode(latent + noise.to(device)[:, None, None, None] * drawn)
    return (decoded.float() / 2 + 0.5).clamp(0, 1)


def _scenes_and_captions(config: FamiliesConfig, part: int) -> tuple[list[Scene], list[str]]:
    scenes: list[Scene] = []
    captions: list[str] = []
    for index in range(part * _PART, min((part + 1) * _PART, config.total)):
        rng = np.random.default_rng((config.seed, index))
        family = scene_family(rng, related=index >= config.num_families)
        scenes += family
        captions += [caption(scene, rng) for scene in family]
    return scenes, captions


def _placed(scenes: Sequence[Scene], config: FamiliesConfig, part: int, copy: int) -> list[Scene]:
    if copy == 0:
        return list(scenes)
    rng = np.random.default_rng((config.seed, part, copy, 2))
    return [placed_again(scene, rng) for scene in scenes]


def _read(
    scenes: Sequence[Scene], config: FamiliesConfig, reader: PictureReader, autoencoder: DCAutoencoder, *, seed: int
) -> Tensor:
    """Patches ``(scenes, 16, C)`` bf16, some pictures after the autoencoder."""
    generator, bank = torch.Generator().manual_seed((config.seed << 32) + seed), load_sprite_bank()
    device = next(autoencoder.parameters()).device
    parts = []
    for start in range(0, len(scenes), 32):
        pixels = to_unit([render(scene, bank) for scene in scenes[start : start + 32]]).to(device)
        which = torch.rand(len(pixels), generator=generator) < config.reconstructed_share
        if which.any():
            noise = config.latent_noise * torch.rand(int(which.sum()), generator=generator)
            pixels[which] = reconstructed(pixels[which], autoencoder, noise, generator)
        parts.append(reader(pixels).bfloat16().cpu())
    return torch.cat(parts)


def _mean_std(rows: Tensor) -> tuple[Tensor, Tensor]:
    return rows.mean(0), rows.std(0).clamp(min=1e-3)
