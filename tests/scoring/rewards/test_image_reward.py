"""ImageReward from a file with the authors' names, against its formulas written out in plain operations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from sanakit.common.errors import CheckpointError, RequestError
from sanakit.scoring.rewards.load import load_reward

WIDTH, TEXT_WIDTH, PATCH, SIDE = 128, 768, 16, 32  # the head wants 768
TEXTS = ["a red cat", "dog"]
WORDS = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "cat": 5, "red": 6}


def linear(name: str, rows: int, columns: int) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.randn(rows, columns) / columns**0.5, f"{name}.bias": torch.randn(rows) / 10}


def norm(name: str, width: int) -> dict[str, Tensor]:
    return {f"{name}.weight": 1 + torch.randn(width) / 10, f"{name}.bias": torch.randn(width) / 10}


def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    see, block = "blip.visual_encoder", "blip.visual_encoder.blocks.0"
    state = {
        f"{see}.cls_token": torch.randn(1, 1, WIDTH),
        f"{see}.pos_embed": torch.randn(1, 1 + (SIDE // PATCH) ** 2, WIDTH),
        f"{see}.patch_embed.proj.weight": torch.randn(WIDTH, 3, PATCH, PATCH) / 28,
        f"{see}.patch_embed.proj.bias": torch.randn(WIDTH),
        **norm(f"{see}.norm", WIDTH), **norm(f"{block}.norm1", WIDTH), **norm(f"{block}.norm2", WIDTH),
        **linear(f"{block}.attn.qkv", 3 * WIDTH, WIDTH), **linear(f"{block}.attn.proj", WIDTH, WIDTH),
        **linear(f"{block}.mlp.fc1", 64, WIDTH), **linear(f"{block}.mlp.fc2", WIDTH, 64),
    }  # fmt: skip
    read, layer = "blip.text_encoder", "blip.text_encoder.encoder.layer.0"
    state |= {
        f"{read}.embeddings.position_ids": torch.arange(40)[None],
        f"{read}.embeddings.word_embeddings.weight": torch.randn(len(WORDS), TEXT_WIDTH),
        f"{read}.embeddings.position_embeddings.weight": torch.randn(40, TEXT_WIDTH),
        **norm(f"{read}.embeddings.LayerNorm", TEXT_WIDTH),
        **linear(f"{layer}.intermediate.dense", 32, TEXT_WIDTH), **linear(f"{layer}.output.dense", TEXT_WIDTH, 32),
        **norm(f"{layer}.output.LayerNorm", TEXT_WIDTH),
    }  # fmt: skip
    for name, seen in (("attention", TEXT_WIDTH), ("crossattention", WIDTH)):
        for part, columns in (("query", TEXT_WIDTH), ("key", seen), ("value", seen)):
            state |= linear(f"{layer}.{name}.self.{part}", TEXT_WIDTH, columns)
        state |= linear(f"{layer}.{name}.output.dense", TEXT_WIDTH, TEXT_WIDTH)
        state |= norm(f"{layer}.{name}.output.LayerNorm", TEXT_WIDTH)
    sizes = {0: (1024, 768), 2: (128, 1024), 4: (64, 128), 6: (16, 64), 7: (1, 16)}
    for number, (rows, columns) in sizes.items():
        state |= linear(f"mlp.layers.{number}", rows, columns)
    return state


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("imagereward")
    torch.save(weights(), folder / "ImageReward.pt")
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    return f"{folder / 'ImageReward.pt'}@{folder}"


def expected(picture: Image.Image, ids: list[int]) -> float:
    """Of a picture whose shorter side is ``SIDE`` already, by the formulas, in float64."""
    state = {name: tensor.double() for name, tensor in weights().items()}

    def through(x: Tensor, name: str) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def normed(x: Tensor, name: str, eps: float) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)

    def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (each.unflatten(-1, (-1, 64)).transpose(0, 1) for each in (q, k, v))
        return ((q @ k.mT / 8).softmax(-1) @ v).transpose(0, 1).flatten(1)

    see, block = "blip.visual_encoder", "blip.visual_encoder.blocks.0"
    pixels = torch.tensor(np.asarray(picture)).permute(2, 0, 1).double() / 255
    left, top = (picture.width - SIDE) // 2, (picture.height - SIDE) // 2
    pixels = pixels[:, top : top + SIDE, left : left + SIDE]
    mean, deviation = (
        torch.tensor([0.48145466, 0.4578275, 0.40821073]),
        torch.tensor([0.26862954, 0.26130258, 0.27577711]),
    )
    pixels = (pixels - mean[:, None, None].double()) / deviation[:, None, None].double()
    proj = state[f"{see}.patch_embed.proj.weight"], state[f"{see}.patch_embed.proj.bias"]
    x = F.conv2d(pixels[None], *proj, stride=PATCH)[0].flatten(1).mT  # (patches, C)
    x = torch.cat([state[f"{see}.cls_token"][0], x]) + state[f"{see}.pos_embed"][0]
    x = x + through(
        attended(*through(normed(x, f"{block}.norm1", 1e-6), f"{block}.attn.qkv").chunk(3, -1)), f"{block}.attn.proj"
    )
    x = x + through(F.gelu(through(normed(x, f"{block}.norm2", 1e-6), f"{block}.mlp.fc1")), f"{block}.mlp.fc2")
    seen = normed(x, f"{see}.norm", 1e-6)
    read, layer = "blip.text_encoder", "blip.text_encoder.encoder.layer.0"
    words = state[f"{read}.embeddings.word_embeddings.weight"][ids]
    x = normed(
        words + state[f"{read}.embeddings.position_embeddings.weight"][: len(ids)],
        f"{read}.embeddings.LayerNorm",
        1e-12,
    )
    for name in ("attention", "crossattention"):
        other = x if name == "attention" else seen
        q, k, v = (
            through(x if part == "query" else other, f"{layer}.{name}.self.{part}")
            for part in ("query", "key", "value")
        )
        x = normed(
            x + through(attended(q, k, v), f"{layer}.{name}.output.dense"), f"{layer}.{name}.output.LayerNorm", 1e-12
        )
    x = normed(
        x + through(F.gelu(through(x, f"{layer}.intermediate.dense")), f"{layer}.output.dense"),
        f"{layer}.output.LayerNorm",
        1e-12,
    )
    score = x[0]
    for number in (0, 2, 4, 6, 7):
        score = through(score, f"mlp.layers.{number}")
    return ((score - 0.16717362830052426) / 1.0333394966054072).item()


def test_scores_are_those_of_the_formulas_for_each_pair_alone_and_in_company(place: str) -> None:
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(256, size=size, dtype=np.uint8)) for size in ((32, 48, 3), (40, 32, 3))]
    reward: Any = load_reward(f"imagereward:{place}")
    wanted = [expected(pictures[0], [2, 4, 6, 5, 3]), expected(pictures[1], [2, 1, 3])]
    assert reward(pictures, TEXTS, [{}, {}]) == pytest.approx(wanted, abs=2e-4)
    assert reward(pictures[1:], TEXTS[1:], [{}]) == pytest.approx(wanted[1:], abs=2e-4)
    assert reward([], [], []) == []


def test_long_prompts_are_cut_and_larger_pictures_are_made_smaller(place: str) -> None:
    reward: Any = load_reward(f"imagereward:{place}")
    small = Image.fromarray(np.random.default_rng(1).integers(256, size=(32, 32, 3), dtype=np.uint8))
    large = small.resize((128, 128), Image.Resampling.NEAREST)
    long = " ".join(["cat"] * 99)
    assert reward([large], [long], [{}]) == pytest.approx(reward([small], [" ".join(["cat"] * 33)], [{}]), abs=0.2)


def test_other_files_and_half_a_name_are_refused(place: str, tmp_path: Path) -> None:
    weights_file, _, tokenizer = place.partition("@")
    with pytest.raises(RequestError, match="names no tokenizer"):
        load_reward(f"imagereward:{weights_file}")
    torch.save({name: tensor for name, tensor in weights().items() if "blocks" not in name}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="does not hold the weights of ImageReward's BLIP"):
        load_reward(f"imagereward:{tmp_path / 'other.pt'}@{tokenizer}")
