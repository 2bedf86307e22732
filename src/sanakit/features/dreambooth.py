"""Pictures of one thing in turn with pictures of its class, which the model makes itself, once (arXiv:2208.12242)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from PIL import Image

from sanakit.common.errors import RequestError
from sanakit.common.fetching.made_once import made_once, seal
from sanakit.features.batches import LatentBatch, NamedSample
from sanakit.features.caching import cache_folder
from sanakit.features.configs import DreamBoothData, FilesData
from sanakit.features.files import FileLatents, open_files
from sanakit.features.identity import Identity, digest_of
from sanakit.features.work import Demand, Work

_PICTURES = "pictures"
_AT_ONCE = 8


class InTurn:
    """Micro-batches of a thing and of its class in turn, each of one of them alone.

    Of the first n, ``floor(n * share)`` are of the class, whatever n is. An epoch has every picture of the thing once.
    """

    def __init__(self, thing: FileLatents, prior: FileLatents, share: float) -> None:
        self._thing, self._prior, self._share = thing, prior, share

    @property
    def num_batches(self) -> int:
        return math.ceil(self._thing.num_batches / (1 - self._share))

    def num_samples(self, number: int) -> int:
        data, own = self._of(number)
        return data.num_samples(own)

    def describe(self, number: int) -> list[NamedSample]:
        """The samples of a micro-batch with the captions of its epoch."""
        data, own = self._of(number)
        return data.describe(own)

    def batch(self, number: int) -> LatentBatch:
        """Latents ``(B, C, h, w)`` and text ``(B, L, C)``, both float32."""
        data, own = self._of(number)
        return data.batch(own)

    def _of(self, number: int) -> tuple[FileLatents, int]:
        """Whose micro-batch it is, and its number there."""
        before = math.floor(number * self._share)
        if math.floor((number + 1) * self._share) > before:
            return self._prior, before
        return self._thing, number - before


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
    """The folder of the class's pictures, in the cache under what they follow from: model, prompt, seeds.

    Raises:
        RequestError: no model is there to make them.
        OutputError: the cache cannot be written.
    """
    painter, prompt, total = work.painter, config.class_prompt, config.num_class_pictures
    if painter is None:
        raise RequestError(
            "data of type dreambooth wants a model that makes pictures of the class: use it in a recipe of type "
            "transformer that has init:"
        )
    facts = {"model": painter.identity, "prompt": prompt, "seed": config.class_seed, "pictures": total}

    def make(building: Path) -> None:
        draw = painter.open()
        (building / _PICTURES).mkdir()
        for start in range(0, total, _AT_ONCE):
            work.on_progress(start, total, "pictures of the class")
            numbers = range(start, min(start + _AT_ONCE, total))
            drawn = draw([prompt] * len(numbers), [config.class_seed + number for number in numbers])
            for number, picture in zip(numbers, drawn, strict=True):
                Image.fromarray(picture).save(building / _PICTURES / f"{number:05d}.png")
        work.on_progress(total, total, "pictures of the class")
        seal(building, facts)

    name = digest_of(f"{key}={value}" for key, value in facts.items())
    return made_once(cache_folder(config.cache_folder) / "class-pictures" / name, make) / _PICTURES
