"""Whether a picture shows the text that its prompt puts into quotes, by a recogniser that reads it.

Source: the OCR reward of Flow-GRPO, arXiv:2505.05470.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.common.errors import CheckpointError, need_transformers
from sanakit.scoring.extractors.preprocessing import find_model_folder, pretrained
from sanakit.scoring.rewards.reward import ONE_PART, Metadata, Rewarded

_QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”')
_BATCH = 16
_MAX_TOKENS = 64


class WrittenText:
    """One less the share of the quoted characters that are wrong, 0 to 1; spaces and capitals count for nothing.

    A picture that shows the text among other text is right. Facts hold what was read.

    Args:
        network: of transformers, from pixels to text, as TrOCR.
        processor: of it.
        name: for records.
    """

    resize_rule = "as the model's own processor does"

    def __init__(self, network: Any, processor: Any, *, name: str) -> None:
        self.network, self.processor, self.name = network.eval().requires_grad_(False), processor, name
        self.weights_hash = hash_tensors(network.state_dict())

    def fits(self, prompt: str, known: Metadata) -> bool:
        """Whether it asks for a text."""
        return quoted(prompt) is not None

    def __call__(
        self, pictures: Sequence[Image.Image], prompts: Sequence[str], metadata: Sequence[Metadata]
    ) -> Rewarded:
        read = [
            text for start in range(0, len(pictures), _BATCH) for text in self._read(pictures[start : start + _BATCH])
        ]
        wanted = [quoted(prompt) for prompt in prompts]
        scores = [None if text is None else agreement(text, own) for text, own in zip(wanted, read, strict=True)]
        return Rewarded({ONE_PART: scores}, [{"read": own} for own in read])

    @torch.inference_mode()
    def _read(self, pictures: Sequence[Image.Image]) -> list[str]:
        inputs = self.processor(images=[each.convert("RGB") for each in pictures], return_tensors="pt")
        said = self.network.generate(
            inputs["pixel_values"].to(self.network.device), max_new_tokens=_MAX_TOKENS, do_sample=False, num_beams=1
        )
        texts: list[str] = self.processor.batch_decode(said, skip_special_tokens=True)
        return texts


def quoted(prompt: str) -> str | None:
    """What stands between the first pair of quotes; None where there is nothing."""
    found = _QUOTED.search(prompt)
    text = _bare(found[1] or found[2]) if found else ""
    return text or None


def agreement(wanted: str, read: str) -> float:
    """1 where ``wanted``, as `quoted` gives it, is in what was read, else 1 less the edits by its characters."""
    read = _bare(read)
    distance = 0 if wanted in read else min(edit_distance(wanted, read), len(wanted))
    return 1 - distance / len(wanted)


def edit_distance(first: str, second: str) -> int:
    """Characters to put in, leave out or exchange (Levenshtein)."""
    row = list(range(len(second) + 1))
    for number, own in enumerate(first, start=1):
        before, row[0] = row[0], number
        for place, other in enumerate(second, start=1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (own != other))
    return row[-1]


def _bare(text: str) -> str:
    return "".join(text.split()).lower()


def load_written_text(place: str, *, device: str | torch.device, hub: HubOptions | None) -> WrittenText:
    """A folder or hub id of a recogniser such as TrOCR, with its processor.

    Raises:
        RequestError, DownloadError, CheckpointError: it is not there, or wants more than pictures.
    """
    need_transformers(f"ocr:{place}")
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder, otherwise = find_model_folder(place, hub), f"{place} cannot be loaded as a recogniser of text"
    processor = pretrained(AutoProcessor, folder, otherwise)
    if getattr(processor, "chat_template", None) or not hasattr(processor, "image_processor"):
        raise CheckpointError(f"{place} is no recogniser that reads without being asked, such as TrOCR")
    network = pretrained(AutoModelForImageTextToText, folder, otherwise, dtype=torch.float32)
    return WrittenText(network.to(device), processor, name=f"ocr {place}")
