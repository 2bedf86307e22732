"""Hard negatives: each is wrong of the scene that it was made from, in the way that its kind says."""

from __future__ import annotations

import numpy as np
import pytest

from sanakit.worlds.reading.scene_detector import DetectedObject, DetectedScene
from sanakit.worlds.reading.verdict import judge
from sanakit.worlds.scenes.captions import canonical_caption, caption
from sanakit.worlds.scenes.scene import Scene, SceneObject
from sanakit.worlds.scenes.scenes import sample_scene
from sanakit.worlds.scenes.vocabulary import ITEMS, background_clashes
from sanakit.worlds.scenes.wrong_scenes import WRONG_KINDS, WrongKind, placed_again, shown_colour, wrong_scene

NUM = 150


def as_seen(scene: Scene) -> DetectedScene:
    """What a detector without errors reads from the scene's picture."""
    things = [
        DetectedObject(name=o.name, colour=o.colour or ITEMS[o.name].natural, box=o.box, score=1.0)
        for o in scene.objects
    ]
    return DetectedScene(objects=tuple(things), background=scene.background)


def scenes_with(kind: WrongKind) -> list[tuple[Scene, Scene]]:
    pairs = []
    for seed in range(NUM):
        rng = np.random.default_rng((7, seed))
        scene = sample_scene(rng)
        wrong = wrong_scene(scene, kind, rng)
        if wrong is not None:
            pairs.append((scene, wrong))
    return pairs


@pytest.mark.parametrize("kind", WRONG_KINDS)
def test_the_wrong_scene_is_wrong_in_its_way_and_right_in_the_others(kind: WrongKind) -> None:
    pairs = scenes_with(kind)
    assert len(pairs) >= {"position": 20, "count": 70}.get(kind, 100)
    for scene, wrong in pairs:
        answers = judge(wrong, as_seen(scene))
        assert not answers[kind], (kind, scene, wrong)
        also = {"object": {"count", "colour", "position"}, "count": {"object", "colour"}}.get(kind, set())
        others = set(answers) - {kind, "all right"} - also
        assert all(answers[other] for other in others), (kind, canonical_caption(scene), canonical_caption(wrong))
        assert not answers["all right"]


@pytest.mark.parametrize("kind", WRONG_KINDS)
def test_wrong_scenes_can_be_seen_and_told_in_other_words(kind: WrongKind) -> None:
    for scene, wrong in scenes_with(kind):
        assert not any(background_clashes(wrong.background, ITEMS[o.name], o.colour) for o in wrong.objects)
        assert all(0 <= edge <= 1 for thing in wrong.objects for edge in thing.box)
        assert canonical_caption(wrong) != canonical_caption(scene)
        assert caption(wrong, np.random.default_rng(0))


@pytest.mark.parametrize("kind", WRONG_KINDS)
def test_training_never_sees_a_held_out_combination(kind: WrongKind) -> None:
    for seed in range(NUM):
        rng = np.random.default_rng((8, seed))
        wrong = wrong_scene(sample_scene(rng, "train"), kind, rng, allow_heldout=False)
        assert wrong is None or not wrong.heldout_combinations()


def test_no_question_no_wrong_answer() -> None:
    single = Scene(kind="single", objects=(SceneObject(name="pizza", box=(0.2, 0.2, 0.8, 0.8)),), size="small")
    rng = np.random.default_rng(0)
    assert wrong_scene(single, "position", rng) is None
    assert wrong_scene(single, "count", rng) is None  # a size word says "small" of a whole canvas, not of one in four
    assert wrong_scene(single, "colour", rng) is None  # a pizza has no one colour
    assert shown_colour(("pizza", None)) is None
    assert shown_colour(("cat", None)) == "orange"


def test_the_same_generator_gives_the_same_scene() -> None:
    scene = sample_scene(np.random.default_rng(1))
    first, second = (wrong_scene(scene, "background", np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert first is not None


def test_placing_again_keeps_the_words() -> None:
    for seed in range(NUM):
        rng = np.random.default_rng((9, seed))
        scene = sample_scene(rng)
        moved = placed_again(scene, rng)
        assert canonical_caption(moved) == canonical_caption(scene)
        assert judge(scene, as_seen(moved))["all right"]
        assert moved != scene
