"""A thing is cut out by alpha or before one colour, with its own colours at its edge; of other pictures nothing is."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sanakit.worlds.building.cut_outs import cut_out

RED, GROUND = (200, 30, 40), (120, 170, 240)


def ring(ground: tuple[int, int, int] = GROUND, size: tuple[int, int] = (131, 97)) -> Image.Image:
    """A red disc with a patch of the colour of the ground inside, drawn four times as large, so with soft edges."""
    large = Image.new("RGB", (size[0] * 4, size[1] * 4), ground)
    draw = ImageDraw.Draw(large)
    draw.ellipse((120, 80, 360, 320), fill=RED)
    draw.ellipse((200, 160, 280, 240), fill=ground)
    return large.resize(size, Image.Resampling.BOX)


@pytest.mark.parametrize("ground", [GROUND, (255, 255, 255), (20, 20, 20)])
def test_a_plain_ground_goes(ground: tuple[int, int, int]) -> None:
    cut = cut_out(ring(ground), size=160)
    assert cut is not None
    values = np.asarray(cut.image).astype(int)
    height, width = values.shape[:2]
    assert abs(width - 61) <= 2
    assert abs(height - 61) <= 2
    alpha = values[..., 3] / 255
    area = np.pi * 30**2 - (np.pi * 10**2 if ground == GROUND else 0)  # a hole, if the thing can hardly have its colour
    assert abs(alpha.sum() - area) < 0.03 * area
    assert cut.sure is (ground == GROUND)
    rim = (alpha > 0.3) & (alpha < 1)
    assert rim.sum() > 50
    assert np.abs(values[rim][:, :3] - RED).mean() < 12  # not mixed with the ground


def test_alpha_counts_before_the_ground() -> None:
    alpha = Image.new("L", (131, 97))
    ImageDraw.Draw(alpha).rectangle((40, 30, 59, 79), fill=255)
    cut = cut_out(ring(), alpha, size=25)
    assert cut is not None
    assert (cut.image.size, cut.sure) == ((10, 25), True)
    opaque, plain = cut_out(ring(), Image.new("L", (131, 97), 255), size=160), cut_out(ring(), size=160)
    assert opaque is not None
    assert plain is not None
    assert opaque.image.tobytes() == plain.image.tobytes()
    tight = Image.new("L", (131, 97), 255)
    tight.paste(0, (0, 0, 131, 4))  # a box that fills its file
    whole = cut_out(ring(), tight, size=160)
    assert whole is not None
    assert whole.image.size == (131, 93)
    corner = Image.new("L", (131, 97), 255)
    corner.putpixel((0, 0), 0)  # hardly of the thing
    over_white = ring()
    over_white.putpixel((0, 0), (255, 255, 255))
    cornered = cut_out(over_white, corner, size=160)
    assert cornered is not None
    assert cornered.image.size == plain.image.size


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", (40, 30), GROUND),
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)),
        ring().crop((0, 0, 70, 97)),
        Image.new("RGB", (1, 1)),
    ],
    ids=["nothing", "noise", "cut off", "one pixel"],
)
def test_what_cannot_be_cut_out(picture: Image.Image) -> None:
    assert cut_out(picture, size=160) is None


def test_a_few_pixels_are_no_thing() -> None:
    dot = Image.new("RGB", (40, 40), "white")
    dot.paste(RED, (20, 20, 25, 25))
    assert cut_out(dot, size=160) is None
    dot.paste(RED, (20, 20, 32, 32))
    assert cut_out(dot, size=160) is not None
