"""A toy bank for the tests of worlds, written once."""

from __future__ import annotations

import pytest

from sanakit.worlds.banks.bank import Bank

from .toy_bank import write_toy_bank


@pytest.fixture(scope="session")
def toy_bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return write_toy_bank(tmp_path_factory.mktemp("banks") / "toy")
