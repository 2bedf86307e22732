"""The recogniser's shapes, and its sentence for what does not fit."""

from __future__ import annotations

import pytest
import torch

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.models.recogniser import CutoutMaps, PictureMaps, Recogniser, RecogniserConfig

CONFIG = RecogniserConfig(
    names=("cat", "dog"), colours=("red",), ground_colours=("white", "red"), drawn_grounds=("night",), places=("park",),
    channels=(2, 3, 4), finder_size=8, ground_size=8, patch_sizes=(2, 2, 2), namer_size=8,
)  # fmt: skip


def _maps(num: int) -> tuple[PictureMaps, CutoutMaps]:
    sides = zip((2, 3, 4, 3), (16, 8, 4, 16), (3, 3, 3, 8), strict=True)
    pictures, cutouts = zip(
        *((torch.randn(num, c, p, p), torch.randn(num + 1, c, q, q)) for c, p, q in sides), strict=True
    )
    return PictureMaps(*pictures), CutoutMaps(*cutouts)


def test_shapes() -> None:
    model = Recogniser(CONFIG)
    found, said = model(*_maps(3))
    assert found.heat.shape == (3, 8, 8)
    assert found.boxes.shape == (3, 4, 8, 8)
    assert (found.grounds.shape, found.upper.shape, found.lower.shape) == ((3, 3), (3, 2), (3, 2))
    assert (said.names.shape, said.colours.shape) == ((4, 4), (4, 2))


def test_statistics_are_kept_with_the_weights() -> None:
    model, (pictures, _) = Recogniser(CONFIG), _maps(5)
    model.finder.standards[0].set_(3 * pictures.fine + 1)
    assert model.state_dict()["finder.standards.0.std"].mean() == pytest.approx(3, rel=0.1)


def test_what_does_not_fit_is_refused() -> None:
    pictures, cutouts = _maps(1)
    with pytest.raises(ShapeError, match="128 px"):
        Recogniser(CONFIG)(pictures._replace(middle=torch.zeros(1, 3, 7, 7)), cutouts)
    with pytest.raises(ConfigError, match="names"):
        RecogniserConfig(names=(), colours=("red",), ground_colours=("white",), drawn_grounds=(), places=())
