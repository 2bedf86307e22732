"""Published scorers of pictures, from weights that a user names: CLIPScore, PickScore, HPSv2 and LAION's aesthetics.

Each is a CLIP of transformers with its own last step; ``kind:place`` names one, as ``pickscore:./PickScore_v1``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from PIL import Image

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.files.reader import read_tensors
from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path
from sanakit.scoring.contrastive import ContrastiveScorer, load_contrastive_scorer
from sanakit.scoring.rewards.linear_head import linear_head
from sanakit.scoring.rewards.reward import Metadata

Numbers = Callable[[Sequence[Image.Image], Sequence[str]], list[float]]


class PublishedReward:
    """One number for each picture."""

    def __init__(self, numbers: Numbers, scorer: ContrastiveScorer, kind: str) -> None:
        self._numbers = numbers
        self.name, self.weights_hash, self.resize_rule = (
            f"{kind} {scorer.name}",
            scorer.weights_hash,
            scorer.resize_rule,
        )

    def __call__(
        self, pictures: Sequence[Image.Image], prompts: Sequence[str], metadata: Sequence[Metadata]
    ) -> list[float]:
        return self._numbers(pictures, prompts)


def load_published(kind: str, place: str, *, device: str | torch.device, hub: HubOptions | None) -> PublishedReward:
    """The scorer of a kind.

    Args:
        kind: one of ``KINDS``.
        place: a folder or hub id of a CLIP; of "aesthetic" the file of its head before it, ``HEAD@CLIP``.

    Raises:
        RequestError, DownloadError, CheckpointError: weights are not there, damaged, or of another model.
    """
    head, _, clip = place.rpartition("@") if kind == "aesthetic" else ("", "", place)
    if kind == "aesthetic" and not head:
        raise RequestError(f"aesthetic:{place} names no head; give aesthetic:HEAD.pth@CLIP")
    scorer = load_contrastive_scorer(clip, device=device, hub=hub)
    return PublishedReward(KINDS[kind](scorer, head), scorer, kind)


def _clip_score(scorer: ContrastiveScorer, head: str) -> Numbers:
    """The cosine of picture and text (Hessel et al., arXiv:2104.08718)."""
    return lambda images, texts: [score / 100 for score in scorer.score(images, texts)]


def _pick_score(scorer: ContrastiveScorer, head: str) -> Numbers:
    """The logit of picture and text over 26, as post-training scales it (Kirstain et al., arXiv:2305.01569)."""
    scale = float(scorer.network.logit_scale.exp()) / 26
    return lambda images, texts: [scale * score / 100 for score in scorer.score(images, texts)]


def _human_preference(scorer: ContrastiveScorer, head: str) -> Numbers:
    """The cosine, of pictures whose longer side fits and whose rest is black (HPSv2, Wu et al., arXiv:2306.09341)."""
    side = scorer.preprocessing.crop or scorer.preprocessing.size
    return lambda images, texts: [score / 100 for score in scorer.score([padded(each, side) for each in images], texts)]


def _aesthetic(scorer: ContrastiveScorer, head: str) -> Numbers:
    """A score from 1 to 10 of the picture alone (Schuhmann, improved-aesthetic-predictor)."""
    path = as_path(head)
    network = linear_head(read_tensors([path]), path).to(scorer.network.device)

    @torch.no_grad()
    def numbers(images: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
        found: list[float] = network(F.normalize(scorer.pictures(images).float(), dim=-1))[:, 0].tolist()
        return found

    return numbers


KINDS: dict[str, Callable[[ContrastiveScorer, str], Numbers]] = {
    "clipscore": _clip_score,
    "pickscore": _pick_score,
    "hpsv2": _human_preference,
    "aesthetic": _aesthetic,
}


def padded(image: Image.Image, side: int) -> Image.Image:
    """A square of that side with the whole picture in its middle."""
    scale = side / max(image.size)
    width, height = (round(scale * each) for each in image.size)
    square = Image.new("RGB", (side, side))
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    square.paste(resized, ((side - width) // 2, (side - height) // 2))
    return square
