"""What the recogniser is shown: pictures at one size, things cut out with a margin, and their colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sanakit.scoring.reading.looking import Looking, _square, cut_out, squared
from sanakit.worlds.scenes.description import Box


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # half a side is 0.62 of the longer one; 64 pixels lie around the picture
        ((0.25, 0.25, 0.75, 0.5), (128 - 39.68, 112 - 39.68, 128 + 39.68, 112 + 39.68)),
        ((0.25, 0.25, 0.5, 0.75), (112 - 39.68, 128 - 39.68, 112 + 39.68, 128 + 39.68)),
        ((0.5, 0.5, 0.5, 0.5), (128 - 2.48, 128 - 2.48, 128 + 2.48, 128 + 2.48)),  # four pixels at least
        ((-1.0, -1.0, 2.0, 2.0), (0, 0, 256, 256)),  # all there is at most
        ((0.9, 0.0, 1.3, 0.1), (204.8 - 31.744, 70.4 - 31.744, 204.8 + 31.744, 70.4 + 31.744)),
        ((1.4, 0.0, 1.8, 0.1), (256 - 63.488, 70.4 - 31.744, 256, 70.4 + 31.744)),  # never beyond the padding
        ((-0.8, -0.8, -0.4, -0.7), (0, 0, 63.488, 63.488)),
    ],
)
def test_the_square_of_a_box(box: Box, expected: Box) -> None:
    assert _square(box, 128) == pytest.approx(expected)


def test_things_are_cut_out_with_a_margin_and_edges_go_on() -> None:
    picture = np.full((128, 128, 3), (10, 20, 200), np.uint8)
    picture[32:96, 32:96] = (250, 0, 0)
    picture[:, 0] = (0, 255, 0)
    thing, beside = cut_out(picture, [(0.25, 0.25, 0.75, 0.75), (-0.3, 0.4, -0.1, 0.6)])
    assert thing.shape == beside.shape == (96, 96, 3)
    assert (thing[11:85, 11:85] == (250, 0, 0)).all()  # the margin is 7.68 of 79.36 pixels
    assert (thing[:8] == (10, 20, 200)).all()
    assert (thing[:, 88:] == (10, 20, 200)).all()
    assert (beside == (0, 255, 0)).all()


def test_pictures_come_to_one_size_and_one_of_that_size_stays() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    assert squared(picture) is picture
    halves = np.zeros((40, 300, 3), np.uint8)
    halves[:, 150:] = 255
    found = squared(halves)
    assert found.shape == (128, 128, 3)
    assert not found[:, :60].any()
    assert (found[:, 68:] == 255).all()
    assert squared(np.zeros((128, 64, 3), np.uint8)).shape == squared(np.zeros((64, 128, 3), np.uint8)).shape


def test_maps_are_the_last_three_and_colours_means_of_squares() -> None:
    looking, rng = Looking(), np.random.default_rng(1)
    picture, cutout = (rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (128, 96))
    maps, parts = looking.pictures([picture]), looking.cutouts([cutout, cutout[:, ::-1].copy()])
    assert [tuple(part.shape) for part in maps] == [(1, 40, 16, 16), (1, 112, 8, 8), (1, 320, 4, 4), (1, 3, 16, 16)]
    assert [tuple(part.shape) for part in parts] == [(2, 40, 3, 3), (2, 112, 3, 3), (2, 320, 3, 3), (2, 3, 8, 8)]
    for image, colours, side in ((picture, maps.colours, 8), (cutout, parts.colours, 12)):
        blocks = image.reshape(len(image) // side, side, -1, side, 3).mean((1, 3)) / 255
        np.testing.assert_allclose(colours[0].permute(1, 2, 0), blocks, atol=1e-5)
    signed = torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        stages = looking.network.stages(signed)
    for found, expected in zip(maps, stages[2:], strict=False):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    coarse = looking.network.stages(torch.from_numpy(cutout).permute(2, 0, 1)[None] / 127.5 - 1)[4]  # 3 x 3 as it is
    torch.testing.assert_close(parts.coarse[:1], coarse, rtol=1e-3, atol=1e-3)
