"""Trackers: what TensorBoard reads back, and what Weights & Biases is told."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from sanakit.common.config import to_mapping
from sanakit.common.errors import MissingExtraError, OutputError
from sanakit.training.run.run_config import LogConfig, RunConfig
from sanakit.training.watching.trackers import build_trackers


def reports_to(*kinds: Any) -> RunConfig:
    return RunConfig(seed=3, log=LogConfig(report_to=kinds))


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()


def test_tensorboard_reads_back_what_was_written(tmp_path: Path) -> None:
    (tracker,) = build_trackers(reports_to("tensorboard"), tmp_path)
    tracker.scalars({"loss": 0.5, "loss/sigma_0.0-0.1": 2.0}, 20)
    tracker.scalars({"loss": 0.25}, 40)
    tracker.pictures("samples", Image.new("RGB", (6, 4), (10, 200, 30)), 40)
    tracker.close()
    events = read(tmp_path / "tensorboard")
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(20, 0.5), (40, 0.25)]
    assert [e.value for e in events.Scalars("loss/sigma_0.0-0.1")] == [2.0]
    (picture,) = events.Images("samples")
    assert (picture.step, picture.width, picture.height) == (40, 6, 4)
    assert Image.open(io.BytesIO(picture.encoded_image_string)).getpixel((0, 0)) == (10, 200, 30)


def test_a_continued_run_shows_every_step_once(tmp_path: Path) -> None:
    """The first sitting dies after step 30 and the second continues from a checkpoint at step 20."""
    for value, steps in ((1.0, (10, 20, 30)), (2.0, (30, 40))):
        (tracker,) = build_trackers(reports_to("tensorboard"), tmp_path)
        for step in steps:
            tracker.scalars({"loss": value}, step)
        tracker.close()
    found = [(e.step, e.value) for e in read(tmp_path / "tensorboard").Scalars("loss")]
    assert found == [(10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0)]


def test_events_are_written_at_once_and_in_no_thread_of_their_own(tmp_path: Path) -> None:
    """So a full disk is told where it is met."""
    threads = threading.active_count()
    (tracker,) = build_trackers(reports_to("tensorboard"), tmp_path)
    tracker.scalars({"loss": 0.5}, 20)
    assert threading.active_count() == threads
    assert [e.value for e in read(tmp_path / "tensorboard").Scalars("loss")] == [0.5]
    tracker.close()


def test_a_run_without_a_point_leaves_no_events(tmp_path: Path) -> None:
    for tracker in build_trackers(reports_to("tensorboard", "tensorboard"), tmp_path):
        tracker.close()
    assert not list(tmp_path.rglob("events*"))


def test_a_place_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    (tracker,) = build_trackers(reports_to("tensorboard"), tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        tracker.scalars({"loss": 1.0}, 1)


def test_wandb_continues_the_run_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[dict[str, Any]] = []
    told: list[tuple[dict[str, Any], int]] = []
    fake = ModuleType("wandb")
    run = SimpleNamespace(log=lambda values, step: told.append((values, step)), finish=lambda: told.append(({}, -1)))
    fake.init = lambda **settings: began.append(settings) or run  # type: ignore[attr-defined]
    fake.Image = lambda grid: ("picture", grid.size)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for _ in range(2):
        (tracker,) = build_trackers(reports_to("wandb"), tmp_path / "run")
        tracker.scalars({"loss": 0.5}, 7)
        tracker.pictures("samples", Image.new("RGB", (2, 3)), 7)
        tracker.close()
    assert told[:3] == [({"loss": 0.5}, 7), ({"samples": ("picture", (2, 3))}, 7), ({}, -1)]
    assert began[0] == began[1]
    assert began[0]["resume"] == "allow"
    assert began[0]["name"] == "run"
    assert began[0]["config"] == to_mapping(reports_to("wandb"))
    build_trackers(reports_to("wandb"), tmp_path / "other")
    assert began[2]["id"] != began[0]["id"]


@pytest.mark.parametrize(
    ("kind", "module", "advice"),
    [
        ("wandb", "wandb", "pip install wandb"),
        ("tensorboard", "tensorboard.compat.proto.event_pb2", r"sanakit\[train\]"),
    ],
)
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, module: str, advice: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=advice):
        build_trackers(reports_to(kind), tmp_path)
