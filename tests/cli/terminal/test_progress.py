"""What is told while something goes on: rates, times, bars of stages and pictures, farewells, logs."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sanakit.cli.doctor import STARTER_MEMORY, judge, judge_model
from sanakit.cli.terminal import train_progress
from sanakit.cli.terminal.console import ForgivingStream, plural, readable_seconds
from sanakit.cli.terminal.failures import Interrupted
from sanakit.cli.terminal.machine import Accelerator, Machine, free_disk, is_installed
from sanakit.cli.terminal.output_place import check_folder, check_metadata
from sanakit.cli.terminal.picture_run import PictureRun
from sanakit.cli.terminal.progress import _RateColumn
from sanakit.cli.terminal.train_progress import TrainingProgress, logged_to_stderr, terminated_like_ctrl_c
from sanakit.common.errors import OutputError, RequestError
from sanakit.pipelines.events import ImageDone, Notice, StepDone
from sanakit.training.run.run_state import RunState


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"), (60, "1 min 0 s"), (119.9, "1 min 59 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"),
        (3660, "1 h 1 min"), (48 * 3600 - 1, "47 h 59 min"), (48 * 3600, "2 days"), (71 * 3600, "2 days"),
        (72 * 3600, "3 days"), (float("nan"), "?"),
    ],
)  # fmt: skip
def test_times_at_their_borders(seconds: float, text: str) -> None:
    assert readable_seconds(seconds) == text


def test_numbers_have_their_nouns() -> None:
    assert [plural(number, "picture") for number in (0, 1, 2)] == ["0 pictures", "1 picture", "2 pictures"]


@pytest.mark.parametrize(
    ("speed", "finished", "text"),
    [(7.44, None, "7.4 steps/s"), (1.0, None, "1.0 steps/s"), (0.5, None, "2.0 s/step"), (None, None, ""),
     (9.0, 3.0, "3.0 steps/s")],
)  # fmt: skip
def test_rates(speed: float | None, finished: float | None, text: str) -> None:
    task: Any = SimpleNamespace(speed=speed, finished_speed=finished)
    assert _RateColumn("steps").render(task).plain == text


def test_a_stream_keeps_its_first_error() -> None:
    class Full(io.StringIO):
        number = 27

        def write(self, text: str) -> int:
            Full.number += 1
            raise OSError(Full.number, f"error {Full.number}")

    stream = ForgivingStream(Full())
    assert stream.error is None
    assert stream.write("four") == 4
    stream.write("more")
    assert stream.error == "error 28"
    assert ForgivingStream(None).error == "it is closed"


class Bar:
    """Notes what is shown."""

    told: list[tuple[Any, ...]]

    def __init__(self, text: str, *, unit: str) -> None:
        self.told.append(("begin", text, unit))

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        self.told.append(("end",))

    def update(self, *shown: object) -> None:
        self.told.append(shown)


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    Bar.told = []
    monkeypatch.setattr(train_progress, "ProgressBar", Bar)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    return Bar.told


def test_a_stage_has_one_bar_with_its_steps_and_its_loss(bars: list[tuple[Any, ...]]) -> None:
    with TrainingProgress(quiet=False) as progress:
        progress.on_caching(1, 3, "pictures")
        progress.on_step(RunState(stage_step=5), "first", 0.25)
        progress.on_log({"loss": 0.12345, "step": 5})
        progress.on_step(RunState(stage_step=6), "first", 0.0)
        progress.on_step(RunState(stage_step=7), "first", 1.5)
        progress.on_scoring(2, 4, "measuring")
    assert bars == [
        ("begin", "caching pictures", "samples"), (1, 3, "caching pictures"), ("end",),
        ("begin", "stage first", "steps"), (5, 20, "stage first"), (6, 6, "stage first  loss 0.1235"),
        (7, 7, "stage first  loss 0.1235"), ("end",), ("begin", "measuring", "parts"), (2, 4, "measuring"), ("end",),
    ]  # fmt: skip
    bars.clear()
    with TrainingProgress(quiet=True) as progress:
        progress.on_caching(1, 3, "pictures")
    assert bars == []


def test_lines_are_told_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    line = {"step": 12.0, "loss": 0.5, "learning_rate": 1e-4, "samples_per_second": 7.25, "eta_seconds": 61.0}
    progress = TrainingProgress(quiet=False)
    progress.on_log(line)
    progress.on_log({name: value for name, value in line.items() if name not in ("loss", "eta_seconds")})
    progress.on_notice("a plan")
    TrainingProgress(quiet=True).on_log(line)
    TrainingProgress(quiet=True).on_notice("a plan")
    assert capsys.readouterr().err == (
        "step 12  loss 0.5000  lr 1.00e-04  7.2 samples/s  1 min 1 s left\n"
        "step 12  loss nan  lr 1.00e-04  7.2 samples/s\na plan\n"
    )


def test_sigterm_is_a_ctrl_c_for_as_long_as_this_lasts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminated_like_ctrl_c():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("quiet", "only_warnings", "level"),
    [
        (False, False, logging.INFO),
        (False, True, logging.WARNING),
        (True, False, logging.ERROR),
        (True, True, logging.ERROR),
    ],
)
def test_how_much_of_the_log_is_seen(quiet: bool, only_warnings: bool, level: int) -> None:
    ours = logging.getLogger("sanakit")
    before = ours.level
    with logged_to_stderr(quiet=quiet, only_warnings=only_warnings), warnings.catch_warnings(record=True) as seen:
        assert ours.level == level
        warnings.warn("something", stacklevel=1)
    assert len(seen) == (0 if quiet else 1)
    assert ours.level == before


def listened(run: PictureRun, *events: Any) -> list[tuple[Any, ...]]:
    shown: list[tuple[Any, ...]] = []
    for event in events:
        run._on_event(event, SimpleNamespace(update=lambda *one: shown.append(one)))
    return shown


def step(index: int, image_index: int = 0, num_images: int = 2) -> StepDone:
    return StepDone(index=index, total=3, image_index=image_index, num_images=num_images, latent=torch.zeros(1))


def test_pictures_are_counted_and_what_is_kept_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sanakit.cli.terminal.picture_run.picture_facts", lambda image, file: {"file": str(file)})
    told: list[Path] = []
    run = PictureRun(num_images=2, quiet=False, save=lambda image: Path(f"{image}.png"), on_file=told.append)
    assert run._farewell() == "interrupted before the first step; nothing was written"
    done: Any = ImageDone(image_index=0, num_images=2, image="first")  # type: ignore[arg-type]
    assert listened(run, step(0), step(1), done, step(2), Notice("beware")) == [
        (1, 6, "picture 1 of 2"), (2, 6, "picture 1 of 2"), (3, 6, "picture 2 of 2")
    ]  # fmt: skip
    assert run._farewell() == "interrupted at step 3 of 3; 1 of 2 pictures were finished and are kept"
    assert (run.files, told, run.facts) == ([Path("first.png")], [Path("first.png")], [{"file": "first.png"}])
    assert run.notices == ["beware"]
    assert capsys.readouterr().err == "note: beware\n"
    listened(run, done)
    assert run._label() == "picture 2 of 2"
    quiet = PictureRun(num_images=1, quiet=True)
    assert listened(quiet, step(0, num_images=1), done, Notice("beware")) == [(1, 3, "denoising")]
    assert (quiet.files, quiet.num_done) == ([], 1)
    assert capsys.readouterr().err == ""
    with pytest.raises(Interrupted, match="at step 1 of 3"), quiet.bar():
        raise KeyboardInterrupt


def test_prompts_fit_into_exif_to_the_byte() -> None:
    place: Any = SimpleNamespace(image_format="jpeg")
    check_metadata(place, ["x" * 59_998, "y"])  # with its two quotation marks
    with pytest.raises(RequestError, match="a prompt of 60001 bytes"):
        check_metadata(place, ["y", "x" * 59_999])


def test_room_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1_500_000))
    check_folder(tmp_path, 1_500_000)
    with pytest.raises(OutputError, match=r"has 1\.5 MB free and 2\.0 MB may be needed"):
        check_folder(tmp_path / "new" / "folder", 2_000_000)
    assert free_disk(tmp_path / "not" / "there") == 1_500_000
    monkeypatch.setattr("shutil.disk_usage", lambda folder: (_ for _ in ()).throw(OSError))
    assert free_disk(tmp_path) is None
    assert is_installed("json")
    assert not is_installed("no_such_module")


def machine(memory: int | None, *accelerators: Accelerator, speed: float | None = 100.0) -> Machine:
    return Machine(
        system="", python="", num_cores=1, memory=memory, free_memory=None, free_disk=None, torch="2", torch_problem="",
        accelerators=accelerators, gigaflops=speed,
    )  # fmt: skip


def memory_of(dtype: str, *, eight_bits: bool = False, in_turns: bool = False) -> float:
    return (30.0 if eight_bits else {"float32": 100.0, "bfloat16": 45.0}[dtype]) - (10.0 if in_turns else 0.0)


MODEL: Any = SimpleNamespace(
    name="m", side=64, flops=lambda: 5e12, memory=memory_of,
    dtypes=lambda device: ("bfloat16",) if device != "cpu" else ("float32", "bfloat16"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("memory", "card", "expected"),
    [
        (1000, (45, "cuda"), (True, "cuda", "bfloat16", None)),
        (1000, (44, "cuda"), (True, "cuda", "bfloat16, weights in 8 bits", None)),
        (1000, (29, "cuda"), (True, "cpu", "float32", 50.0)),
        (112, None, (True, "cpu", "float32", 50.0)),  # nine tenths of the memory are for it
        (111, None, (True, "cpu", "bfloat16", 50.0)),
        (50, None, (True, "cpu", "bfloat16", 50.0)),
        (49, None, (True, "cpu", "bfloat16, in turns", 50.0)),
        (39, None, (True, "cpu", "bfloat16, in turns", 50.0)),
        (38, None, (True, "cpu", "bfloat16, weights in 8 bits, in turns", 50.0)),
        (22, None, (False, "cpu", "bfloat16, weights in 8 bits, in turns", None)),
        (None, None, (True, "cpu", "float32", 50.0)),
        (60, (None, "mps"), (True, "mps", "bfloat16", None)),  # shares the memory of the machine
    ],
)
def test_where_a_model_runs(memory: int | None, card: tuple[int | None, str] | None, expected: tuple[Any, ...]) -> None:
    cards = () if card is None else (Accelerator(kind=card[1], name="", memory=card[0]),)
    found = judge_model(machine(memory, *cards), MODEL)
    assert (found.runs, found.device, found.dtype, found.seconds) == expected
    assert judge_model(machine(memory, *cards, speed=None), MODEL).seconds is None


def test_the_starter_needs_its_memory() -> None:
    starters = [judge(machine(memory))[0].runs for memory in (None, STARTER_MEMORY, STARTER_MEMORY - 1)]
    assert starters == [True, True, False]
