"""What the doctor finds, thing by thing, and how it shows a machine."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from sanakit.cli import doctor
from sanakit.cli.terminal.machine import Accelerator, Machine
from sanakit.common.errors import OutputError
from sanakit.kernels.int8_linear.products import Products

HERE = Machine(
    system="Linux x86_64", python="3.12", num_cores=4, memory=8_000_000_000, free_memory=None, free_disk=650_000_000,
    torch="2.9", torch_problem="", accelerators=(), gigaflops=123.4,
)  # fmt: skip


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(doctor, "is_installed", lambda name: name in names)


def told(findings: Any) -> list[tuple[str, str]]:
    return [(each.severity, each.text) for each in findings]


def test_about_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    gpu = Accelerator(kind="cuda", name="card", memory=1)
    assert told(doctor._about_torch(replace(HERE, accelerators=(gpu,)))) == [
        ("remark", "Triton is not installed; torch does the work of its kernels on the GPU, in more time")
    ]
    installed(monkeypatch, "triton")
    assert told(doctor._about_torch(replace(HERE, accelerators=(gpu,)))) == []
    ((severity, text),) = told(doctor._about_torch(HERE))
    assert (severity, text.split(";")[0]) == ("remark", "no GPU that this torch can use")
    broken = replace(HERE, torch=None, torch_problem="OSError: libcudart")
    assert told(doctor._about_torch(broken)) == [("problem", "torch cannot be imported (OSError: libcudart)")]
    installed(monkeypatch, "torchvision")
    assert [severity for severity, _ in told(doctor._about_torch(broken))] == ["problem", "remark"]


def test_about_native_kernels() -> None:
    assert told(doctor._about_native_kernels(replace(HERE, native_kernels="avx2"))) == []
    assert told(doctor._about_native_kernels(replace(HERE, torch=None))) == []
    ((severity, text),) = told(doctor._about_native_kernels(replace(HERE, native_reason="it was not built")))
    assert severity == "remark"
    assert text == "torch does the work of the native kernels, in more time: it was not built"
    assert doctor._facts(replace(HERE, native_kernels="avx2"))["kernels"] == "native, avx2"


def test_memory_that_the_starter_needs() -> None:
    broken = replace(HERE, torch=None)
    for memory in (None, 1_300_000_000):
        assert told(doctor._about_the_starter(replace(broken, memory=memory), Path())) == []
    assert told(doctor._about_the_starter(replace(broken, memory=1_200_000_000), Path())) == [
        ("problem", "1.2 GB of memory is less than the 1.3 GB of the starter")
    ]
    assert told(doctor._about_the_starter(replace(broken, free_memory=1_300_000_000), Path())) == []
    assert told(doctor._about_the_starter(replace(broken, free_memory=1_200_000_000), Path())) == [
        ("remark", "1.2 GB of memory are free, and the starter takes up to 1.3 GB")
    ]


def test_about_fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}" if name == "uv" else None)
    monkeypatch.setattr(doctor, "check_folder", lambda folder, room: None)
    for free in (None, 650_000_000):
        assert told(doctor._about_fetching(replace(HERE, free_disk=free), tmp_path)) == []
    ((severity, text),) = told(doctor._about_fetching(replace(HERE, free_disk=649_000_000), tmp_path))
    assert (severity, text) == (
        "problem",
        f"{tmp_path} has 649 MB free; making the language model ready takes 650 MB once",
    )
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    ((severity, text),) = told(doctor._about_fetching(HERE, tmp_path))
    assert severity == "problem"
    assert text.startswith("this environment has neither pip nor uv")
    installed(monkeypatch, "pip")
    assert told(doctor._about_fetching(HERE, tmp_path)) == []

    def refuse(folder: Path, room: int) -> None:
        raise OutputError("no") from OSError("read-only")

    monkeypatch.setattr(doctor, "check_folder", refuse)
    assert told(doctor._about_fetching(HERE, tmp_path)) == [
        ("problem", f"the starter's language model cannot be written into {tmp_path}")
    ]
    assert told(doctor._about_this_folder()) == [
        ("problem", "pictures cannot be written into the current folder (read-only)")
    ]


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({}, []),
        ({"HF_HUB_OFFLINE": "0"}, []),
        ({"HF_HUB_OFFLINE": ""}, []),
        ({"HF_HUB_OFFLINE": "1"}, ["HF_HUB_OFFLINE"]),
        ({"TRANSFORMERS_OFFLINE": "yes"}, ["TRANSFORMERS_OFFLINE"]),
        ({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}, ["HF_HUB_OFFLINE"]),
    ],
)
def test_about_the_hub(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], names: list[str]) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setitem(os.environ, name, value)
    found = told(doctor._about_the_hub())
    assert [(severity, text.split()[0]) for severity, text in found] == [("remark", name) for name in names]


def test_about_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "resvg_py", "scipy", "transformers", *doctor.NOT_USED)
    (found,) = doctor._about_extras()
    assert found.severity == "remark"
    assert found.text.startswith("matplotlib is not installed; it draws the curves")
    assert found.advice == 'only for that: pip install "sanakit[train]"'
    installed(monkeypatch, "resvg_py", "scipy", "matplotlib", "transformers")
    (found,) = doctor._about_extras()
    assert found.text == "xformers, flash_attn, bitsandbytes: not installed, and sanakit never uses them"


def test_problems_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    found = doctor.find(replace(HERE, torch=None, memory=1), Path())
    severities = [each.severity for each in found]
    assert severities == sorted(severities)
    assert severities[:2] == ["problem", "problem"]
    assert "remark" in severities


def test_what_a_machine_and_its_models_are_shown_as(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch)
    gpus = Accelerator(kind="cuda", name="card", memory=24_000_000_000), Accelerator(kind="mps", name="M", memory=None)
    facts = doctor._facts(replace(HERE, accelerators=gpus))
    assert facts.pop("int8").removesuffix(" (layers of the scheme int8)") in get_args(Products)
    assert facts == {
        "system": "Linux x86_64, Python 3.12", "cores": "4 (123 GFLOP/s in float32)",
        "memory": "8.0 GB, unknown of it free", "disk": "650 MB free for the cache", "torch": "2.9",
        "kernels": "torch's alone", "Triton": "not installed (kernels on a GPU are torch's alone)",
        "GPU": "card (24 GB), M (shared memory)",
    }  # fmt: skip
    installed(monkeypatch, "triton")
    assert doctor._facts(HERE)["Triton"] == "installed"
    bare = doctor._facts(replace(HERE, gigaflops=None, torch=None, torch_problem="gone"))
    assert (bare["cores"], bare["torch"], bare["GPU"]) == ("4", "missing (gone)", "none")
    starter = doctor.Ability("starter", 128, True, True, device="cpu", dtype="float32", memory=1.3e9)
    other = replace(starter, model="m", runs=False, fits=False)
    assert [doctor._duration(each) for each in (starter, other, replace(other, seconds=61.0))] == [
        "seconds", "-", "1 min 1 s",
    ]  # fmt: skip
    crowded = replace(starter, model="c", runs=False)
    doctor.show(HERE, [starter, other, crowded], [doctor.Finding("remark", "a remark", "nothing")])
    shown = capsys.readouterr().out
    assert "  - a remark\n      nothing\n  Ready: " in shown
    assert [line.split()[:4] for line in shown.splitlines() if " px" in line] == [
        ["starter", "128", "px", "yes"], ["m", "128", "px", "no"], ["c", "128", "px", "not"],
    ]  # fmt: skip
    doctor.show(HERE, [], [doctor.Finding("problem", "a fault", "mend it")])
    shown = capsys.readouterr().out
    assert "  ! a fault\n      mend it\n" in shown
    assert "Ready" not in shown


def test_the_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from sanakit.cli.app import main

    monkeypatch.setattr(doctor, "look_at_machine", lambda cache: replace(HERE, torch=None))
    for severity, code in (("remark", 0), ("problem", 1)):
        found = [doctor.Finding(severity, "x", "y")]  # type: ignore[arg-type]
        monkeypatch.setattr(doctor, "find", lambda machine, cache, found=found: found)
        assert main(["doctor"]) == main(["doctor", "--json"]) == code
    assert '"severity": "problem"' in capsys.readouterr().out


def test_a_torch_that_is_broken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from sanakit.cli.terminal import machine

    monkeypatch.setitem(sys.modules, "torch", None)
    found = machine._look_at_torch()
    assert (found["torch"], found["accelerators"], found["gigaflops"]) == (None, (), None)
    assert found["torch_problem"].startswith("ModuleNotFoundError: ")
    cards = [SimpleNamespace(name=name, total_memory=size) for name, size in (("a", 1), ("b", 2))]
    cuda = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, get_device_properties=lambda index: cards[index]
    )
    mps = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: True))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, backends=mps, __version__="9"))
    monkeypatch.setattr(machine, "_measure_gigaflops", lambda: 5.0)
    found = machine._look_at_torch()
    assert (found["torch"], found["torch_problem"], found["gigaflops"]) == ("9", "", 5.0)
    assert [(each.kind, each.name, each.memory) for each in found["accelerators"]] == [
        ("cuda", "a", 1), ("cuda", "b", 2), ("mps", "Apple GPU", None),
    ]  # fmt: skip
