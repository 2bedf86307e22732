"""Catalogues of furniture models as Sweet Home 3D packs them: ``.sh3f``, a zip of OBJ models and a table of them.

The table is a Java properties file: ``name#3=Bench``, Latin-1 with ``\\u`` escapes; the names in other languages are in
files of their own. Models stand upright with y up and look to +z; width, height and depth are in cm.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sanakit.common.errors import RequestError
from sanakit.worlds.building.models.obj import Floats, Mesh, read_obj

_TABLE = "PluginFurnitureCatalog"
_LICENCES = {
    "BlendSwap-CC-0": "CC0-1.0",
    "BlendSwap-CC-BY": "CC BY 3.0",
    "KatorLegaz": "CC BY 3.0 US",
    "Reallusion": "CC BY 3.0 US",
    "Scopia": "CC BY 3.0",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A line of a catalogue. ``id`` is unique among all packages; ``size_cm`` is width, depth and height."""

    id: str
    name: str
    names: Mapping[str, str]
    category: str
    archive: Path
    member: str
    size_cm: tuple[float, float, float]
    rotation: tuple[float, ...] | None
    author: str
    licence: str


def read_catalogues(folder: Path) -> list[Model]:
    """The models of all ``.sh3f`` files below ``folder``.

    Raises:
        RequestError: there is no such file.
    """
    archives = sorted(folder.rglob("*.sh3f"))
    if not archives:
        raise RequestError(f"{folder} holds no .sh3f catalogue of furniture")
    return [model for archive in archives for model in _read_catalogue(archive)]


def load_mesh(model: Model) -> tuple[Mesh, Mapping[str, bytes]]:
    """The model turned and scaled to its size in cm, standing on y = 0 around the origin; and its textures by name."""
    with zipfile.ZipFile(model.archive) as archive:
        folder = posixpath.dirname(model.member)
        members = {name.lower(): name for name in archive.namelist()}

        def read(name: str) -> bytes:
            return archive.read(members[posixpath.normpath(posixpath.join(folder, name)).lower()])

        mesh = read_obj(posixpath.basename(model.member), read)
        textures = {}
        for material in mesh.materials:
            if material.texture is not None and material.texture not in textures:
                try:
                    textures[material.texture] = read(material.texture)
                except KeyError:  # drawn in its plain colour
                    continue
    points, normals = _stood(model, mesh.points, mesh.normals)
    return Mesh(points, normals, mesh.uv, mesh.material, mesh.materials), textures


def _stood(model: Model, points: Floats, normals: Floats) -> tuple[Floats, Floats]:
    if model.rotation is not None:
        turn = np.array(model.rotation, np.float32).reshape(3, 3)
        points, normals = points @ turn.T, normals @ turn.T
    low, high = points.min((0, 1)), points.max((0, 1))
    width, depth, height = model.size_cm
    wanted = np.array([width, height, depth], np.float32)
    scale = wanted / np.maximum(high - low, 1e-6)
    base = (low + high) / 2
    base[1] = low[1]
    normals = normals / scale
    return (points - base) * scale, normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)


def _read_catalogue(archive: Path) -> Iterator[Model]:
    with zipfile.ZipFile(archive) as opened:
        table = _rows(opened.read(f"{_TABLE}.properties"))
        languages = {
            match[1]: _rows(opened.read(name))
            for name in opened.namelist()
            if (match := re.fullmatch(rf"{_TABLE}_(\w+)\.properties", name))
        }
    for number, row in sorted(table.items()):
        names = {language: rows[number]["name"] for language, rows in languages.items() if "name" in rows[number]}
        yield Model(
            id=f"{archive.stem}#{row['id'].split('#')[-1]}",
            name=row["name"],
            names={language.replace("_", "-"): name for language, name in sorted(names.items()) if language != "en_US"},
            category=row["category"],
            archive=archive,
            member=row["model"].lstrip("/"),
            size_cm=(float(row["width"]), float(row["depth"]), float(row["height"])),
            rotation=tuple(map(float, row["modelRotation"].split())) if "modelRotation" in row else None,
            author=row.get("creator", ""),
            licence=_LICENCES.get(archive.stem, "see the package"),
        )


def _rows(content: bytes) -> defaultdict[int, dict[str, str]]:
    """Number -> key -> value of lines such as ``name#3=Bench``."""
    rows: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for key, number, value in re.findall(r"(?m)^(\w+)#(\d+)\s*=\s*(.*?)\s*$", content.decode("latin-1")):
        rows[int(number)][key] = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), value)
    return rows
