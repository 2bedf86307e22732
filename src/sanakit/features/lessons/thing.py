"""A user's pictures of one thing: as they are, in turn with scenes of a bank in which the thing takes part."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import numpy as np
from PIL import Image

from sanakit.common.errors import PictureError, RequestError
from sanakit.common.paths import as_path
from sanakit.data.open import open_data
from sanakit.data.pictures import open_picture, upright_alpha, upright_rgb
from sanakit.data.sources.data_source import DataSource
from sanakit.features.configs import FilesData, ThingData
from sanakit.features.files import open_files
from sanakit.features.identity import Identity
from sanakit.features.lessons.in_turn import InTurn
from sanakit.features.scenes import Paintings, cached_scenes, identity_of_scenes, open_bank
from sanakit.features.work import Demand, Work
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.things import Look, Thing, View
from sanakit.worlds.building.cut_outs import CutOut, cut_out
from sanakit.worlds.sampling.starring import starring
from sanakit.worlds.scenes.description import Scene
from sanakit.worlds.telling.captions import caption
from sanakit.worlds.telling.phrases import has_singular, with_article
from sanakit.worlds.world_scenes import WorldScenes

logger = logging.getLogger(__name__)
_TRIES = 64  # scenes of the bank that are looked at for one in which the thing can take part


class TaughtScenes:
    """A numbered stream of scenes in which the thing takes part.

    Args:
        bank: with the thing.
        scenes: of the bank without it.
    """

    def __init__(self, bank: Bank, scenes: WorldScenes, thing: Thing, seed: int) -> None:
        self._bank, self._scenes, self._thing, self._seed = bank, scenes, thing, seed

    def truth(self, index: int) -> tuple[Scene, str]:
        """A scene and a caption of it: "two zorbl" as often as "two zorbls", as people write a word of their own."""
        rng, thing = np.random.default_rng((self._seed, index)), self._thing
        for number in range(_TRIES):
            if (scene := starring(self._scenes.truth(index * _TRIES + number)[0], thing, rng, self._bank)) is not None:
                text = caption(scene, rng, self._bank)
                return scene, text if rng.random() < 0.5 or scene.kind != "count" else _without_plural(text, thing)
        raise RequestError(f"the bank {self._bank.name!r} gives no scene in which {thing.name!r} can take part")


def _without_plural(text: str, thing: Thing) -> str:
    return re.sub(rf"\b{re.escape(thing.plural)}\b", lambda _: thing.name, text)


class TaughtPaintings(Paintings):
    """Paintings of such scenes; ``bank`` has the thing, and ``scenes`` are without it."""

    def __init__(self, bank: Bank, scenes: WorldScenes, thing: Thing, config: ThingData) -> None:
        taught = TaughtScenes(bank, scenes, thing, config.seed)
        super().__init__(bank, config.seed, mixture=config.mixture, scenes=taught)
        self.identity = f"taught {self.identity}"


def open_thing(config: ThingData, demand: Demand, work: Work) -> InTurn:
    """See ``latent_data``.

    Raises:
        RequestError: as there, or the thing could be cut out of no picture, or the model is one of clips.
    """
    if work.encoders.of_clips is not None:
        raise RequestError("data of type thing is for models of pictures; a model of clips learns from files")
    told: Identity = {}
    word = config.word
    prompt = config.prompt or (with_article(word) if has_singular((word, _plural(word))) else word)
    files = FilesData(path=config.path, prompt=prompt, cache_folder=config.cache_folder)
    pictures = open_files(files, replace(demand, on_identity=told.update), work)
    bank = open_bank(config.bank, config.names)
    thing, cut_outs = thing_of(open_data(as_path(config.path), caption=prompt), config, max(demand.resolutions))
    joined = bank.joined_by(thing, cut_outs)
    demand.on_identity(told | identity_of_scenes(joined))
    scenes = WorldScenes(bank, "train", config.seed, mixture=config.mixture)
    lesson = cached_scenes(TaughtPaintings(joined, scenes, thing, config), config, demand, work)
    taught = InTurn(lesson, pictures, config.picture_share)
    if not config.prior_share:
        return taught
    rest = cached_scenes(Paintings(bank, config.seed, mixture=config.mixture), config, demand, work)
    return InTurn(taught, rest, config.prior_share)


def thing_of(source: DataSource, config: ThingData, size: int) -> tuple[Thing, dict[str, Image.Image]]:
    """The thing, with a view of it for each picture that it could be cut out of; those of which it is sure, if any.

    Args:
        size: pixels of the longer side of a view, at most.

    Raises:
        RequestError: there is none.
    """
    found = {index: each for index in range(len(source)) if (each := _cut_out(source, index, size)) is not None}
    if not found:
        raise RequestError(
            f"no picture of {source.path} shows the thing whole, with alpha or before one plain colour, so it cannot "
            f"be cut out and put into scenes; take pictures before a plain wall, or use data of type dreambooth"
        )
    some_sure = any(each.sure for each in found.values())
    chosen = {index: each.image for index, each in found.items() if each.sure or not some_sure}
    if others := [source[index].key for index in range(len(source)) if index not in chosen]:
        logger.warning("%d pictures are not cut out, so no scene has them: %s", len(others), ", ".join(others[:8]))
    images = {f"thing/{index}.webp": image for index, image in chosen.items()}
    views = tuple(View(0.0, 0.0, 0, image.size, member) for member, image in images.items())
    look = Look(id=f"taught {config.word}", style=config.style, views=views, licence="", author="", source="")
    return Thing(name=config.word, plural=_plural(config.word), group="thing", looks=(look,)), images


def _plural(word: str) -> str:
    return word if word.endswith("s") else f"{word}s"


def _cut_out(source: DataSource, index: int, size: int) -> CutOut | None:
    if source[index].clip is not None:
        return None
    try:
        picture = open_picture(source.read_bytes(index))
        return cut_out(upright_rgb(picture), upright_alpha(picture), size=size)
    except PictureError:  # told where the pictures as they are are read
        return None
