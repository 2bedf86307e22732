"""A Python in which transformers cannot work is told before a user's file is blamed."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from sanakit.checkpoints.networks import library
from sanakit.checkpoints.opening import load_bundle
from sanakit.common.errors import SanakitError


def test_docstrings_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    library.check_transformers()
    monkeypatch.setattr(library, "sys", SimpleNamespace(flags=SimpleNamespace(optimize=2)))
    with pytest.raises(SanakitError, match="or PYTHONOPTIMIZE=2; leave that out, or set PYTHONOPTIMIZE=1"):
        load_bundle("org/never-asked-for")


def test_a_library_that_cannot_be_imported_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a torchvision of another torch lies beside it."""
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace())
    with pytest.raises(SanakitError, match=r"transformers, which runs .*cannot import name 'AutoModel'.*; pip install"):
        load_bundle("org/never-asked-for")
