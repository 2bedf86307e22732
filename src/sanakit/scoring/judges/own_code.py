"""A judge whose own code asks it, as that of the one published with SANA-1.5 (arXiv:2501.18427) does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.common.errors import CheckpointError
from sanakit.scoring.judges.answers import first_token, score_of
from sanakit.scoring.judges.judge import Score
from sanakit.scoring.pixels import are_pairs

_REQUEST = (
    "You judge how well pictures match prompts. The given prompt is: {}. Look at the picture, consider the prompt, and "
    "respond directly with 'yes' or 'no'."
)


class OwnCodeJudge:
    """Scores as those of ``YesNoJudge``, one picture at a time.

    Args:
        network: its ``generate_content([picture, text])`` gives the answer and the logits ``(1, vocabulary)`` of every
            token of it; it has its ``tokenizer``.
    """

    resize_rule = "as the model's own code does"

    def __init__(self, network: Any, *, name: str) -> None:
        if not callable(getattr(network, "generate_content", None)) or not hasattr(network, "tokenizer"):
            raise CheckpointError(
                f"the code of {name} has no generate_content and no tokenizer, by which it could be asked for yes or no"
            )
        self.network, self.name = network.eval().requires_grad_(False), name
        self.yes, self.no = (first_token(network.tokenizer, word, name) for word in ("yes", "no"))
        self.weights_hash = hash_tensors(network.state_dict())

    def check(self, text: str) -> None:
        """Every text can be asked about."""

    def __call__(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[Score]:
        return [self._ask(*pair) for pair in zip(images, texts, strict=True)] if are_pairs(images, texts) else []

    @torch.inference_mode()
    def _ask(self, image: Image.Image, text: str) -> Score:
        answer, logits = self.network.generate_content([image.convert("RGB"), _REQUEST.format(text)])
        first = logits[0][0].float()  # (vocabulary,)
        return score_of(answer, float(first[self.yes]), float(first[self.no]))
