"""A data set folder of scenes: indexed tar shards in the layout that SANA's training code reads.

    00000.tar ...                 key.png, key.json {"prompt", "width", "height", "file_name", "scene"}
    00000_paraphrases.json ...    {key: {"paraphrase_0": text, ...}}, SANA's external captions
    wids-meta.json                the index, written last: a folder that has it is complete
    recipe.json, ATTRIBUTION.md, contact-sheet.png

The same arguments give the same bytes, and an interrupted run is continued.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sanakit.common.errors import ConfigError
from sanakit.common.files import unwritten, written_aside
from sanakit.common.progress import OnProgress, no_progress
from sanakit.data.pictures import as_png
from sanakit.data.shards.writer import add_member, begin_folder, write, write_index, write_json
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.contact_sheet import contact_sheet
from sanakit.worlds.sampling.holdout import Split
from sanakit.worlds.telling.captions import canonical_caption, caption
from sanakit.worlds.world_scenes import WorldScenes

_CONTACT_SHEET_SAMPLES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ScenesConfig:
    """What a folder holds; a folder can only be continued with the config that it was begun with."""

    num_samples: int
    seed: int = 0
    split: Split = "train"
    size: int = 128
    shard_size: int = 1000
    num_paraphrases: int = 4

    def __post_init__(self) -> None:
        for name in ("num_samples", "size", "shard_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} makes no data set; it must be at least 1")

    def shards(self) -> list[range]:
        """The sample indices of each shard."""
        starts = range(0, self.num_samples, self.shard_size)
        return [range(start, min(start + self.shard_size, self.num_samples)) for start in starts]


def build_scene_shards(out: Path, bank: Bank, config: ScenesConfig, *, on_progress: OnProgress = no_progress) -> None:
    """Write (or continue) a data set folder of scenes of a bank.

    Every file is written beside its place and renamed, so an interrupted run leaves whole shards only and the next
    one goes on after them.

    Raises:
        ConfigError: ``out`` was begun with other values or another bank.
        OutputError: a file could not be written.
    """
    scenes = WorldScenes(bank, config.split, config.seed, size=config.size)
    with unwritten(out):
        begin_folder(out, {**asdict(config), "bank": bank.name, "bank_hash": bank.hash}, "recipe.json")
        for number, indices in enumerate(config.shards()):
            _write_shard(out, f"{number:05d}", indices, scenes, config)
            on_progress(indices.stop, config.num_samples, "writing")
        _finish(out, config, scenes)


def _write_shard(out: Path, name: str, indices: range, scenes: WorldScenes, config: ScenesConfig) -> None:
    """The tar is renamed into place after its paraphrases, so a shard that is there is complete."""
    if (out / f"{name}.tar").exists():
        return
    paraphrases: dict[str, dict[str, str]] = {}
    with written_aside(out / f"{name}.tar", sync=True, locked=True) as building:
        with tarfile.open(building, mode="w") as archive:
            for index in indices:
                image, _, scene = scenes.sample(index)
                key = f"{index:08d}"
                rng = np.random.default_rng((config.seed, index, 1))
                texts = [caption(scene, rng, scenes.bank, split=config.split) for _ in range(config.num_paraphrases)]
                paraphrases[key] = {f"paraphrase_{i}": text for i, text in enumerate(texts)}
                facts = {
                    "prompt": canonical_caption(scene, scenes.bank),
                    "width": config.size,
                    "height": config.size,
                    "file_name": f"{key}.png",
                    "scene": scene.to_json(),
                }
                add_member(archive, f"{key}.png", as_png(Image.fromarray(image)))
                add_member(archive, f"{key}.json", json.dumps(facts).encode())
        write_json(out / f"{name}_paraphrases.json", paraphrases)


def _finish(out: Path, config: ScenesConfig, scenes: WorldScenes) -> None:
    write(out / "ATTRIBUTION.md", (scenes.bank.folder / "ATTRIBUTION.md").read_bytes())
    samples = [scenes.sample(index) for index in range(min(_CONTACT_SHEET_SAMPLES, config.num_samples))]
    write(out / "contact-sheet.png", as_png(contact_sheet([(s.image, s.caption) for s in samples])))
    shards = [(f"{number:05d}.tar", len(indices)) for number, indices in enumerate(config.shards())]
    write_index(out, f"sanakit-{scenes.bank.name}-{config.split}", shards)
