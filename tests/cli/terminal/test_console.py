from __future__ import annotations

import io
import json
import logging
import os
import sys

import pytest

from sanakit.cli.app import main
from sanakit.cli.terminal.console import (
    forgiving_streams,
    log_handler,
    print_json,
    readable_seconds,
    say,
    show_table,
    tell,
)
from sanakit.cli.terminal.failures import report, sentence
from sanakit.common.errors import CheckpointError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.9, "59.9 s"),
        (185, "3 min 5 s"),
        (9600, "2 h 40 min"),
        (366000, "4 days"),
        (float("inf"), "?"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert readable_seconds(seconds) == text


EVIL = "\x1b[31mRED\x1b]0;owned\x07\nfake line\x9b1m\u202egnp.exe"
HARMLESS = "\\x1b[31mRED\\x1b]0;owned\\x07\\nfake line\\x9b1m\\u202egnp.exe"


def test_no_control_character_reaches_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say(EVIL, "犬 👩‍🚀 naïve")
    show_table(("part", EVIL), [(EVIL, "2")], numbers=(EVIL,))
    tell(f"note: {EVIL}")
    report(CheckpointError(f"{EVIL} is damaged"))
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "%s", (EVIL,), None)
    log_handler("%(message)s").emit(record)
    out, err = capsys.readouterr()
    lines = out.split("\n")
    assert lines[:2] == [HARMLESS, "犬 👩‍🚀 naïve"]
    assert r"\x1b[31mRED" in out.partition("naïve")[2]
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & {*out, *err}


def test_json_stays_json_without_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": EVIL})
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": EVIL}
    assert not {"\x1b", "\x9b", "\u202e"} & set(out)


def test_a_text_nested_too_deeply_is_one_sentence() -> None:
    assert sentence(RecursionError("maximum recursion depth exceeded")).startswith("a file or a text is nested too")


def test_libraries_that_quote_files_are_quiet_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    assert main(["--version"]) == 0
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "error"
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "info")
    assert main(["--version"]) == 0
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"


def test_json_stays_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is not UTF-8 comes back as it was; NaN, which JSON has not, is null."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape"))
    content = {"file": "caf\udce9.png", "ü": [1.5, float("nan"), {"worst": -float("inf")}]}
    with forgiving_streams():
        print_json(content)
    found = json.loads(raw.getvalue().decode("utf-8"), parse_constant=pytest.fail)
    assert found == {"file": "caf\udce9.png", "ü": [1.5, None, {"worst": None}]}


def test_a_reader_that_goes_away_is_kept_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Gone())
    monkeypatch.setattr(sys, "stderr", None)
    with forgiving_streams() as stdout:
        print("a", flush=True)
        print("b", flush=True, file=sys.stderr)
        assert stdout.error == "Broken pipe"
    assert sys.stderr is None
