"""What the tests of this folder share; their helpers are importable: ``from weights import transformer_pair``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def note() -> Callable[..., None]:
    """Check an error against its limit, and print it (``pytest -rP`` shows all): parity is a number."""

    def check(error: float, limit: float, name: str = "relative error") -> None:
        print(f"{name}: {error:.1e}")
        assert error <= limit, f"{name}: {error:.2e} is above {limit:.0e}"

    return check
