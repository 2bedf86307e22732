"""What commands say of a model, a check and a list of words, sentence by sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from sanakit.checkpoints.sources.content_hashes import HashCheck
from sanakit.cli import info
from sanakit.cli.info import readable_facts, verdict, verify_model, vocabulary_of
from sanakit.cli.prune import _show, read_calibration_prompts
from sanakit.cli.terminal.failures import exit_code, noted_interrupts, sentence
from sanakit.cli.terminal.recipe_file import apply_override
from sanakit.common.errors import RequestError
from sanakit.worlds.telling.sheet_prompts import SHEET_PROMPTS

ONE, OTHER = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"found": "", "expected": ONE, "fault": "it is damaged"}, "it is damaged"),
        ({"found": "", "expected": ONE}, "not in this source"),
        ({"found": ONE, "expected": ""}, "aaaaaaaaaaaa, and the card has no hash to compare with"),
        ({"found": ONE, "expected": ONE}, "aaaaaaaaaaaa, as the card says"),
        ({"found": ONE, "expected": ONE, "against": "hub"}, "aaaaaaaaaaaa, as the hub says"),
        (
            {"found": ONE, "expected": OTHER},
            "aaaaaaaaaaaa and not bbbbbbbbbbbb: changed or damaged after the card was written",
        ),
        (
            {"found": ONE, "expected": OTHER, "against": "hub"},
            "aaaaaaaaaaaa and not bbbbbbbbbbbb: changed or damaged in the cache; the next picture fetches it again",
        ),
    ],
)
def test_verdicts(facts: dict[str, Any], told: str) -> None:
    assert verdict(HashCheck(name="transformer", **facts)) == told


@pytest.mark.parametrize("wrong", [False, True])
def test_a_check_that_fails_is_an_exit_code(
    wrong: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [HashCheck(name="text_encoder", found=ONE, expected=OTHER if wrong else ONE)]
    monkeypatch.setattr("sanakit.checkpoints.sources.content_hashes.verify_hashes", lambda model, hub: iter(checks))
    for as_json in (False, True):
        if wrong:
            with pytest.raises(typer.Exit) as ended:
                verify_model("m", None, as_json=as_json)  # type: ignore[arg-type]
            assert ended.value.exit_code == 1
        else:
            verify_model("m", None, as_json=as_json)  # type: ignore[arg-type]
    assert capsys.readouterr().out.startswith("text encoder aaaaaaaaaaaa")


def test_the_vocabulary_of_a_model() -> None:
    words = {
        "things": [
            {"name": "cat", "synonyms": [["kitty", "kitties"]], "emoji": ["🐱"], "names": {"de": ["Katze"], "fr": []}},
            {"name": "cup", "names": {"zh": ["杯"]}},
        ],
        "colours": ["red"], "numbers": [], "sizes": {"big": ["big", "huge"]}, "grounds": ["white"],
    }  # fmt: skip
    assert vocabulary_of(words) == {
        "objects": ["cat (kitty, 🐱)", "cup"], "colours": ["red"], "sizes": ["big (big, huge)"],
        "backgrounds": ["white"], "languages": ["de", "fr", "zh"],
    }  # fmt: skip


def test_facts_for_a_person() -> None:
    facts = {
        "source": "starter", "path": "/x", "family": "sana", "name": "m", "base_size": 512, "num_inference_steps": 20,
        "solver": "flow-dpm", "guidance_scale": 4.5, "flow_shift": 3.0, "max_text_tokens": 300, "licence": None,
        "precision": {"transformer": ["bfloat16", "float32"], "reason": ""}, "model_hash": None, "components": [],
        "missing": [], "trained_from": "", "distilled": False, "text_encoder": "t",
    }  # fmt: skip
    told = readable_facts(facts)
    assert told["source"] == "starter (/x)"
    assert told["model"] == "m of the family sana, trained at 512x512 px"
    assert told["use with"].startswith("20 steps of flow-dpm, guidance scale 4.5, flow shift 3")
    assert told["text"] == "the first 299 tokens of a prompt count"
    assert told["precision"] == "the transformer runs in bfloat16 or float32"
    assert told["licence"] == "not stated in its files"
    assert told["hash"].startswith("not computed yet")
    assert set(readable_facts({"source": "a", "path": "b"})) == {"source"}


def test_the_rest_of_a_model_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    part = {"name": "text_encoder", "kind": "Llama", "num_parameters": 1_500_000, "num_bytes": 3_000_000,
            "dtypes": ["bfloat16", "float32"], "layout": "transformers", "quantization": ""}  # fmt: skip
    info.show({"source": "a", "path": "b", "components": [part], "missing": ["text_encoder", "autoencoder"],
               "vocabulary": {"colours": ["red", "blue"]}})  # fmt: skip
    out = capsys.readouterr().out
    assert "taken from elsewhere when it is used: text encoder, autoencoder\n" in out
    assert "\ncolours: red, blue\n" in out
    assert "bfloat16, float32" in out
    assert "1.5" in out


def test_blocks_that_stay_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    _show([0.25, 0.125, 0.5], (0, 2))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines == [["0", "0.2500", "stays"], ["1", "0.1250", "left", "out"], ["2", "0.5000", "stays"]]


def test_calibration_prompts(tmp_path: Path) -> None:
    assert read_calibration_prompts(None) == list(SHEET_PROMPTS)
    (tmp_path / "a.txt").write_text("a dog\n")
    assert read_calibration_prompts(tmp_path / "a.txt") == ["a dog"]
    with pytest.raises(RequestError, match=r"^--prompts .* cannot be read"):
        read_calibration_prompts(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("a.b.0.c=0.001", {"a": {"b": [{"c": 1e-3}, 5]}}),
        ("a.b.1=true", {"a": {"b": [{}, True]}}),
        ("x.y.z=text", {"a": {"b": [{}, 5]}, "x": {"y": {"z": "text"}}}),
        (" a =", {"a": None}),
        ("n=a=b", {"a": {"b": [{}, 5]}, "n": "a=b"}),
    ],
)
def test_settings_that_are_overridden(override: str, found: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"a": {"b": [{}, 5]}}
    apply_override(settings, override)
    assert settings == found


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a", "has no form of name=value"), ("=1", "has no form of name=value"), ("a.=1", "has no form of name=value"),
        ("a.b.2=1", "needs a number from 0 to 1 where it says '2'"), ("a.b.-1=1", "where it says '-1'"),
        ("a.b.x.c=1", "where it says 'x'"), ("a.b.1.c=1", "goes into a.b.1, which is a plain value"),
        ("a.b.1.c.d=1", "goes into a.b.1.c, but what is before that is a plain value"), ("a=[1", "is not YAML"),
    ],
)  # fmt: skip
def test_overrides_that_cannot_be(override: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        apply_override({"a": {"b": [{}, 5]}}, override)
    assert message in str(caught.value)


def test_a_ctrl_c_is_noted_as_long_as_asked() -> None:
    import os
    import signal

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # of a job in the background it is ignored
    try:
        with noted_interrupts() as came:
            assert not came()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            assert came()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_last_sentences() -> None:
    assert sentence(KeyboardInterrupt()) == "interrupted; what was not finished was not written"
    assert sentence(MemoryError()).startswith("this machine has not enough free memory")
    assert sentence(OSError(5, "broken")) == "broken"
    assert sentence(FileNotFoundError(2, "gone")) == "the current folder is not there any more; go to another one"
    assert sentence(RequestError("prompt=1 is and seed=2 is not, pag_scale=3")) == (
        "the prompt 1 is and --seed 2 is not, pag_scale=3"
    )
    assert exit_code(typer.Exit(1)) == 1  # type: ignore[arg-type]
