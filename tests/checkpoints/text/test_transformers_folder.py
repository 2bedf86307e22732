"""A Python in which transformers cannot work is told before a user's file is blamed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sanakit.checkpoints.text import text_encoder_folder, transformers_folder
from sanakit.checkpoints.text.text_encoder_folder import load_text_encoder
from sanakit.common.errors import MissingExtraError, SanakitError


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A text encoder of a form that transformers runs."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    (tmp_path / "model.safetensors").write_bytes(b"not looked at")
    (tmp_path / "tokenizer.json").write_text("{}")
    return tmp_path


def test_a_core_installation_says_what_to_install(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"tokenizer in .*, which is not stored as it is used, needs transform"):
        load_text_encoder(foreign)
    monkeypatch.setattr(text_encoder_folder, "load_tokenizer", lambda *args, **options: None)
    with pytest.raises(MissingExtraError, match=r"another form than Llama, Gemma 2 and Gemma 3 needs .*'sanakit\[tra"):
        load_text_encoder(foreign)


def test_docstrings_are_needed(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers_folder.check_transformers()
    monkeypatch.setattr(transformers_folder, "sys", SimpleNamespace(flags=SimpleNamespace(optimize=2)))
    with pytest.raises(SanakitError, match="or PYTHONOPTIMIZE=2; leave that out, or set PYTHONOPTIMIZE=1"):
        load_text_encoder(foreign)


def test_a_library_that_cannot_be_imported_is_told(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a torchvision of another torch lies beside it."""
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace())
    with pytest.raises(SanakitError, match=r"transformers, which runs .*cannot import name 'AutoModel'.*; pip install"):
        load_text_encoder(foreign)
