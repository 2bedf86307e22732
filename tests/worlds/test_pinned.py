"""What the worlds say and paint, to the letter: models are trained on it, and their reports are drawn from it.

If one of these fails, a change was made to what a seed gives. Where that is meant, cached latents need a new
``SCENES_VERSION``, and the digest here its new value.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from PIL import Image

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.drawing.backgrounds import background_image
from sanakit.worlds.drawing.compose import compose, truth_maps
from sanakit.worlds.drawing.grounds import draw_ground
from sanakit.worlds.drawing.spoiled import SPOILINGS, is_changed, spoil
from sanakit.worlds.drawing.spoiler import Spoiler
from sanakit.worlds.sampling.random_scenes import sample_scene
from sanakit.worlds.sampling.repainting import repainted
from sanakit.worlds.sampling.staging import staged
from sanakit.worlds.sampling.worded_scenes import Words, can_stand_on, is_new, scene_of
from sanakit.worlds.scenes import vocabulary
from sanakit.worlds.scenes.description import RELATIONS, Camera, Ground, Scene
from sanakit.worlds.telling import long_prompts, phrases
from sanakit.worlds.telling.captions import canonical_caption
from sanakit.worlds.telling.truth import name_table, truth
from sanakit.worlds.telling.wrong_captions import WRONG_WORDS, wrong_caption
from sanakit.worlds.telling.wrong_scenes import wrong_scene
from sanakit.worlds.words.table import words_of
from sanakit.worlds.world_scenes import WorldScenes


def told(scene: Scene | None) -> str:
    """A scene as text, its numbers to six places."""
    if scene is None:
        return "none"
    return json.dumps(json.loads(json.dumps(scene.to_json()), parse_float=lambda text: round(float(text), 6)))


def some_scenes(bank: Bank, num: int, split: str = "train") -> list[Scene]:
    return [sample_scene(np.random.default_rng((7, index)), bank, split) for index in range(num)]  # type: ignore[arg-type]


def captions(bank: Bank) -> Iterator[str]:
    for split, num in (("train", 500), ("heldout", 300)):
        world = WorldScenes(bank, split, seed=11)  # type: ignore[arg-type]
        yield from (world.truth(index)[1] for index in range(num))
    yield from (canonical_caption(scene, bank) for scene in some_scenes(bank, 300))


def scenes(bank: Bank) -> Iterator[str]:
    for split in ("train", "heldout"):
        yield from (told(scene) for scene in some_scenes(bank, 300, split))


def painted_again(bank: Bank) -> Iterator[str]:
    for number, scene in enumerate(some_scenes(bank, 300)):
        yield told(repainted(scene, np.random.default_rng(number), bank))
        yield told(staged(scene, np.random.default_rng(number), bank))


def wrong_words(bank: Bank) -> Iterator[str]:
    for number, scene in enumerate(some_scenes(bank, 200)):
        for kind in WRONG_WORDS:
            yield str(wrong_caption(scene, np.random.default_rng(number), kind, bank))


def wrong_pictures(bank: Bank) -> Iterator[str]:
    for number, scene in enumerate(some_scenes(bank, 60)):
        for kind, split in product(WRONG_WORDS, ("train", "heldout")):
            yield told(wrong_scene(scene, np.random.default_rng(number), kind, bank, split=split))  # type: ignore[arg-type]


def truths(bank: Bank) -> Iterator[str]:
    found = some_scenes(bank, 60)
    for number, scene in enumerate(found[:20]):  # and one that is like it in all but a word
        changed = (wrong_scene(scene, np.random.default_rng(number), kind, bank) for kind in WRONG_WORDS)
        found += [other for other in changed if other is not None]
    yield from ("".join(str(truth(says, picture, bank)) for picture in found) for says in found)
    numbers, table = name_table(load_bank("tiny"))
    yield f"{len(numbers)} {[tuple(pair) for pair in np.argwhere(np.triu(table, 1)).tolist()]}"


def worded(bank: Bank) -> Iterator[str]:
    names = (("dog",), ("square",), ("dog", "cat"), ("cup", "table"), ("balloon", "table"), ("dog", "dog"))
    grounds = (Ground(), Ground(name="red"), Ground(kind="drawn", name="night"), Ground(kind="place", name="park"))
    for number, (things, ground, colour, count) in enumerate(product(names, grounds, (None, "blue", "black"), (1, 3))):
        relation = RELATIONS[number % len(RELATIONS)] if len(things) == 2 and number % 3 else None
        style, view = (None, "3d", None, "flat")[number % 4], (None, None, "behind")[number % 3]
        words = Words(names=things, colour=colour, count=count if len(things) == 1 else 1, relation=relation,
                      ground=ground, style=style, view=view)  # type: ignore[arg-type]  # fmt: skip
        yield f"{is_new(words)} {told(scene_of(words, bank, np.random.default_rng(number)))}"
    yield str([(a, b) for a, b in product(bank.things, bank.things) if can_stand_on(a, b, bank)])


def tables(bank: Bank) -> Iterator[str]:
    for module in (vocabulary, phrases, long_prompts):
        for name, value in sorted(vars(module).items()):
            if name.isupper() and isinstance(value, (tuple, dict, str, float, int, set, frozenset)):
                plain = sorted(value) if isinstance(value, (set, frozenset)) else value
                yield f"{name} {json.dumps(plain, default=lambda _: 'code', sort_keys=True)}"


def words_of_a_model(bank: Bank) -> Iterator[str]:
    yield json.dumps(words_of(bank, ["dog", "apple", "cup", "house", "table"]), sort_keys=True)


TEXTS: dict[str, tuple[Callable[[Bank], Iterator[str]], str]] = {
    "captions": (captions, "49f14cea74a88ae4"),
    "scenes": (scenes, "2a9c50db48450b6f"),
    "painted again": (painted_again, "c546b41293d739b0"),
    "wrong words": (wrong_words, "ccf4bc33543d54d8"),
    "wrong pictures": (wrong_pictures, "a6d294f93083741e"),
    "truths": (truths, "2e9a4d7065963302"),
    "worded": (worded, "9afba5c8a28ef00f"),
    "tables": (tables, "7c0845971a890920"),
    "words of a model": (words_of_a_model, "92271b3ff2455675"),
}


@pytest.mark.parametrize("what", TEXTS)
def test_what_a_seed_says(what: str, toy_bank: Bank) -> None:
    make, expected = TEXTS[what]
    assert hashlib.sha256("\n".join(make(toy_bank)).encode()).hexdigest()[:16] == expected


def grounds(bank: Bank) -> Iterator[np.ndarray]:
    yield from (np.asarray(background_image(name, 24)) for name in vocabulary.BACKGROUNDS)
    for ground in (Ground(), Ground(name="gray"), Ground(kind="graded", name="orange blue"),
                   Ground(kind="drawn", name="beach")):  # fmt: skip
        yield np.asarray(draw_ground(ground, Camera(), bank, 20))


def untinted(scene: Scene) -> Scene:
    """In natural colours: tints are sums of floats, which libraries may round otherwise."""
    return replace(scene, objects=tuple(replace(thing, colour=None) for thing in scene.objects))


def paintings(bank: Bank) -> Iterator[np.ndarray]:
    for number, scene in enumerate(map(untinted, some_scenes(bank, 40))):
        yield compose(scene, bank, (32, 48)[number % 2])
        yield from truth_maps(scene, bank, 32)


def spoilings(bank: Bank) -> Iterator[np.ndarray]:
    square = np.zeros((21, 30, 4), np.uint8)
    square[4:18, 5:26] = (200, 30, 60, 255)
    square[8:12, 10:15] = (20, 220, 60, 90)
    drawing, other = Image.fromarray(square), Image.new("RGBA", (30, 21), "blue")
    for how, seed in product(SPOILINGS, range(6)):
        if how != "blurred":  # of which libraries differ in the last bit
            changed = spoil(drawing, how, np.random.default_rng(seed), other)
            yield np.asarray(changed)
            yield np.array(is_changed(drawing, changed))
    for number, scene in enumerate(map(untinted, some_scenes(bank, 30))):
        rng = np.random.default_rng(number)
        ways = tuple(how for how in SPOILINGS if how != "blurred")
        spoiler = Spoiler(scene, bank, rng, share=0.7, size=32, ways=ways)
        yield compose(scene, bank, 32, alter=spoiler)
        yield np.array([[number, *box] for number, box in spoiler.boxes.items()])


PICTURES: dict[str, tuple[Callable[[Bank], Iterator[np.ndarray]], str]] = {
    "grounds": (grounds, "74763ded7b6cc7cb"),
    "paintings": (paintings, "bb42790b59a70f29"),
    "spoilings": (spoilings, "9764eb2579902123"),
}


@pytest.mark.parametrize("what", PICTURES)
def test_what_a_seed_paints(what: str, toy_bank: Bank) -> None:
    make, expected = PICTURES[what]
    digest = hashlib.sha256()
    for picture in make(toy_bank):
        digest.update(f"{picture.shape} {picture.dtype}".encode() + picture.tobytes())
    assert digest.hexdigest()[:16] == expected
