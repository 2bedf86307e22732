"""A run on an accelerator against the same run on the CPU."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.training.loop import run_stages
from sanakit.training.optimizers.config import AdamWConfig
from sanakit.training.run.session import Session
from sanakit.training.run.stage import StageConfig

DEVICE = "cuda"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def run(toy: ModuleType, folder: Path, device: str, *, precision: str, steps: int = 6) -> list[float]:
    """The loss of every step; a folder that is there is continued."""
    torch.manual_seed(3)
    config = LinearDiTConfig(
        hidden_size=32, num_layers=2, head_dim=16, cross_head_dim=16, in_channels=2, out_channels=2, caption_channels=4
    )
    model = LinearDiT(config).to(device)
    stage = toy.dit_stage(
        model,
        StageConfig(name="only", batch_size=4, learning_rate=1e-3, steps=steps, warmup_steps=1, decay=0.0),
        optimizer=AdamWConfig(),
        noiseless=True,
    )
    settings = toy.toy_config(precision=precision)
    run_stages([stage], Session(config=settings, folder=folder, device=device))
    return toy.curve(folder, "loss")


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16", 5e-2)])
def test_the_loss_is_that_of_the_cpu(toy: ModuleType, tmp_path: Path, precision: str, tolerance: float) -> None:
    """Products of float32 may be rounded to TF32; bfloat16 has eight bits."""
    there = run(toy, tmp_path / "there", DEVICE, precision=precision)
    here = run(toy, tmp_path / "here", "cpu", precision="fp32")
    assert there == pytest.approx(here, rel=tolerance)


def test_a_run_continues(toy: ModuleType, tmp_path: Path) -> None:
    whole = run(toy, tmp_path / "whole", DEVICE, precision="fp32")
    run(toy, tmp_path / "two", DEVICE, precision="fp32", steps=3)
    assert run(toy, tmp_path / "two", DEVICE, precision="fp32") == pytest.approx(whole, rel=1e-4)
