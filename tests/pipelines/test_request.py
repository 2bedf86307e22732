"""What may be asked for, and the sentence that answers everything else."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sanakit.common.errors import RequestError
from sanakit.pipelines.request import GenerationRequest, as_requests


@pytest.mark.parametrize("prompt", ["", "a cat", "🐶 一只猫", "long " * 2000, "line\nbreak", "nul \0"])
def test_any_text_is_a_prompt(prompt: str) -> None:
    assert GenerationRequest(prompt=prompt).prompt == prompt


def test_a_request_survives_json() -> None:
    request = GenerationRequest(prompt="一只猫", height=512, width=768, guidance_interval=(0.1, 0.9), seed=2**63 - 1)
    assert GenerationRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps=0 .* from 1 to 1000"),
        ({"num_inference_steps": 10_001}, "from 1 to 1000"),
        ({"guidance_scale": math.nan}, "guidance_scale=nan .* from 0 to 1000"),
        ({"guidance_scale": math.inf}, "guidance_scale=inf"),
        ({"guidance_scale": "high"}, "guidance_scale='high'"),
        ({"guidance_interval": (0.8, 0.2)}, "two rising noise levels"),
        ({"guidance_interval": (0.8, math.nan)}, "two rising noise levels"),
        ({"pag_scale": -1}, "pag_scale=-1"),
        ({"upscale": 3}, "upscale=3 is not usable; it must be 1 .*, 2 or 4"),
        ({"upscale": "much"}, "upscale='much'"),
        ({"pag_scale": 2.0, "guidance_interval": (0.0, 0.5)}, "cannot be combined"),
        ({"flow_shift": 0}, "flow_shift=0"),
        ({"solver": "ddim"}, "no solver 'ddim'; it must be flow-dpm, flow-euler, scm, flow-sde or flow-cps"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**63}, "seed=9223372036854775808"),
        ({"num_images": 0}, "num_images=0"),
        ({"num_images": 1.5}, "num_images=1.5"),
        ({"height": 8, "width": 512}, "height=8 .* from 32 to 16384"),
        ({"height": 512}, "height=512 and width=None"),
        ({"prompt": 3}, "prompt=3"),
        ({"prompt": "broken \udcff"}, "valid Unicode"),
        ({"prompt": None}, "prompt=None"),
        ({"stpes": 3}, "no setting named 'stpes'; did you mean num_inference_steps|the settings are prompt, "),
        ({"zebra": 3}, "no setting named 'zebra'; the settings are prompt, "),
    ],
)
def test_a_bad_value_gets_one_sentence(fields: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        GenerationRequest(**{"prompt": "a cat", **fields})
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 400


def test_a_missing_prompt_is_named() -> None:
    with pytest.raises(RequestError, match="prompt is missing"):
        GenerationRequest()


def test_none_is_no_negative_prompt() -> None:
    """As other libraries say it."""
    assert as_requests("a", {"negative_prompt": None}) == [GenerationRequest(prompt="a")]


def test_prompts_with_fields_one_request_or_several() -> None:
    request = GenerationRequest(prompt="a cat", seed=3)
    assert as_requests("a cat", {"seed": 3}) == as_requests(request, {}) == as_requests([request], {}) == [request]


def test_nothing_is_ignored_silently() -> None:
    with pytest.raises(RequestError, match="seed would be ignored"):
        as_requests(GenerationRequest(prompt="a cat"), {"seed": 3})
    with pytest.raises(RequestError, match="no request"):
        as_requests([], {})


@pytest.mark.parametrize(
    ("request_", "fields", "words"),
    [
        (None, {}, "^there is no request; give at least one prompt"),
        (5, {}, "^5 is no request"),
        (b"x", {}, "^b'x' is no request"),
        ({"prompt": "x"}, {}, "is no request"),
        ([None], {}, "^None in the list is neither a prompt nor a GenerationRequest"),
        (["x", GenerationRequest(prompt="y")], {"seed": 1}, "^seed would be ignored"),
        ("x", {"prompt": "y"}, "^prompt='y' comes beside 'x'"),
    ],
)
def test_what_is_no_request_is_told_so(request_: Any, fields: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        as_requests(request_, fields)
