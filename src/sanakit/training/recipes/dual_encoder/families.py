"""Families of scenes for a dual encoder: a scene and wrong ones, so that every batch holds its hard negatives.

Each member has a picture and a caption of its own, so the others' captions are wrong of its picture and the other
way round. Features of both are computed once and kept in the folder of the run.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from sanakit.common.config import json_values, to_mapping
from sanakit.common.devices import quick_autocast
from sanakit.common.errors import ConfigError
from sanakit.common.files import write_json, written_aside
from sanakit.common.pixels import to_unit
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.text.text_encoder import TextEncoder
from sanakit.scoring.dual_encoder import PictureReader
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.sampling.holdout import Split
from sanakit.worlds.sampling.random_scenes import sample_scene
from sanakit.worlds.sampling.staging import staged
from sanakit.worlds.scenes.description import Scene
from sanakit.worlds.telling.captions import canonical_caption, caption
from sanakit.worlds.telling.truth import name_table, truth
from sanakit.worlds.telling.wrong_captions import WRONG_WORDS, WrongWord
from sanakit.worlds.telling.wrong_scenes import wrong_scene

logger = logging.getLogger(__name__)

FAMILY_SIZE = 6
MAX_THINGS = 4  # in one picture
_CONFIG = "families.json"
_PART = 50  # families per file: what is lost when a run is stopped
_NUM_ROUNDS = 5  # through all kinds of wrong words before a family is given up
_LONG, _SHORTENED_SHARE = 30, 0.75  # words; longer captions are mostly said plainly: they take most of the time
_PLACES: tuple[WrongWord, ...] = ("left/right", "above/below", "front/behind")


@dataclass(frozen=True, kw_only=True, slots=True)
class FamiliesConfig:
    """How much is cached: families of six scenes, each painted ``num_copies`` times, every time otherwise.

    ``num_families`` begin with any scene and ``num_position_families`` with two objects in a relation: to bind each
    object to its place is the last thing that a dual encoder learns, and takes the most examples.

    ``reconstructed_share`` of the pictures went through the starter's autoencoder with up to ``latent_noise``
    (of a latent of rms 1), so that scores hold on generated pictures, which are less sharp than painted ones.
    """

    bank: str = "full"  # "full", "drawings", "tiny" or a folder
    names: str | None = None  # a file with one name a line: only these things; None: all of the bank
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


def scene_family(rng: Generator, bank: Bank, *, related: bool = False) -> tuple[Scene, ...]:
    """A random scene and five that differ from it in one word each, all kinds that it allows in turns.

    No member holds a held-out pairing. With ``related`` the scene is of two objects in a relation, and the first of
    the others in another one.
    """
    while True:
        base = sample_scene(rng, bank, "train")
        if related and base.relation is None:
            continue
        kinds = [WRONG_WORDS[i] for i in rng.permutation(len(WRONG_WORDS))]
        kinds.sort(key=lambda kind: kind not in _PLACES)
        members = [base]
        for kind in kinds * _NUM_ROUNDS:
            other = wrong_scene(base, rng, kind, bank, split="train")
            if other is not None and all(truth(other, member, bank) < 1 for member in members):
                members.append(other)
            if len(members) == FAMILY_SIZE:
                return tuple(members)


class FamilyCache:
    """What the frozen networks make of families, in a folder."""

    def __init__(
        self, folder: Path, bank: Bank, *, encoder: TextEncoder, reader: PictureReader, autoencoder: DCAutoencoder
    ) -> None:
        self._folder, self._bank = folder, bank
        self._encoder, self._reader, self._autoencoder = encoder, reader, autoencoder

    @torch.no_grad()
    def fill(self, config: FamiliesConfig) -> None:
        """Write ``families-NNNN.pt``; parts that are there are kept.

        A part has patches ``(copies, scenes, 16, C)`` bf16, the ``embeds`` of every caption bf16 and their ``lengths``,
        labels ``(copies, families, 6, 6)`` of pictures and captions, and the numbers of names ``(scenes, 4)``.
        """
        check_families(config, self._bank, self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_json(self._folder / _CONFIG, _about(config, self._bank))
        numbers, table = name_table(self._bank)
        paths = part_files(config, self._folder)
        for part, path in enumerate(paths):
            if not path.exists():
                content = {**self._part(config, part, numbers), "might_pass": torch.from_numpy(table)}
                with written_aside(path) as building:
                    torch.save(content, building)
                logger.info("families part %d of %d", part + 1, len(paths))

    def _part(self, config: FamiliesConfig, part: int, numbers: Mapping[str, int]) -> dict[str, Tensor]:
        families, captions = _families_and_captions(config, part, self._bank)
        conditions = self._encoder.encode(captions, rows_per_call=64)
        copies = [_staged_again(families, config, part, copy, self._bank) for copy in range(config.num_copies)]
        patches = [
            self._read([scene for family in copied for scene in family], config, config.num_copies * part + copy)
            for copy, copied in enumerate(copies)
        ]
        labels = [
            [_labels(seen, family, self._bank) for seen, family in zip(copied, families, strict=True)]
            for copied in copies
        ]
        return {
            "embeds": torch.cat([condition.embeds[0] for condition in conditions]).bfloat16().cpu(),
            "lengths": torch.tensor([condition.mask.shape[1] for condition in conditions]),
            "patches": torch.stack(patches),
            "labels": torch.tensor(labels, dtype=torch.int8),
            "names": torch.tensor([_name_row(scene, numbers) for family in families for scene in family]),
        }

    def _read(self, scenes: Sequence[Scene], config: FamiliesConfig, seed: int) -> Tensor:
        """Patches ``(scenes, 16, C)`` bf16, some pictures after the autoencoder."""
        generator = torch.Generator().manual_seed((config.seed << 32) + seed)
        device = next(self._autoencoder.parameters()).device
        parts = []
        for start in range(0, len(scenes), 32):
            pixels = to_unit([compose(scene, self._bank) for scene in scenes[start : start + 32]]).to(device)
            which = torch.rand(len(pixels), generator=generator) < config.reconstructed_share
            if which.any():
                noise = config.latent_noise * torch.rand(int(which.sum()), generator=generator)
                pixels[which] = reconstructed(pixels[which], self._autoencoder, noise, generator)
            parts.append(self._reader(pixels).bfloat16().cpu())
        return torch.cat(parts)


def check_families(config: FamiliesConfig, bank: Bank, folder: Path) -> bool:
    """Whether all features of this config are there; those of another bank or config are removed."""
    if (folder / _CONFIG).exists():
        found = json_values((folder / _CONFIG).read_bytes())
        if found != _about(config, bank):
            logger.warning("%s holds features of other data (%s); they are made anew", folder, found)
            shutil.rmtree(folder)
    return all(path.exists() for path in part_files(config, folder))


def _about(config: FamiliesConfig, bank: Bank) -> dict[str, Any]:
    """What decides the features: the contents of the bank and of the names, wherever they lie."""
    return {**to_mapping(config), "bank": bank.hash, "names": None}


def part_files(config: FamiliesConfig, folder: Path) -> list[Path]:
    return [folder / f"families-{part:04d}.pt" for part in range(-(-config.total // _PART))]


def told(scene: Scene, rng: Generator, bank: Bank, split: Split = "train") -> str:
    """One of many wordings; long ones are mostly said plainly."""
    text = caption(scene, rng, bank, split=split)
    shorten = len(text.split()) > _LONG and rng.random() < _SHORTENED_SHARE
    return canonical_caption(scene, bank) if shorten else text


def reconstructed(pixels: Tensor, autoencoder: DCAutoencoder, noise: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures ``(B, 3, H, W)`` in [0, 1] through the autoencoder, with ``noise`` ``(B,)`` on their latents."""
    device = pixels.device
    with quick_autocast(device):
        latent = autoencoder.encode(pixels * 2 - 1).float()
        drawn = torch.randn(latent.shape, generator=generator).to(device)
        decoded = autoencoder.decode(latent + noise.to(device)[:, None, None, None] * drawn)
    return (decoded.float() / 2 + 0.5).clamp(0, 1)


