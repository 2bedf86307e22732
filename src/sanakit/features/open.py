"""From what a recipe says about its data to the stream of micro-batches."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from sanakit.common.errors import RequestError
from sanakit.features import configs
from sanakit.features.batches import ControlBatch, LatentBatch, PixelBatch, TrainingData
from sanakit.features.work import Demand, Work


def latent_data(config: configs.LatentDataConfig, demand: Demand, work: Work) -> TrainingData[LatentBatch]:
    """Latents with text features. What is not in the cache yet is computed first, each rank a share of it.

    Every rank must call this at the same point. The encoders are still loaded afterwards; a config with
    ``cache: false`` loads them again if they are released.

    Raises:
        RequestError: nothing in the path could be trained on, a resolution or a length does not suit the autoencoder,
            or pictures of a class are wanted and no model is there to make them.
        OutputError: the cache cannot be written.
    """
    match config:
        case configs.FilesData() if work.encoders.of_clips is not None:
            from sanakit.features.clips.files import open_clips

            return open_clips(config, demand, work)
        case configs.FilesData():
            from sanakit.features.files import open_files

            return open_files(config, demand, work)
        case configs.ScenesData():
            from sanakit.features.scenes import open_scenes

            return open_scenes(config, demand, work)
        case configs.DreamBoothData():
            from sanakit.features.lessons.dreambooth import open_dreambooth

            return open_dreambooth(config, demand, work)
        case configs.ThingData():
            from sanakit.features.lessons.thing import open_thing

            return open_thing(config, demand, work)
        case _:
            assert_never(config)


class ControlledData:
    """Micro-batches of pictures beside what a ControlNet is shown of them: two streams of one order."""

    def __init__(self, pictures: TrainingData[LatentBatch], maps: TrainingData[LatentBatch]) -> None:
        self._pictures, self._maps = pictures, maps

    @property
    def num_batches(self) -> int | None:
        return self._pictures.num_batches

    def num_samples(self, number: int) -> int:
        return self._pictures.num_samples(number)

    def batch(self, number: int) -> ControlBatch:
        """Latents, their text, and latents of their maps."""
        batch = self._pictures.batch(number)
        return ControlBatch(batch.latent, batch.text, self._maps.batch(number).latent)


def controlled_data(config: configs.LatentDataConfig, annotation: str, demand: Demand, work: Work) -> ControlledData:
    """See ``latent_data``.

    Args:
        annotation: the annotator's name.

    Raises:
        RequestError: as of ``latent_data``, or there are no pictures to annotate.
    """
    if isinstance(config, configs.DreamBoothData | configs.ThingData):
        raise RequestError(f"data of type {config.type} is for adapters; a ControlNet learns from files or scenes")
    pictures = latent_data(config, demand, work)
    return ControlledData(pictures, latent_data(config, demand, replace(work, annotation=annotation)))


def pixel_data(
    config: configs.PixelDataConfig, demand: Demand, *, multiple: int, crop: int | None = None
) -> TrainingData[PixelBatch]:
    """Pictures for an autoencoder. Scenes take one resolution.

    Args:
        multiple: of every side, the autoencoder's compression.
        crop: side of a square window of each picture, at a place of its own each time; None for whole pictures.

    Raises:
        RequestError: nothing in the path could be trained on, or the sizes do not fit together.
    """
    match config:
        case configs.FilePictures() if demand.frames != (1,):
            raise RequestError("an autoencoder of clips learns from scenes: data: {type: scenes}; files come later")
        case configs.FilePictures():
            from sanakit.features.pixels import open_pictures

            return open_pictures(config, demand, multiple=multiple, crop=crop)
        case configs.ScenePictures() if demand.frames != (1,):
            from sanakit.features.clips.scenes import scene_clips

            return scene_clips(config, demand, multiple=multiple, crop=crop)
        case configs.ScenePictures():
            from sanakit.features.scenes import scene_pictures

            return scene_pictures(config, demand, multiple=multiple, crop=crop)
        case _:
            assert_never(config)
