"""Composed pictures: where things are, their colours, order, places and frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.compose import compose, truth_maps
from sanakit.worlds.drawing.grounds import look_into
from sanakit.worlds.drawing.looks import look_of
from sanakit.worlds.scenes.description import Camera, Ground, Scene, SceneObject, moving
from sanakit.worlds.scenes.vocabulary import COLOURS

SQUARE = SceneObject(name="square", look="square-flat", box=(0.25, 0.25, 0.75, 0.75))


def single(thing: SceneObject, **words: object) -> Scene:
    return Scene(kind="single", objects=(thing,), **words)  # type: ignore[arg-type]


def is_drawn(picture: np.ndarray) -> np.ndarray:
    """Where it is not white."""
    return (picture != 255).any(-1)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_a_thing_fills_its_box_at_any_size(toy_bank: Bank, size: int) -> None:
    rows, columns = np.nonzero(truth_maps(single(SQUARE), toy_bank, size).whole[0] > 128)
    assert (rows.min(), rows.max()) == (columns.min(), columns.max()) == (size // 4, size * 3 // 4 - 1)
    assert compose(single(SQUARE), toy_bank, size).shape == (size, size, 3)


def test_a_told_colour_is_shown_and_the_natural_one_changes_nothing(toy_bank: Bank) -> None:
    plain = compose(single(SQUARE), toy_bank)
    np.testing.assert_array_equal(plain, compose(single(replace(SQUARE, colour="blue")), toy_bank))
    green = compose(single(replace(SQUARE, colour="green")), toy_bank)
    assert np.abs(green[64, 40].astype(int) - COLOURS["green"]).max() < 30


def test_the_nearer_one_hides_the_farther(toy_bank: Bank) -> None:
    near = replace(SQUARE, colour="red", box=(0.4, 0.4, 0.9, 0.9))
    far = replace(SQUARE, depth=1)
    maps = truth_maps(Scene(kind="pair", objects=(near, far), relation="in front"), toy_bank)
    assert (maps.visible[0] == maps.whole[0]).all()
    hidden = (maps.whole[0] > 0) & (maps.whole[1] > 0)
    assert hidden.any()
    assert maps.visible[1][maps.whole[0] == 255].max() == 0


def test_a_shadow_lies_under_a_thing(toy_bank: Bank) -> None:
    with_shadow = compose(single(replace(SQUARE, shadow=True)), toy_bank)
    changed = (compose(single(SQUARE), toy_bank) != with_shadow).any(-1)
    assert changed.any()
    assert np.nonzero(changed)[0].min() >= 80


def test_grounds(toy_bank: Bank) -> None:
    small = replace(SQUARE, box=(0.45, 0.45, 0.55, 0.55))
    graded = compose(single(small, ground=Ground(kind="graded", name="blue pink")), toy_bank)
    assert graded[0, 0, 2] > graded[0, 0, 0]
    assert graded[-1, 0, 0] > graded[-1, 0, 2]
    place = compose(single(small, ground=Ground(kind="place", name="park"), camera=Camera(down=0)), toy_bank)
    assert place[5, 5, 2] > 200
    assert place[-5, 5, 1] > 100 > place[-5, 5, 2]


def test_a_camera_looks_where_it_is_told(toy_bank: Bank) -> None:
    panorama = np.asarray(toy_bank.panorama(toy_bank.places["park"]))

    def pole(yaw: float) -> float:
        view = look_into(panorama, Camera(yaw=yaw, down=0), 64).astype(int)
        columns = np.nonzero((view[..., 0] - view[..., 1] > 60).any(0))[0]
        return float(columns.mean()) if len(columns) else -1.0

    assert abs(pole(90) - 31.5) < 1.5
    assert pole(75) > 40
    assert pole(105) < 22
    assert pole(-90) == -1
    horizon = [int((look_into(panorama, Camera(down=down), 64)[:, 32, 2] > 150).sum()) for down in (0, 15)]
    assert abs(horizon[0] - 32) <= 1
    assert horizon[1] < 22


def test_frame_k_moves_as_told(toy_bank: Bank) -> None:
    start, end = (0.0, 0.25, 0.25, 0.5), (0.75, 0.25, 1.0, 0.5)
    scene = single(moving(replace(SQUARE, box=start), end, num_frames=7))
    assert scene.num_frames == 7
    lefts = [int(np.nonzero(is_drawn(compose(scene, toy_bank, 64, frame)).any(0))[0].min()) for frame in range(7)]
    assert lefts == [0, 8, 16, 24, 32, 40, 48]
    np.testing.assert_array_equal(compose(scene, toy_bank, 64, 6), compose(scene, toy_bank, 64, 20))


def test_a_camera_moves_as_told(toy_bank: Bank) -> None:
    path = tuple(Camera(yaw=yaw, down=0) for yaw in (75.0, 90.0))
    scene = single(SQUARE, ground=Ground(kind="place", name="park"), camera_path=path)
    frames = [compose(scene, toy_bank, 64, frame) for frame in range(2)]
    assert scene.num_frames == 2
    assert (frames[0] != frames[1]).any()


def test_a_person_may_be_called_like_a_thing(toy_bank: Bank) -> None:
    """As the drawn robots are."""
    name, person = next(iter(toy_bank.things)), toy_bank.people[0]
    robot = SceneObject(name=name, look=person.look.id, box=(0.1, 0.1, 0.9, 0.9))
    assert look_of(robot, toy_bank) == person.look
