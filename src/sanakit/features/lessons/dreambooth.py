"""Pictures of one thing in turn with pictures of its class, which the model makes itself, once (arXiv:2208.12242)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from PIL import Image

from sanakit.common.errors import RequestError
from sanakit.common.fetching.made_once import made_once, seal
from sanakit.data.prompts import read_prompts
from sanakit.features.caching import cache_folder
from sanakit.features.configs import DreamBoothData, FilesData
from sanakit.features.files import open_files
from sanakit.features.identity import Identity, digest_of
from sanakit.features.lessons.in_turn import InTurn
from sanakit.features.work import Demand, Work

_PICTURES = "pictures"
_AT_ONCE = 8


def open_dreambooth(config: DreamBoothData, demand: Demand, work: Work) -> InTurn:
    """See ``latent_data``. The pictures of the class are made after those of the thing were found to be good.

    Those of the class come in micro-batches as large as those of the thing are on average, which is less than is asked
    for where its pictures are few or of several shapes: a step weighs samples alike, and the share is to be theirs.
    """
    told: Identity = {}
    thing = FilesData(path=config.instance, prompt=config.prompt, cache_folder=config.cache_folder)
    instance = open_files(thing, replace(demand, on_identity=told.update), work)

    def on_class(found: Mapping[str, str]) -> None:
        demand.on_identity(told | {f"{name} of the class": value for name, value in found.items()})

    folder = class_pictures(config, work)
    sizes = [instance.num_samples(number) for number in range(instance.num_batches)]
    like = replace(demand, batch_size=max(1, round(sum(sizes) / len(sizes))), on_identity=on_class)
    prior = FilesData(path=str(folder), prompt=config.class_prompt, cache_folder=config.cache_folder)
    return InTurn(instance, open_files(prior, like, work), config.prior_share)


def class_pictures(config: DreamBoothData, work: Work) -> Path:
    """The folder of the class's pictures, in the cache under what they follow from: model, prompts, seeds. Where there
    are several prompts each picture has its own beside it, as its caption.

    Raises:
        RequestError: no model is there to make them, or the file of prompts cannot be read.
        OutputError: the cache cannot be written.
    """
    painter, prompts, total = work.painter, _prompts(config), config.num_class_pictures
    if painter is None:
        raise RequestError(
            "data of type dreambooth wants a model that makes pictures of the class: use it in a recipe of type "
            "transformer that has init:"
        )
    told = config.class_prompt or repr(prompts)
    facts = {"model": painter.identity, "prompt": told, "seed": config.class_seed, "pictures": total}

    def make(building: Path) -> None:
        draw, folder = painter.open(), building / _PICTURES
        folder.mkdir()
        for start in range(0, total, _AT_ONCE):
            work.on_progress(start, total, "pictures of the class")
            numbers = range(start, min(start + _AT_ONCE, total))
            asked = [prompts[number % len(prompts)] for number in numbers]
            drawn = draw(asked, [config.class_seed + number for number in numbers])
            for number, prompt, picture in zip(numbers, asked, drawn, strict=True):
                Image.fromarray(picture).save(folder / f"{number:05d}.png")
                if config.class_prompts is not None:
                    (folder / f"{number:05d}.txt").write_text(prompt, encoding="utf-8")
        work.on_progress(total, total, "pictures of the class")
        seal(building, facts)

    name = digest_of(f"{key}={value}" for key, value in facts.items())
    return made_once(cache_folder(config.cache_folder) / "class-pictures" / name, make) / _PICTURES


def _prompts(config: DreamBoothData) -> list[str]:
    """That of the class, or those of the file."""
    if config.class_prompts is None:
        return [config.class_prompt or ""]
    return [text for text, _ in read_prompts(config.class_prompts)]
