"""Tiny random CLIP, SigLIP and DINOv2 folders: preprocessing and scores against transformers' own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModel,
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.common.errors import CheckpointError, RequestError
from sanakit.scoring.contrastive import load_contrastive_scorer
from sanakit.scoring.extractors.load import load_extractor
from sanakit.scoring.extractors.preprocessing import Preprocessing, find_model_folder, read_preprocessing
from sanakit.scoring.judges.load import find_judge
from sanakit.scoring.pixels import as_images
from sanakit.scoring.scorers import load_scorer

TOWER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
CLIP_FILE = {
    "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True, "resample": 3,
    "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28], "image_processor_type": "CLIPImageProcessor",
}  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    text = TOWER | {"vocab_size": 8, "max_position_embeddings": 6, "eos_token_id": 7, "bos_token_id": 6}
    vision = TOWER | {"image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    words = {"[UNK]": 0, "a": 1, "cat": 2, "dog": 3, "[PAD]": 4, "red": 5, "[BOS]": 6, "[EOS]": 7}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(CLIP_FILE))
    return folder


SIGLIP_FILE = {
    "size": {"height": 32, "width": 32}, "resample": 3, "do_resize": True, "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "image_processor_type": "SiglipImageProcessor",
}  # fmt: skip


@pytest.fixture(scope="module")
def siglip(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a tokenizer that makes a mask unless it is told not to, which SigLIP was trained without."""
    folder = tmp_path_factory.mktemp("siglip")
    torch.manual_seed(1)
    text = TOWER | {"vocab_size": 8, "max_position_embeddings": 6, "pad_token_id": 4, "projection_size": 16}
    vision = TOWER | {"image_size": 32, "patch_size": 16}
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    for file in clip.glob("tokenizer*"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "preprocessor_config.json").write_text(json.dumps(SIGLIP_FILE))
    return folder


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(256, size=(6, 6, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(("width", "height"), [(50, 40), (33, 90), (20, 20)])
def test_preprocessing_is_transformers_own(clip: Path, width: int, height: int) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    image = picture(width, height)
    expected = CLIPImageProcessorPil.from_pretrained(clip)(image, return_tensors="pt").pixel_values
    found = read_preprocessing(clip)(as_images([image]))
    assert found.shape == expected.shape
    # Pillow rounds to 8 bits between and after its two passes; a level is 1 / 255 / 0.26.
    assert (found - expected).abs().max() < 2.5 / 255 / 0.26
    assert (found - expected).abs().mean() < 0.5 / 255 / 0.26


def test_scores_are_cosines(clip: Path) -> None:
    scorer = load_scorer(str(clip))
    images, texts = [picture(40, 32, 1), picture(32, 32, 2), picture(40, 32, 3)], ["a cat", "red dog", "a red cat"]
    scores = scorer.score(images, texts)
    network = CLIPModel.from_pretrained(clip).eval()
    rule = read_preprocessing(clip)
    ids = {"a cat": [1, 2], "red dog": [5, 3], "a red cat": [1, 5, 2]}
    for image, text, score in zip(images, texts, scores, strict=True):
        with torch.no_grad():
            output = network(input_ids=torch.tensor([ids[text]]), pixel_values=rule(as_images([image])))
        assert score == pytest.approx(100 * float((output.image_embeds * output.text_embeds).sum()), abs=1e-3)
    assert scorer.score(images, texts) == scores
    assert len(scorer.weights_hash) == 64
    assert "shorter side" in scorer.resize_rule
    with pytest.raises(RequestError, match="3 pictures and 1 texts"):
        scorer.score(images, ["a"])


def test_siglip_is_read_and_scored_as_transformers_does(siglip: Path) -> None:
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    images, texts = [picture(50, 40, 1), picture(20, 33, 2)], ["a cat", "a red dog"]
    processor, rule = SiglipImageProcessorPil.from_pretrained(siglip), read_preprocessing(siglip)
    pixels = [processor(image, return_tensors="pt").pixel_values for image in images]
    for image, expected in zip(images, pixels, strict=True):
        assert (rule(as_images([image])) - expected).abs().max() < 2.5 / 255 / 0.5  # Pillow rounds between its passes
    network = SiglipModel.from_pretrained(siglip).eval()
    rows = torch.tensor([[1, 2, 4, 4, 4, 4], [1, 5, 3, 4, 4, 4]])  # filled up to the length of training
    with torch.no_grad():
        output = network(input_ids=rows, pixel_values=torch.cat([rule(as_images([image])) for image in images]))
        cosines = (output.logits_per_image - network.logit_bias) / network.logit_scale.exp()
    scorer = load_scorer(str(siglip))
    assert scorer.score(images, texts) == pytest.approx((100 * cosines.diag()).tolist(), abs=1e-3)
    assert scorer.score(images, texts) == pytest.approx(
        [scorer.score([image], [text])[0] for image, text in zip(images, texts, strict=True)], abs=1e-4
    )
    extractor = load_extractor(str(siglip))
    assert extractor.num_features == 16
    assert extractor.resize_rule == "antialiased bicubic to 32 x 32, aspect ratio not kept"
    with torch.no_grad():
        expected = network.get_image_features(pixel_values=pixels[0]).pooler_output
    assert torch.nn.functional.cosine_similarity(extractor(as_images(images[:1])), expected) > 0.999


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_judges_say_what_transformers_says(kind: str, request: pytest.FixtureRequest) -> None:
    """Through the judges' interface: one number a picture, in the order that transformers' own logits have."""
    folder: Path = request.getfixturevalue(kind)
    images = [picture(40 + 5 * seed, 32, seed) for seed in range(5)]
    judge, network = find_judge(str(folder)).load(), AutoModel.from_pretrained(folder).eval()
    pixels = torch.cat([read_preprocessing(folder)(as_images([image])) for image in images])
    ids = torch.tensor([[1, 5, 2] if kind == "clip" else [1, 5, 2, 4, 4, 4]])
    with torch.no_grad():
        logits = network(input_ids=ids, pixel_values=pixels).logits_per_image[:, 0]
        expected = 100 * (logits - getattr(network, "logit_bias", 0)) / network.logit_scale.exp()
    scores = judge(images, ["a red cat"] * 5)
    judge.check("any text")
    assert scores == [(pytest.approx(score, abs=1e-3),) for score in expected.tolist()]
    assert len({round(score, 2) for (score,) in scores}) == 5
    assert sorted(range(5), key=lambda number: scores[number]) == logits.argsort().tolist()
    assert (len(judge.weights_hash), judge([], [])) == (64, [])


def test_vision_towers_are_extractors(clip: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=12, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps(CLIP_FILE | {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}})
    )
    images = torch.rand(2, 3, 50, 40)
    for folder, num_features in ((clip, 8), (tmp_path, 12)):
        extractor = load_extractor(str(folder))
        assert extractor.num_features == num_features
        assert extractor(images).shape == (2, num_features)
    with pytest.raises(CheckpointError, match="without a text tower"):
        load_contrastive_scorer(str(tmp_path))


def test_what_is_no_model_is_said(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no folder with a config\.json"):
        load_extractor(str(tmp_path / "nowhere"))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="is a bert model"):
        load_extractor(str(tmp_path))


OWN_CODE = """
from pathlib import Path
from transformers import CLIPConfig, CLIPModel
Path({ran!r}).write_text("yes")

class OwnConfig(CLIPConfig):
    model_type = "own_clip"

class OwnModel(CLIPModel):
    config_class = OwnConfig
"""


def test_a_scorer_with_code_of_its_own(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs for the one source that is trusted, and for no other."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folder, ran = Path(shutil.copytree(clip, tmp_path / "own")), tmp_path / "ran"
    (folder / "own.py").write_text(OWN_CODE.format(ran=str(ran)))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own_clip", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}}
    (folder / "config.json").write_text(json.dumps(config))
    for trust in (None, str(clip)):
        with pytest.raises(CheckpointError, match=r"run code of its own; if you know who wrote that, name the model"):
            load_scorer(str(folder), hub=HubOptions(trust_remote_code=trust))
        with pytest.raises(CheckpointError, match="run code of its own"):
            load_extractor(str(folder), hub=HubOptions(trust_remote_code=trust))
    assert not ran.exists()
    scorer = load_scorer(str(folder), hub=HubOptions(trust_remote_code=str(folder)))
    assert type(scorer.network).__name__ == "OwnModel"
    images, texts = [picture(40, 32, 1)], ["a cat"]
    assert scorer.score(images, texts) == load_scorer(str(clip)).score(images, texts)
    assert load_extractor(str(folder), hub=HubOptions(trust_remote_code=str(folder))).num_features == 8


def test_weights_of_torch_save_are_read_for_a_scorer_too(clip: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(clip, tmp_path / "old"))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert load_scorer(str(folder)).weights_hash == load_scorer(str(clip)).weights_hash


def test_texts_beyond_the_length_of_training_are_cut(clip: Path) -> None:
    scorer = load_contrastive_scorer(str(clip))  # six tokens
    assert [scorer.cuts(text) for text in ("a a a a a a", "a a a a a a a", "a!a!a!a", "a", "", "x" * 50)] == [
        False, True, True, False, False, False
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (32, 32, "bicubic")),
        ({"size": 40, "crop_size": 24}, (40, 24, "bicubic")),
        ({"size": {"height": 30, "width": 30}, "do_center_crop": False}, (30, None, "bicubic")),
        ({"do_center_crop": None, "resample": 2}, (32, 32, "bilinear")),
        ({"do_center_crop": None, "crop_size": None, "resample": 0}, (32, None, "nearest")),
        ({"resample": None}, (32, 32, "bicubic")),
        ({"size": {"height": 30, "width": 31}}, "31"),
        ({"size": None}, "'size'"),
        ({"resample": 1}, "1"),
        ({"image_mean": 0.5}, "float"),
    ],
)
def test_what_a_preprocessor_file_says(
    tmp_path: Path, changes: dict[str, object], expected: tuple[int, int | None, str] | str
) -> None:
    content = {name: value for name, value in (CLIP_FILE | changes).items() if value is not None}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    if isinstance(expected, str):
        with pytest.raises(CheckpointError, match=rf"does not say how pictures are resized.*{expected}"):
            read_preprocessing(tmp_path)
        return
    found = read_preprocessing(tmp_path)
    assert (found.size, found.crop, found.filter_name) == expected
    assert found.mean == (0.48, 0.46, 0.41)
    assert found.deviation == (0.27, 0.26, 0.28)


