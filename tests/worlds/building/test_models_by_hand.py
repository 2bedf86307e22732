"""Models without a graphics card: cameras, sides worth seeing, colours that may be painted, words; numbers by hand."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sanakit.worlds.banks.things import View
from sanakit.worlds.building.models import things
from sanakit.worlds.building.models.camera import light_matrix, look_at
from sanakit.worlds.building.models.furniture import Model, _rows, _stood
from sanakit.worlds.building.models.model_list import Entry, chosen, plural_of
from sanakit.worlds.building.models.obj import Material, Mesh, read_mtl, read_obj
from sanakit.worlds.building.models.renderer import _reduce
from sanakit.worlds.building.models.things import (
    VIEWS,
    _look,
    _names,
    _paintable,
    _plain_colour,
    _thing,
    _turned,
    angles_of,
    look_id,
    size_of,
)  # fmt: skip

BOX = np.array([[x, y, z] for x in (-1, 1) for y in (-2, 2) for z in (-3, 3)], np.float32)
AWAY = (14**0.5) / np.sin(np.radians(14))  # half of the diagonal, seen under 14 degrees


def model(**changes: Any) -> Model:
    facts = {"id": "Toys#cube", "name": "Cube", "names": {}, "category": "", "archive": Path("a"), "member": "b",
             "size_cm": (100.0, 20.0, 60.0), "rotation": None, "author": "", "licence": ""}  # fmt: skip
    return Model(**{**facts, **changes})


def entry(**changes: Any) -> Entry:
    return Entry(**{"name": "zyx", "group": "thing", "plural": "zyxs", "sources": ("Cube",), **changes})


@pytest.mark.parametrize(
    ("yaw", "pitch", "back", "right"),
    [
        (0, 0, (0, 0, 1), (1, 0, 0)),  # its front looks to +z
        (90, 0, (-1, 0, 0), (0, 0, 1)),  # its right side is at -x
        (180, 0, (0, 0, -1), (-1, 0, 0)),
        (0, 60, (0, 3**0.5 / 2, 0.5), (1, 0, 0)),  # from above
    ],
)
def test_a_camera_stands_where_it_is_told_and_the_model_fills_the_picture(
    yaw: float, pitch: float, back: tuple[float, ...], right: tuple[float, ...]
) -> None:
    points = BOX + np.float32(5)
    camera = look_at(points, yaw, pitch)
    np.testing.assert_allclose(camera.axes[2], back, atol=1e-9)
    np.testing.assert_allclose(camera.axes[0], right, atol=1e-9)
    np.testing.assert_allclose(camera.axes[1], np.cross(back, right), atol=1e-9)
    np.testing.assert_allclose(camera.eye, 5 + AWAY * np.array(back), atol=1e-6)
    away = AWAY - (BOX @ np.array(back))
    assert (camera.near, camera.far) == (pytest.approx(away.min()), pytest.approx(away.max()))
    clip = np.c_[points, np.ones(8)] @ camera.matrix.T
    seen = clip[:, :3] / clip[:, 3:]
    np.testing.assert_allclose(seen[:, :2].min(0), -1, atol=1e-6)
    np.testing.assert_allclose(seen[:, :2].max(0), 1, atol=1e-6)
    for distance, depth in ((camera.near * 0.98, -1), (camera.far * 1.02, 1)):
        x, y, z = camera.eye - camera.axes[2] * distance
        place = camera.matrix @ np.array([x, y, z, 1])
        assert place[2] / place[3] == pytest.approx(depth, abs=1e-6)


def test_a_picture_is_as_wide_as_what_is_nearest() -> None:
    assert look_at(BOX, 0, 0).aspect == pytest.approx(0.5)
    assert look_at(BOX, 90, 0).aspect == pytest.approx(1.5)


def test_a_lamp_reaches_all_points() -> None:
    direction = np.array([0.6, 0.8, 0.0])
    matrix = light_matrix(BOX + np.float32(2), direction)
    place = matrix @ np.array([2, 2, 2, 1])
    np.testing.assert_allclose(place, [0, 0, 0, 1], atol=1e-9)
    near = matrix @ np.array([*(2 + direction * 14**0.5), 1])
    np.testing.assert_allclose(near[:3], [0, 0, -1], atol=1e-6)
    side = matrix @ np.array([2, 2, 2 - 14**0.5, 1])
    np.testing.assert_allclose(side[:3], [1, 0, 0], atol=1e-6)


def test_samples_become_pixels_and_what_is_empty_is_cut_off() -> None:
    colours, extra = np.zeros((6, 8, 4), np.uint8), np.zeros((6, 8, 4), np.uint8)
    colours[2:4, 2:4] = (60, 40, 20, 120)  # premultiplied
    colours[2:4, 4:6] = (100, 100, 100, 255)
    colours[4, 2] = (8, 8, 8, 60)  # 15 on average, which is nothing
    extra[2:4, 2:4, :2] = (120, 9)
    extra[3, 3, 1] = 77
    extra[2, 4:6, 0] = 255
    shot = _reduce(colours, extra)
    assert shot.rgba.shape == (1, 2, 4)
    assert shot.rgba[0].tolist() == [[128, 85, 43, 120], [100, 100, 100, 255]]
    assert shot.flags[0].tolist() == [255, 128]
    assert shot.depth[0].tolist() == [77, 0]
    assert _reduce(np.zeros((4, 6, 4), np.uint8), extra[:4, :6]).rgba.shape == (2, 3, 4)


def test_sides_on_which_a_thing_is_a_stroke_are_left_out() -> None:
    assert angles_of(model(size_cm=(50.0, 50.0, 50.0)), entry()) == VIEWS
    every = {yaw for yaw, _ in VIEWS}
    for size, missing in (
        ((100.0, 1.0, 100.0), {90, 270}),  # at 105 it is 27 wide, more than a quarter of its height
        ((100.0, 1.0, 120.0), {90, 270, 105, 285}),
        ((100.0, 10.0, 1000.0), {90, 270, 105, 285}),  # as tall as a mast: by its greatest breadth alone
        ((100.0, 1.0, 2.0), set()),
        ((1.0, 100.0, 120.0), {0, 180, 15, 195}),
    ):
        assert {yaw for yaw, _ in angles_of(model(size_cm=size), entry())} == every - missing, size
    standing = angles_of(model(size_cm=(100.0, 100.0, 1.0)), entry(stand=True))
    assert {yaw for yaw, _ in standing} == every - {90, 270}


def test_sizes_as_a_thing_stands_and_turns() -> None:
    one = model(size_cm=(1.0, 2.0, 3.0))
    assert size_of(one, entry()) == (1.0, 2.0, 3.0)
    assert size_of(one, entry(stand=True)) == (1.0, 3.0, 2.0)
    assert size_of(one, entry(turn=90.0)) == size_of(one, entry(turn=-90.0)) == (2.0, 1.0, 3.0)
    assert size_of(one, entry(turn=180.0)) == (1.0, 2.0, 3.0)
    assert size_of(one, entry(turn=270.0, stand=True)) == (3.0, 1.0, 2.0)
    assert look_id(one) == "toys-cube"


def mesh(*points: tuple[float, float, float]) -> Mesh:
    corners = np.array([points], np.float32)
    return Mesh(corners, corners.copy(), np.zeros((1, 3, 2), np.float32), np.zeros(1, np.int32), (Material("a"),))


def test_models_are_turned_and_stood_up() -> None:
    up, far, front = (0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (0.0, 0.0, 1.0)
    stood = _turned(mesh(up, far, front), entry(stand=True))
    np.testing.assert_allclose(stood.points[0], [(0, 0, 1), (0, 1, 0), (0, -1, 0)], atol=1e-6)
    np.testing.assert_allclose(stood.normals, stood.points)
    turned = _turned(mesh(up, far, front), entry(turn=90.0))
    np.testing.assert_allclose(turned.points[0], [(0, 1, 0), (-1, 0, 0), (1, 0, 0)], atol=1e-6)
    both = _turned(mesh(up, far, front), entry(turn=90.0, stand=True))
    np.testing.assert_allclose(both.points[0], [(1, 0, 0), (0, 1, 0), (0, -1, 0)], atol=1e-6)
    np.testing.assert_allclose(_turned(mesh(up, far, front), entry()).points[0], [up, far, front])


def test_a_model_has_its_size_and_stands_on_the_ground() -> None:
    points = np.array([[(0, 1, 0), (2, 1, 0), (2, 5, 4)]], np.float32)
    normals = np.array([[(1, 1, 0)] * 3], np.float32)
    found, facing = _stood(model(size_cm=(10.0, 8.0, 20.0)), points, normals)
    np.testing.assert_allclose(found[0], [(-5, 0, -4), (5, 0, -4), (5, 20, 4)], atol=1e-5)
    np.testing.assert_allclose(facing[0, 0], np.array([1, 1, 0]) / 2**0.5, atol=1e-6)  # 5 times wider and higher
    quarter = (0.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0)  # x becomes -z, z becomes x
    found, _ = _stood(model(size_cm=(8.0, 10.0, 20.0), rotation=quarter), points, normals)
    np.testing.assert_allclose(found[0], [(-4, 0, 5), (-4, 0, -5), (4, 20, -5)], atol=1e-5)


def picture_of(*colours: tuple[int, int, int]) -> bytes:
    image, file = Image.new("RGB", (32 * len(colours), 32)), io.BytesIO()
    for number, colour in enumerate(colours):
        image.paste(colour, (32 * number, 0, 32 * number + 32, 32))
    image.save(file, "PNG")
    return file.getvalue()


def test_plain_colours_are_opaque_even_and_not_nearly_black() -> None:
    textures = {"even": picture_of((204, 0, 51)), "mixed": picture_of((255, 0, 0), (0, 0, 255)), "bad": b"no picture"}
    plain = {
        "colour": Material("a", colour=(0.19, 0.0, 0.1)),
        "dark": Material("b", colour=(0.18, 0.18, 0.18)),
        "glass": Material("c", alpha=0.94),
        "nearly glass": Material("d", alpha=0.95),
        "even": Material("e", texture="even"),
        "mixed": Material("f", texture="mixed"),
        "bad": Material("g", texture="bad"),
        "lost": Material("h", texture="nowhere"),
    }
    found = {name: _plain_colour(material, textures) for name, material in plain.items()}
    assert {name for name, colour in found.items() if colour is None} == {"dark", "glass", "mixed", "bad"}
    np.testing.assert_allclose(found["even"], (0.8, 0.0, 0.2), atol=1e-4)
    np.testing.assert_allclose(found["lost"], (0.8, 0.8, 0.8), atol=1e-6)


@pytest.mark.parametrize(
    ("front", "behind", "painted"),
    [
        ({0: 0.5, 2: 0.5}, {0: 0.5, 2: 0.5}, {0}),  # glass (2) is never painted
        ({0: 0.2, 1: 0.2, 2: 0.6}, {0: 0.2, 1: 0.2, 2: 0.6}, {0, 1}),  # nearly one colour: together enough
        ({0: 0.3, 2: 0.7}, {0: 0.3, 2: 0.7}, set()),  # 0.35 is enough
        ({0: 0.1, 3: 0.9}, {0: 0.7, 3: 0.3}, {3}),  # 0.4 against 0.6 of both sides
        ({2: 1.0}, {0: 1.0}, {0}),  # half of both sides
        ({2: 1.0}, {0: 0.69, 2: 0.31}, set()),
    ],
)
def test_the_colour_that_most_is_of_may_be_painted(
    front: dict[int, float], behind: dict[int, float], painted: set[int]
) -> None:
    colours = ((0.5, 0.2, 0.2), (0.55, 0.2, 0.2), (0.5, 0.2, 0.2), (0.2, 0.2, 0.9))
    materials = [Material(str(n), colour=colour, alpha=0.5 if n == 2 else 1.0) for n, colour in enumerate(colours)]
    stage: Any = SimpleNamespace(materials=materials, shares=lambda yaw, pitch: dict({30: front, 210: behind}[yaw]))
    assert _paintable(stage, {}) == painted


def test_names_are_ours_then_theirs_of_a_model_that_is_called_so() -> None:
    names = {
        "de": "Würfel",
        "zh-CN": "方块",
        "zh-TW": "立方",
        "pt-PT": "Cubo",
        "ru": "Cube",
        "fr": "Cube",
        "ja": "キューブ",
    }
    expected = {"de": "Würfel", "zh": "方块", "fr": "Cube", "ja": "キューブ"}
    assert _names(entry(name="cube", sources=("Cube",)), [model(names=names)]) == expected
    assert _names(entry(also=("Cu be",)), [model(names=names)]) == expected
    assert _names(entry(), [model(names=names)]) == {}
    other = model(name="cube", names={"de": "anders"})
    assert _names(entry(name="cube"), [other, model(names=names)]) == {"de": "anders"}  # the first of a name
    ours = things.other_names()
    assert ours
    name, words = next(iter(ours.items()))
    assert _names(entry(name=name), [model(name=name, names={"xx": "y", **dict.fromkeys(words, "z")})]) == {
        "xx": "y", **words,
    }  # fmt: skip


def test_a_line_of_the_list_becomes_a_thing() -> None:
    views = tuple(View(yaw, 20.0, 0, (8, 8), f"a/{n:02d}.webp") for n, yaw in enumerate((0.0, 150.0, 210.0)))
    red, blue = (picture_webp(colour) for colour in ("#de282c", "#2070e4"))
    members = {"a/00.webp": red, "a/01.webp": red, "a/02.webp": blue}
    look = _look(model(author="A", licence="L"), entry(), views, members)
    assert (look.id, look.style, look.natural, look.tintable) == ("toys-cube", "rendered", "red", False)
    assert (look.author, look.licence, look.source) == ("A", "L", "sweethome3d-furniture")
    assert _look(model(), entry(), views, {**members, "a/01.webp": blue}).natural is None  # front and back differ
    assert _look(model(), entry(group="person"), views, members).natural is None
    assert _look(model(), entry(), views, {**members, "a/01.tint.webp": b""}).tintable
    thing = _thing(entry(also=("mug", "glasses")), [model(size_cm=(1, 2, 3)), model(size_cm=(7, 8, 9))], (look,))
    assert thing.synonyms == (("mug", "mugs"), ("glasses", "glasses"))
    assert (thing.size_cm, thing.plural, thing.group) == ((1, 2, 3), "zyxs", "thing")


def picture_webp(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (8, 8), colour).save(file, "WEBP", lossless=True)
    return file.getvalue()


def test_what_was_kept_is_taken_only_if_it_was_made_so(tmp_path: Path) -> None:
    place, one, of = tmp_path / "a.zip", model(), entry()
    views, members = (View(0.0, 20.0, 0, (8, 9), "a/00.webp"),), {"a/00.webp": b"picture"}
    assert things._read_kept(place, one, of) is None
    things._keep(place, one, of, views, members)
    assert things._read_kept(place, one, of) == (views, members)
    for changed in (replace(of, tint=False), replace(of, turn=90.0), replace(of, stand=True)):
        assert things._read_kept(place, one, changed) is None
    assert things._read_kept(place, model(size_cm=(100.0, 1.0, 100.0)), of) is None  # other sides
    place.write_bytes(place.read_bytes()[:-30])
    assert things._read_kept(place, one, of) is None


@pytest.mark.parametrize(
    ("noun", "plural"),
    [
        ("bowl of fruit", "bowls of fruit"), ("bus", "buses"), ("dish", "dishes"), ("box", "boxes"),
        ("bench", "benches"), ("lily", "lilies"), ("toy", "toys"), ("dog", "dogs"),
        ("spy of a city", "spies of a city"),
    ],
)  # fmt: skip
def test_regular_plurals(noun: str, plural: str) -> None:
    assert plural_of(noun) == plural


def test_a_model_is_taken_by_its_id_or_by_its_name() -> None:
    assert [one.id for one in chosen([model(name="Barrel"), model(id="Toys#x", name="No such thing")])["barrel"]] == [
        "Toys#cube"
    ]


def test_rows_of_a_table_of_properties() -> None:
    rows = _rows(b"name#3 = Big \\u5706 \r\nname#12=B\n#comment#1=x\nwidth#3=4.5\nno number=1\n")
    assert {number: dict(row) for number, row in rows.items()} == {
        3: {"name": "Big 圆", "width": "4.5"},
        12: {"name": "B"},
    }


def obj(text: str) -> Mesh:
    return read_obj("x.obj", {"x.obj": text.encode()}.__getitem__)


def test_edges_are_round_where_faces_meet_flatly_and_sharp_where_not() -> None:
    for height, round_ in ((0.2, True), (2.0, False)):  # cosines of half the angle: 0.98 and 0.45
        found = obj(f"v 0 0 0\nv 0 0 1\nv 1 {height} 0\nv -1 {height} 0\nf 1 2 3\nf 1 4 2\n")
        shared = found.normals[0, 0]
        assert np.allclose(shared, [0, 1, 0], atol=1e-5) == round_
        face = np.array([-height, 1, 0]) / (1 + height**2) ** 0.5
        np.testing.assert_allclose(found.normals[0, 2], face, atol=1e-5)  # a corner of its own


def test_lines_of_all_kinds() -> None:
    found = obj(
        "v 0 0 0\nv 1 0 0 1\nv 0 1 0\nv 2\nf 1 2 \\\n3\nf 1 2 4\nusemtl a\nf 1 3 2\nusemtl b\nusemtl a\nf 2 3 1\n"
    )
    assert found.material.tolist() == [0, 1, 1]  # what has no area is left out
    assert [material.name for material in found.materials] == ["", "a", "b"]
    assert found.points[0].tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    five = obj("v 0 0 0\nv 1 0 0\nv 2 1 0\nv 1 2 0\nv 0 1 0\nf 1 2 3 4 5\n")
    assert five.points[:, :, :2].tolist() == [
        [[0, 0], [1, 0], [2, 1]], [[0, 0], [2, 1], [1, 2]], [[0, 0], [1, 2], [0, 1]],
    ]  # fmt: skip


def test_materials_as_they_are_written() -> None:
    found = read_mtl(
        "Kd 1 1 1\nnewmtl a\nTr 0.25\nNs 0.2\nKd -1 0.5 3\n\nnewmtl b\nd 0.5\nTr 0.9\nKs 2 0 0\nmap_Kd -o x y.png\n"
    )
    assert found["a"] == Material("a", colour=(0.0, 0.5, 1.0), alpha=0.75, shine=1.0)
    assert found["b"] == Material("b", alpha=0.5, gloss=1.0, texture="y.png")
    assert Material("c") == Material("c", (0.8, 0.8, 0.8), 0.0, 1.0, 1.0, None)
