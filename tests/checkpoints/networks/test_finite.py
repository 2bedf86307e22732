"""Weights that are not numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sanakit.checkpoints.networks.finite import check_finite, is_finite
from sanakit.common.errors import CheckpointError


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_what_is_no_number_is_found_in_every_dtype(dtype: torch.dtype) -> None:
    right = torch.linspace(-3, 3, 1000)
    assert is_finite(right.to(dtype))
    assert not is_finite(right.index_fill(0, torch.tensor([999]), torch.nan).to(dtype))
    assert is_finite(torch.tensor([1, 2]))
    assert is_finite(torch.empty(0))


def test_file_or_dtype_is_blamed() -> None:
    good, bad = torch.tensor([1.0, 2.0]), torch.tensor([1.0, torch.inf])
    check_finite([("a", good)], Path("m"))
    with pytest.raises(CheckpointError, match="m holds values that are not numbers, first in b; the file is damaged"):
        check_finite([("a", good), ("b", bad)], Path("m"), {"a": good, "b": bad})
    large = torch.tensor([1e6])
    with pytest.raises(CheckpointError, match="a in m has values beyond the range of float16; use another dtype"):
        check_finite([("a", large.half())], Path("m"), {"a": large})
