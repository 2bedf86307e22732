"""A tiny detector of transformers: its boxes, thresholds and classes; colours by a scorer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import YolosConfig, YolosForObjectDetection
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

from sanakit.common.errors import CheckpointError, RequestError
from sanakit.scoring.detecting.geneval_rules import SeenObject
from sanakit.scoring.detecting.object_detectors import load_object_detector, require_classes


class RedScorer:
    """Fits texts that name the colour of the middle of the picture."""

    name = weights_hash = resize_rule = "middle"

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
        middles = [image.getpixel((image.width // 2, image.height // 2)) for image in images]
        words = ["red" if middle == (255, 0, 0) else "blue" for middle in middles]
        return [float(word in text) for word, text in zip(words, texts, strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("yolos")
    labels = {0: "cat", 1: "mouse"}
    config = YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=[64, 64],
        num_detection_tokens=3, id2label=labels, label2id={name: number for number, name in labels.items()},
    )  # fmt: skip
    torch.manual_seed(0)
    network = YolosForObjectDetection(config)
    with torch.no_grad():  # certain of "mouse", in boxes around the middle
        network.class_labels_classifier.layers[-1].weight.zero_()
        network.class_labels_classifier.layers[-1].bias.copy_(torch.tensor([0.0, 1.5, 0.0]))
        network.bbox_predictor.layers[-1].weight.zero_()
        network.bbox_predictor.layers[-1].bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0]))
    network.save_pretrained(path)
    YolosImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(path)
    return path


def test_boxes_names_and_thresholds(folder: Path) -> None:
    detector = load_object_detector(str(folder))
    seen = detector.detect(Image.new("RGB", (80, 40)), counting=False)
    assert [thing.name for thing in seen] == ["computer mouse"] * 3  # GenEval's word
    probability = float(torch.tensor([0.0, 1.5, 0.0]).softmax(0)[1])
    for thing in seen:
        assert thing.confidence == pytest.approx(probability, abs=1e-4)
        assert thing.box == pytest.approx((20, 10, 60, 30), abs=0.5)  # centre and sides at a half: sigmoid of 0
    assert 0.3 < probability < 0.9
    assert detector.detect(Image.new("RGB", (80, 40)), counting=True) == []


def test_classes_that_it_does_not_know_are_said_before_scoring(folder: Path) -> None:
    detector = load_object_detector(str(folder))
    require_classes(detector, {"cat", "computer mouse"})
    with pytest.raises(RequestError, match="does not know bench and 0 other"):
        require_classes(detector, {"cat", "bench"})


def test_colours_are_read_in_the_box(folder: Path) -> None:
    image = Image.new("RGB", (80, 40), (0, 0, 255))
    image.paste((255, 0, 0), (20, 10, 60, 30))
    boxes = [(20, 10, 60, 30), (-9, 0, 10, 9)]
    things = [SeenObject(name="cat", confidence=1, box=box) for box in boxes]
    detector = load_object_detector(str(folder), colour_scorer=RedScorer())
    assert detector.colours(image, things) == ["red", "blue"]
    with pytest.raises(RequestError, match="--scorer"):
        load_object_detector(str(folder)).colours(image, things)


def test_other_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="no object detector"):
        load_object_detector(str(tmp_path))
