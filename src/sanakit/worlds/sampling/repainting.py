"""A scene painted once more: the same words are true of it, everything else may differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.things import Look
from sanakit.worlds.sampling.casting import draw_view
from sanakit.worlds.scenes.description import Box, Scene, SceneObject


def repainted(scene: Scene, rng: Generator, bank: Bank) -> Scene:
    """Single things and things alike are seen from another side where a word does not forbid it, a place in another
    direction, and all is moved and scaled a little."""
    objects = scene.objects
    if scene.kind in ("single", "count"):
        objects = tuple(_turned(scene, thing, rng, bank) for thing in objects)
    camera = replace(scene.camera, yaw=float(rng.integers(360)))
    return moved(replace(scene, objects=objects, camera=camera), rng)


def moved(scene: Scene, rng: Generator) -> Scene:
    """The scene shifted and scaled as a whole within the canvas: every count, order and relation stays."""
    boxes = np.array([thing.box for thing in scene.objects])  # (objects, 4)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    extent = high - low
    scale = min(rng.uniform(0.92, 1.08), 0.98 / extent.max())
    room = 1 - scale * extent
    centre = (low + high) / 2 + rng.uniform(-0.3, 0.3, 2) * room
    centre = np.clip(centre, scale * extent / 2, 1 - scale * extent / 2)
    corners = (boxes.reshape(-1, 2, 2) - (low + high) / 2) * scale + centre
    objects = tuple(
        replace(thing, box=(float(left), float(top), float(right), float(bottom)))
        for thing, (left, top, right, bottom) in zip(scene.objects, corners.reshape(-1, 4), strict=True)
    )
    return replace(scene, objects=objects)


def _turned(scene: Scene, thing: SceneObject, rng: Generator, bank: Bank) -> SceneObject:
    look = bank.look(thing.name, thing.look)
    assert look is not None
    view = draw_view(look, scene.view, rng)
    return replace(thing, view=view, box=fitted(thing.box, look, view))


def fitted(box: Box, look: Look, view: int) -> Box:
    """A box of another side with the same longer edge, on the same ground."""
    left, top, right, bottom = box
    longer, (width, height) = max(right - left, bottom - top), look.views[view].size
    half, tall = longer * min(width / height, 1.0) / 2, longer * min(height / width, 1.0)
    across = min(max((left + right) / 2, half), 1 - half)
    bottom = max(bottom, tall)
    return across - half, bottom - tall, across + half, bottom
