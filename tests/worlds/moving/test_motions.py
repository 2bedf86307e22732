from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.drawing.compose import compose, truth_maps
from sanakit.worlds.moving.motions import motions_of, sample_moving_scene
from sanakit.worlds.moving.paths import set_in_motion
from sanakit.worlds.sampling.holdout import heldout_pairings
from sanakit.worlds.sampling.mixture import Mixture
from sanakit.worlds.scenes.description import MOTIONS, Motion, MotionKind, Scene, SpeedWord, centre, scene_from_json
from sanakit.worlds.telling.captions import canonical_caption, caption
from sanakit.worlds.telling.motions import MOTION_WORDINGS, SPEED_WORDS

FRAMES, FPS = 17, 8.0


@pytest.fixture(scope="module")
def bank() -> Bank:
    return load_bank("tiny")


def moving(bank: Bank, seed: int, kind: MotionKind, speed: SpeedWord | None = None) -> Scene:
    """One thing that can do it, in motion."""
    for number in range(seed * 1000, seed * 1000 + 1000):
        rng = np.random.default_rng(number)
        scene = sample_moving_scene(rng, bank, mixture=Mixture(kinds={"single": 1.0}))
        thing = scene.objects[0]
        if scene.size is None and scene.view is None and kind in motions_of(thing, bank):
            told = replace(scene, objects=(replace(thing, motion=Motion(kind=kind, speed=speed)),))
            return set_in_motion(told, rng, bank, num_frames=FRAMES, fps=FPS)
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", MOTIONS)
@pytest.mark.parametrize("seed", range(4))
def test_a_path_does_what_its_word_says_and_stays_in_the_frame(bank: Bank, kind: MotionKind, seed: int) -> None:
    thing = moving(bank, seed, kind).objects[0]
    poses = [thing.at(frame) for frame in range(FRAMES)]
    boxes = np.array([pose.box for pose in poses])
    assert boxes.min() > -1e-6
    assert boxes.max() < 1 + 1e-6
    x, y = np.array([centre(pose.box) for pose in poses]).T
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    seen = [pose.seen for pose in poses]
    match kind:
        case "left" | "right":
            far = (x[-1] - x[0]) * (1 if kind == "right" else -1)
            assert 0.1 < far < 0.56
            assert np.ptp(y) < 0.1  # a clip of poses changes its height a little
        case "up" | "down":
            assert 0.1 < (y[-1] - y[0]) * (1 if kind == "down" else -1) < 0.56
        case "towards" | "away":
            grown = areas[-1] / areas[0] if kind == "towards" else areas[0] / areas[-1]
            assert 1.8**2 * 0.8 < grown < 2.4**2 * 1.25
        case "turning":
            assert len({pose.view for pose in poses}) >= 3
        case "bouncing":
            turns = np.sum(np.diff(np.sign(np.diff(y))) != 0)
            assert turns >= 2
        case "appearing":
            first = seen.index(True)
            assert 4 <= first <= 11
            assert all(seen[first:])
    assert kind == "appearing" or all(seen)


def test_speed_words_order_how_far_a_thing_goes(bank: Bank) -> None:
    far = {}
    for speed in ("slow", None, "quick"):
        scenes = [moving(bank, seed, "left", speed).objects[0] for seed in range(5)]
        far[speed] = [centre(thing.at(0).box)[0] - centre(thing.at(FRAMES - 1).box)[0] for thing in scenes]
    assert max(far["slow"]) < min(far[None]) <= max(far[None]) < min(far["quick"])


def test_training_never_has_a_held_out_motion_and_captions_name_what_moves(bank: Bank) -> None:
    kinds, still = set(), 0
    for number in range(400):
        rng = np.random.default_rng((1, number))
        scene = sample_moving_scene(rng, bank)
        assert not [key for key in heldout_pairings(scene) if "|moving " in key]
        motions = [thing.motion for thing in scene.objects if thing.motion is not None]
        still += not motions
        text, plain = caption(scene, rng, bank).lower(), canonical_caption(scene, bank)
        for motion in motions:
            kinds.add(motion.kind)
            assert any(wording in text for wording in MOTION_WORDINGS[motion.kind])
            assert MOTION_WORDINGS[motion.kind][0] in plain
            if motion.speed:
                assert f"{SPEED_WORDS[motion.speed][0]} {MOTION_WORDINGS[motion.kind][0]}" in plain
        if len(motions) == 2 and scene.kind == "pair":
            assert scene.relation is None
    assert kinds == set(MOTIONS)
    assert 120 < still < 260


def test_what_is_not_there_yet_is_not_painted(bank: Bank) -> None:
    scene = moving(bank, 0, "appearing")
    assert truth_maps(scene, bank, 48, frame=0).visible.max() == 0
    assert truth_maps(scene, bank, 48, frame=FRAMES - 1).visible.max() > 200
    assert not np.array_equal(compose(scene, bank, 48, 0), compose(scene, bank, 48, FRAMES - 1))


def test_truths_are_written_and_read_and_those_of_stills_are_as_before(bank: Bank) -> None:
    scene = moving(bank, 1, "appearing")
    assert scene_from_json(json.loads(json.dumps(scene.to_json()))) == scene
    still = replace(scene, objects=tuple(replace(thing, motion=None, path=None) for thing in scene.objects))
    assert "motion" not in json.dumps(still.to_json())
    assert scene_from_json(json.loads(json.dumps(still.to_json()))) == still


def test_the_same_seed_gives_the_same_clip(bank: Bank) -> None:
    first, second = (moving(bank, 2, "bouncing") for _ in range(2))
    assert first == second
