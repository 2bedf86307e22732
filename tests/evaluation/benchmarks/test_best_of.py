"""The gain of choosing, of the tiny model: a judge and a reader that look at brightness."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.pixels import Picture
from sanakit.evaluation.benchmarks import best_of as module
from sanakit.evaluation.benchmarks.best_of import Trial, best_of_report, heldout_prompts
from sanakit.evaluation.worlds.subject import Subject
from sanakit.pipelines.best_of.settings import BestOf
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.sampling.holdout import heldout_pairings


class Eye:
    """Sees how bright a picture is."""

    name, weights_hash, resize_rule = "eye", "none", "none"

    def read(self, picture: Picture) -> float:
        return float(picture.mean())


def bright(images: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
    return [float(np.asarray(image).mean()) for image in images]


def test_choosing_and_dropping_are_measured(tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, eye = TextToImagePipeline(tiny_bundle), Eye()
    prompts = heldout_prompts(Subject(bank=load_bank("tiny")), 2, seed=1)
    assert all(heldout_pairings(asked.truth) for asked in prompts)
    pictures = [pipeline(asked.prompt, seed=3, num_images=3).images for asked in prompts]
    means = [bright([image.picture for image in each], []) for each in pictures]
    bar = max(sorted(each)[1] for each in means)  # which at most one of each prompt is above
    monkeypatch.setattr(module, "judge", lambda scene, read: SimpleNamespace(all_right=read > bar))
    settings, told = BestOf(num=3, dropping=(0.34,)), list[Any]()
    trial = Trial(pipeline=pipeline, judges=[bright], reader=eye, settings=settings, request={"seed": 3})
    report, seconds = best_of_report(
        trial, prompts, seed=0, settings={"model": "tiny"}, on_progress=lambda *facts: told.append(facts)
    )
    right = [[value > bar for value in each] for each in means]
    assert [each["right"] for each in report.details["prompts"]] == right
    assert report["random seed"].value == pytest.approx(np.mean(right))
    assert report["chosen"].value == report["best possible"].value == np.mean([any(each) for each in right])
    assert report["gain"].value == pytest.approx(report["chosen"].value - report["random seed"].value)
    assert report["lost"].value == report["chosen"].value - report["chosen, dropping early"].value
    assert report.settings["share of the steps"] == pytest.approx(7 / 9, abs=1e-4)  # three of one step, two of two more
    assert seconds.keys() == {"all", "dropping early"}
    assert [done for done, _, _ in told] == [1, 2]
    plain, _ = best_of_report(Trial(**{**trial_fields(trial), "settings": BestOf(num=3)}), prompts, seed=0, settings={})
    assert [each.name for each in plain.measurements] == ["random seed", "chosen", "gain", "best possible"]


def trial_fields(trial: Trial) -> dict[str, Any]:
    return {name: getattr(trial, name) for name in ("pipeline", "judges", "reader", "settings", "request")}
