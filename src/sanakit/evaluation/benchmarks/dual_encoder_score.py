"""How good the dual encoder is, on scenes that training held out: one wrong word, 64 captions, the best of four."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.common.pixels import Picture
from sanakit.evaluation.drawing import Draw
from sanakit.evaluation.reports.report import Report, mean_of, use_of
from sanakit.scoring.dual_encoder import DualEncoderScorer
from sanakit.worlds.reading.scene_detector import load_scene_detector
from sanakit.worlds.reading.verdict import judge
from sanakit.worlds.scenes.captions import caption
from sanakit.worlds.scenes.prompts import heldout_prompts
from sanakit.worlds.scenes.render import render
from sanakit.worlds.scenes.scene import Scene
from sanakit.worlds.scenes.scenes import sample_scene
from sanakit.worlds.scenes.sprites import load_sprite_bank
from sanakit.worlds.scenes.wrong_scenes import WRONG_KINDS, WrongKind, wrong_scene

RETRIEVAL_SIZE = 64

PROTOCOL = (
    "Scenes with at least one held-out combination, in random wordings. One wrong word: of a picture, its own caption "
    "must score above the caption of a scene that differs in one thing (captions), and of a caption, its own picture "
    "above the picture of that scene (pictures); chance is 50 %. Retrieval: the own caption first of 64 different "
    "ones, and the own picture first of 64. Intervals: 95 %, percentile bootstrap over scenes."
)


Alter = Callable[[Sequence[Picture]], Sequence[Picture]]


def dual_encoder_report(scorer: DualEncoderScorer, *, num_scenes: int, seed: int, alter: Alter | None = None) -> Report:
    """Score on ``num_scenes`` held-out scenes per kind, and on as many for retrieval, rounded down to groups of 64.

    Args:
        alter: what is done to every picture before it is scored, such as a pass through the autoencoder.

    Raises:
        ConfigError: fewer scenes than one retrieval needs.
    """
    if num_scenes < RETRIEVAL_SIZE:
        raise ConfigError(f"num_scenes={num_scenes} is too few for retrieval; give at least {RETRIEVAL_SIZE}")
    own_caption, own_picture = _retrieval(scorer, num_scenes // RETRIEVAL_SIZE, seed, alter)
    answers: dict[str, list[bool]] = {}
    for kind in WRONG_KINDS:
        captions, pictures = _wrong_word(scorer, kind, num_scenes, seed, alter)
        answers |= {f"wrong {kind}: own caption above": captions, f"wrong {kind}: own picture above": pictures}
    answers |= {f"own caption first of {RETRIEVAL_SIZE}": own_caption}
    answers |= {f"own picture first of {RETRIEVAL_SIZE}": own_picture}
    return Report(
        title=f"Held-out scenes, scored by {scorer.name}",
        protocol=PROTOCOL,
        measurements=tuple(mean_of(name, right, seed=seed) for name, right in answers.items()),
        seed=seed,
        inputs={"scenes": {"of each kind": num_scenes}},
        settings={},
        networks=(use_of(scorer),),
    )


def best_of_report(scorer: DualEncoderScorer, draw: Draw, *, num_prompts: int, num_seeds: int, seed: int) -> Report:
    """Draw every held-out prompt with ``num_seeds`` seeds and let the scorer choose; bootstrap over prompts.

    The gain is the scorer's share of right pictures above that of a random seed, the best possible the share of
    prompts with a right picture among the seeds.
    """
    detector = load_scene_detector()
    right, chosen = [], []
    for prompt, scene in heldout_prompts(num_prompts, seed):
        pictures = list(draw([prompt] * num_seeds, range(seed, seed + num_seeds)))
        scores = scorer.score([Image.fromarray(picture) for picture in pictures], [prompt] * num_seeds)
        answers = [judge(scene, detector.detect(picture))["all right"] for picture in pictures]
        right.append(answers)
        chosen.append(answers[int(np.argmax(scores))])
    random = [float(np.mean(answers)) for answers in right]
    return Report(
        title=f"The best of {num_seeds} pictures, chosen by {scorer.name}",
        protocol='Generated pictures of held-out prompts, judged "all right" by the exact detector.',
        measurements=(
            mean_of("random seed", random, seed=seed),
            mean_of("chosen by this scorer", chosen, seed=seed),
            mean_of("gain", [float(c) - r for c, r in zip(chosen, random, strict=True)], seed=seed),
            mean_of("best possible", [any(answers) for answers in right], seed=seed),
        ),
        seed=seed,
        inputs={"prompts": {"held-out": num_prompts}},
        settings={"seeds_per_prompt": num_seeds},
        networks=(use_of(scorer),),
    )


def heldout_pairs(kind: WrongKind, num_scenes: int, seed: int) -> list[tuple[Scene, Scene, str, str]]:
    """Held-out scenes, a wrong one of each, and a caption of both."""
    pairs, index = list[tuple[Scene, Scene, str, str]](), 0
    while len(pairs) < num_scenes:
        rng = np.random.default_rng((seed, WRONG_KINDS.index(kind), index))
        scene = sample_scene(rng, "heldout")
        wrong = wrong_scene(scene, kind, rng)
        if wrong is not None:
            pairs.append((scene, wrong, caption(scene, rng), caption(wrong, rng)))
        index += 1
    return pairs


def _wrong_word(
    scorer: DualEncoderScorer, kind: WrongKind, num_scenes: int, seed: int, alter: Alter | None
) -> tuple[list[bool], list[bool]]:
    """Whether of each scene the own caption scores above the wrong one, and the own picture."""
    scenes, wrongs, captions, wrong_captions = zip(*heldout_pairs(kind, num_scenes, seed), strict=True)
    pictures, wrong_pictures = _embedded(scorer, scenes, alter), _embedded(scorer, wrongs, alter)
    texts, wrong_texts = scorer.embed_texts(captions), scorer.embed_texts(wrong_captions)
    own = (pictures * texts).sum(-1)
    says_less = [_says_less(scene, wrong) for scene, wrong in zip(scenes, wrongs, strict=True)]
    captions_right = own > (pictures * wrong_texts).sum(-1)
    # "a cat" is true of the picture of the wrong scene "a purple cat": there no picture is the right one.
    pictures_right = (own > (wrong_pictures * texts).sum(-1))[~torch.tensor(says_less, device=own.device)]
    return captions_right.tolist(), pictures_right.tolist()


def _says_less(scene: Scene, wrong: Scene) -> bool:
    """Whether the scene's caption is true of the wrong scene's picture as well, since it names no colour there."""
    things = zip(scene.objects, wrong.objects, strict=False)
    return any(a.name == b.name and a.colour is None and b.colour is not None for a, b in things)


def _retrieval(
    scorer: DualEncoderScorer, num_groups: int, seed: int, alter: Alter | None
) -> tuple[list[bool], list[bool]]:
    """Whether each picture ranks its own caption first of its group, and each caption its own picture."""
    own_caption, own_picture = list[bool](), list[bool]()
    for group in range(num_groups):
        rng = np.random.default_rng((seed, 64, group))
        scenes = _different_scenes(rng)
        pictures = _embedded(scorer, scenes, alter)
        similarity = pictures @ scorer.embed_texts([caption(scene, rng) for scene in scenes]).mT
        places = torch.arange(RETRIEVAL_SIZE, device=similarity.device)
        own_caption += (similarity.argmax(1) == places).tolist()
        own_picture += (similarity.argmax(0) == places).tolist()
    return own_caption, own_picture


def _different_scenes(rng: np.random.Generator) -> list[Scene]:
    """Scenes no two of which show the same objects in the same number: no caption is true of two pictures."""
    scenes: dict[tuple[str, ...], Scene] = {}
    while len(scenes) < RETRIEVAL_SIZE:
        scene = sample_scene(rng, "heldout")
        scenes.setdefault(tuple(sorted(thing.name for thing in scene.objects)), scene)
    return list(scenes.values())


def _embedded(scorer: DualEncoderScorer, scenes: Sequence[Scene], alter: Alter | None) -> Tensor:
    bank = load_sprite_bank()
    pictures: Sequence[Picture] = [render(scene, bank) for scene in scenes]
    return scorer.embed_pictures([Image.fromarray(p) for p in (alter(pictures) if alter else pictures)])
