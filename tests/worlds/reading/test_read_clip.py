"""Reading clips: of the truth of every frame each motion is read as it is, and what is wrong does not pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.moving.motions import motions_of
from sanakit.worlds.moving.paths import set_in_motion
from sanakit.worlds.reading.judge_clip import judge_clip
from sanakit.worlds.reading.read_clip import ReadClip, joined
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene
from sanakit.worlds.reading.tracks import follow
from sanakit.worlds.sampling.random_scenes import sample_scene
from sanakit.worlds.scenes.description import MOTIONS, Motion, MotionKind, Scene, SpeedWord
from sanakit.worlds.telling.wrong_captions import wrong_motions

FRAMES, FPS = 17, 8.0


def scene_of(bank: Bank, seed: int, motion: Motion | None, kind: str = "single") -> Scene:
    """The first of that kind whose things can do it, laid out."""
    for number in range(seed * 1000, seed * 1000 + 1000):
        rng = np.random.default_rng(number)
        scene = sample_scene(rng, bank)
        can = motion is None or all(motion.kind in motions_of(thing, bank) for thing in scene.objects)
        if scene.kind == kind and can and scene.view is None and scene.size is None:
            objects = tuple(replace(thing, motion=motion) for thing in scene.objects)
            told = replace(scene, objects=objects, relation=None)
            return set_in_motion(told, rng, bank, num_frames=FRAMES, fps=FPS)
    raise AssertionError(motion)


def true_reads(scene: Scene, seed: int = 0, trembling: float = 0.004) -> list[ReadScene]:
    """What a good reader sees in every frame: boxes that are a little off, and now and then another name or nothing."""
    rng, reads = np.random.default_rng(seed), []
    for frame in range(FRAMES):
        objects = []
        for thing in scene.objects:
            pose, luck = thing.at(frame), rng.random()
            if pose.seen and luck > 0.05:
                box = np.array(pose.box) + rng.normal(0, trembling, 4)
                name = None if luck < 0.1 else thing.name
                objects.append(ReadObject(name=name, colour=thing.colour, box=tuple(box.tolist()), score=0.9))
        place = scene.ground.kind == "place"
        ground = {"place" if place else "ground": scene.ground.name}
        reads.append(ReadScene(objects=tuple(objects), **ground))
    return reads


def read(scene: Scene, bank: Bank, seed: int = 0) -> ReadClip:
    frames = np.stack([compose(scene, bank, 48, frame) for frame in range(FRAMES)])
    return joined(true_reads(scene, seed), frames, FPS)


@pytest.mark.parametrize("kind", MOTIONS)
def test_each_motion_is_read_and_another_does_not_pass(toy_bank: Bank, kind: MotionKind) -> None:
    for seed in range(3):
        scene = scene_of(toy_bank, seed, Motion(kind=kind))
        seen = read(scene, toy_bank, seed)
        verdict = judge_clip(scene, seen)
        assert verdict.all_right, (seen.things, seed)
        assert not judge_clip(wrong_motions(scene)["motion"], seen).motion


@pytest.mark.parametrize("speed", ["slow", "quick"])
@pytest.mark.parametrize("kind", ["left", "up", "towards", "bouncing"])
def test_how_quickly_is_read(toy_bank: Bank, kind: MotionKind, speed: SpeedWord) -> None:
    scene = scene_of(toy_bank, 1, Motion(kind=kind, speed=speed))
    seen = read(scene, toy_bank)
    assert judge_clip(scene, seen).speed
    assert judge_clip(wrong_motions(scene)["speed"], seen).speed is False


def test_what_stands_still_does_not_pass_as_moving_nor_the_other_way_round(toy_bank: Bank) -> None:
    still, left = scene_of(toy_bank, 2, None), scene_of(toy_bank, 2, Motion(kind="left"))
    seen = read(still, toy_bank)
    assert [thing.motion for thing in seen.things] == [None]
    assert judge_clip(still, seen).all_right
    assert not judge_clip(left, seen).motion
    assert not judge_clip(still, read(left, toy_bank)).motion
    frames = np.stack([compose(left, toy_bank, 48, frame) for frame in range(FRAMES)])
    assert not judge_clip(left, joined(true_reads(left)[::-1], frames[::-1], FPS)).motion


def test_things_alike_are_counted_once_each_and_pairs_keep_apart(toy_bank: Bank) -> None:
    alike = scene_of(toy_bank, 3, Motion(kind="right"), "count")
    assert judge_clip(alike, read(alike, toy_bank)).still.count
    assert len(follow(true_reads(alike, trembling=0))) == alike.count
    pair = scene_of(toy_bank, 4, None, "pair")
    objects = (replace(pair.objects[0], motion=Motion(kind="up", speed="quick")), pair.objects[1])
    pair = replace(pair, objects=objects)
    pair = set_in_motion(pair, np.random.default_rng(0), toy_bank, num_frames=FRAMES, fps=FPS)
    verdict = judge_clip(pair, read(pair, toy_bank))
    assert verdict.answers()["motion"]
    assert verdict.speed


def test_a_clip_of_nothing_has_no_motion(toy_bank: Bank) -> None:
    scene, blank = scene_of(toy_bank, 5, Motion(kind="up")), np.zeros((FRAMES, 8, 8, 3), np.uint8)
    verdict = judge_clip(scene, joined([ReadScene(objects=())] * FRAMES, blank, FPS))
    assert not verdict.motion
    assert verdict.speed is None
    assert not verdict.still.things
    one = joined(true_reads(scene)[:1], blank[:1], FPS)
    assert [thing.motion for thing in one.things] == [None]
    assert one.seconds == 0


def test_a_speck_in_the_corner_stands_still() -> None:
    speck = ReadScene(objects=(ReadObject(name="dog", colour=None, box=(0.998, 0.999, 1.001, 1.002), score=0.4),))
    read = joined([speck] * FRAMES, np.zeros((FRAMES, 8, 12, 3), np.uint8), FPS)
    assert [(thing.name, thing.motion) for thing in read.things] == [("dog", None)]
