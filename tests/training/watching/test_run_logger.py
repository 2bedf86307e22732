"""What is written of a run while it goes on."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from sanakit.cli.terminal.train_progress import TrainingProgress
from sanakit.common.ranks import Ranks
from sanakit.training.loop import run_stages
from sanakit.training.run.run_config import LogConfig, SampleConfig
from sanakit.training.run.session import Session, Watchers
from sanakit.training.watching.report import read_log
from sanakit.training.watching.run_log import CLOCKS, Window


def test_samples_are_drawn_from_the_average_and_disturb_nothing(tmp_path: Path, toy: ModuleType) -> None:
    drawn: dict[int, Tensor] = {}

    def draw(weights: dict[str, Tensor], step: int) -> Image.Image:
        drawn[step] = weights["0.weight"].clone()
        torch.randn(step)  # its own noise
        return Image.new("RGB", (4, 4))

    plain, model = toy.network(), toy.network()
    config = toy.toy_config(samples=SampleConfig(prompts=("a",), every_steps=5))
    toy.train_in([toy.toy_stage(plain, toy.STAGE)], toy.toy_config(), tmp_path / "plain")
    session = Session(config=config, folder=tmp_path / "drawn")
    run_stages([toy.toy_stage(model, toy.STAGE)], session, draw_samples=draw)
    assert list(drawn) == [5, 10]
    assert torch.equal(drawn[10], model[0].weight)
    assert all(map(torch.equal, plain.parameters(), model.parameters()))
    assert sorted(p.name for p in (tmp_path / "drawn" / "samples").iterdir()) == [
        "step-00000005.png", "step-00000010.png",
    ]  # fmt: skip


def test_a_line_of_the_log_says_where_the_time_goes(tmp_path: Path, toy: ModuleType) -> None:
    lines: list[Any] = []
    config = toy.toy_config(log=LogConfig(steps=5, report_to=()))
    toy.train_in([toy.toy_stage(toy.network(), toy.STAGE)], config, tmp_path, watchers=Watchers(on_log=lines.append))
    assert lines == read_log(tmp_path / "log.jsonl")
    assert [line["step"] for line in lines] == [5, 10]
    assert lines[1].keys() >= CLOCKS | {"loss", "twice", "gradient_norm", "epoch", "samples", "loss/sigma_0.0-0.1"}
    phases = sum(lines[1][f"{name}_seconds"] for name in ("data", "compute", "optimizer", "other"))
    assert lines[1]["samples_per_second"] == pytest.approx(18 / 5 / phases, rel=0.2)  # of 22, one batch has two


def test_the_first_step_has_no_time_left_yet_and_the_last_has_none(
    tmp_path: Path, toy: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toy.toy_config(log=LogConfig(steps=1, report_to=()))
    progress = TrainingProgress(quiet=False)
    toy.train_in([toy.toy_stage(toy.network(), toy.STAGE)], config, tmp_path, watchers=progress.watchers())
    first, *others = read_log(tmp_path / "log.jsonl")
    assert "eta_seconds" not in first
    assert all("eta_seconds" in line for line in others)
    assert others[-1]["eta_seconds"] == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    assert "left" not in told[0]
    assert all(line.endswith(" left") for line in told[1:])


def test_bands_of_noise_count_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two windows as of two processes: the line has the means over both, also after a save and on one process."""
    ranks = [Ranks(0, 2), Ranks(1, 2)]
    windows = [Window(ranks=rank) for rank in ranks]
    windows[0].buckets.add(torch.tensor([0.05, 0.05]), torch.tensor([1.0, 2.0]))
    windows[1].buckets.add(torch.tensor([0.05, 0.95]), torch.tensor([6.0, 4.0]))
    shares: list[list[float]] = []

    def sum_of_both(values: list[float], ranks: Ranks) -> list[float]:
        if ranks.world == 1:
            return values
        shares.append(list(values))
        return [sum(column) for column in zip(*shares, strict=True)]

    monkeypatch.setattr("sanakit.training.watching.run_log.sum_over_ranks", sum_of_both)
    windows[0].to_json()
    saved = windows[1].to_json()
    expected = {"loss/sigma_0.0-0.1": 3.0, "loss/sigma_0.9-1.0": 4.0}
    assert Window(saved).bands() == expected
    shares.clear()
    Window(saved, ranks[0]).bands()
    assert Window(saved, ranks[1]).bands() == expected
