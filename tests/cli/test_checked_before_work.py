"""What ``generate`` finds out before it loads weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_a_model_is_asked_before_its_weights_are_loaded(
    run: Any, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sanakit.checkpoints.bundle.load_network", lambda *_, **__: pytest.fail("weights were loaded"))
    outcome = run("generate", "a cat", "--model", tiny_model, "--size", "100x128")
    assert outcome.code == 2
    assert "the nearest is 96" in outcome.err
    free: list[int] = []
    monkeypatch.setattr("sanakit.cli.terminal.options.check_folder", lambda _, num_bytes: free.append(num_bytes))
    assert run("generate", "a cat", "--model", tiny_model, "--size", "4096x4096").code == 2
    with pytest.raises(pytest.fail.Exception):
        run("generate", "a cat", "--model", tiny_model, "--num-images", "3", "--upscale", "2")
    assert free == [0, 0, 3 * 4 * 128 * 128 * 4]  # the model's own size


def test_a_negative_prompt_that_is_cut_is_told(run: Any, tiny_model: Path) -> None:
    words = ("generate", "a cat", "--model", tiny_model, "--steps", "1", "--negative-prompt")
    assert "negative" not in run(*words, "dull").err
    assert "the negative prompt has 100 tokens and the model reads 39; its end was cut" in run(*words, "x" * 100).err


def test_a_prompt_has_a_limit(run: Any) -> None:
    outcome = run("generate", "x" * 100_001)
    assert outcome.code == 2
    assert "of at most 100000 characters" in outcome.err
