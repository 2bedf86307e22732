"""The running average against its recursion."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sanakit.training.step.ema import Ema


def test_the_average_follows_its_recursion() -> None:
    """Decay ``(1 + n) / (10 + n)`` until the given one is smaller: from step 8 on, with 0.5."""
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(1.0)
    ema, expected = Ema(module, 0.5), 1.0
    for step in range(12):
        module.weight.data.fill_(float(step**2))
        ema.update(module)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step**2
        assert float(ema.shadow["weight"]) == pytest.approx(expected, rel=1e-5)
    assert module.weight.item() == 121
    ema.copy_to(module)
    assert module.weight.item() == pytest.approx(expected, rel=1e-5)


def test_a_constant_stays() -> None:
    module = nn.Linear(3, 2)
    ema = Ema(module, 0.999)
    for _ in range(5):
        ema.update(module)
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(ema.shadow[name], parameter.detach())


def test_half_precision_weights_are_averaged_in_float32() -> None:
    module = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    module.weight.data.fill_(1.0)
    ema = Ema(module, 0.999)
    ema.step = 100_000
    module.weight.data.fill_(1.0078125)  # the next bfloat16
    for _ in range(10):
        ema.update(module)
    assert float(ema.shadow["weight"]) == pytest.approx(1 + 0.0078125 * (1 - 0.999**10), rel=1e-6)
