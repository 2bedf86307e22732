"""Names of devices, and which dtypes are taken on them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from sanakit.common import devices
from sanakit.common.errors import RequestError


def test_names_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.resolve_device("auto") == "cuda"
    for name in ("cpu", "cpu:0", "cuda", "cuda:1"):
        assert devices.resolve_device(name) == devices.resolve_device(torch.device(name)) == name
    for name in ("cuda:2", "cpu:1", "mps", "tpu", "cuda:x", "cuda:-1", ""):
        with pytest.raises(RequestError, match=f"^device={name} is not here; .* have cpu, cuda:0, cuda:1$"):
            devices.resolve_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.resolve_device("auto") == "cpu"


@pytest.mark.parametrize("has_it", [True, False])
def test_bfloat16_where_it_is_quick(monkeypatch: pytest.MonkeyPatch, has_it: bool) -> None:
    monkeypatch.setattr(devices, "_cpu_has_it", lambda: has_it)
    assert devices.quick_dtype("cpu") == (torch.bfloat16 if has_it else torch.float32)
    assert devices.quick_dtype("cuda") == torch.bfloat16
    assert devices.quick_autocast("cpu")._enabled is has_it
    assert devices.quick_autocast("cpu", enabled=False)._enabled is False


def test_sums_are_kept_in_float32_or_wider() -> None:
    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    assert [devices.widened(torch.zeros(1, dtype=kind)).dtype for kind in kinds] == [torch.float32] * 3 + [
        torch.float64
    ]


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 16),
        ({"cpu.max": "max 100000"}, 16),
        ({"cpu.max": "200000 100000"}, 2),  # docker --cpus 2
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "10000 100000"}, 1),
        ({"cpu.max": "3200000 100000"}, 16),
        ({"cpu.max": "nonsense"}, 16),
        ({"job/cpu.max": "300000 100000", "job/step/cpu.max": "max 100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/old/cpu.cfs_quota_us": "50000", "cpu/old/cpu.cfs_period_us": "10000"}, 5),
        ({"cpu/old/cpu.cfs_quota_us": "50000", "cpu/old/cpu.cfs_period_us": "0"}, 16),
    ],
)
def test_cores_are_those_that_a_container_or_job_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(devices, "allowed_cores", lambda: 16)
    for name, content in {"self/cgroup": "4:cpu,cpuacct:/old\n0::/job/step\n", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert devices.num_cores(tmp_path, tmp_path) == cores


@pytest.mark.parametrize(("cores", "own", "threads"), [(2, None, "2"), (2, "7", "7"), (16, None, None), (16, "7", "7")])
def test_as_many_threads_as_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, cores: int, own: str | None, threads: str | None
) -> None:
    monkeypatch.setattr(devices, "allowed_cores", lambda: 16)
    monkeypatch.setattr(devices, "num_cores", lambda: cores)
    monkeypatch.setattr(devices, "sys", type("sys", (), {"modules": {}}))
    monkeypatch.setattr(os, "environ", {} if own is None else {"OMP_NUM_THREADS": own})
    devices.prepare_threads()
    assert os.environ.get("OMP_NUM_THREADS") == threads
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
