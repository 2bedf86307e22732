"""From what a recipe says about its data to the stream of micro-batches."""

from __future__ import annotations

from typing import assert_never

from sanakit.features import configs
from sanakit.features.batches import LatentBatch, PixelBatch, TrainingData
from sanakit.features.work import Demand, Work


def latent_data(config: configs.LatentDataConfig, demand: Demand, work: Work) -> TrainingData[LatentBatch]:
    """Latents with text features. What is not in the cache yet is computed first, each rank a share of it.

    Every rank must call this at the same point. The encoders are still loaded afterwards; a config with
    ``cache: false`` loads them again if they are released.

    Raises:
        RequestError: nothing in the path could be trained on, a resolution does not suit the autoencoder, or pictures
            of a class are wanted and no model is there to make them.
        OutputError: the cache cannot be written.
    """
    match config:
        case configs.FilesData():
            from sanakit.features.files import open_files

            return open_files(config, demand, work)
        case configs.ScenesData():
            from sanakit.features.scenes import open_scenes

            return open_scenes(config, demand, work)
        case configs.DreamBoothData():
            from sanakit.features.dreambooth import open_dreambooth

            return open_dreambooth(config, demand, work)
        case _:
            assert_never(config)


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
        case configs.FilePictures():
            from sanakit.features.pixels import open_pictures

            return open_pictures(config, demand, multiple=multiple, crop=crop)
        case configs.ScenePictures():
            from sanakit.features.scenes import scene_pictures

            return scene_pictures(config, demand, multiple=multiple, crop=crop)
        case _:
            assert_never(config)
