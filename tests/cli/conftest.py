"""The command line as a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sanakit.cli.app import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """``run("generate", "a cat", output)`` in this process."""

    def call(*words: object) -> Outcome:
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in a folder of its own, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def short_run(tmp_path: Path, tiny_model: Path) -> dict[str, Any]:
    """Settings of five steps of the tiny model on three pictures."""
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "photos" / f"{index}.png")
        (tmp_path / "photos" / f"{index}.txt").write_text(f"zorbl {index}")
    stage = {"name": "a", "resolutions": [64], "batch_size": 2, "learning_rate": 1e-2, "steps": 5, "warmup_steps": 0}
    return {
        "init": str(tiny_model),
        "data": {"type": "files", "path": str(tmp_path / "photos")},
        "precision": "fp32",
        "ema_decay": 0.5,
        "log": {"steps": 1, "report_to": []},
        "checkpoints": {"minutes": None, "steps": 3, "keep_last": 9},
        "stages": [stage],
    }
