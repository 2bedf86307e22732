"""Boxes, sides, paths and cameras of scenes, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sanakit.worlds.drawing.compose import pixel_box
from sanakit.worlds.scenes.description import (
    Box,
    Camera,
    Relation,
    Scene,
    SceneObject,
    centre,
    moving,
    overlap,
    relation_holds,
    scene_from_json,
)


def at(left: float, top: float, right: float, bottom: float, depth: int = 0) -> SceneObject:
    return SceneObject(name="dog", look="dog", box=(left, top, right, bottom), depth=depth)


@pytest.mark.parametrize(
    ("relation", "first", "second", "holds"),
    [
        ("left", at(0.1, 0, 0.2, 1), at(0.25, 0, 0.35, 1), True),  # centres 0.15 apart
        ("left", at(0.0, 0, 0.5, 1), at(0.125, 0, 0.5625, 1), False),  # 0.09375: neither left nor right
        ("left", at(0.25, 0, 0.35, 1), at(0.1, 0, 0.2, 1), False),
        ("right", at(0.25, 0, 0.35, 1), at(0.1, 0, 0.2, 1), True),
        ("right", at(0.1, 0, 0.2, 1), at(0.25, 0, 0.35, 1), False),
        ("above", at(0, 0.1, 1, 0.2), at(0, 0.25, 1, 0.35), True),
        ("above", at(0.1, 0, 0.2, 1), at(0.25, 0, 0.35, 1), False),
        ("below", at(0, 0.25, 1, 0.35), at(0, 0.1, 1, 0.2), True),
        ("below", at(0, 0.1, 1, 0.2), at(0, 0.25, 1, 0.35), False),
        ("in front", at(0.2, 0.2, 0.5, 0.5), at(0.4, 0.4, 0.8, 0.8, depth=1), True),
        ("in front", at(0.2, 0.2, 0.5, 0.5, depth=1), at(0.4, 0.4, 0.8, 0.8), False),
        ("in front", at(0.2, 0.2, 0.5, 0.5), at(0.4, 0.4, 0.8, 0.8), False),  # of one depth
        ("in front", at(0.2, 0.2, 0.4, 0.5), at(0.4, 0.4, 0.8, 0.8, depth=1), False),  # beside it
        ("behind", at(0.4, 0.4, 0.8, 0.8, depth=1), at(0.2, 0.2, 0.5, 0.5), True),
        ("behind", at(0.2, 0.2, 0.5, 0.5), at(0.4, 0.4, 0.8, 0.8, depth=1), False),
        ("on", at(0.4, 0.1, 0.6, 0.5), at(0.2, 0.5, 0.8, 0.9), True),
        ("on", at(0.4, 0.1, 0.6, 0.68), at(0.2, 0.5, 0.8, 0.9), True),  # 0.45 of its height into it
        ("on", at(0.4, 0.1, 0.6, 0.72), at(0.2, 0.5, 0.8, 0.9), False),  # 0.55
        ("on", at(0.4, 0.1, 0.6, 0.28), at(0.2, 0.5, 0.8, 0.9), False),  # as much above it
        ("on", at(0.1, 0.1, 0.28, 0.5), at(0.2, 0.5, 0.8, 0.9), False),  # its centre is beside it
        ("on", at(0.8, 0.1, 0.9, 0.5), at(0.2, 0.5, 0.8, 0.9), False),
    ],
)
def test_relations(relation: Relation, first: SceneObject, second: SceneObject, holds: bool) -> None:
    assert relation_holds(relation, first, second) == holds


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        ((0.0, 0.0, 0.5, 0.5), (0.25, 0.125, 1.0, 1.0), 0.25 * 0.375),
        ((0.25, 0.125, 1.0, 1.0), (0.0, 0.0, 0.5, 0.5), 0.25 * 0.375),
        ((0.0, 0.0, 1.0, 1.0), (0.25, 0.25, 0.5, 0.75), 0.125),
        ((0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 0.5), 0.0),
        ((0.0, 0.0, 0.25, 0.25), (0.5, 0.5, 1.0, 1.0), 0.0),  # apart both ways
        ((0.0, 0.0, 1.0, 0.25), (0.0, 0.5, 1.0, 1.0), 0.0),
    ],
)
def test_overlaps(first: Box, second: Box, common: float) -> None:
    assert overlap(first, second) == pytest.approx(common, abs=1e-12)
    assert centre(first) == ((first[0] + first[2]) / 2, (first[1] + first[3]) / 2)


def test_a_path_goes_in_equal_steps_and_ends_where_it_ends() -> None:
    thing = replace(at(0.0, 0.2, 0.2, 0.4), view=3)
    moved = moving(thing, (0.4, 0.6, 0.8, 1.0), 3)
    boxes = [moved.at(frame).box for frame in range(5)]
    assert boxes[0] == pytest.approx((0.0, 0.2, 0.2, 0.4))
    assert boxes[1] == pytest.approx((0.2, 0.4, 0.5, 0.7))
    assert boxes[2] == boxes[3] == boxes[4] == pytest.approx((0.4, 0.6, 0.8, 1.0))
    assert {moved.at(frame).view for frame in range(5)} == {3}
    assert [pose.box for pose in moving(thing, (0.4, 0.6, 0.8, 1.0), 1).path or ()] == [thing.box]
    assert (thing.at(7).box, thing.at(7).view) == (thing.box, 3)


def test_frames_cameras_and_order_of_a_scene() -> None:
    still = Scene(kind="trio", objects=(at(0, 0, 1, 1, depth=1), at(0, 0, 1, 1), at(0, 0, 1, 1, depth=2)))
    assert (still.count, still.num_frames, list(still.farthest_first())) == (3, 1, [2, 0, 1])
    assert still.camera_at(5) == Camera(yaw=0.0, down=15.0, view_angle=70.0)
    cameras = (Camera(yaw=1), Camera(yaw=2), Camera(yaw=3))
    thing = moving(at(0, 0, 1, 1), (0, 0, 1, 1), 2)
    moved = Scene(kind="single", objects=(thing,), camera_path=cameras)
    assert [moved.camera_at(frame).yaw for frame in (0, 1, 2, 3)] == [1, 2, 3, 3]
    assert moved.num_frames == 3
    assert replace(moved, camera_path=cameras[:1]).num_frames == 2
    read = scene_from_json(moved.to_json())
    assert read == moved
    assert isinstance(read.objects[0].box, tuple)
    told = replace(still, objects=(replace(still.objects[0], parts=(("hair", "red"),)),))
    assert scene_from_json(told.to_json()) == told


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((0.25, 0.5, 0.75, 1.0), (32, 64, 96, 128)),
        ((0.5, 0.5, 0.5, 0.5), (64, 64, 65, 65)),
        ((0.1, 0.2, 0.11, 0.21), (13, 26, 14, 27)),
        ((-0.1, 0.0, 0.301, 0.299), (-13, 0, 39, 38)),
    ],
)
def test_boxes_in_whole_pixels(box: Box, pixels: tuple[int, int, int, int]) -> None:
    assert pixel_box(box, 128) == pixels
