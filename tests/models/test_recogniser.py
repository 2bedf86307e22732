"""The recogniser's shapes, and its sentence for what does not fit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.models.recogniser import CutoutMaps, PictureMaps, Recogniser, RecogniserConfig, Standardised

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


def test_sizes_that_are_left_out_are_those_of_the_one_that_ships() -> None:
    config = RecogniserConfig(
        names=("cat",), colours=("red",), ground_colours=("white",), drawn_grounds=("a", "b"), places=("park",)
    )
    assert (config.channels, config.patch_sizes) == ((40, 112, 320), (24, 48, 96))
    assert (config.finder_size, config.ground_size, config.namer_size) == (96, 128, 224)
    assert config.grounds == ("a", "b", "park")
    for empty in ("names", "colours", "ground_colours"):
        with pytest.raises(ConfigError, match="one of them is empty"):
            RecogniserConfig(**{"drawn_grounds": (), "places": (), "names": ("a",), "colours": ("b",),
                                "ground_colours": ("c",), empty: ()})  # fmt: skip


def test_standards_are_mean_and_deviation_of_every_channel_and_quiet_ones_do_not_shout() -> None:
    standard, values = Standardised(2), torch.zeros(2, 2, 1, 2)
    values[:, 0] = torch.tensor([[[1.0, 3.0]], [[5.0, 7.0]]])
    values[:, 1] = 4.0
    standard.set_(values)
    torch.testing.assert_close(standard.mean, torch.tensor([4.0, 4.0]))
    torch.testing.assert_close(standard.std, torch.tensor([(20 / 3) ** 0.5, 1e-3]))
    torch.testing.assert_close(standard(values)[0, 0, 0], torch.tensor([-3.0, -1.0]) / (20 / 3) ** 0.5)
    assert not standard(values)[:, 1].any()


def _model() -> tuple[Recogniser, PictureMaps, CutoutMaps]:
    torch.manual_seed(4)
    model, (pictures, cutouts) = Recogniser(CONFIG).requires_grad_(False), _maps(2)
    for number, standard in enumerate((*model.finder.standards, *model.namer.standards)):
        standard.mean.fill_(0.1 * number)
        standard.std.fill_(1 + 0.1 * number)
    return model, pictures, cutouts


def _packed(maps: Tensor) -> Tensor:
    """Cells of two by two: channel by channel, row by row."""
    return torch.stack([maps[:, :, y::2, x::2] for y in (0, 1) for x in (0, 1)], dim=2).flatten(1, 2)


def test_the_finder_is_its_formula() -> None:
    model, maps, _ = _model()
    finder = model.finder
    assert Recogniser(CONFIG).finder.out.bias.tolist()[0] == -3
    assert not Recogniser(CONFIG).finder.out.bias[1:].any()
    fine, middle, coarse, colours = ((part - 0.1 * n) / (1 + 0.1 * n) for n, part in enumerate(maps))
    wide = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    hidden = gelu(finder.proj_in(torch.cat([_packed(fine), middle, wide, _packed(colours)], 1)))
    everywhere = hidden.flatten(2).mean(2) @ finder.everywhere.weight.T + finder.everywhere.bias
    hidden = hidden + everywhere[:, :, None, None]
    for conv in finder.convs:
        hidden = hidden + gelu(conv(hidden))
    found, out = finder(maps), finder.out(hidden)
    torch.testing.assert_close(found.heat, out[:, 0])
    torch.testing.assert_close(found.boxes, out[:, 1:5])
    shrunk = _packed(colours).unflatten(1, (3, 4)).mean(2)
    behind = [gelu(finder.ground_patch(coarse)).flatten(1), middle.flatten(2).mean(2), shrunk.flatten(1)]
    logits = finder.ground_out(gelu(finder.ground_in(torch.cat(behind, 1))))
    torch.testing.assert_close(torch.cat([found.grounds, found.upper, found.lower], 1), logits)


def test_the_namer_is_its_formula() -> None:
    model, _, maps = _model()
    namer = model.namer
    *parts, colours = ((part - 0.1 * n) / (1 + 0.1 * n) for n, part in enumerate(maps, start=4))
    patches = [gelu(patch(part)).flatten(1) for patch, part in zip(namer.patches, parts, strict=True)]
    hidden = namer.norm(gelu(namer.proj_in(torch.cat([*patches, colours.flatten(1)], 1))))
    hidden = hidden + gelu(namer.proj(hidden))
    found = namer(maps)
    torch.testing.assert_close(found.names, namer.names(hidden))
    torch.testing.assert_close(found.colours, namer.colours(torch.cat([hidden, colours.flatten(1)], 1)))


def test_maps_of_another_size_are_refused_whatever_is_wrong() -> None:
    pictures, cutouts = _maps(1)
    for shape in ((1, 3, 8, 7), (1, 3, 7, 8), (1, 4, 8, 8)):
        with pytest.raises(ShapeError, match="128 px"):
            Recogniser(CONFIG)(pictures._replace(middle=torch.zeros(shape)), cutouts)
