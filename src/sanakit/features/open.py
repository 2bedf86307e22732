"""From what a recipe says about its data to the stream of micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from sanakit.common.progress import OnProgress, no_progress
from sanakit.common.ranks import ALONE, Ranks
from sanakit.features.batches import LatentBatch, PixelBatch, TrainingData
from sanakit.features.configs import (
    FilePictures,
    FilesData,
    LatentDataConfig,
    PixelDataConfig,
    ScenePictures,
    StarterScenesData,
)
from sanakit.features.encoders import Encoders


def latent_data(
    config: LatentDataConfig,
    *,
    resolutions: Sequence[int],
    batch_size: int,
    seed: int,
    encoders: Encoders,
    ranks: Ranks = ALONE,
    device: str = "cpu",
    on_progress: OnProgress = no_progress,
) -> TrainingData[LatentBatch]:
    """Latents with text features. What is not in the cache yet is computed first, each rank a share of it.

    Args:
        config: where they come from.
        resolutions: of the stage, in pixels; several give one stream with bins of all of them.
        batch_size: samples of a micro-batch.
        seed: of the order and of the choice of captions.
        encoders: still loaded afterwards; call ``encoders.release()`` if nothing else needs them. (A config with
            ``cache: false`` loads them again.)
        ranks: of the running process; every rank must call this at the same point.
        device: where the encoders run.
        on_progress: of the work of this rank.

    Raises:
        RequestError: nothing in the path could be trained on, or a resolution does not suit the autoencoder.
        OutputError: the cache cannot be written.
    """
    match config:
        case FilesData():
            from sanakit.features.files import open_files

            return open_files(
                config, resolutions=resolutions, batch_size=batch_size, seed=seed, encoders=encoders, ranks=ranks,
                device=device, on_progress=on_progress,
            )  # fmt: skip
        case StarterScenesData():
            from sanakit.features.starter_scenes import open_scenes

            return open_scenes(
                config, resolutions=resolutions, batch_size=batch_size, seed=seed, encoders=encoders, ranks=ranks,
                device=device, on_progress=on_progress,
            )  # fmt: skip
        case _:
            assert_never(config)


def pixel_data(
    config: PixelDataConfig,
    *,
    resolutions: Sequence[int],
    batch_size: int,
    seed: int,
    multiple: int,
    crop: int | None = None,
) -> TrainingData[PixelBatch]:
    """Pictures for an autoencoder.

    Args:
        config: where they come from.
        resolutions: of the pictures, in pixels. Scenes take one.
        batch_size: samples of a micro-batch.
        seed: of the order and of the windows.
        multiple: of every side, the autoencoder's compression.
        crop: side of a square window of each picture, at a place of its own each time; None for whole pictures.

    Raises:
        RequestError: nothing in the path could be trained on, or the sizes do not fit together.
    """
    match config:
        case FilePictures():
            from sanakit.features.pixels import open_pictures

            return open_pictures(
                config, resolutions=resolutions, batch_size=batch_size, seed=seed, multiple=multiple, crop=crop
            )
        case ScenePictures():
            from sanakit.features.starter_scenes import scene_pictures

            return scene_pictures(
                config, resolutions=resolutions, batch_size=batch_size, seed=seed, multiple=multiple, crop=crop
            )
        case _:
            assert_never(config)
