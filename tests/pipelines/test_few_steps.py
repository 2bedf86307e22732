"""Pictures of a distilled model: few steps, the guidance scale as an input."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.errors import RequestError
from sanakit.pipelines.picture_file import read_record, write_image
from sanakit.pipelines.plan import plan_pictures
from sanakit.pipelines.replay import replay
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.sampling.guidance import EmbeddedGuidance
from sanakit.sampling.scm import SCM, scm_angles


@pytest.fixture
def pipeline(sprint_bundle: ModelBundle) -> TextToImagePipeline:
    return TextToImagePipeline(sprint_bundle)


def test_what_is_planned(sprint_bundle: ModelBundle) -> None:
    (plan,) = plan_pictures([GenerationRequest(prompt="a cat")], sprint_bundle.card, 32)
    assert plan.solver == SCM(angles=(math.pi / 2, 1.3))
    assert plan.guidance == EmbeddedGuidance(scale=4.5)
    assert None not in plan.request.model_dump().values()
    assert plan_pictures([plan.request], sprint_bundle.card, 32) == [plan]
    (four,) = plan_pictures([GenerationRequest(prompt="a cat", num_inference_steps=4)], sprint_bundle.card, 32)
    assert four.request.angles == scm_angles(4)
    given = {"angles": [1.5708, 1.2, 0.5, 0], "guidance_scale": 3}
    (named,) = plan_pictures([GenerationRequest(prompt="a cat", **given)], sprint_bundle.card, 32)
    assert named.solver == SCM(angles=(math.pi / 2, 1.2, 0.5))
    assert (named.request.num_inference_steps, named.guidance.scale) == (3, 3.0)


def test_one_row_a_step_alone_in_company_and_again(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    rows: list[int] = []
    network = pipeline.bundle.transformer
    hook = network.register_forward_pre_hook(lambda module, given: rows.append(given[0].shape[0]))
    together = pipeline(["a cat", "a much longer prompt"], seed=3, num_images=2, num_inference_steps=4).images
    hook.remove()
    assert rows == [1] * 16
    alone = pipeline("a cat", seed=4, num_inference_steps=4).images[0]
    assert torch.equal(alone.latent, together[1].latent)
    assert not torch.equal(together[0].latent, together[1].latent)
    write_image(tmp_path / "cat.png", alone.image, alone.record)
    assert read_record(tmp_path / "cat.png").request.angles == scm_angles(4)
    assert replay(tmp_path / "cat.png", pipeline).identical
    assert "Steps: 4, Sampler: sCM, CFG scale: 4.5" in alone.record.to_a1111()


def test_with_fixed_rows_it_is_the_same_in_any_company(sprint_bundle: ModelBundle) -> None:
    pipeline = TextToImagePipeline(sprint_bundle, deterministic=True)
    together = pipeline(["a cat", "a much longer prompt"], output="latent").images
    assert torch.equal(pipeline("a cat", output="latent").images[0].latent, together[0].latent)


def test_scale_and_angles_change_the_picture(pipeline: TextToImagePipeline) -> None:
    plain = pipeline("a cat", output="latent").images[0].latent
    for other in ({"guidance_scale": 4.0}, {"angles": (1.57, 1.2)}, {"num_inference_steps": 1}):
        assert not torch.equal(pipeline("a cat", output="latent", **other).images[0].latent, plain)
    same = pipeline("a cat", output="latent", angles=(1.5708, 1.3)).images[0].latent
    assert torch.equal(same, plain)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"negative_prompt": "blurry"}, "negative_prompt has no meaning beside tiny, which reads its guidance scale"),
        ({"guidance_interval": (0.1, 0.9)}, "guidance_interval has no meaning beside tiny, which reads its"),
        ({"pag_scale": 2.0}, "pag_scale has no meaning beside tiny, which reads its guidance scale itself"),
        ({"flow_shift": 3.0}, "flow_shift has no meaning beside the solver scm, whose steps are angles"),
        ({"reuse": 0.2}, "reuse has no meaning beside the solver scm"),
        ({"solver": "flow-dpm"}, "tiny is distilled for the solver scm, and flow-dpm cannot use it; leave it out"),
        ({"angles": (1.5, 1.6)}, r"angles=1.5, 1.6 are not usable; they must fall"),
        ({"angles": (1.5, 1.0), "num_inference_steps": 3}, "num_inference_steps=3 and 2 angles do not fit"),
    ],
)
def test_what_such_a_model_cannot_do_is_one_sentence(
    pipeline: TextToImagePipeline, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        pipeline("a cat", **fields)


def test_on_other_models_the_solver_is_one_of_several(tiny_bundle: ModelBundle) -> None:
    with pytest.raises(RequestError, match="angles has no meaning beside the solver flow-dpm; angles belong to scm"):
        TextToImagePipeline(tiny_bundle)("a cat", angles=(1.5, 1.0))
    made = TextToImagePipeline(tiny_bundle)("a cat", solver="scm", angles=(1.5, 1.0), output="latent").images[0]
    assert made.record.request.guidance_scale == tiny_bundle.card.defaults.guidance_scale
    other = replace(tiny_bundle.card.defaults, flow_shift=5.0)
    again = TextToImagePipeline(replace(tiny_bundle, card=replace(tiny_bundle.card, defaults=other)))
    assert torch.equal(again(made.record.request, output="latent").images[0].latent, made.latent)
