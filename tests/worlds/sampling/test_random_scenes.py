"""Random scenes of a bank: kinds, words that are true, held-out pairings, layouts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest

from sanakit.common.errors import ConfigError, RequestError
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.compose import truth_maps
from sanakit.worlds.drawing.looks import look_of
from sanakit.worlds.sampling import random_scenes
from sanakit.worlds.sampling.casting import Wanted, draw_cast, stock_of
from sanakit.worlds.sampling.holdout import belongs_to, heldout_pairings, is_heldout, pairings
from sanakit.worlds.sampling.mixture import KINDS, Mixture
from sanakit.worlds.sampling.random_scenes import sample_scene
from sanakit.worlds.scenes.description import (
    RELATIONS,
    Ground,
    Scene,
    SceneObject,
    overlap,
    relation_holds,
    scene_from_json,
)
from sanakit.worlds.world_scenes import WorldScenes

NUM = 1200


@pytest.fixture(scope="module")
def scenes(toy_bank: Bank) -> list[Scene]:
    world = WorldScenes(toy_bank, "train", seed=3)
    return [world.truth(index)[0] for index in range(NUM)]


def test_samples_depend_on_seed_split_and_index_alone(toy_bank: Bank) -> None:
    first, again = (WorldScenes(toy_bank, "train", seed=5, size=32).sample(7) for _ in range(2))
    assert first.caption == again.caption
    assert first.scene == again.scene
    np.testing.assert_array_equal(first.image, again.image)
    others = [
        WorldScenes(toy_bank, "train", seed=6, size=32).sample(7),
        WorldScenes(toy_bank, "heldout", seed=5, size=32).sample(7),
        WorldScenes(toy_bank, "train", seed=5, size=32).sample(8),
    ]
    assert all(other.scene != first.scene for other in others)


@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_so_many_scenes_hold_one_thing_alone(toy_bank: Bank, share: float) -> None:
    world = WorldScenes(toy_bank, "train", seed=3, mixture=Mixture(kinds={"single": share}))
    kinds = Counter(world.truth(index)[0].kind for index in range(400))
    assert abs(kinds["single"] / 400 - share) < 0.06
    if 0 < share < 1:  # the others share the rest as ever: 36 relations and 5 pairs to 18 counts
        assert 1.3 < kinds["pair"] / kinds["count"] < 4


def test_so_many_pairs_have_a_relation(toy_bank: Bank) -> None:
    mixture = Mixture(kinds={"relation": 0.9}, relations={"left": 0.5, "right": 0.3, "on": 0.0})
    world = WorldScenes(toy_bank, "train", seed=3, mixture=mixture)
    relations = Counter(world.truth(index)[0].relation for index in range(400))
    assert abs(relations[None] / 400 - 0.1) < 0.05
    assert abs(relations["left"] / 400 - 0.45) < 0.08
    assert abs(relations["right"] / 400 - 0.27) < 0.08
    assert relations["on"] == 0
    assert relations["above"] > 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kinds": {"double": 0.5}}, "mixture.kinds has no 'double'; there are single, count"),
        ({"relations": {"left": 0.7, "right": 0.7}}, "add up to 1 or less, not 1.4"),
        ({"kinds": {"single": -0.1}}, "must be from 0 to 1"),
        ({"kinds": dict.fromkeys(KINDS, 0.0)}, "leaves nothing to draw"),
    ],
)
def test_a_mixture_that_cannot_be_is_told(given: dict[str, Mapping[str, float]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Mixture(**given)


@pytest.mark.parametrize("kinds", [{"relation": 0.5}, {"single": 0.0, "count": 0.0, "person": 0.0}])
def test_a_mixture_that_the_bank_cannot_give_is_told(toy_bank: Bank, kinds: Mapping[str, float]) -> None:
    """Of two things there are no pairs that differ enough, and of no people no scenes."""
    small = toy_bank.subset([*toy_bank.things][:2])
    small.people = ()
    with pytest.raises(RequestError, match=r"what the bank 'toy' cannot give, .* single, count; give"):
        WorldScenes(small, "train", seed=0, mixture=Mixture(kinds=kinds)).truth(0)
    assert WorldScenes(small, "train", seed=0, mixture=Mixture(kinds={"relation": 0.0})).truth(0)


def test_a_bank_without_things_is_told(toy_bank: Bank) -> None:
    with pytest.raises(RequestError, match="the bank 'toy' has no things"):
        WorldScenes(toy_bank.subset([]), "train", seed=0).sample(0)


def test_a_bank_that_gives_no_such_scene_is_told(toy_bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_scenes, "_NUM_TRIES", 20)
    monkeypatch.setattr(random_scenes, "belongs_to", lambda scene, split: False)
    with pytest.raises(RequestError, match=r"is too small: it gives no scene of kind .* and split 'heldout'"):
        WorldScenes(toy_bank.subset(["square"]), "heldout", seed=0).sample(0)


def test_a_thing_that_no_ground_fits_is_given_up(toy_bank: Bank) -> None:
    stock = stock_of(toy_bank.subset(["penguin"]))
    wanted = Wanted(ground=Ground(), style="flat", told=True)
    assert draw_cast(["penguin"], wanted, stock, np.random.default_rng(0)) is None


def test_an_unknown_split_is_told(toy_bank: Bank) -> None:
    with pytest.raises(ConfigError, match="train"):
        WorldScenes(toy_bank, "test", seed=0)  # type: ignore[arg-type]


def test_kinds_come_as_often_as_they_should(scenes: list[Scene]) -> None:
    kinds = Counter("relation" if scene.relation else scene.kind for scene in scenes)
    for kind, share in KINDS.items():
        assert abs(kinds[kind] / NUM - share) < 0.06, kind
    assert {scene.relation for scene in scenes} == {None, *RELATIONS}
    assert {scene.ground.kind for scene in scenes} == {"plain", "graded", "drawn", "place"}
    assert {scene.view for scene in scenes} == {None, "front", "side", "behind", "above"}
    assert {scene.style for scene in scenes} == {None, "rendered", "3d", "flat"}


def test_scenes_do_what_their_words_say(scenes: list[Scene], toy_bank: Bank) -> None:
    for scene in scenes:
        if scene.relation:
            assert relation_holds(scene.relation, *scene.objects), scene
        looks = [look_of(thing, toy_bank) for thing in scene.objects]
        assert all(scene.style in (None, look.style) for look in looks)
        if scene.view == "above":
            assert looks[0].views[scene.objects[0].view].pitch > 45
        if scene.view == "behind":
            assert looks[0].views[scene.objects[0].view].yaw == 180
        for thing in scene.objects:
            assert min(thing.box) >= 0
            assert max(thing.box) <= 1


def test_things_overlap_only_where_they_should(scenes: list[Scene]) -> None:
    for scene in scenes:
        if scene.relation in ("in front", "behind", "on"):
            continue
        boxes = [thing.box for thing in scene.objects]
        assert all(overlap(a, b) == 0 for i, a in enumerate(boxes) for b in boxes[:i]), scene


def test_most_of_what_is_behind_can_be_seen(scenes: list[Scene], toy_bank: Bank) -> None:
    shares = []
    for scene in [scene for scene in scenes if scene.relation in ("in front", "behind")][:60]:
        maps = truth_maps(scene, toy_bank, 64)
        hinder = 1 if scene.relation == "in front" else 0
        shares.append(maps.visible[hinder].sum(dtype=float) / maps.whole[hinder].sum(dtype=float))
    assert min(shares) >= 0.55
    assert np.median(shares) < 0.95
    assert np.mean(np.array(shares) > 0.995) < 0.1


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_splits_hold_their_own_pairings(toy_bank: Bank, split: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(150):
        scene = sample_scene(rng, toy_bank, split)  # type: ignore[arg-type]
        assert bool(heldout_pairings(scene)) == (split == "heldout")
        assert belongs_to(scene, split)  # type: ignore[arg-type]


def test_pairings_cover_places_and_views(scenes: list[Scene]) -> None:
    keys = {key.split("|", 1)[1].split()[0] for scene in scenes for key in pairings(scene)}
    assert {"place", "view", "red", "3", "blue"} <= keys


def test_a_graded_ground_holds_the_pairings_of_both_colours(scenes: list[Scene]) -> None:
    dog = SceneObject(name="dog", look="dog-3d", box=(0.3, 0.3, 0.7, 0.7))
    for name, keys in {
        "red blue": ("dog|blue background", "dog|red background"),
        "white green": ("dog|green background",),
    }.items():
        assert pairings(Scene(kind="single", objects=(dog,), ground=Ground(kind="graded", name=name))) == keys
    graded = [scene for scene in scenes if scene.ground.kind == "graded"]
    assert len(graded) > 30
    for scene in graded:
        words = [f"{thing.name}|{word} background" for thing in scene.objects for word in scene.ground.name.split()]
        assert not any(is_heldout(key) for key in words if "white" not in key)


def test_a_scene_survives_json(scenes: list[Scene]) -> None:
    for scene in scenes[:50]:
        assert scene_from_json(json.loads(json.dumps(scene.to_json()))) == scene


def test_a_bank_without_places_or_people_does(toy_bank: Bank) -> None:
    few = toy_bank.subset(["dog", "cat", "apple", "lemon", "car"])
    few.places, few.people = {}, ()
    rng = np.random.default_rng(0)
    drawn = [sample_scene(rng, few) for _ in range(100)]
    assert all(scene.ground.kind != "place" and scene.kind != "person" for scene in drawn)
