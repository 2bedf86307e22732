from __future__ import annotations

import io
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

import sanakit.cli.app
from sanakit.cli.terminal.failures import Interrupted, check_all, exit_code, one_by_one, sentence
from sanakit.common.errors import CheckpointError, ConfigError, OutputError, RequestError


def test_what_a_library_makes_of_ctrl_c_is_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """torch tells of a file that it cannot read, and so might we."""

    def command(words: list[str], **settings: Any) -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise CheckpointError("the file is damaged") from None
        return 0

    monkeypatch.setattr(sanakit.cli.app.typer.main, "get_command", lambda app: SimpleNamespace(main=command))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # of a job in the background it is ignored
    try:
        assert sanakit.cli.app.main(["info"]) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "sanakit: interrupted; what was not finished was not written\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RequestError("x"), 2), (ConfigError("x"), 2), (CheckpointError("x"), 1), (OutputError("x"), 1),
        (ValueError("x"), 1), (MemoryError(), 1), (KeyboardInterrupt(), 130), (Interrupted("x"), 130),
    ],
)  # fmt: skip
def test_exit_codes(error: BaseException, code: int) -> None:
    assert exit_code(error) == code


NO_MEMORY = "this machine has not enough free memory for that; `sanakit doctor` tells what it can run"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RequestError("num_inference_steps=0 is not usable."), "--steps 0 is not usable."),
        (RequestError("guidance_scale=nan is not usable."), "--guidance-scale nan is not usable."),
        (RequestError("height=1 is"), "--size (height) 1 is"),
        (CheckpointError("two\n  lines"), "two lines"),
        (FileNotFoundError(2, "No such file or directory", "x.png"), "x.png: No such file or directory"),
        (RuntimeError("[enforce fail at x.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"), NO_MEMORY),
        (OSError(12, "Cannot allocate memory"), NO_MEMORY),
        (FileNotFoundError(2, "No such file"), "the current folder is not there any more; go to another one"),
        (ValueError("boom\nmore"), "an unexpected ValueError (boom); run it again with --debug to see where"),
        (ZeroDivisionError(), "an unexpected ZeroDivisionError (no message); run it again with --debug to see where"),
    ],
)
def test_one_sentence_in_the_users_words(error: BaseException, expected: str) -> None:
    assert sentence(error) == expected


def test_a_bug_is_one_sentence_and_a_traceback_only_with_debug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("in a file called \x1b[31mred\u202e")

    monkeypatch.setattr("sanakit.cli.doctor.look_at_machine", broken)
    assert sanakit.cli.app.main(["doctor"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    for words in (["--debug", "doctor"], ["doctor", "--debug"]):
        assert sanakit.cli.app.main(words) == 1
        shown = capsys.readouterr().err
        assert shown.startswith("Traceback")
        assert "in broken" in shown
        assert "ZeroDivisionError: in a file called \\x1b[31mred\\u202e\n" in shown  # no control character as it is
        assert not set("\x1b\u202e") & set(shown)


def test_a_ctrl_c_that_no_command_expects(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def pressed(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sanakit.cli.doctor.look_at_machine", pressed)
    assert sanakit.cli.app.main(["doctor"]) == 130
    assert capsys.readouterr().err == "sanakit: interrupted; what was not finished was not written\n"


@pytest.mark.parametrize(
    ("encoding", "printed"), [("latin-1", rb"\u4e24-\udcff.png"), ("utf-8", "两-".encode() + b"\xff.png")]
)
def test_a_name_that_the_terminal_cannot_show_does_not_fail(
    monkeypatch: pytest.MonkeyPatch, encoding: str, printed: bytes
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", newline="\n")
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("sanakit.cli.app.typer.main.get_command", lambda app: printing("两-\udcff.png"))
    assert sanakit.cli.app.main(["version"]) == 0
    assert terminal.buffer.getvalue() == printed + b"\n"  # type: ignore[attr-defined]


def printing(name: str) -> Any:
    return SimpleNamespace(main=lambda *words, **options: print(name))


def test_of_several_files_a_failure_is_told_and_the_others_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    def work(path: Path) -> dict[str, Any]:
        if path.name != "good":
            raise MemoryError if path.name == "large" else OutputError(f"{path} is bad")
        return {"file": path.name}

    results: list[dict[str, Any]] = []
    one_by_one([Path("bad"), Path("good"), Path("large")], work, results, name="source")
    assert results == [
        {"source": "bad", "error": "bad is bad"}, {"file": "good"}, {"source": "large", "error": NO_MEMORY},
    ]  # fmt: skip
    assert capsys.readouterr().err == f"sanakit: bad is bad\nsanakit: {NO_MEMORY}\n"
    with pytest.raises(typer.Exit) as ended:
        check_all(results)
    assert ended.value.exit_code == 1
    check_all(results[1:2])
    with pytest.raises(OutputError):
        one_by_one([Path("bad")], work, results, name="source")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("length", "shown"), [(160, "x" * 160), (161, "x" * 157 + "...")])
def test_a_long_error_is_cut(length: int, shown: str) -> None:
    assert sentence(ValueError("\n" + "x" * length)).startswith(f"an unexpected ValueError ({shown}); ")


def test_a_nesting_too_deep() -> None:
    assert sentence(RecursionError("maximum")) == "a file or a text is nested too deeply to be read"
