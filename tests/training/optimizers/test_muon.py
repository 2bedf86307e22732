"""Muon is torch's own to the bit, where torch's can run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sanakit.common.errors import ConfigError
from sanakit.training.optimizers import muon
from sanakit.training.optimizers.config import MuonConfig
from sanakit.training.optimizers.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(33, 7), (7, 19), (8, 8), (1, 5)])
def test_steps_are_torchs(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "has_quick_bfloat16", lambda device: True)  # in float32 they would only be close
    g = torch.Generator().manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(shape)) for _ in range(2))
    optimizers = (
        Muon([ours], MuonConfig(weight_decay=0.1, momentum=0.9), learning_rate=0.01),
        torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(4):
        ours.grad = torch.randn(shape, generator=g)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("shape", [(20, 6), (6, 20)])
def test_singular_values_are_near_one(shape: tuple[int, int]) -> None:
    g = torch.Generator().manual_seed(0)
    matrix = torch.randn(shape, generator=g) * 1e3
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalize(matrix).float()
    mixed = u.mT @ found @ vh.mT  # diagonal if directions are kept
    assert mixed.diagonal().min() > 0.6
    assert mixed.diagonal().max() < 1.3
    torch.testing.assert_close(mixed - mixed.diagonal().diag(), torch.zeros_like(mixed), rtol=0, atol=0.05)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ConfigError, match="not \\(3,\\)"):
        Muon([nn.Parameter(torch.zeros(3))], MuonConfig(), learning_rate=0.1)


def test_float32_where_bfloat16_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.randn(24, 40, generator=torch.Generator().manual_seed(0))
    found = {}
    for quick in (True, False):
        monkeypatch.setattr(muon, "has_quick_bfloat16", lambda device, quick=quick: quick)
        found[quick] = orthogonalize(matrix)
    assert found[True].dtype == torch.bfloat16
    assert found[False].dtype == torch.float32
    torch.testing.assert_close(found[True].float(), found[False], rtol=0, atol=0.03)
