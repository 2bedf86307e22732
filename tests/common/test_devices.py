"""Names of devices, and which dtypes are taken on them."""

from __future__ import annotations

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
