"""Where a view is taken from, as matrices: the picture is cut so that the model just fills it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sanakit.worlds.building.models.obj import Floats

Matrix = NDArray[np.float64]
_HALF_ANGLE = math.radians(14)  # under which half of the model's bounding sphere is seen


@dataclass(frozen=True, slots=True)
class Camera:
    """``matrix`` takes points to clip space, ``eye`` is where the camera stands, ``axes`` are its right, up and back.

    ``near`` and ``far`` are distances along the view of the nearest and farthest point of the model; ``aspect`` is
    width to height of the picture.
    """

    matrix: Matrix
    eye: Matrix
    axes: Matrix
    near: float
    far: float
    aspect: float


def look_at(points: Floats, yaw: float, pitch: float) -> Camera:
    """A camera on a circle around ``points`` ``(N, 3)``; ``yaw`` and ``pitch`` in degrees as of a ``View``."""
    centre, radius = _sphere(points)
    turn, lift = math.radians(yaw), math.radians(pitch)
    back = np.array([-math.sin(turn) * math.cos(lift), math.sin(lift), math.cos(turn) * math.cos(lift)])
    right = np.array([math.cos(turn), 0.0, math.sin(turn)])
    axes = np.stack([right, np.cross(back, right), back])
    eye = centre + back * radius / math.sin(_HALF_ANGLE)
    seen = (points - eye) @ axes.T
    near, far = float(-seen[:, 2].max()), float(-seen[:, 2].min())
    plane = seen[:, :2] / -seen[:, 2:]
    (left, bottom), (right_end, top) = plane.min(0), plane.max(0)
    width, height = max(right_end - left, 1e-4), max(top - bottom, 1e-4)
    view = np.eye(4)
    view[:3, :3], view[:3, 3] = axes, -axes @ eye
    frustum = _frustum((left, right_end, bottom, top), near * 0.98, far * 1.02)
    return Camera(frustum @ view, eye, axes, near, far, width / height)


def light_matrix(points: Floats, direction: Matrix) -> Matrix:
    """Clip space of a lamp at infinity in ``direction`` (unit length) that lights all of ``points``."""
    centre, radius = _sphere(points)
    side = np.cross([0.0, 1.0, 0.0], direction)
    side /= np.linalg.norm(side)
    axes = np.stack([side, np.cross(direction, side), -direction])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = axes / radius, -axes @ centre / radius
    return matrix


def _sphere(points: Floats) -> tuple[Matrix, float]:
    """Middle and radius of a ball around ``points``."""
    low, high = points.min(0).astype(float), points.max(0).astype(float)
    return (low + high) / 2, max(float(np.linalg.norm(high - low)) / 2, 1e-6)


def _frustum(edges: tuple[float, float, float, float], near: float, far: float) -> Matrix:
    """OpenGL's projection of what is between ``edges`` of a plane at distance 1: left, right, bottom, top."""
    left, right, bottom, top = edges
    return np.array(
        [
            [2 / (right - left), 0, (right + left) / (right - left), 0],
            [0, 2 / (top - bottom), (top + bottom) / (top - bottom), 0],
            [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)],
            [0, 0, -1, 0],
        ]
    )
