"""Whether the words of one scene are true of another's picture, and scenes that are wrong in one word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.sampling.holdout import heldout_pairings
from sanakit.worlds.sampling.random_scenes import sample_scene
from sanakit.worlds.sampling.staging import staged
from sanakit.worlds.scenes.description import OPPOSITES, Ground, Scene, SceneObject, relation_holds
from sanakit.worlds.telling.captions import canonical_caption
from sanakit.worlds.telling.truth import name_table, truth
from sanakit.worlds.telling.wrong_captions import WRONG_WORDS, WrongWord
from sanakit.worlds.telling.wrong_scenes import wrong_scene

NUM = 250


def scenes(bank: Bank) -> list[Scene]:
    return [sample_scene(np.random.default_rng((3, index)), bank) for index in range(NUM)]


def dog(**changes: object) -> Scene:
    thing = SceneObject(name="dog", look="dog-3d", box=(0.2, 0.2, 0.8, 0.8), **changes)  # type: ignore[arg-type]
    return Scene(kind="single", objects=(thing,))


def test_staged_scenes_have_the_same_words_and_can_be_seen(toy_bank: Bank) -> None:
    rng, again = np.random.default_rng(0), 0
    for scene in scenes(toy_bank):
        other = staged(scene, rng, toy_bank)
        if other is None:
            continue
        again += 1
        assert truth(other, scene, toy_bank) == truth(scene, other, toy_bank) == 1
        assert canonical_caption(other, toy_bank) == canonical_caption(scene, toy_bank)
        assert all(-0.001 <= edge <= 1.001 for thing in other.objects for edge in thing.box)
        if scene.relation:
            assert relation_holds(scene.relation, *other.objects)
    assert again > 0.9 * NUM


@pytest.mark.parametrize("kind", WRONG_WORDS)
def test_wrong_scenes_are_wrong_and_told_otherwise(kind: WrongWord, toy_bank: Bank) -> None:
    found = 0
    for index, scene in enumerate(scenes(toy_bank)):
        wrong = wrong_scene(scene, np.random.default_rng(index), kind, toy_bank, split="train")
        if wrong is None:
            continue
        found += 1
        assert truth(wrong, scene, toy_bank) == -1
        assert not heldout_pairings(wrong)
        assert canonical_caption(wrong, toy_bank) != canonical_caption(scene, toy_bank)
        same = {"thing": wrong.relation == scene.relation, "count": wrong.count != scene.count}
        assert same.get(kind, wrong.count == scene.count)
    assert found >= {"thing": 150, "ground": 100}.get(kind, 5)


def test_captions_that_say_less_are_not_wrong(toy_bank: Bank) -> None:
    plain, red = dog(), dog(colour="red")
    assert truth(plain, red, toy_bank) == 0
    assert truth(red, plain, toy_bank) == -1  # the dog is brown by itself
    assert truth(dog(colour="brown"), plain, toy_bank) == 0
    on_blue = replace(plain, ground=Ground(name="blue"))
    assert truth(plain, on_blue, toy_bank) == 0
    assert truth(on_blue, plain, toy_bank) == -1
    faded = replace(plain, ground=Ground(kind="graded", name="blue green"))
    assert truth(on_blue, faded, toy_bank) == 0
    assert truth(replace(plain, size="small"), plain, toy_bank) == -1
    assert truth(replace(plain, size="big"), replace(plain, size="small"), toy_bank) == -1


def test_relations_are_read_both_ways(toy_bank: Bank) -> None:
    pairs = [scene for scene in scenes(toy_bank) if scene.relation in OPPOSITES]
    assert len(pairs) > 20
    for scene in pairs:
        assert scene.relation is not None
        turned = replace(scene, objects=scene.objects[::-1], relation=OPPOSITES[scene.relation])
        assert truth(turned, scene, toy_bank) == 1
        assert truth(replace(scene, relation=OPPOSITES[scene.relation]), scene, toy_bank) == -1
        assert truth(replace(scene, relation=None), scene, toy_bank) == 0


def test_names_that_might_pass_as_each_other(toy_bank: Bank) -> None:
    numbers, table = name_table(toy_bank)
    assert set(numbers) == {*toy_bank.things, "person", "robot"}
    assert table.diagonal().all()
    assert (table == table.T).all()
    assert table.sum() == len(numbers)  # nothing of this bank is called like another, and it has no human things


@pytest.mark.parametrize(
    ("size", "longer", "expected"),
    [("small", 0.45, 0), ("small", 0.46, -1), ("big", 0.7, 0), ("big", 0.69, -1), ("small", 0.1, 0), ("big", 1.0, 0)],
)
def test_sizes_are_judged_by_the_longer_side(toy_bank: Bank, size: str, longer: float, expected: int) -> None:
    for right, bottom in ((longer, 0.05), (0.05, longer)):
        thing = SceneObject(name="dog", look="dog-3d", box=(0.0, 0.0, right, bottom))
        picture = Scene(kind="single", objects=(thing,))
        assert truth(replace(picture, size=size), picture, toy_bank) == expected  # type: ignore[arg-type]


def test_sides_styles_parts_and_grounds_that_are_wrong(toy_bank: Bank) -> None:
    box = (0.2, 0.2, 0.8, 0.8)
    around = {view.yaw: number for number, view in enumerate(toy_bank.things["dog"].looks[0].views) if view.pitch == 20}
    seen = {yaw: Scene(kind="single", objects=(SceneObject(name="dog", look="dog-rendered", view=n, box=box),))
            for yaw, n in around.items()}  # fmt: skip
    for yaw, view, expected in ((0, "front", 0), (45, "front", -1), (180, "behind", 0), (90, "behind", -1)):
        assert truth(replace(seen[yaw], view=view), seen[yaw], toy_bank) == expected  # type: ignore[arg-type]
    assert truth(replace(dog(), view="front"), dog(), toy_bank) == 0  # its look has no sides
    assert truth(replace(seen[0], style="rendered"), seen[0], toy_bank) == 0
    assert truth(replace(seen[0], style="flat"), seen[0], toy_bank) == -1
    person = toy_bank.people[0]
    drawn = SceneObject(name="person", look=person.look.id, box=box, parts=(("hair", "red"),))
    picture = Scene(kind="person", objects=(drawn,))
    for part, expected in ((("glasses", "glasses"), 0), (("hair", "black"), -1), (("hat", "cap"), -1)):
        assert truth(Scene(kind="person", objects=(replace(drawn, parts=(part,)),)), picture, toy_bank) == expected
    park, beach = Ground(kind="place", name="park"), Ground(kind="drawn", name="beach")
    for says, shown, expected in (
        (park, Ground(kind="place", name="kitchen"), -1), (park, beach, 0), (beach, park, 0), (park, Ground(), -1),
        (Ground(name="red"), park, -1), (beach, Ground(kind="drawn", name="snow"), -1), (Ground(), beach, 0),
        (Ground(name="blue"), Ground(kind="graded", name="red green"), -1),
    ):  # fmt: skip
        assert truth(replace(dog(), ground=says), replace(dog(), ground=shown), toy_bank) == expected, (says, shown)
