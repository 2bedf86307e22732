"""What an autoencoder keeps of pictures: PSNR and SSIM, the distance of their features, and what else is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.common.errors import RequestError
from sanakit.common.pixels import Picture, from_signed, to_signed
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.metrics.frechet import too_few
from sanakit.evaluation.metrics.half_sampling import NUM_HALVES
from sanakit.evaluation.metrics.image_metrics import psnr, ssim
from sanakit.evaluation.reports.distances import Distances, Floats, frechet_distances
from sanakit.evaluation.reports.picture_sets import Measured, PictureSet
from sanakit.evaluation.reports.report import Measurement, NetworkUse, Report, mean_of, use_of
from sanakit.models.autoencoders.clips import ClipAutoencoder
from sanakit.scoring.extractors.extractor import FeatureExtractor
from sanakit.scoring.pixels import extract_batch, same_size_batches

MOST_PSNR = 100.0  # dB, for pictures that are equal: one infinity would swallow the mean
PROTOCOL = (
    "Every picture to latents and back, without tiles, rounded to 8 bits. PSNR over all levels of a picture (equal "
    "ones count 100 dB), SSIM with Wang's 11 x 11 Gaussian window over RGB, both as means over pictures. rFID is the "
    "Fréchet distance between pictures and their reconstructions, its halves taken in pairs."
)
_SMALLEST = 32  # pixels, of a side

AlsoMeasured = Callable[[Sequence[Picture]], Iterable[Measurement]]
"""What else is asked of the reconstructions, in the order of the pictures."""


class Autoencoder(Protocol):
    """What is measured: pixels ``(B, 3, H, W)`` in [-1, 1] to a latent and back."""

    def encode(self, pixels: Tensor) -> Tensor: ...

    def decode(self, latent: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class HowMeasured:
    """``size`` first brings the shorter side to so many pixels (Lanczos) and cuts the middle square out; then sides
    are cut, evenly at both ends, to multiples of ``compression``."""

    compression: int
    size: int | None = None
    seed: int = 0
    num_halves: int = NUM_HALVES
    batch_size: int = 4
    device: str | torch.device = "cpu"

    def use_of(self, autoencoder: nn.Module, name: str) -> NetworkUse:
        resized = f"Lanczos to {self.size} pixels of the shorter side, middle square"
        rule = "as they are" if self.size is None else resized
        return NetworkUse(name=name, weights_hash=hash_tensors(autoencoder.state_dict()), resize_rule=rule)


def reconstruction_report(
    autoencoder: Autoencoder,
    pictures: PictureSet,
    how: HowMeasured,
    used: NetworkUse,
    *,
    extractor: FeatureExtractor | None = None,
    also: AlsoMeasured | None = None,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Likeness of pictures and what an autoencoder makes of them.

    Args:
        used: how the report names the autoencoder.
        extractor: for rFID, which takes four pictures or more; None leaves it out.

    Raises:
        RequestError: too few pictures for rFID, or one smaller than 32 pixels.
        PictureError: a picture cannot be read.
    """
    measured, ratios, likenesses = Measured(pictures), list[float](), list[float]()
    before, after, read = list[Floats](), list[Floats](), list[Picture]()
    for batch in same_size_batches(_prepared(pictures, measured, how), how.batch_size):
        originals = [np.asarray(picture) for picture in batch]
        copies = rebuilt(autoencoder, originals, how.device)
        ratios += [min(psnr(copy, original), MOST_PSNR) for copy, original in zip(copies, originals, strict=True)]
        likenesses += [ssim(copy, original) for copy, original in zip(copies, originals, strict=True)]
        if extractor is not None:
            before.append(extract_batch(extractor, batch, how.device))
            after.append(extract_batch(extractor, [Image.fromarray(copy) for copy in copies], how.device))
        read += copies if also is not None else []
        on_progress(len(ratios), len(pictures), "reconstructing")
    distances = _rfid(before, after, how)
    measurements = [
        mean_of("PSNR", ratios, seed=how.seed, unit="dB"),
        mean_of("SSIM", likenesses, seed=how.seed),
        *distances.measurements,
        *(also(read) if also is not None else ()),
    ]
    return Report(
        title=f"Reconstruction by {used.name}",
        protocol=PROTOCOL,
        measurements=tuple(measurements),
        seed=how.seed,
        inputs={"pictures": measured.facts()},
        settings={"size": how.size, "halves": how.num_halves, "compression": how.compression},
        networks=(used,) if extractor is None else (used, use_of(extractor)),
        warnings=() if extractor is None else too_few(len(ratios), extractor.num_features),
        missing=distances.missing,
        details={
            "pictures": [
                {"key": key, "psnr": ratio, "ssim": likeness}
                for key, ratio, likeness in zip(pictures.keys, ratios, likenesses, strict=True)
            ]
        },
    )


@torch.no_grad()
def rebuilt(autoencoder: Autoencoder, pictures: Sequence[Picture], device: str | torch.device) -> list[Picture]:
    """Pictures of one size through the autoencoder, in float32."""
    return from_signed(autoencoder.decode(autoencoder.encode(to_signed(pictures).to(device))))


@torch.no_grad()
def rebuilt_clip(
    autoencoder: Autoencoder | ClipAutoencoder, frames: NDArray[np.uint8], device: str | torch.device
) -> NDArray[np.uint8]:
    """A clip ``(T, H, W, 3)`` through an autoencoder of clips, or frame by frame through one of pictures."""
    if not isinstance(autoencoder, ClipAutoencoder):
        return np.stack([copy for frame in frames for copy in rebuilt(autoencoder, [frame], device)])
    pixels = to_signed(list(frames)).transpose(0, 1)[None].to(device)  # (1, 3, T, H, W)
    return np.stack(from_signed(autoencoder.decode(autoencoder.encode(pixels))[0].transpose(0, 1)))


def _rfid(before: Sequence[Floats], after: Sequence[Floats], how: HowMeasured) -> Distances:
    """Between features of pictures and of their reconstructions, batch by batch; nothing where there are none."""
    if not before:
        return Distances(measurements=(), missing={})
    pairs = np.concatenate(before), np.concatenate(after)
    return frechet_distances("rFID", *pairs, seed=how.seed, num_halves=how.num_halves, paired=True)


def _prepared(pictures: PictureSet, measured: Measured, how: HowMeasured) -> Iterator[Image.Image]:
    size, compression = how.size, how.compression
    for index, picture in enumerate(pictures):
        measured.add(picture)
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
