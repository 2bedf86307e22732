"""Checkpoints are whole or not taken, and older ones go by the rule."""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import torch

from sanakit.common.errors import CheckpointError, OutputError
from sanakit.common.ranks import ALONE
from sanakit.training.run.run_config import CheckpointConfig
from sanakit.training.saving.checkpoint import damage, find_checkpoint, load_tensors, read_state, save_checkpoint


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_is_taken(
    tmp_path: Path, toy: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    config = toy.toy_config(checkpoints=CheckpointConfig(minutes=None, steps=2, keep_last=9))
    whole = toy.network()
    toy.train_in([toy.toy_stage(whole, toy.STAGE)], config, tmp_path)
    places = sorted((tmp_path / "checkpoints").iterdir())
    assert [place.name for place in places] == [f"step-{step:08d}" for step in (2, 4, 6, 8, 10)]
    data = next(places[-1].glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:-20])  # truncated
    flipped = bytearray((places[-2] / ".metadata").read_bytes())
    flipped[50] ^= 1
    (places[-2] / ".metadata").write_bytes(flipped)  # one bit
    (places[-3] / "complete.json").unlink()  # killed before it was done
    assert "bytes of" in str(damage(places[-1]))
    assert "has changed" in str(damage(places[-2]))
    with caplog.at_level(logging.WARNING):
        assert find_checkpoint(tmp_path / "checkpoints", ALONE) == places[1]
    assert caplog.text.count("an older one is tried") == 3
    again = toy.network(7)
    toy.train_in([toy.toy_stage(again, toy.STAGE)], config, tmp_path)
    assert all(map(torch.equal, whole.parameters(), again.parameters()))
    assert toy.curve(tmp_path, "step") == list(range(1, 11))


def test_old_checkpoints_are_pruned_by_the_rule(tmp_path: Path, toy: ModuleType) -> None:
    rule = CheckpointConfig(minutes=None, steps=1, keep_last=2, keep_every_steps=4)
    toy.train_in([toy.toy_stage(toy.network(), toy.STAGE)], toy.toy_config(checkpoints=rule), tmp_path)
    names = sorted(place.name for place in (tmp_path / "checkpoints").iterdir())
    assert names == [f"step-{step:08d}" for step in (4, 8, 9, 10)]


def test_the_state_of_a_newer_run_is_called_newer(tmp_path: Path) -> None:
    place = save_checkpoint(tmp_path, {"x": torch.zeros(2)}, {"step": 3}, ranks=ALONE)
    assert read_state(place) == {"format": 1, "step": 3}
    (place / "state.json").write_text('{"format": 2, "steps": [3]}')
    with pytest.raises(CheckpointError, match=r"is of format 2, and this sanakit .* it is newer, not damaged"):
        read_state(place)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 2 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    tensors = {"x": torch.randn(1000)}
    good = save_checkpoint(tmp_path, tensors, {"step": 1}, ranks=ALONE)
    with full_disk(), pytest.raises(OutputError, match=r"the last good one is .*step-00000001") as caught:
        save_checkpoint(tmp_path, tensors, {"step": 2}, ranks=ALONE)
    assert "\n" not in str(caught.value)
    assert [place.name for place in tmp_path.iterdir()] == ["step-00000001"]
    assert damage(good) is None
    read = {"x": torch.empty(1000)}
    load_tensors(good, read, ranks=ALONE)
    assert torch.equal(read["x"], tensors["x"])
    with pytest.raises(CheckpointError, match="lacks 1 tensors of this run, such as y"):
        load_tensors(good, {"y": torch.empty(2)}, ranks=ALONE)


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_anew(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path, ALONE) is None
    for step in (2, 4):
        (save_checkpoint(tmp_path, {"a": torch.ones(3)}, {"step": step}, ranks=ALONE) / "state.json").unlink()
    with pytest.raises(CheckpointError, match="the run cannot go on"):
        find_checkpoint(tmp_path, ALONE)
