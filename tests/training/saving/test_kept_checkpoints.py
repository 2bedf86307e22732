"""As many checkpoints stay as a recipe asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sanakit.common.ranks import ALONE
from sanakit.training.run.run_config import CheckpointConfig
from sanakit.training.saving.checkpoint import prune, save_checkpoint


@pytest.mark.parametrize("keep", [1, 3])
def test_the_newest_stay_to_the_number(tmp_path: Path, keep: int) -> None:
    rule = CheckpointConfig(keep_last=keep, keep_every_steps=None)
    for step in (2, 9, 10, 11, 100):
        save_checkpoint(tmp_path, {"x": torch.zeros(1)}, {"step": step}, ranks=ALONE)
    prune(tmp_path, rule)
    left = sorted(int(place.name.removeprefix("step-")) for place in tmp_path.iterdir())
    assert left == [2, 9, 10, 11, 100][-keep:]
