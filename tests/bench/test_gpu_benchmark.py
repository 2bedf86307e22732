"""The benchmark for GPUs, run dry: a tiny network on the CPU, compiled by nothing."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sanakit.bench.floors import Rates

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their own module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def rates(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "measured_rates", lambda dtype, device: Rates(flops=1e9, bytes=1e9))


def tiny(script: Any, **fields: Any) -> Any:
    fields = {"models": ("tiny",), "sizes": (64,), "dtype": "float32", "backend": "eager", "repeats": 1, **fields}
    return script.Run(device="cpu", **fields)


def test_every_way_is_measured_and_agrees(script: Any, tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    step, attention, decode = script.main(tiny(script), file)
    assert list(step.times) == ["ours", "ours compiled", "diffusers", "diffusers compiled"]
    assert list(attention.times) == ["ours linear", "softmax"]
    assert list(decode.times) == ["ours", "diffusers"]
    assert all(error < 1e-4 for row in (step, decode) for error in row.errors.values())
    assert len(step.errors) == 3
    assert "left out" not in step.line()
    content = json.loads(file.read_text())
    assert [row["what"] for row in content["rows"]] == ["step", "attention", "decode"]
    assert all(len(times) == 1 for row in content["rows"] for times in row["seconds"].values())
    assert content["rows"][0]["pictures per second of 20 steps"]["ours"] > 0
    assert content["versions"]["torch"]


def test_what_there_is_no_time_for_is_named(script: Any) -> None:
    step, attention, decode = script.main(tiny(script, seconds=-1.0))
    assert step.left_out == ("ours", "ours compiled", "diffusers", "diffusers compiled")
    assert not step.times
    assert "left out for time: ours, ours compiled, diffusers" in step.line()
    assert (attention.left_out, decode.left_out) == (("ours linear", "softmax"), ("ours", "diffusers"))


def test_a_call_on_a_gpu_takes_several_pictures(script: Any) -> None:
    networks = object.__new__(script.Networks)
    networks.model, networks.run = "tiny", script.Run()
    assert [networks.most_pictures(side) for side in script.SIZES] == [8, 8, 2, 1]
