"""Places: light of any brightness becomes a picture."""

from __future__ import annotations

import numpy as np

from sanakit.worlds.building.places import tone_map


def test_light_keeps_its_order_and_the_sun_is_white() -> None:
    light = np.full((32, 64, 3), 0.5, np.float32)
    light[:, :32] = 0.05
    light[8:12, 40:44] = 3000.0
    light[9, 41] = -1.0  # what lossy compression leaves beside the sun
    light[20, 50] = np.inf
    picture = np.asarray(tone_map(light, exposure=0.2)).astype(int)
    assert picture.shape == (32, 64, 3)
    assert picture[9, 41].tolist() == [255, 255, 255]
    assert picture[16, 10, 0] < picture[16, 60, 0] < 250
