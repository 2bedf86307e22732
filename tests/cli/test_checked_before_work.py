"""What is found out before weights are loaded, whatever makes the pictures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sanakit
from sanakit.checkpoints.opening import OpenedModel, open_model
from sanakit.pipelines.check import memory_of_pictures, plan_for_model
from sanakit.pipelines.decoding.memory import denoising_bytes
from sanakit.pipelines.latent_file import SavedLatent, save_latent
from sanakit.pipelines.picture_file import read_record
from sanakit.pipelines.request import GenerationRequest

HASHED = ("transformer", "autoencoder", "text_encoder")


def test_a_model_is_asked_before_its_weights_are_loaded(
    run: Any, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sanakit.checkpoints.opening.load_network", lambda *_, **__: pytest.fail("weights were loaded"))
    outcome = run("generate", "a cat", "--model", tiny_model, "--size", "100x128")
    assert outcome.code == 2
    assert "the nearest is 96" in outcome.err
    outcome = run("generate", "a cat", "--model", tiny_model, "--quantize", "svdquant")
    assert outcome.code == 2
    assert "sanakit quantize MODEL FOLDER --scheme svdquant" in outcome.err
    free: list[int] = []
    monkeypatch.setattr("sanakit.cli.terminal.options.check_folder", lambda _, num_bytes: free.append(num_bytes))
    assert run("generate", "a cat", "--model", tiny_model, "--size", "4096x4096").code == 2
    with pytest.raises(pytest.fail.Exception):
        run("generate", "a cat", "--model", tiny_model, "--num-images", "3", "--upscale", "2")
    assert free == [0, 0, 3 * 4 * 128 * 128 * 4]  # the model's own size


def test_memory_that_is_short_is_told_before_weights_are_read(
    run: Any, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Weights with the text encoder, a step of both rows, decoding in the smallest tiles."""
    model = open_model(tiny_model)
    plan = lambda **fields: plan_for_model(model, [GenerationRequest(prompt="a cat", **fields)])[0]  # noqa: E731
    bundle = model.load()
    sizes = {name: sum(t.numel() for t in part.state_dict().values()) for name, part in bundle.components.items()}
    need = memory_of_pictures(model, plan())
    assert need.weights == {name: size * model.dtypes[name].itemsize for name, size in sizes.items()}
    row = denoising_bytes(bundle.transformer.config, (8, 8), model.dtypes["transformer"])
    assert need.denoising == 2 * row
    assert memory_of_pictures(model, plan(guidance_scale=1.0)).denoising == row
    assert memory_of_pictures(model, plan(), num_pictures=3).denoising == 2 * row  # one at a time on the CPU
    assert memory_of_pictures(model, plan(), fixed_rows=4).denoising == 4 * row
    assert memory_of_pictures(replace(model, device="cuda"), plan(), num_pictures=3).denoising == 6 * row
    assert memory_of_pictures(replace(model, device="cuda"), plan(), num_pictures=30).denoising == 16 * row
    assert (
        memory_of_pictures(replace(model, named={"text_encoder": "org/another"}), plan()).weights["text_encoder"] == 0
    )

    monkeypatch.setattr(OpenedModel, "load", lambda model: pytest.fail("the weights were read"))
    for free, told in ((need.total, False), (need.total - 1, True)):
        monkeypatch.setattr("sanakit.pipelines.decoding.memory.free_memory", lambda free=free: free)
        with pytest.raises(pytest.fail.Exception):
            run("generate", "a cat", "--model", tiny_model)
        assert ("memory is short: tiny takes up to" in caplog.text) == told
        caplog.clear()
        with pytest.raises(pytest.fail.Exception):
            sanakit.load(tiny_model)
        assert ("memory is short: tiny takes up to" in caplog.text) == told


@pytest.fixture
def made(run: Any, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a picture and its latent, the latent of another size, and models that did not make them; from here
    on no weights are to be read."""
    assert run("generate", "a cat", "--model", tiny_model, "--steps", "1", "-o", "a.png", "-q").code == 0
    for name, side in (("latent", 8), ("small", 4)):
        saved = SavedLatent(latent=torch.zeros(1, 4, side, side), record=read_record("a.png"))
        save_latent(tmp_path / f"{name}.safetensors", saved)
    for name, changes in (("large", {"base_size": 400}), ("other", {"hashes": dict.fromkeys(HASHED, "f" * 64)})):
        card = Path(shutil.copytree(tiny_model, tmp_path / name)) / "sanakit.json"
        card.write_text(json.dumps(json.loads(card.read_text()) | changes))
    monkeypatch.setattr(OpenedModel, "load", lambda model: pytest.fail("the weights were read"))
    return tmp_path


GENEVAL = ("eval", "prompts", "--suite", "geneval", "--prompts", "starter", "-o", "out", "--no-score")


@pytest.mark.parametrize(
    ("words", "model", "code", "told"),
    [
        (("generate", "a cat", "--size", "4096x4096"), None, 2, "does not suit this model"),
        (("generate", "a cat", "--dtype", "float16"), None, 2, "float16"),
        ((*GENEVAL, "--size", "4096x4096"), None, 2, "does not suit this model"),
        ((*GENEVAL, "--steps", "0"), None, 2, "--steps"),
        (("eval", "starter", "--sheet", "--steps", "0"), None, 2, "--steps"),
        (("eval", "starter", "--sheet", "--guidance-scale", "nan"), None, 2, "--guidance-scale"),
        (("prune", "out", "--num-layers", "1", "--steps", "0"), None, 2, "--steps"),
        (("replay", "a.png"), "large", 2, "128 does not suit this model"),
        (("decode", "latent.safetensors"), "large", 2, "128 does not suit this model"),
        (("decode", "latent.safetensors"), "other", 1, "latent.safetensors was made with tiny"),
        (("decode", "small.safetensors"), None, 1, "holds a latent of shape (1, 4, 4, 4), and tiny makes (1, 4, 8, 8)"),
    ],
)
def test_what_a_model_cannot_do_is_told_first(
    run: Any, made: Path, tiny_model: Path, words: tuple[str, ...], model: str | None, code: int, told: str
) -> None:
    source = tiny_model if model is None else made / model
    named = (words[0], source, *words[1:]) if words[0] == "prune" else (*words, "--model", source)
    outcome = run(*named)
    assert (outcome.code, outcome.err.count("\n")) == (code, 1)
    assert told in outcome.err


def test_a_negative_prompt_that_is_cut_is_told(run: Any, tiny_model: Path) -> None:
    words = ("generate", "a cat", "--model", tiny_model, "--steps", "1", "--negative-prompt")
    assert "negative" not in run(*words, "dull").err
    assert "the negative prompt has 100 tokens and the model reads 39; its end was cut" in run(*words, "x" * 100).err


def test_a_prompt_has_a_limit(run: Any) -> None:
    outcome = run("generate", "x" * 100_001)
    assert outcome.code == 2
    assert "of at most 100000 characters" in outcome.err