def _families_and_captions(config: FamiliesConfig, part: int, bank: Bank) -> tuple[list[tuple[Scene, ...]], list[str]]:
    families: list[tuple[Scene, ...]] = []
    captions: list[str] = []
    for index in range(part * _PART, min((part + 1) * _PART, config.total)):
        rng = np.random.default_rng((config.seed, index))
        family = scene_family(rng, bank, related=index >= config.num_families)
        families.append(family)
        captions += [told(scene, rng, bank) for scene in family]
    return families, captions


def _staged_again(
    families: Sequence[Sequence[Scene]], config: FamiliesConfig, part: int, copy: int, bank: Bank
) -> list[list[Scene]]:
    """The same words drawn otherwise; the first copy, and what does not fit so, is as it was."""
    rng = np.random.default_rng((config.seed, part, copy, 2))
    return [[(copy and staged(scene, rng, bank)) or scene for scene in family] for family in families]


def _labels(pictures: Sequence[Scene], captions: Sequence[Scene], bank: Bank) -> list[list[int]]:
    return [[truth(says, picture, bank) for says in captions] for picture in pictures]


def _name_row(scene: Scene, numbers: Mapping[str, int]) -> list[int]:
    names = [numbers[thing.name] for thing in scene.objects]
    return names + [-1] * (MAX_THINGS - len(names))
