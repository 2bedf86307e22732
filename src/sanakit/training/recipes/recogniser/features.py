"""Examples and what the frozen network makes of them, computed once and kept in the folder of the run."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.checkpoints.sources.complete import find_autoencoder
from sanakit.checkpoints.sources.content_hashes import hash_network
from sanakit.common.config import json_values, to_mapping
from sanakit.common.errors import ConfigError
from sanakit.common.files import write_json, written_aside
from sanakit.common.pixels import Picture
from sanakit.models.recogniser import ONLY_GROUND, CutoutMaps, PictureMaps, RecogniserConfig
from sanakit.scoring.reading.looking import Looking, cut_out
from sanakit.training.objectives.recognition import NOT_ASKED, Truth, name_numbers, picture_truth
from sanakit.training.recipes.recogniser.examples import Example, Rebuilt, Soften, draw_example, jittered, softened
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.world_scenes import WorldScenes

logger = logging.getLogger(__name__)

_PART = 128  # scenes per file: what is lost when a run is stopped
_BATCH = 32  # pictures in one call of the network
_CONFIG = "examples.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExamplesConfig:
    """How much is cached: things are cut out of all scenes, and one in ``finder_every`` is also read as a whole.

    Scenes are made by parts of 128, so there may be a few more. With an ``autoencoder`` (a model's) ``rebuilt_share``
    of the pictures are as it gives them back, as generated ones are.
    """

    bank: str | None = None  # "tiny" or a folder; None: the full one
    also: str | None = None  # another bank, of which every second part is; it has only names of the first
    names: str | None = None  # a file of the names to learn, with commas or lines between; None: all of the bank
    num_scenes: int = 8064
    finder_every: int = 2
    spoiled_share: float = 0.25
    autoencoder: str | None = None
    rebuilt_share: float = 0.5
    seed: int = 21

    def __post_init__(self) -> None:
        if self.num_scenes < 1 or self.finder_every < 1:
            raise ConfigError(f"num_scenes={self.num_scenes} and finder_every={self.finder_every} must be at least 1")
        if not 0 <= self.spoiled_share < 1:
            raise ConfigError(f"spoiled_share={self.spoiled_share} must lie within [0, 1)")
        if not 0 <= self.rebuilt_share <= 1:
            raise ConfigError(f"rebuilt_share={self.rebuilt_share} must lie within [0, 1]")

    def weights(self) -> str | None:
        """The content hash of the autoencoder, wherever it lies.

        Raises:
            CheckpointError: there is no such autoencoder, or its files are damaged.
        """
        return None if self.autoencoder is None else hash_network(find_autoencoder(self.autoencoder))

    def softening(self, device: str) -> Soften:
        """How pictures are made less sharp.

        Raises:
            CheckpointError: there is no such autoencoder, or its files are damaged.
        """
        if self.autoencoder is None:
            return softened
        found = find_autoencoder(self.autoencoder)
        return Rebuilt(load_network(found, dtype=torch.float32, device=device), self.rebuilt_share)


@dataclass(frozen=True, slots=True)
class ExampleBatch:
    """Pictures with their truth, and cut-outs with the numbers of their names and colours; -1 is not asked."""

    pictures: PictureMaps
    truth: Truth
    cutouts: CutoutMaps
    names: Tensor  # (N,)
    colours: Tensor  # (N,)

    def to(self, device: torch.device | str) -> ExampleBatch:
        return ExampleBatch(
            PictureMaps(*(part.to(device) for part in self.pictures)),
            Truth(*(part.to(device) for part in self.truth)),
            CutoutMaps(*(part.to(device) for part in self.cutouts)),
            self.names.to(device),
            self.colours.to(device),
        )


def cache_examples(
    config: ExamplesConfig, words: RecogniserConfig, banks: Sequence[Bank], folder: Path, device: str
) -> None:
    """Write ``examples-NNNN.pt``, of one bank in turn; parts that are there are kept, those of other banks, another
    autoencoder or another config made anew."""
    hashes = {"bank": [bank.hash for bank in banks], "autoencoder": config.weights()}
    about = {**to_mapping(config), **hashes, "names": list(words.names)}
    del about["also"], about["num_scenes"]  # its hash is there, wherever it lies; and more scenes go on from these
    path = folder / _CONFIG
    if path.exists() and json_values(path.read_text(encoding="utf-8")) != about:
        logger.warning("%s holds examples of another bank, autoencoder or config; they are made anew", folder)
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, about)
    parts = part_files(config, folder)
    missing = [number for number, part in enumerate(parts) if not part.exists()]
    if not missing:
        return
    looking, soften = Looking().to(device), config.softening(device)
    scenes = [WorldScenes(bank, "train", config.seed) for bank in banks]
    for number in missing:
        indices = range(number * _PART, (number + 1) * _PART)
        examples = [_example(scenes[number % len(scenes)], index, config, soften) for index in indices]
        with written_aside(parts[number]) as building:
            torch.save(_content(examples, indices, config, words, looking), building)
        logger.info("examples part %d of %d", number + 1, len(parts))


def part_files(config: ExamplesConfig, folder: Path) -> list[Path]:
    return [folder / f"examples-{part:04d}.pt" for part in range(-(-config.num_scenes // _PART))]


class ExampleBatches:
    """Cached examples in a fresh order each epoch; micro-batch ``number`` follows from seed and number alone.

    A batch holds ``batch_size`` cut-outs, and pictures in the proportion of all.
    """

    def __init__(self, config: ExamplesConfig, folder: Path, *, batch_size: int, seed: int) -> None:
        parts = [torch.load(path, weights_only=True, mmap=True) for path in part_files(config, folder)]
        self._pictures = PictureMaps(*_joined(parts, "pictures"))
        self._truth = Truth(*_joined(parts, "truth"))
        self._cutouts = CutoutMaps(*_joined(parts, "cutouts"))
        self._names, self._colours = _joined(parts, "labels")
        self._seed, self._batch_size = seed, batch_size
        self.num_batches: int | None = -(-len(self._names) // batch_size)

    def num_samples(self, number: int) -> int:
        return len(self._rows(number, len(self._names)))

    def batch(self, number: int) -> ExampleBatch:
        """Micro-batch ``number``, float32 on the CPU."""
        pictures, cutouts = self._rows(number, len(self._pictures.middle)), self._rows(number, len(self._names))
        return ExampleBatch(
            PictureMaps(*(part[pictures].float() for part in self._pictures)),
            Truth(*(part[pictures] for part in self._truth)),
            CutoutMaps(*(part[cutouts].float() for part in self._cutouts)),
            self._names[cutouts],
            self._colours[cutouts],
        )

    def some(self, number: int = 1024) -> tuple[PictureMaps, CutoutMaps]:
        """The first ones, for statistics."""
        return PictureMaps(*(part[:number].float() for part in self._pictures)), CutoutMaps(
            *(part[:number].float() for part in self._cutouts)
        )

    def _rows(self, number: int, total: int) -> Tensor:
        assert self.num_batches is not None
        epoch, place = divmod(number, self.num_batches)
        order = np.random.default_rng((self._seed, epoch, total)).permutation(total)
        start, stop = (round(total * turn / self.num_batches) for turn in (place, place + 1))
        return torch.from_numpy(order[start : max(stop, start + 1)])


def _example(scenes: WorldScenes, index: int, config: ExamplesConfig, soften: Soften) -> Example:
    scene, _ = scenes.truth(index)
    rng = np.random.default_rng((config.seed, index, 1))
    return draw_example(scene, scenes.bank, rng, spoiled_share=config.spoiled_share, soften=soften)


def _content(
    examples: Sequence[Example], indices: range, config: ExamplesConfig, words: RecogniserConfig, looking: Looking
) -> dict[str, list[Tensor]]:
    whole = [example for index, example in zip(indices, examples, strict=True) if index % config.finder_every == 0]
    truths = [picture_truth(example.scene.ground, [one.box for one in example.shown], words) for example in whole]
    cutouts: list[Picture] = []
    labels: list[tuple[int, int]] = []
    for index, example in zip(indices, examples, strict=True):
        rng = np.random.default_rng((config.seed, index, 2))
        boxes = [jittered(box, rng) for box in (*(one.box for one in example.shown), *example.empty)]
        cutouts += cut_out(example.picture, boxes)
        labels += [name_numbers(one.name, one.colour, words) for one in example.shown]
        labels += [(ONLY_GROUND, NOT_ASKED)] * len(example.empty)
    names, colours = torch.tensor(labels).unbind(1)
    return {
        "pictures": _looked(looking.pictures, [example.picture for example in whole]),
        "truth": [torch.stack(parts) for parts in zip(*truths, strict=True)],
        "cutouts": _looked(looking.cutouts, cutouts),
        "labels": [names, colours],
    }


def _looked(look: Callable[[Sequence[Picture]], Sequence[Tensor]], pictures: Sequence[Picture]) -> list[Tensor]:
    """Maps of any number of pictures, bfloat16 on the CPU."""
    batches = [look(pictures[start : start + _BATCH]) for start in range(0, len(pictures), _BATCH)]
    return [torch.cat(parts).bfloat16().cpu() for parts in zip(*batches, strict=True)]


def _joined(parts: Sequence[dict[str, list[Tensor]]], name: str) -> list[Tensor]:
    return [torch.cat(tensors) for tensors in zip(*(part[name] for part in parts), strict=True)]
