"""A tiny random vision-language model as a judge: batches equal single calls, and answers are ordered as published."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.common.errors import CheckpointError
from sanakit.scoring.judges.load import find_judge
from sanakit.scoring.judges.yes_no import YesNoJudge

TOWER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TEMPLATE = (
    "{% for each in messages %}{% for part in each['content'] %}{% if part['type'] == 'image' %}<image>{% else %}"
    "{{ part['text'] }}{% endif %}{% endfor %}{% endfor %} "
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vlm")
    torch.manual_seed(0)
    tokens = ["<pad>", "<bos>", "<image>", "yes", "no", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<image>"])
    tokenizer.add_tokens(["yes", "no"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", pad_token="<pad>")
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**TOWER, image_size=32, patch_size=16).to_dict(),
        text_config=LlamaConfig(**TOWER, vocab_size=len(tokens), initializer_range=0.5).to_dict(),
        image_token_id=2, vision_feature_layer=-1, image_seq_length=4,
    )  # fmt: skip
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    LlavaProcessor(
        images, fast, patch_size=16, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=TEMPLATE, image_token="<image>",
    ).save_pretrained(folder)  # fmt: skip
    return folder


def test_a_batch_says_what_each_picture_alone_does(folder: Path) -> None:
    """Texts of different lengths, which are padded on the left."""
    judge = find_judge(str(folder)).load()
    pictures = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue", "green", "white", "black")]
    texts = ["a cat", "a big red dog before a blue ground, and much more of that", "x", "a cow", "two stars"]
    together = judge(pictures, texts)
    alone = [judge([picture], [text])[0] for picture, text in zip(pictures, texts, strict=True)]
    torch.testing.assert_close(torch.tensor(together), torch.tensor(alone), atol=1e-5, rtol=1e-5)
    assert len({score[1] for score in together}) == 5
    assert judge([], []) == []
    assert (judge.name, len(judge.weights_hash)) == (f"llava {folder}", 64)


class Scripted:
    """A network that answers with given words, and a processor that does nothing."""

    tokenizer: Any
    device = "cpu"

    def __init__(self, *answers: tuple[str, float, float]) -> None:
        self.answers = list(answers)
        self.tokenizer = self

    def eval(self) -> Scripted:
        return self

    requires_grad_ = lambda self, _: self  # noqa: E731
    state_dict = lambda self: {}  # noqa: E731
    apply_chat_template = lambda self, *_, **__: "?"  # noqa: E731

    def __call__(self, **_: Any) -> Any:
        return type("Inputs", (dict,), {"to": lambda self, device: self})()

    def encode(self, word: str, add_special_tokens: bool) -> list[int]:
        return {"yes": [0, 7], "no": [1]}[word]

    def generate(self, **how: Any) -> Any:
        assert how["do_sample"] is False
        logits = torch.tensor([[yes, no] for _, yes, no in self.answers], dtype=torch.bfloat16)
        return SimpleNamespace(sequences=torch.zeros(len(self.answers), 3), logits=(logits,))

    def batch_decode(self, sequences: Any, skip_special_tokens: bool) -> list[str]:
        assert sequences.shape[1] == 1
        return [word for word, _, _ in self.answers]


def test_answers_are_ordered_as_published() -> None:
    said = [("no", 9, 5), (" Yes.", 1, 8), ("maybe", 9, 2), ("yes", 2, 0)]
    scripted = Scripted(*said)
    judge = YesNoJudge(scripted, scripted, name="scripted")
    scores = judge([Image.new("RGB", (8, 8))] * 4, ["a cat"] * 4)
    assert scores == [(0.0, -5.0), (1.0, 1.0), (0.0, -2.0), (1.0, 2.0)]
    assert sorted(range(4), key=lambda number: scores[number]) == [0, 2, 1, 3]


def test_texts_that_are_padded_on_the_right_are_not_judged(folder: Path) -> None:
    """As a processor with code of its own may do, whatever its tokenizer was told."""
    judge = find_judge(str(folder)).load()
    judge.tokenizer.padding_side = "right"
    pictures = [Image.new("RGB", (40, 30))] * 2
    with pytest.raises(CheckpointError, match="pads texts on the right"):
        judge(pictures, ["a cat", "a big red dog"])
    assert len(judge(pictures, ["a cat", "a dog"])) == 2  # of one length


OWN_CODE = """
from pathlib import Path
import torch
from transformers import PreTrainedConfig, PreTrainedModel
Path({ran!r}).write_text("yes")

class OwnConfig(PreTrainedConfig):
    model_type = "own_judge"

class Words:
    def encode(self, word, add_special_tokens):
        return [["no", "yes"].index(word)]

class OwnModel(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.weight = torch.nn.Parameter(torch.zeros(3))
        self.tokenizer = Words()
        self.post_init()

    def generate_content(self, parts):
        picture, text = parts
        assert picture.mode == "RGB" and "prompt is: a red cat." in text
        return ("yes", (2 * self.weight[None], None)) if picture.getpixel((0, 0))[0] else ("no", (self.weight[None],))
"""


def test_a_judge_with_code_of_its_own(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs for the one source that is trusted, by name, and for no other; then its own code asks it."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    own, ran = tmp_path / "own", tmp_path / "ran"
    own.mkdir()
    (own / "own.py").write_text(OWN_CODE.format(ran=str(ran)))
    classes = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    (own / "config.json").write_text(json.dumps({"model_type": "own_judge", "auto_map": classes}))
    save_file({"weight": torch.tensor([4.0, 3.0, 0.0])}, own / "model.safetensors", {"format": "pt"})
    for trust in (None, str(folder)):
        with pytest.raises(CheckpointError, match=r"run code of its own; if you know who wrote that, name the model"):
            find_judge(str(own), hub=HubOptions(trust_remote_code=trust)).load()
    assert not ran.exists()
    judge = find_judge(str(own), hub=HubOptions(trust_remote_code=str(own))).load()
    pictures = [Image.new("RGB", (4, 4), (level, 0, 0)) for level in (0, 200)]
    assert judge(pictures, ["a red cat"] * 2) == [(0.0, -4.0), (1.0, 6.0)]
    assert (judge([], []), judge.name) == ([], f"own_judge {own}")


def test_a_model_that_cannot_be_asked(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        if file.name != "chat_template.jinja":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CheckpointError, match="has no chat template"):
        find_judge(str(tmp_path)).load()