def test_rules_are_told_and_small_pictures_lie_in_the_middle() -> None:
    plain = {"mean": (0.0, 0.0, 0.0), "deviation": (1.0, 0.5, 0.25)}
    square = Preprocessing(size=4, crop=None, filter_name="nearest", **plain)
    assert square.rule == "nearest to 4 x 4, aspect ratio not kept"
    images = torch.full((1, 3, 4, 4), 0.5)
    assert square(images)[0, :, 0, 0].tolist() == [0.5, 1.0, 2.0]
    cut = Preprocessing(size=4, crop=7, filter_name="bilinear", **plain)
    assert cut.rule == "antialiased bilinear to 4 pixels of the shorter side, middle 7 x 7 cut out"
    seen = cut(torch.ones(1, 3, 4, 6))[0, 0] > 0  # three rows and one column are missing
    assert seen.any(1).nonzero().flatten().tolist() == [1, 2, 3, 4]
    assert seen.any(0).nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]
    wide = Preprocessing(size=4, crop=4, filter_name="nearest", **plain)(torch.arange(8.0).expand(1, 3, 4, 8))
    assert wide[0, 0, 0].tolist() == [2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("name", ["plain", "a/b/c", "./a", "/a", "~/no such folder", "."])
def test_names_that_are_no_hub_ids_are_not_asked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=r"no folder with a config\.json and no hub id"):
        find_model_folder(name)
