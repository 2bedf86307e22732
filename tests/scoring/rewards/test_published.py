"""Published scorers on a tiny random CLIP: the formula of each, and what they do to pictures first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from sanakit.common.errors import CheckpointError, RequestError
from sanakit.scoring.rewards.load import load_reward
from sanakit.scoring.rewards.published import padded
from sanakit.scoring.scorers import load_scorer

TOWER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TEXTS = ["a cat", "red dog", "a"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With features of 768 numbers, as the aesthetic head wants them."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    text = TOWER | {"vocab_size": 8, "max_position_embeddings": 6, "eos_token_id": 7, "bos_token_id": 6}
    vision = TOWER | {"image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=768)).save_pretrained(folder)
    words = {"[UNK]": 0, "a": 1, "cat": 2, "dog": 3, "[PAD]": 4, "red": 5, "[BOS]": 6, "[EOS]": 7}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({
        "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True, "resample": 3,
        "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28], "image_processor_type": "CLIPImageProcessor",
    }))  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(40, 40), (64, 32), (33, 50)]
    return [Image.fromarray(rng.integers(256, size=(h, w, 3), dtype=np.uint8)) for w, h in sizes]


def said(name: str, pictures: list[Image.Image], texts: list[str] = TEXTS) -> list[float]:
    reward: Any = load_reward(name)
    numbers: list[float] = reward(pictures, texts, [{}] * len(texts))
    return numbers


def test_similarities_are_scaled_as_published(clip: Path, pictures: list[Image.Image]) -> None:
    cosines = [score / 100 for score in load_scorer(str(clip)).score(pictures, TEXTS)]
    assert said(f"clipscore:{clip}", pictures) == pytest.approx(cosines)
    scale = CLIPModel.from_pretrained(clip).logit_scale.exp().item() / 26
    assert said(f"pickscore:{clip}", pictures) == pytest.approx([scale * each for each in cosines])
    whole = [score / 100 for score in load_scorer(str(clip)).score([padded(each, 32) for each in pictures], TEXTS)]
    assert said(f"hpsv2:{clip}", pictures) == pytest.approx(whole)


def test_one_alone_and_another_order_change_nothing(clip: Path, pictures: list[Image.Image]) -> None:
    for kind in ("clipscore", "pickscore", "hpsv2"):
        together = said(f"{kind}:{clip}", pictures)
        assert said(f"{kind}:{clip}", pictures[::-1], TEXTS[::-1])[::-1] == pytest.approx(together, abs=1e-6)
        assert said(f"{kind}:{clip}", pictures[1:2], TEXTS[1:2]) == pytest.approx(together[1:2], abs=1e-6)


def test_pictures_are_padded_to_a_square() -> None:
    square = np.asarray(padded(Image.new("RGB", (64, 32), "white"), 32))
    assert square.shape == (32, 32, 3)
    assert (square[8:24] == 255).all()
    assert (square[:8] == 0).all()
    assert (square[24:] == 0).all()


def test_the_aesthetic_head_reads_the_picture_alone(clip: Path, pictures: list[Image.Image], tmp_path: Path) -> None:
    torch.manual_seed(1)
    shapes = {0: (1024, 768), 2: (128, 1024), 4: (64, 128), 6: (16, 64), 7: (1, 16)}
    state = {}
    for number, (rows, columns) in shapes.items():
        state |= {
            f"layers.{number}.weight": torch.randn(rows, columns) / 20,
            f"layers.{number}.bias": torch.randn(rows),
        }
    torch.save(state, tmp_path / "head.pth")
    network = CLIPModel.from_pretrained(clip).eval()
    scorer: Any = load_scorer(str(clip))
    with torch.no_grad():
        x = torch.nn.functional.normalize(scorer.pictures(pictures), dim=-1)
        for number in shapes:
            x = x @ state[f"layers.{number}.weight"].mT + state[f"layers.{number}.bias"]
    assert network.config.projection_dim == 768
    name = f"aesthetic:{tmp_path / 'head.pth'}@{clip}"
    assert said(name, pictures) == pytest.approx(x[:, 0].tolist(), rel=1e-4)
    assert said(name, pictures, ["other"] * 3) == said(name, pictures)
    torch.save({"layers.0.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="has no head with the layers"):
        load_reward(f"aesthetic:{tmp_path / 'other.pth'}@{clip}")
    with pytest.raises(RequestError, match="names no head"):
        load_reward(f"aesthetic:{clip}")
