"""Models: read from OBJ, chosen by the list, drawn from all sides."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanakit.common.errors import PictureError, SanakitError
from sanakit.worlds.banks.things import GROUPS
from sanakit.worlds.building.emoji.words import plural_of
from sanakit.worlds.building.models.colour_words import colour_word
from sanakit.worlds.building.models.furniture import load_mesh, read_catalogues
from sanakit.worlds.building.models.model_list import chosen, left_out, model_list, other_names
from sanakit.worlds.building.models.obj import read_mtl, read_obj
from sanakit.worlds.building.models.renderer import Renderer
from sanakit.worlds.building.models.things import VIEWS, model_things

# A box, 2 wide, 4 high and 6 deep; its front (+z) is red, its right side (-x) green, all else gray.
CUBE = """
mtllib cube.mtl
v 0 0 0
v 2 0 0
v 2 4 0
v 0 4 0
v 0 0 6
v 2 0 6
v 2 4 6
v 0 4 6
usemtl gray
f 4 3 2 1
f 1 2 6 5
f 8 7 3 4
f 2 3 7 6
usemtl red
f 5 6 7 8
usemtl green
f -8 -4 -1 -5
"""
MATERIALS = """
newmtl gray
Kd 0.5 0.5 0.5
newmtl red
Kd 0.9 0.1 0.1
newmtl green
Kd 0.1 0.9 0.1
d 1.0
"""
FILES = {"cube.obj": CUBE.encode(), "cube.mtl": MATERIALS.encode()}
TABLE = """
id#1=Toys#cube
name#1=Barrel
category#1=Toys
model#1=/toys/cube.obj
width#1=20
depth#1=60.0
height#1=40
creator#1=A. Maker
id#2=Toys#other
name#2=Glass door
category#2=Toys
model#2=/toys/cube.obj
width#2=20
depth#2=60.0
height#2=40
"""


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "Toys.sh3f", "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", TABLE.encode("latin-1"))
        archive.writestr("PluginFurnitureCatalog_zh_CN.properties", rb"name#1=\u5706\u6876")
        archive.writestr("PluginFurnitureCatalog_de.properties", "name#1=Fässchen".encode("latin-1"))
        for name, content in FILES.items():
            archive.writestr(f"toys/{name}", content)
    return tmp_path


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    try:
        return Renderer(64)
    except SanakitError as error:
        pytest.skip(str(error))


def test_polygons_become_triangles_of_their_material() -> None:
    mesh = read_obj("cube.obj", FILES.__getitem__)
    assert mesh.points.shape == (12, 3, 3)
    assert [material.name for material in mesh.materials] == ["gray", "red", "green"]
    assert np.bincount(mesh.material).tolist() == [8, 2, 2]
    # Without normals in the file, those of a box are its faces', for its edges are sharp.
    np.testing.assert_allclose(mesh.normals[mesh.material == 1], np.broadcast_to([0, 0, 1], (2, 3, 3)), atol=1e-6)
    np.testing.assert_allclose(mesh.normals[mesh.material == 2], np.broadcast_to([-1, 0, 0], (2, 3, 3)), atol=1e-6)


def test_corners_of_all_kinds_are_read() -> None:
    faces = ("1 2 3", "1//1 2//1 3//1", "1/1/1 2/1/1 3/1/1", "1/1 2/1 3/1")
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0.5 0.25\nvn 0 0 2\n" + "".join(f"f {face}\n" for face in faces)
    mesh = read_obj("x.obj", {"x.obj": text.encode()}.__getitem__)
    assert mesh.points.shape == (4, 3, 3)
    assert mesh.uv[2].tolist() == [[0.5, 0.25]] * 3
    assert mesh.uv[0].tolist() == [[0.0, 0.0]] * 3
    np.testing.assert_allclose(mesh.normals, np.broadcast_to([0, 0, 1], (4, 3, 3)))


def test_what_is_no_model_is_told() -> None:
    with pytest.raises(PictureError, match="no polygons"):
        read_obj("x.obj", {"x.obj": b"v 0 0 0\n"}.__getitem__)
    with pytest.raises(PictureError, match="outside"):
        read_obj("x.obj", {"x.obj": b"v 0 0 0\nf 1 2 3\n"}.__getitem__)


def test_materials() -> None:
    glass = read_mtl("newmtl clear glass\nKd 2 0 0\nKs 0.1 0.4 0.2\nNs 96\nd 0.3\nmap_Kd a\\b.png\nKd x\n")[
        "clear glass"
    ]
    assert glass.colour == (1.0, 0.0, 0.0)
    assert (glass.gloss, glass.shine, glass.alpha, glass.texture) == (0.4, 96.0, 0.3, "a/b.png")


def test_catalogues_are_read_with_their_languages(catalogue: Path) -> None:
    barrel, door = read_catalogues(catalogue)
    assert (barrel.id, barrel.name, barrel.size_cm, barrel.author) == (
        "Toys#cube",
        "Barrel",
        (20.0, 60.0, 40.0),
        "A. Maker",
    )
    assert barrel.names == {"de": "Fässchen", "zh-CN": "圆桶"}
    mesh, _ = load_mesh(barrel)
    np.testing.assert_allclose(mesh.points.min((0, 1)), [-10, 0, -30], atol=1e-4)
    np.testing.assert_allclose(mesh.points.max((0, 1)), [10, 40, 30], atol=1e-4)
    assert list(chosen([barrel, door])) == ["barrel"]
    assert left_out()["Glass door"].startswith("a window")


def test_the_list_of_models_is_sane() -> None:
    entries = model_list()
    names = [entry.name for entry in entries]
    assert 300 <= len(names) == len({name.lower() for name in names})
    assert {entry.group for entry in entries} <= set(GROUPS)
    sources = [source for entry in entries for source in entry.sources]
    assert not set(sources) & set(left_out()), "both taken and left out"
    assert not {source for source in sources if sources.count(source) > 1 and "#" in source}
    words = {word for entry in entries for word in entry.also}
    assert not words & set(names), "a synonym is the name of another thing"
    assert set(other_names()) <= set(names)
    assert all(entry.plural != entry.name or entry.name.endswith("s") for entry in entries)


def test_plurals() -> None:
    assert [plural_of(noun) for noun in ("dog", "bench", "box", "lily", "toy")] == [
        "dogs", "benches", "boxes", "lilies", "toys",
    ]  # fmt: skip


def test_a_box_is_seen_from_the_side_that_is_asked_for(catalogue: Path, renderer: Renderer) -> None:
    mesh, textures = load_mesh(read_catalogues(catalogue)[0])
    stage = renderer.stage(mesh, textures)
    for yaw, brightest in ((0, 0), (90, 1)):
        shot = stage.shoot(yaw, 0, 60, frozenset([1]))
        assert max(shot.rgba.shape[:2]) in (59, 60)
        assert shot.rgba[shot.rgba.shape[0] // 2, shot.rgba.shape[1] // 2, :3].argmax() == brightest
        assert shot.depth.max() == 255
        assert (shot.flags.max() == 255) == (yaw == 0)
    width, height = stage.shoot(90, 0, 60).depth.shape[::-1]
    assert width / height == pytest.approx(1.5, rel=0.05)
    assert set(stage.shares(0, 0)) == {1}
    stage.release()


def test_things_are_rendered_once_and_kept(catalogue: Path, renderer: Renderer, tmp_path: Path) -> None:
    told: list[str] = []
    [(barrel, members)] = model_things(catalogue, tmp_path / "work", lambda done, total, what: told.append(what))
    assert (barrel.name, barrel.names["de"], barrel.looks[0].style) == ("barrel", "Fässchen", "rendered")
    assert len(barrel.looks[0].views) == len(VIEWS)
    assert {view.member for view in barrel.looks[0].views} <= set(members)
    assert told[-1] == "models"
    kept = tmp_path / "work" / "toys-cube.zip"
    before = kept.stat().st_mtime_ns
    assert list(model_things(catalogue, tmp_path / "work")) == [(barrel, members)]
    assert kept.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("rgb", "word"),
    [
        ((200, 30, 30), "red"),
        ((190, 190, 190), "white"),
        ((120, 120, 120), "gray"),
        ((20, 20, 20), "black"),
        ((25, 35, 70), "blue"),
        ((170, 90, 20), None),  # orange in the shade, or brown
        ((110, 110, 30), None),  # olive
    ],
)
def test_the_colour_of_a_model_is_said_where_it_is_beyond_doubt(rgb: tuple[int, int, int], word: str | None) -> None:
    file = io.BytesIO()
    Image.new("RGBA", (16, 16), (*rgb, 255)).save(file, "PNG")
    assert colour_word([file.getvalue()] * 2) == word
