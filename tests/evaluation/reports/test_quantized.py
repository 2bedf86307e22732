"""Distances of pictures in fewer bits, and which layers are left wider."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.cli.quantize import parse_budget
from sanakit.common.errors import RequestError
from sanakit.evaluation.reports.mixed_precision import LADDER, best_steps, find_mixture, layer_errors, narrowest_within
from sanakit.evaluation.reports.quantized import Drawn, distances, draw_each, signal_to_noise
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.quantization.quantize import quantization_of


def drawn(level: int, latent: float) -> Drawn:
    return Drawn(picture=np.full((8, 8, 3), level, dtype=np.uint8), latent=torch.full((1, 2, 2, 2), latent))


def test_distances_in_decibels() -> None:
    plain = [drawn(100, 1.0), drawn(50, 1.0)]
    found = {each.name: each.value for each in distances(plain, [drawn(101, 1.1), drawn(50, 1.0)])}
    assert found["picture"] == pytest.approx((48.1308 + 100) / 2, abs=1e-3)
    assert found["worst picture"] == pytest.approx(48.1308, abs=1e-3)
    assert found["latent"] == pytest.approx((20 + 100) / 2, abs=1e-4)
    assert signal_to_noise(torch.ones(4), torch.zeros(4)) == pytest.approx(0)


def test_the_steps_that_save_most_for_a_byte_come_first_and_a_layer_keeps_its_order() -> None:
    errors = {"small": [0.5, 0.1, 0.0], "large": [0.5, 0.1, 0.0], "calm": [0.01, 0.005, 0.0]}
    shapes = {"small": (64, 64), "large": (64, 640), "calm": (64, 64)}
    found = [(step.layer, step.scheme.name) for step in best_steps(errors, shapes)]
    assert found[:2] == [("small", "int8-weight"), ("small", "bf16")]
    assert len(found) == 6
    assert found.index(("large", "int8-weight")) < found.index(("large", "bf16"))
    assert found.index(("calm", "int8-weight")) > found.index(("small", "bf16"))


def test_a_layer_is_measured_alone_and_put_back() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64)).requires_grad_(False)
    layers = list(network)
    found = layer_errors(network, [((torch.randn(5, 64),), {})], ["0", "1"])
    assert [network[0], network[1]] == layers
    for errors in found.values():
        assert 1e-3 < errors[0] < 0.1
        assert errors[1] < 1e-3
        assert errors[2] < 1e-4
    assert len(LADDER) == 3


def test_a_mixture_keeps_to_a_size_and_to_an_error(tiny_bundle: ModelBundle) -> None:
    pipeline = TextToImagePipeline(tiny_bundle)
    request = GenerationRequest(prompt="two", seed=0, num_inference_steps=2, width=64, height=64)
    mixture = find_mixture(pipeline, request)
    assert not quantization_of(tiny_bundle.transformer)
    sizes = [mixture.bytes_after(count) for count in range(len(mixture.steps) + 1)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 2 * sum(each.numel() for each in tiny_bundle.transformer.parameters())
    assert mixture.within(sizes[3]) == mixture.widened(3)
    assert mixture.within(sizes[-1] * 2) == mixture.widened(len(mixture.steps))
    with pytest.raises(RequestError, match="more than a budget"):
        mixture.within(sizes[0] - 1)
    told: list[str] = []
    chosen = narrowest_within(pipeline, mixture, [request], 5.0, told.append)
    assert set(chosen.layers) == set(mixture.lowest.layers)
    assert told
    plain = draw_each(pipeline, [request])
    assert distances(plain, plain)[0].value == 100
    with pytest.raises(RequestError, match="no mixture keeps pictures within 1000 dB"):
        narrowest_within(pipeline, mixture, [request], 1000.0)


def test_budgets_as_people_write_them() -> None:
    assert parse_budget("6MB") == (6e6, "bytes")
    assert parse_budget("1.2 GB") == (1.2e9, "bytes")
    assert parse_budget("30dB") == (30, "dB")
    assert parse_budget("6mib ") == (6 * 2**20, "bytes")
    assert parse_budget(" 30 db") == (30, "dB")
    for text in ("", "0", "-3MB", "0dB", "1.2.3MB", "1e9 GB", "nan dB", "6MB30dB"):
        with pytest.raises(RequestError, match="no size such as 6MB"):
            parse_budget(text)
