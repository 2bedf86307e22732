"""Wavefront OBJ and MTL, as far as the furniture packages use them: polygons with materials and textures.

Source: the format as described by Wavefront's appendices B1 (OBJ) and MTL 5.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sanakit.common.errors import PictureError

Floats = NDArray[np.float32]
Read = Callable[[str], bytes]
"""The bytes of a file by its name, relative to the model; KeyError if there is none."""

_CREASE = 0.85  # cosine of the angle from which an edge is drawn sharp where the file gives no normals


@dataclass(frozen=True, slots=True)
class Material:
    """``colour`` is RGB 0..1 as shown on a screen, ``texture`` the name of a picture, ``shine`` Phong's exponent."""

    name: str
    colour: tuple[float, float, float] = (0.8, 0.8, 0.8)
    gloss: float = 0.0
    shine: float = 1.0
    alpha: float = 1.0
    texture: str | None = None


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles: ``points`` and ``normals`` ``(T, 3, 3)``, ``uv`` ``(T, 3, 2)``, ``material`` ``(T,)`` as an index."""

    points: Floats
    normals: Floats
    uv: Floats
    material: NDArray[np.int32]
    materials: tuple[Material, ...]


def read_obj(name: str, read: Read) -> Mesh:
    """The model of a file and of the material files that it names.

    Raises:
        PictureError: there are no triangles in it, or it points outside its own lists.
    """
    lines = _Lines(read(name))
    known = {}
    for library in lines.libraries:
        try:
            known.update(read_mtl(read(library).decode("latin-1")))
        except KeyError:  # the package lacks it: its materials are plain gray
            continue
    materials = tuple(known.get(material, Material(material)) for material in lines.materials)
    corners, faces = _corners(lines.faces)
    if not len(corners):
        raise PictureError(f"{name} holds no polygons")
    triangles = _fans(faces)  # (T, 3) indices of corners
    try:
        points = _floats(lines.points, 3)[_from_zero(corners[:, 0], len(lines.points))]
        uv = _optional(lines.uv, 2, corners[:, 1])
        given = _optional(lines.normals, 3, corners[:, 2])
    except IndexError as error:
        raise PictureError(f"{name} points outside its own lists ({error})") from error
    triangles = triangles[_area(points[triangles]) > 0]
    face_of = np.repeat(np.arange(len(faces)), faces)[triangles[:, 0]]
    normals = _normals(points[triangles], corners[triangles][..., 0], given[triangles])
    return Mesh(points[triangles], normals, uv[triangles], np.array(lines.material, np.int32)[face_of], materials)


def read_mtl(text: str) -> dict[str, Material]:
    """Materials by their names."""
    found: dict[str, Material] = {}
    name = ""
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "newmtl":
            name = line.strip()[len("newmtl") :].strip()
            found[name] = Material(name)
        elif name:
            found[name] = _with(found[name], words[0], words[1:])
    return found


def _with(material: Material, key: str, words: list[str]) -> Material:
    try:
        match key:
            case "Kd":
                r, g, b = (min(1.0, max(0.0, float(word))) for word in words[:3])
                return replace(material, colour=(r, g, b))
            case "Ks":
                return replace(material, gloss=min(1.0, max(map(float, words[:3]))))
            case "Ns":
                return replace(material, shine=max(1.0, float(words[0])))
            case "d":
                return replace(material, alpha=float(words[-1]))
            case "Tr" if material.alpha == 1.0:
                return replace(material, alpha=1.0 - float(words[-1]))
            case "map_Kd":
                return replace(material, texture=words[-1].replace("\\", "/"))
    except (ValueError, IndexError):  # a line of numbers without numbers says nothing
        pass
    return material


class _Lines:
    """A file's lines sorted by what they begin with."""

    def __init__(self, content: bytes) -> None:
        self.points: list[bytes] = []
        self.uv: list[bytes] = []
        self.normals: list[bytes] = []
        self.faces: list[bytes] = []
        self.material: list[int] = []
        self.materials: list[str] = []
        self.libraries: list[str] = []
        current = -1
        for line in content.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").splitlines():
            key, _, rest = line.strip().partition(b" ")
            if key == b"v":
                self.points.append(rest)
            elif key == b"f":
                if current < 0:
                    current = self._material("")
                self.faces.append(rest)
                self.material.append(current)
            elif key == b"vn":
                self.normals.append(rest)
            elif key == b"vt":
                self.uv.append(rest)
            elif key == b"usemtl":
                current = self._material(rest.decode("latin-1").strip())
            elif key == b"mtllib":
                self.libraries.append(rest.decode("latin-1").strip())

    def _material(self, name: str) -> int:
        if name not in self.materials:
            self.materials.append(name)
        return self.materials.index(name)


