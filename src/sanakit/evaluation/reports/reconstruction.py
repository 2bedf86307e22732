"""What an autoencoder keeps of any pictures: PSNR, SSIM and rFID; of the starter's scenes, also what is recognised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from sanakit.common.errors import RequestError
from sanakit.common.pixels import Picture
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.metrics.frechet import too_few
from sanakit.evaluation.metrics.half_sampling import NUM_HALVES
from sanakit.evaluation.metrics.image_metrics import psnr, ssim
from sanakit.evaluation.reports.distances import frechet_measurements, frechet_with_interval
from sanakit.evaluation.reports.picture_sets import PictureSet, PixelHash, left_out
from sanakit.evaluation.reports.report import Measurement, NetworkUse, Report, Setting, mean_of, measured_with, use_of
from sanakit.evaluation.reports.scene_reconstruction import MOST_PSNR, Autoencoder, rebuilt
from sanakit.scoring.extractors.extractor import FeatureExtractor
from sanakit.scoring.pixels import extract_batch, same_size_batches
from sanakit.worlds.reading.scene_detector import load_scene_detector
from sanakit.worlds.reading.verdict import judge
from sanakit.worlds.scenes.scene import Scene
from sanakit.worlds.scenes.scenes import StarterScenes
from sanakit.worlds.scenes.sprites import load_sprite_bank

PROTOCOL = (
    "Every picture to latents and back, without tiles, rounded to 8 bits. PSNR over all levels of a picture (equal "
    "ones count 100 dB), SSIM with Wang's 11 x 11 Gaussian window over RGB, both as means over pictures. rFID is the "
    "Fréchet distance between pictures and their reconstructions, its halves taken in pairs."
)
_SMALLEST = 32  # pixels, of a side


class StarterPictures(NamedTuple):
    """Held-out scenes as pictures, with their truths."""

    pictures: PictureSet
    truths: list[Scene]


def starter_pictures(num: int, *, seed: int, size: int) -> StarterPictures:
    """The first ``num`` held-out scenes of a seed, ``size`` pixels each way."""
    scenes = StarterScenes(load_sprite_bank(), "heldout", seed, size=size)
    samples = [scenes.sample(index) for index in range(num)]
    pictures = PictureSet(
        path=Path("starter scenes"),
        keys=tuple(f"heldout/{seed}/{index}" for index in range(num)),
        read=lambda index: Image.fromarray(samples[index].image),
        captions=tuple((sample.caption,) for sample in samples),
    )
    return StarterPictures(pictures, [sample.scene for sample in samples])


def picture_reconstruction_report(
    autoencoder: Autoencoder,
    pictures: PictureSet,
    extractor: FeatureExtractor,
    *,
    compression: int,
    autoencoder_use: NetworkUse,
    size: int | None = None,
    truths: Sequence[Scene] | None = None,
    seed: int = 0,
    num_halves: int = NUM_HALVES,
    batch_size: int = 4,
    device: str | torch.device = "cpu",
    on_progress: OnProgress = no_progress,
) -> Report:
    """Likeness of pictures and what an autoencoder makes of them.

    Args:
        compression: sides are cut, evenly at both ends, to multiples of it.
        autoencoder_use: how the report names the autoencoder.
        size: first bring the shorter side to so many pixels (Lanczos) and cut the middle square out.
        truths: the scenes that the pictures show, for the share that a detector still recognises.

    Raises:
        RequestError: fewer than four pictures, or one smaller than 32 pixels.
        PictureError: a picture cannot be read.
    """
    digest, ratios, likenesses = PixelHash(), list[float](), list[float]()
    before, after, read = [], [], list[Picture]()
    prepared = _prepared(pictures, digest, compression, size)
    for batch in same_size_batches(prepared, batch_size):
        originals = [np.asarray(picture) for picture in batch]
        copies = rebuilt(autoencoder, originals, device)
        ratios += [min(psnr(copy, original), MOST_PSNR) for copy, original in zip(copies, originals, strict=True)]
        likenesses += [ssim(copy, original) for copy, original in zip(copies, originals, strict=True)]
        before.append(extract_batch(extractor, batch, device))
        after.append(extract_batch(extractor, [Image.fromarray(copy) for copy in copies], device))
        read += copies if truths is not None else []
        on_progress(len(ratios), len(pictures), "reconstructing")
    real, fake = np.concatenate(before), np.concatenate(after)
    rfid = frechet_with_interval(real, fake, seed=seed, num_halves=num_halves, paired=True)
    measurements = [
        mean_of("PSNR", ratios, seed=seed, unit="dB"),
        mean_of("SSIM", likenesses, seed=seed),
        *(_in_pairs(each) for each in frechet_measurements("rFID", rfid, len(real))),
        *(_recognised(read, truths, seed) if truths is not None else ()),
    ]
    settings: dict[str, Setting] = {"size": size, "halves": num_halves, "compression": compression}
    return Report(
        title=f"Reconstruction by {autoencoder_use.name}",
        protocol=PROTOCOL,
        measurements=tuple(measurements),
        seed=seed,
        inputs={
            "pictures": {
                "path": str(pictures.path),
                "pictures": len(real),
                "pixels_sha256": digest.hex(),
                **left_out(pictures.problems),
            }
        },
        settings=settings,
        networks=(autoencoder_use, use_of(extractor)),
        warnings=(too_few(len(real), real.shape[1]),) if len(real) < real.shape[1] else (),
        details={"pictures": _per_picture(pictures.keys, ratios, likenesses)},
        versions=measured_with(),
    )


def _prepared(pictures: PictureSet, digest: PixelHash, compression: int, size: int | None) -> Iterator[Image.Image]:
    for index, picture in enumerate(pictures):
        digest.add(picture)
        if size is not None:
            scale = size / min(picture.size)
            target = [max(round(side * scale), size) for side in picture.size]
            picture = picture.resize((target[0], target[1]), Image.Resampling.LANCZOS)
        width, height = ((size or side) // compression * compression for side in picture.size)
        if min(width, height) < _SMALLEST:
            raise RequestError(
                f"{pictures.keys[index]} in {pictures.path} has {picture.width} x {picture.height} pixels and at least "
                f"{max(_SMALLEST, compression)} each way are needed; leave it out"
            )
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        yield picture.crop((left, top, left + width, top + height))


def _in_pairs(measurement: Measurement) -> Measurement:
    return replace(measurement, interval=measurement.interval.replace("both sets", "the pairs"))


def _recognised(copies: list[Picture], truths: Sequence[Scene], seed: int) -> Iterator[Measurement]:
    detector = load_scene_detector()
    answers = [judge(truth, detector.detect(copy)) for copy, truth in zip(copies, truths, strict=True)]
    yield mean_of("objects named", [answer["object"] for answer in answers], seed=seed)
    yield mean_of("scenes all right", [answer["all right"] for answer in answers], seed=seed)


def _per_picture(keys: Sequence[str], ratios: list[float], likenesses: list[float]) -> list[dict[str, Any]]:
    return [
        {"key": key, "psnr": ratio, "ssim": likeness}
        for key, ratio, likeness in zip(keys, ratios, likenesses, strict=True)
    ]
