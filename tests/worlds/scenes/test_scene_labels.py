"""The table of right and wrong captions against the judge, pair by pair."""

from __future__ import annotations

import numpy as np
import torch

from sanakit.training.recipes.dual_encoder.scene_families import FAMILY_SIZE, scene_family
from sanakit.worlds.reading.scene_detector import DetectedObject, DetectedScene
from sanakit.worlds.reading.verdict import judge
from sanakit.worlds.scenes.scene import Scene
from sanakit.worlds.scenes.scene_labels import scene_codes, scene_labels
from sanakit.worlds.scenes.scenes import sample_scene
from sanakit.worlds.scenes.vocabulary import ITEMS
from sanakit.worlds.scenes.wrong_scenes import placed_again


def as_seen(scene: Scene) -> DetectedScene:
    things = [
        DetectedObject(name=o.name, colour=o.colour or ITEMS[o.name].natural, box=o.box, score=1.0)
        for o in scene.objects
    ]
    return DetectedScene(objects=tuple(things), background=scene.background)


def words(scene: Scene) -> tuple[object, ...]:
    """What a scene's caption says, however it is worded."""
    inverse = {"left": "right", "right": "left", "above": "below", "below": "above", None: None}
    looks = [(o.name, o.colour) for o in scene.objects]
    relation = scene.relation
    if looks != sorted(looks, key=lambda look: look[0]):
        looks, relation = looks[::-1], inverse[relation]
    return tuple(looks), relation, scene.background, scene.size


def test_labels_are_the_judges_answers() -> None:
    rng = np.random.default_rng(0)
    scenes = [scene for _ in range(40) for scene in scene_family(rng)]
    labels = scene_labels(scene_codes(scenes), scene_codes(scenes))
    counts = {1: 0, 0: 0, -1: 0}
    for i, shown in enumerate(scenes):
        for j, asked in enumerate(scenes):
            right = judge(asked, as_seen(shown))["all right"] and (asked.size is None or asked.size == shown.size)
            expected = 1 if words(asked) == words(shown) else 0 if right else -1
            assert labels[i, j] == expected, (shown, asked)
            counts[expected] += 1
    assert counts[1] >= len(scenes)
    assert counts[0] > 10  # captions that say less are there at all


def test_a_caption_is_right_of_its_scene_placed_again() -> None:
    rng = np.random.default_rng(1)
    scenes = [sample_scene(rng) for _ in range(60)]
    again = [placed_again(scene, rng) for scene in scenes]
    assert (scene_labels(scene_codes(again), scene_codes(scenes)).diagonal() == 1).all()


def test_families_hold_their_own_hard_negatives() -> None:
    rng = np.random.default_rng(2)
    for _ in range(30):
        family = scene_family(rng)
        assert len(family) == FAMILY_SIZE
        assert not any(scene.heldout_combinations() for scene in family)
        labels = scene_labels(scene_codes(family), scene_codes(family))
        assert (labels[0, 1:] == -1).all()  # every other caption is wrong of the first picture
        assert torch.equal(labels.diagonal(), torch.ones(FAMILY_SIZE, dtype=torch.int8))
