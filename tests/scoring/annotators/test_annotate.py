from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sanakit.common.errors import RequestError
from sanakit.scoring.annotators import hed
from sanakit.scoring.annotators.annotate import ANNOTATORS, annotate, parse_kind
from sanakit.scoring.annotators.edges import canny, grown, shrunk, soft_edges


def circle(fill: str = "red", paper: str = "green", side: int = 96) -> NDArray[np.uint8]:
    picture = Image.new("RGB", (side, side), paper)
    ImageDraw.Draw(picture).ellipse((20, 20, 75, 75), fill=fill)
    return np.asarray(picture)


def radii(lines: NDArray[np.uint8]) -> NDArray[np.float64]:
    y, x = np.nonzero(lines[..., 0])
    return np.hypot(y - 47.5, x - 47.5)


@pytest.mark.parametrize("kind", [kind for kind in ANNOTATORS if kind != "hed"])
@pytest.mark.parametrize("size", [(48, 96), (33, 65), (1, 7)])
def test_maps_have_the_size_of_the_picture(kind: str, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = annotate(noise, kind)
    assert (found.shape, found.dtype) == (noise.shape, np.uint8)
    flat = annotate(np.full((*size, 3), 90, np.uint8), kind)
    assert kind in ("segmentation", "tile", "blur", "given") or not flat.any()


def test_edges_are_a_thin_closed_ring() -> None:
    found = annotate(circle(), "edges")
    distances = radii(found)
    assert np.abs(distances - 28).max() <= 1.5
    around = 2 * np.pi * 28
    assert 0.8 * around < len(distances) < 1.3 * around


def test_colours_of_one_brightness_have_an_edge() -> None:
    halves = np.zeros((32, 32, 3), np.uint8)
    halves[:, :16], halves[:, 16:] = (200, 0, 0), (0, 102, 0)  # 0.299 * 200 = 0.587 * 102
    assert canny(halves)[2:-2].sum(axis=1).min() == 1


def test_weak_edges_count_where_they_are_joined_to_strong_ones() -> None:
    ramp = np.zeros((40, 40, 3), np.uint8)
    ramp[:, 20:] = np.linspace(8, 120, 40, dtype=np.uint8)[:, None, None]
    strong = canny(ramp, low=100, high=100).sum()
    assert canny(ramp, low=40, high=100).sum() > strong > 0
    assert canny(ramp[:8], low=10, high=2000).sum() == 0


@pytest.mark.parametrize("kind", ["scribble", "drawing"])
def test_thickness(kind: str) -> None:
    picture = circle() if kind == "scribble" else annotate(circle(), "edges")
    areas = [int((annotate(picture, f"{kind}:{thickness}") > 0).sum()) for thickness in (0, 1, 2, 8, 24)]
    assert areas == sorted(areas)
    assert areas[1] == areas[2] < areas[3] < areas[4]
    assert annotate(picture, kind).tobytes() == annotate(picture, f"{kind}:2").tobytes()
    assert abs(radii(annotate(picture, kind)).mean() - 28) < 1


def test_hed_draws_scribbles_along_what_it_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hed, "hed_edges", lambda pixels: soft_edges(pixels, sigma=0.7))
    assert np.array_equal(annotate(circle(), "hed:8"), annotate(circle(), "scribble:8"))


def test_a_drawing_is_read_whatever_its_paper() -> None:
    lines = annotate(circle(), "edges")
    light, dark = annotate(lines, "drawing"), annotate(255 - lines, "drawing")
    assert np.array_equal(light, dark)
    assert np.array_equal(light, lines)


def test_as_opencv_grows_and_shrinks() -> None:
    """An even square reaches further up and left, by its anchor."""
    dot = np.zeros((7, 7), bool)
    dot[3, 3] = True
    assert [tuple(each) for each in np.argwhere(grown(dot, 2))] == [(3, 3), (3, 4), (4, 3), (4, 4)]
    assert grown(dot, 3).sum() == 9
    assert np.array_equal(shrunk(np.ones((5, 5), bool), 4), np.ones((5, 5), bool))


def test_tiles_and_depth() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    tiles = annotate(noise, "tile")
    assert len(np.unique(tiles.reshape(-1, 3), axis=0)) == 6
    assert np.abs(tiles[:8, :8].astype(int) - noise[:8, :8].mean(axis=(0, 1))).max() <= 1
    depth = annotate((noise // 4 + 50).astype(np.uint8), "depth")
    assert (depth.min(), depth.max()) == (0, 255)


@pytest.mark.parametrize("words", ["", "canny", "scribble:", "scribble:-1", "scribble:25", "edges:2", "drawing:x"])
def test_other_names_are_refused(words: str) -> None:
    with pytest.raises(RequestError):
        parse_kind(words)
