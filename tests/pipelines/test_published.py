"""The published models against their networks, run on the meta device."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.presets import DC_AE_PRESETS, LINEAR_DIT_PRESETS
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.pipelines.decoding.budget import MARGIN
from sanakit.pipelines.decoding.published import _DECODING_FLOPS, PUBLISHED, step_flops


def test_the_arithmetic_is_that_of_a_flop_counter() -> None:
    config = replace(LINEAR_DIT_PRESETS["sana-600m-1024"], num_layers=2)
    with torch.device("meta"), torch.no_grad():
        network = LinearDiT(config)
        condition = network.prepare(TextCondition(torch.empty(1, 300, 2304), torch.ones(1, 300, dtype=torch.bool)))
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 32, 32, 32), torch.empty(1), condition)
        assert step_flops(config, 1024) == pytest.approx(counter.get_total_flops(), rel=0.01)

        autoencoder = DCAutoencoder(DC_AE_PRESETS["dc-ae-f32c32-sana-1.1"])
        with FlopCounterMode(display=False) as counter:
            autoencoder.decode(torch.empty(1, 32, 2, 2))
        assert pytest.approx(counter.get_total_flops(), rel=0.001) == _DECODING_FLOPS * 64**2


def test_larger_pictures_and_wider_dtypes_take_more() -> None:
    assert [model.side for model in PUBLISHED] == [512, 1024, 512, 1024, 2048, 4096, 1024, 1024, 1024, 1024]
    for smaller, larger in pairwise(PUBLISHED):
        if smaller.name == larger.name:
            assert smaller.memory("float32") <= larger.memory("float32")
            assert smaller.flops() < larger.flops()
    assert all(model.memory("bfloat16") < model.memory("float32") for model in PUBLISHED)


def test_sprint_takes_a_twentieth_of_the_denoising() -> None:
    sprint, base = ({model.name: model for model in PUBLISHED}[name] for name in ("SANA-Sprint 1.6B", "SANA-1.5 1.6B"))
    tokens = 32 * 32
    denoising = [model.steps * model.rows * step_flops(model.transformer, tokens) for model in (sprint, base)]
    assert denoising[0] == denoising[1] / 20
    assert sprint.memory("float32") <= base.memory("float32") * 1.01


def test_turns_or_eight_bits_bring_sana_of_1024_px_under_eight_gigabytes() -> None:
    models = [model for model in PUBLISHED if model.name in ("Sana 0.6B", "Sana 1.6B") and model.side <= 1024]
    assert len(models) == 4
    assert max(model.memory("bfloat16", eight_bits=True) for model in models) < 8e9
    assert max(model.memory("bfloat16") for model in models) > 8e9
    assert max(model.memory("bfloat16", in_turns=True) for model in models) < 8e9 / MARGIN
    assert max(model.memory("bfloat16", eight_bits=True, in_turns=True) for model in models) < 4e9


def test_float16_is_for_accelerators_only() -> None:
    assert PUBLISHED[0].dtypes("cuda") == ("float16",)
    assert PUBLISHED[0].dtypes("cpu") == ("float32",)
    assert PUBLISHED[2].dtypes("cuda") == ("bfloat16",)
    assert PUBLISHED[2].dtypes("cpu") == ("float32", "bfloat16")
