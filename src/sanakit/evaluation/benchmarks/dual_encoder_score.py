"""How good the dual encoder is, on scenes that training held out: one wrong word, and 64 captions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.common.pixels import Picture
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.reports.report import Report, mean_of, use_of
from sanakit.scoring.dual_encoder import DualEncoderScorer
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.sampling.random_scenes import sample_scene
from sanakit.worlds.scenes.description import Scene
from sanakit.worlds.telling.captions import caption
from sanakit.worlds.telling.truth import truth
from sanakit.worlds.telling.wrong_captions import WRONG_WORDS, WrongWord
from sanakit.worlds.telling.wrong_scenes import wrong_scene

RETRIEVAL_SIZE = 64
RELATION_WORDS: tuple[WrongWord, ...] = ("left/right", "above/below", "front/behind")
_MAX_DRAWS = 60  # random scenes for each that is wanted of a kind; a bank without sides has none to ask for

PROTOCOL = (
    "Scenes with at least one held-out pairing, in random wordings. One wrong word: of a picture, its own caption "
    "must score above the caption of a scene that differs in one word (caption), and of a caption, its own picture "
    "above the picture of that scene (picture); chance is 50 %. Relation: left/right, above/below and front/behind "
    "together. Retrieval: the own caption first of 64 different ones, and the own picture first of 64. Intervals: "
    "95 %, percentile bootstrap over scenes."
)


Alter = Callable[[Sequence[Picture]], Sequence[Picture]]


class WrongPair(NamedTuple):
    """A held-out scene and one with another word, with a caption of both."""

    scene: Scene
    wrong: Scene
    caption: str
    wrong_caption: str


def dual_encoder_report(
    scorer: DualEncoderScorer, bank: Bank, *, num_scenes: int, seed: int, alter: Alter | None = None,
    on_progress: OnProgress = no_progress,
) -> Report:  # fmt: skip
    """Score on ``num_scenes`` held-out scenes per kind, and on as many for retrieval, rounded down to groups of 64.

    Kinds that the bank has no scenes of are left out.

    Args:
        alter: what is done to every picture before it is scored, such as a pass through the autoencoder.

    Raises:
        ConfigError: fewer scenes than one retrieval needs.
    """
    if num_scenes < RETRIEVAL_SIZE:
        raise ConfigError(f"num_scenes={num_scenes} is too few for retrieval; give at least {RETRIEVAL_SIZE}")
    answers: dict[str, list[bool]] = {}
    total = len(WRONG_WORDS) + 1
    for done, kind in enumerate(WRONG_WORDS, start=1):
        if pairs := list(heldout_pairs(kind, bank, num_scenes, seed)):
            captions, pictures = _one_wrong_word(scorer, bank, pairs, alter)
            answers |= {f"wrong {kind}, caption": captions, f"wrong {kind}, picture": pictures}
        on_progress(done, total, "scoring held-out scenes")
    for which in ("caption", "picture"):
        rows = [answers[name] for kind in RELATION_WORDS if (name := f"wrong {kind}, {which}") in answers]
        answers |= {f"wrong relation, {which}": [answer for row in rows for answer in row]} if rows else {}
    own_caption, own_picture = _retrieval(scorer, bank, num_scenes // RETRIEVAL_SIZE, seed, alter)
    on_progress(total, total, "scoring held-out scenes")
    answers |= {f"own caption first of {RETRIEVAL_SIZE}": own_caption}
    answers |= {f"own picture first of {RETRIEVAL_SIZE}": own_picture}
    return Report(
        title=f"Held-out scenes, scored by {scorer.name}",
        protocol=PROTOCOL,
        measurements=tuple(mean_of(name, right, seed=seed) for name, right in answers.items()),
        seed=seed,
        inputs={"scenes": {"of each kind": num_scenes}, "bank": {"name": bank.name, "hash": bank.hash}},
        settings={},
        networks=(use_of(scorer),),
    )


def heldout_pairs(kind: WrongWord, bank: Bank, num_scenes: int, seed: int) -> Iterator[WrongPair]:
    """The first held-out scenes that have a word of the kind, each with a wrong one."""
    found = 0
    for index in range(num_scenes * _MAX_DRAWS):
        rng = np.random.default_rng((seed, WRONG_WORDS.index(kind), index))
        scene = sample_scene(rng, bank, "heldout")
        wrong = wrong_scene(scene, rng, kind, bank)
        if wrong is None:
            continue
        texts = [caption(one, rng, bank, split="heldout") for one in (scene, wrong)]
        yield WrongPair(scene, wrong, *texts)
        found += 1
        if found == num_scenes:
            return


def _one_wrong_word(
    scorer: DualEncoderScorer, bank: Bank, pairs: Sequence[WrongPair], alter: Alter | None
) -> tuple[list[bool], list[bool]]:
    """Whether of each scene the own caption scores above the wrong one, and the own picture."""
    scenes, wrongs, captions, wrong_captions = zip(*pairs, strict=True)
    pictures, wrong_pictures = _embedded(scorer, bank, scenes, alter), _embedded(scorer, bank, wrongs, alter)
    texts, wrong_texts = scorer.embed_texts(captions), scorer.embed_texts(wrong_captions)
    own = (pictures * texts).sum(-1)
    captions_right = own > (pictures * wrong_texts).sum(-1)
    # "a cat" is true of the picture of the wrong scene "a cat on a blue background": there no picture is the right one.
    asked = torch.tensor([truth(pair.scene, pair.wrong, bank) < 0 for pair in pairs], device=own.device)
    pictures_right = (own > (wrong_pictures * texts).sum(-1))[asked]
    return captions_right.tolist(), pictures_right.tolist()


def _retrieval(
    scorer: DualEncoderScorer, bank: Bank, num_groups: int, seed: int, alter: Alter | None
) -> tuple[list[bool], list[bool]]:
    """Whether each picture ranks its own caption first of its group, and each caption its own picture."""
    own_caption, own_picture = list[bool](), list[bool]()
    for group in range(num_groups):
        rng = np.random.default_rng((seed, 64, group))
        scenes = _different_scenes(rng, bank)
        texts = [caption(scene, rng, bank, split="heldout") for scene in scenes]
        similarity = _embedded(scorer, bank, scenes, alter) @ scorer.embed_texts(texts).mT
        places = torch.arange(RETRIEVAL_SIZE, device=similarity.device)
        own_caption += (similarity.argmax(1) == places).tolist()
        own_picture += (similarity.argmax(0) == places).tolist()
    return own_caption, own_picture


def _different_scenes(rng: np.random.Generator, bank: Bank) -> list[Scene]:
    """Scenes no two of which show the same objects in the same number: no caption is true of two pictures."""
    scenes: dict[tuple[str, ...], Scene] = {}
    while len(scenes) < RETRIEVAL_SIZE:
        scene = sample_scene(rng, bank, "heldout")
        scenes.setdefault(tuple(sorted(thing.name for thing in scene.objects)), scene)
    return list(scenes.values())


def _embedded(scorer: DualEncoderScorer, bank: Bank, scenes: Sequence[Scene], alter: Alter | None) -> Tensor:
    pictures: Sequence[Picture] = [compose(scene, bank) for scene in scenes]
    return scorer.embed_pictures([Image.fromarray(p) for p in (alter(pictures) if alter else pictures)])
