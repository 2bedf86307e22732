"""Reconstruction of any pictures: sides that do not fit, pairs in the interval, truths of scenes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sanakit.common.errors import RequestError
from sanakit.evaluation.metrics.image_metrics import psnr
from sanakit.evaluation.reports.picture_sets import open_pictures
from sanakit.evaluation.reports.reconstruction import HowMeasured, rebuilt_clip, reconstruction_report
from sanakit.evaluation.reports.report import NetworkUse, Report, report_table
from sanakit.evaluation.worlds.heldout_scenes import HeldoutScenes, heldout_scenes
from sanakit.models.autoencoders.clips import ClipAutoencoder
from sanakit.models.autoencoders.ltx2 import LTX2AutoencoderConfig
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene

USE = NetworkUse(name="dimming", weights_hash="none", resize_rule="as they are")


class Dimming:
    """Keeps a share of every level, and remembers the shapes that it saw."""

    def __init__(self, share: float) -> None:
        self.share, self.shapes = share, set[tuple[int, ...]]()

    def encode(self, pixels: Tensor) -> Tensor:
        self.shapes.add(tuple(pixels.shape[2:]))
        return pixels

    def decode(self, latent: Tensor) -> Tensor:
        return (latent + 1) * self.share - 1


class MeanColour:
    name, weights_hash, resize_rule, num_features = "mean colour", "none", "none", 3

    def __call__(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number, size in enumerate([(70, 50), (50, 70), (64, 64), (33, 40), (64, 64)]):
        levels = rng.integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(levels).save(tmp_path / f"{number}.png")
    return tmp_path


def report_of(autoencoder: Dimming, folder: Path, size: int | None = None) -> Report:
    how = HowMeasured(compression=16, num_halves=8, size=size)
    return reconstruction_report(autoencoder, open_pictures(folder), how, USE, extractor=MeanColour())


def test_sides_are_cut_to_multiples_and_measured_as_pictures(folder: Path) -> None:
    dimming = Dimming(0.5)
    report = report_of(dimming, folder)
    assert dimming.shapes == {(48, 64), (64, 48), (64, 64), (32, 32)}
    expected = []
    for file, (left, top, right, bottom) in zip(
        sorted(folder.iterdir()), [(3, 1, 67, 49), (1, 3, 49, 67), (0, 0, 64, 64), (0, 4, 32, 36), (0, 0, 64, 64)],
        strict=True,
    ):  # fmt: skip
        original = np.asarray(Image.open(file).crop((left, top, right, bottom)))
        halved = np.round(original.astype(np.float64) / 2).astype(np.uint8)
        expected.append(psnr(halved, original))
    assert report["PSNR"].value == pytest.approx(np.mean(expected), abs=0.02)
    assert report["rFID"].value > 0.1  # the mean colour halves
    assert "pairs" in report["rFID"].interval
    assert report == report_of(Dimming(0.5), folder)
    assert "PSNR (dB)" in report_table(report)


def test_a_perfect_autoencoder_and_a_size(folder: Path) -> None:
    dimming = Dimming(1.0)
    report = report_of(dimming, folder, size=40)
    assert dimming.shapes == {(32, 32)}
    assert (report["PSNR"].value, report["SSIM"].value) == (100, 1)
    assert report["rFID"].value == pytest.approx(0, abs=1e-9)


def test_small_pictures_are_named(folder: Path) -> None:
    Image.new("RGB", (20, 90)).save(folder / "narrow.png")
    with pytest.raises(RequestError, match=r"narrow\.png .* 20 x 90"):
        report_of(Dimming(1.0), folder)


class Shrinking:
    """Keeps one pixel of ``factor`` x ``factor``."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def encode(self, pixels: Tensor) -> Tensor:
        return F.avg_pool2d(pixels, self.factor)

    def decode(self, latent: Tensor) -> Tensor:
        return F.interpolate(latent, scale_factor=self.factor, mode="bilinear")


class Sharp:
    """Sees what is in a picture if the picture is one of those that it knows, or very like one."""

    def __init__(self, scenes: HeldoutScenes) -> None:
        self.known = [(np.asarray(p), truth) for p, truth in zip(scenes.pictures, scenes.truths, strict=True)]

    def read(self, picture: NDArray[np.uint8]) -> ReadScene:
        for known, truth in self.known:
            if psnr(picture, known) > 20:
                things = [ReadObject(name=o.name, colour=o.colour, box=o.box, score=1) for o in truth.objects]
                place = truth.ground.name if truth.ground.kind == "place" else None
                ground = None if place else truth.ground.name
                return ReadScene(objects=tuple(things), ground=ground, place=place)
        return ReadScene(objects=())


def scenes_through(autoencoder: Shrinking) -> Report:
    scenes, how = heldout_scenes(load_bank("tiny"), 8, seed=0), HowMeasured(compression=1, batch_size=3)
    also = partial(scenes.recognised, reader=Sharp(scenes))
    report = reconstruction_report(autoencoder, scenes.pictures, how, USE, also=also)
    assert torch.is_grad_enabled()
    return report


def test_scenes_are_read_back() -> None:
    whole, slight, strong = (scenes_through(Shrinking(factor)) for factor in (1, 2, 32))
    assert [each.name for each in whole.measurements] == ["PSNR", "SSIM", "things named", "scenes all right"]
    assert (whole["PSNR"].value, whole["SSIM"].value, whole["things named"].value) == (100, 1, 1)
    assert whole["things named"].num_samples == 8
    assert 20 < slight["PSNR"].value < 50
    assert slight["things named"].value >= 0.9
    assert strong["PSNR"].value < slight["PSNR"].value
    assert strong["SSIM"].value < slight["SSIM"].value
    assert strong["scenes all right"].value <= 0.5 < slight["scenes all right"].value


def test_clips_go_through_frame_by_frame_or_as_a_whole() -> None:
    class Fading(ClipAutoencoder):
        """Of clips: the mean over time, for all frames."""

        config = LTX2AutoencoderConfig()

        def encode(self, pixels: Tensor, *, at_once: int = 1) -> Tensor:
            return pixels.mean(2, keepdim=True).expand_as(pixels)

        def decode(self, latent: Tensor, *, at_once: int = 1) -> Tensor:
            return latent

    frames = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.full((1, 4, 6, 3), 20, np.uint8)
    np.testing.assert_array_equal(rebuilt_clip(Dimming(0.5), frames, "cpu"), frames // 2)
    np.testing.assert_array_equal(rebuilt_clip(Fading(), frames, "cpu"), np.full_like(frames, 40))
