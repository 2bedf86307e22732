"""Scenes: reproducible from (seed, split, index), nothing held out in training, nothing overlapping or invisible."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from sanakit.common.errors import ConfigError
from sanakit.worlds.scenes.scene import Scene, scene_from_json
from sanakit.worlds.scenes.scenes import MIXTURE, StarterScenes
from sanakit.worlds.scenes.sprites import load_sprite_bank
from sanakit.worlds.scenes.vocabulary import DEFAULT_BACKGROUND, ITEMS, SCENE_BACKGROUNDS

NUM_SCENES = 1500


@pytest.fixture(scope="module")
def train_scenes() -> list[Scene]:
    data = StarterScenes(load_sprite_bank(), "train", seed=0)
    return [data.truth(index)[0] for index in range(NUM_SCENES)]


def heldout_by_definition(pairing: str) -> bool:
    return int.from_bytes(hashlib.sha256(pairing.encode()).digest()[:8], "big") / 2**64 < 0.10


def pairings_by_definition(scene: Scene) -> set[str]:
    names = [thing.name for thing in scene.objects]
    found = {f"{thing.name}|{thing.colour}" for thing in scene.objects if thing.colour}
    if scene.background != "white":
        found |= {f"{name}|{scene.background} background" for name in names}
    if scene.kind == "count":
        found.add(f"{names[0]}|{len(names)}")
    if scene.kind == "pair":
        found.add("|".join(sorted(names)))
    return found


def test_a_sample_depends_on_seed_split_and_index_only() -> None:
    bank = load_sprite_bank()
    one, other = StarterScenes(bank, "train", seed=3), StarterScenes(bank, "train", seed=3)
    other.sample(99)  # what was asked for before must not matter
    image, text, scene = one.sample(7)
    again = other.sample(7)
    assert np.array_equal(image, again.image)
    assert (text, scene) == (again.caption, again.scene)
    assert one.truth(7) == (scene, text)
    assert StarterScenes(bank, "train", seed=4).truth(7) != (scene, text)
    assert one.truth(8) != (scene, text)


def test_a_known_sample_stays_the_same_on_every_machine() -> None:
    scene, text = StarterScenes(load_sprite_bank(), "train", seed=0).truth(0)
    assert [(thing.name, thing.colour) for thing in scene.objects] == [("strawberry", "orange"), ("flower", None)]
    assert (scene.relation, scene.background) == ("above", "brown")
    assert scene.objects[0].box == pytest.approx((0.42735, 0.05316, 0.71187, 0.45332), abs=1e-5)
    assert text == "A drawing of a flower beneath an orange strawberry with a brown background"


def test_training_never_shows_a_heldout_combination(train_scenes: list[Scene]) -> None:
    seen = set().union(*(pairings_by_definition(scene) for scene in train_scenes))
    assert len(seen) > 1000
    assert not [pairing for pairing in seen if heldout_by_definition(pairing)]


def test_the_heldout_split_always_shows_one() -> None:
    data = StarterScenes(load_sprite_bank(), "heldout", seed=0)
    for index in range(300):
        assert any(map(heldout_by_definition, pairings_by_definition(data.truth(index)[0])))


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="'test'"):
        StarterScenes(load_sprite_bank(), "test", seed=0)  # type: ignore[arg-type]


def test_objects_neither_overlap_nor_leave_the_canvas(train_scenes: list[Scene]) -> None:
    for scene in train_scenes:
        for left, top, right, bottom in (thing.box for thing in scene.objects):
            assert 0.0 <= left < right <= 1.0
            assert 0.0 <= top < bottom <= 1.0
        for a, b in combinations((thing.box for thing in scene.objects), 2):
            gap = max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])
            assert gap > 0.005, scene


def test_relations_hold_between_the_boxes(train_scenes: list[Scene]) -> None:
    for scene in (scene for scene in train_scenes if scene.relation):
        first, second = (thing.box for thing in scene.objects)
        holds = {
            "left": first[2] < second[0],
            "right": first[0] > second[2],
            "above": first[3] < second[1],
            "below": first[1] > second[3],
        }
        assert [relation for relation, true in holds.items() if true] == [scene.relation]


def test_no_object_has_the_colour_of_its_background(train_scenes: list[Scene]) -> None:
    for scene in train_scenes:
        for thing in scene.objects:
            shown = thing.colour or ITEMS[thing.name].natural
            assert shown != scene.background
            assert shown not in SCENE_BACKGROUNDS.get(scene.background, ())


def test_the_mixture_is_the_one_in_the_table(train_scenes: list[Scene]) -> None:
    drawn = Counter("relation" if scene.relation else scene.kind for scene in train_scenes)
    for kind, share in MIXTURE.items():
        assert drawn[kind] / NUM_SCENES == pytest.approx(share, abs=0.05)  # 4 sigma of 1500 draws
    coloured = [thing.colour is not None for scene in train_scenes for thing in scene.objects]
    assert 0.35 < np.mean(coloured) < 0.55
    assert 0.30 < np.mean([scene.background != DEFAULT_BACKGROUND for scene in train_scenes]) < 0.50
    assert {thing.name for scene in train_scenes for thing in scene.objects} == set(ITEMS)


def test_a_scene_survives_json(train_scenes: list[Scene]) -> None:
    assert all(scene_from_json(scene.to_json()) == scene for scene in train_scenes[:50])
