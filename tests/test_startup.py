"""Starts are quick and light: no torch where a sentence will do, and no torchvision at all."""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def run_python(code: str) -> tuple[str, float]:
    """Output of a fresh interpreter, and the processor time that it took (the wall clock depends on other load)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stderr
    return result.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_importing_the_package_is_quick_and_brings_no_torch() -> None:
    loaded = (
        "import sys, sanakit; print([m for m in ('torch', 'transformers', 'pydantic', 'numpy') if m in sys.modules])"
    )
    assert run_python(loaded)[0].strip() == "[]"
    assert min(run_python("import sanakit")[1] for _ in range(3)) < 0.3


def test_a_bad_request_is_answered_without_torch() -> None:
    code = (
        "import sys; from sanakit.cli.app import main\n"
        "print(main(['generate', 'x', '--steps', '0']), 'torch' in sys.modules)"
    )
    assert run_python(code)[0].strip() == "2 False"


def test_a_command_loads_no_other_and_the_end_is_quick() -> None:
    code = (
        "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count() > 0))\n"
        "from sanakit.cli.app import main; main(['generate', 'x', '--steps', '0'])\n"
        "print(sorted(name for name in sys.modules if name.startswith('sanakit.cli.') and name.count('.') == 2))"
    )
    loaded = str(["sanakit.cli.app", "sanakit.cli.generate", "sanakit.cli.terminal"])
    assert run_python(code)[0].split("\n")[:2] == [loaded, "True"]


@pytest.mark.network
@pytest.mark.slow
def test_a_picture_of_the_starter_needs_neither_transformers_nor_a_compiler(tmp_path: Path) -> None:
    """Needs the starter's language model, which is fetched once."""
    code = (
        "import sys; from sanakit.cli.app import main\n"
        f"main(['generate', 'two red apples', '--steps', '1', '--output', {str(tmp_path / 'a.png')!r}])\n"
        "print('heavy:', {'transformers', 'torch._dynamo', 'sympy'} & set(sys.modules))"
    )
    assert run_python(code)[0].rstrip().endswith("heavy: set()")
    assert (tmp_path / "a.png").is_file()


@pytest.mark.parametrize(
    "command",
    [
        "",
        "generate",
        "replay",
        "decode",
        "info",
        "convert",
        "grow",
        "prune",
        "doctor",
        "train",
        "data starter",
        "data cache",
        "data captions score",
        "data inspect",
        "data validate",
        "data build",
        "data curate",
        "data lineage",
        "eval starter",
        "eval fid",
        "eval kid",
        "eval clip-score",
        "eval reconstruction",
        "eval prompts",
        "version",
    ],
)
def test_help_needs_no_torch(command: str) -> None:
    words = [*command.split(), "--help"]
    code = (
        "import sys; from sanakit.cli.app import main\n"
        f"assert main({words!r}) == 0\n"
        "print('heavy:', {'torch', 'transformers', 'diffusers', 'numpy'} & set(sys.modules))"
    )
    output, _ = run_python(code)
    assert output.rstrip().endswith("heavy: set()")
    assert "Usage" in output
    assert "--help" in output


def test_help_is_quick() -> None:
    code = "from sanakit.cli.app import main; main(['--help'])"
    assert min(run_python(code)[1] for _ in range(3)) < 0.6


def test_torchvision_is_neither_installed_nor_required() -> None:
    assert importlib.util.find_spec("torchvision") is None
    names = required_names("sanakit", frozenset({"dev"}))
    assert {"torch", "transformers", "diffusers"} <= names
    assert "torchvision" not in names


def required_names(root: str, extras: frozenset[str]) -> set[str]:
    """Every distribution that ``root`` with its extras pulls in, as far as they are installed."""
    names: set[str] = set()
    waiting, seen = [(root, extras)], set()
    while waiting:
        item = waiting.pop()
        if item in seen:
            continue
        seen.add(item)
        name, wanted = item
        names.add(name)
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            assert name != root, "sanakit is not installed; run: pip install -c constraints.txt -e '.[dev]'"
            continue
        for text in requirements:
            requirement = Requirement(text)
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in wanted | {""}):
                waiting.append((requirement.name.lower().replace("_", "-"), frozenset(requirement.extras)))
    return names
