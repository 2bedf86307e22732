"""Pictures to tensors and back: every level keeps its place, in both ranges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sanakit.common.pixels import Picture, from_signed, from_unit, to_signed, to_unit

EVERY_LEVEL: Picture = np.arange(256, dtype=np.uint8).repeat(3).reshape(8, 32, 3)


@pytest.mark.parametrize(("there", "back", "low"), [(to_signed, from_signed, -1), (to_unit, from_unit, 0)])
def test_every_level_comes_back(there: object, back: object, low: int) -> None:
    pixels = there([EVERY_LEVEL, EVERY_LEVEL])  # type: ignore[operator]
    assert pixels.shape == (2, 3, 8, 32)
    assert pixels.dtype == torch.float32
    assert (pixels.min(), pixels.max()) == (low, 1)
    for picture in back(pixels):  # type: ignore[operator]
        assert np.array_equal(picture, EVERY_LEVEL)
        assert picture.flags.c_contiguous


def test_what_is_outside_is_clipped_and_halves_are_rounded() -> None:
    pixels = torch.tensor([-1.5, 1.5, 0.2]).view(1, 3, 1, 1)
    assert from_signed(pixels)[0].tolist() == [[[0, 255, 153]]]
    assert from_unit(pixels.bfloat16())[0].tolist() == [[[0, 255, 51]]]