def _floats(lines: list[bytes], columns: int) -> Floats:
    """``(N, columns)``; what a line has more (weights, colours) is left out, what it has less is zero."""
    if not lines:
        return np.zeros((0, columns), np.float32)
    flat = b" ".join(lines).split()
    if len(flat) == len(lines) * columns:
        return np.array(flat, dtype=np.float32).reshape(-1, columns)
    padding = [b"0"] * columns
    return np.array([(line.split() + padding)[:columns] for line in lines], dtype=np.float32)


def _corners(lines: list[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``(C, 3)`` of point, uv and normal as the file counts them, 0 where not given; and the corners of each face."""
    faces = np.array([len(line.split()) for line in lines], dtype=np.int64)
    flat = b" ".join(lines)
    tokens = flat.replace(b"//", b"/0/").split()
    slashes = sum(token.count(b"/") for token in tokens)
    columns = 1 + slashes // max(1, len(tokens))
    if slashes == (columns - 1) * len(tokens) and b"/ " not in flat + b" ":
        table = np.array(b" ".join(tokens).replace(b"/", b" ").split(), dtype=np.int64).reshape(-1, columns)
    else:  # corners of several kinds in one file
        table = np.array([[int(part or 0) for part in [*token.split(b"/"), b"", b""][:3]] for token in tokens])
    padded = np.zeros((len(tokens), 3), np.int64)
    padded[:, : table.shape[-1]] = table
    return padded, faces


def _from_zero(index: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The file counts from 1, or backwards from -1."""
    zero = np.where(index < 0, index + count, index - 1)
    if len(zero) and (zero.min() < 0 or zero.max() >= count):
        raise IndexError(f"{int(zero.max()) + 1} of {count}")
    return zero


def _optional(lines: list[bytes], columns: int, index: NDArray[np.int64]) -> Floats:
    """Values by corner, zeros where the corner gives none."""
    values = np.concatenate([_floats(lines, columns), np.zeros((1, columns), np.float32)])
    return values[np.where(index == 0, len(lines), np.where(index < 0, index + len(lines), index - 1))]


def _fans(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Polygons of ``faces`` corners each, cut into triangles around their first corner: ``(T, 3)``."""
    starts = np.concatenate([[0], np.cumsum(faces)[:-1]])
    counts = np.maximum(faces - 2, 0)
    first = np.repeat(starts, counts)
    step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([first, first + step + 1, first + step + 2], axis=1)


def _area(triangles: Floats) -> Floats:
    return np.linalg.norm(_face_normals(triangles), axis=-1)


def _face_normals(triangles: Floats) -> Floats:
    """Not of unit length: as long as twice the area, ``(T, 3)``."""
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    return np.cross(b - a, c - a).astype(np.float32)


def _normals(triangles: Floats, points: NDArray[np.int64], given: Floats) -> Floats:
    """The file's normals; where it has none, the mean of the faces around a point, and the face's at sharp edges."""
    length = np.linalg.norm(given, axis=-1, keepdims=True)
    if (length > 0).all():
        return (given / length).astype(np.float32)
    face = _face_normals(triangles)
    _, index = np.unique(points, return_inverse=True)
    index = index.reshape(points.shape)
    around = np.zeros((index.max() + 1, 3), np.float32)
    for corner in range(3):
        np.add.at(around, index[:, corner], face)
    smooth, flat = _unit(around)[index], np.broadcast_to(_unit(face)[:, None], triangles.shape)
    sharp = (smooth * flat).sum(-1, keepdims=True) < _CREASE
    made = np.where(sharp, flat, smooth)
    return np.where(length > 0, given / np.maximum(length, 1e-12), made).astype(np.float32)


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
