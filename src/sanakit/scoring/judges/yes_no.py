"""A vision-language model that is asked whether a picture is what a prompt asks for.

Source: SANA-1.5, arXiv:2501.18427, whose judge is a model trained to answer so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.files.reader import read_json
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.common.devices import quick_dtype
from sanakit.common.errors import CheckpointError, need_transformers
from sanakit.scoring.extractors.preprocessing import find_model_folder, pretrained
from sanakit.scoring.judges.answers import first_token, score_of
from sanakit.scoring.judges.judge import Judge, Score
from sanakit.scoring.judges.own_code import OwnCodeJudge
from sanakit.scoring.pixels import are_pairs

_QUESTION = (
    'You check pictures against descriptions. The description of this picture is: "{}". Does the picture show all of '
    "it, with the right things, numbers, colours and places? Answer with one word, yes or no."
)
_BATCH = 4
_ANSWER_TOKENS = 4  # enough for a word that is cut into pieces


class YesNoJudge:
    """A score is whether the answer is yes, and the first token's score: of "yes" after a yes, less of "no" otherwise.

    So every yes is above every other answer, of two yes the one whose "yes" scored higher is better, and of two others
    the one whose "no" scored lower. Answers are greedy; texts of one batch are padded on the left, where a decoder
    does not see it.
    """

    resize_rule = "as the model's own processor does"

    def __init__(self, network: Any, processor: Any, *, name: str) -> None:
        self.network, self.processor, self.name = network.eval().requires_grad_(False), processor, name
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.tokenizer.padding_side = "left"
        self.yes, self.no = (first_token(self.tokenizer, word, name) for word in ("yes", "no"))
        self.weights_hash = hash_tensors(network.state_dict())

    def check(self, text: str) -> None:
        """Every text can be asked about."""

    def __call__(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[Score]:
        if not are_pairs(images, texts):
            return []
        scores: list[Score] = []
        for start in range(0, len(images), _BATCH):
            scores += self._ask(images[start : start + _BATCH], texts[start : start + _BATCH])
        return scores

    @torch.inference_mode()
    def _ask(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[Score]:
        asked = [self._conversation(text) for text in texts]
        pictures = [[image.convert("RGB")] for image in images]
        inputs = self.processor(text=asked, images=pictures, padding=True, return_tensors="pt")
        self._check_padding(inputs.get("attention_mask"))
        inputs = inputs.to(self.network.device)
        said = self.network.generate(
            **inputs, max_new_tokens=_ANSWER_TOKENS, do_sample=False, num_beams=1, output_logits=True,
            return_dict_in_generate=True,
        )  # fmt: skip
        answers = self.tokenizer.batch_decode(said.sequences[:, -len(said.logits) :], skip_special_tokens=True)
        first = said.logits[0].float()  # (B, vocabulary)
        pairs = zip(answers, first[:, self.yes].tolist(), first[:, self.no].tolist(), strict=True)
        return [score_of(*pair) for pair in pairs]

    def _check_padding(self, mask: torch.Tensor | None) -> None:
        if mask is not None and not mask[:, -1].all():
            raise CheckpointError(
                f"the processor of {self.name} pads texts on the right, where the answer begins, so pictures judged "
                f"together would get other scores than alone; give a model whose processor pads on the left"
            )

    def _conversation(self, text: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": _QUESTION.format(text)}]
        asked: str = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        return asked


def load_yes_no_judge(name_or_path: str, *, device: str | torch.device = "cpu", hub: HubOptions | None = None) -> Judge:
    """A folder or hub id of a vision-language model of transformers, with its processor and chat template, or of one
    that comes with code of its own to ask it.

    Raises:
        RequestError, DownloadError, CheckpointError: it is not there, or has no chat template.
    """
    need_transformers(f"{name_or_path} as a judge")
    from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor

    trusted = hub is not None and hub.trusts(name_or_path)
    folder = find_model_folder(name_or_path, hub)
    otherwise = f"{name_or_path} cannot be loaded as a judge"
    classes = read_json(folder / "config.json").get("auto_map")
    if isinstance(classes, dict) and "AutoModel" in classes and "AutoModelForImageTextToText" not in classes:
        network = pretrained(AutoModel, folder, otherwise, trusted=trusted, dtype=quick_dtype(device))
        return OwnCodeJudge(network.to(device), name=f"{network.config.model_type} {name_or_path}")
    processor = pretrained(AutoProcessor, folder, otherwise, trusted=trusted)
    if getattr(processor, "chat_template", None) is None:
        raise CheckpointError(f"{name_or_path} has no chat template, so it cannot be asked; give another model")
    network = pretrained(AutoModelForImageTextToText, folder, otherwise, trusted=trusted, dtype=quick_dtype(device))
    return YesNoJudge(network.to(device), processor, name=f"{network.config.model_type} {name_or_path}")
