"""The house: the arrows between rooms, quick starts, what may not come in, and sizes."""

from __future__ import annotations

import ast
import importlib.util
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "sanakit"
MAX_LINES = 600

# The table of docs/architecture.md: what a room may import, besides itself and what those may import.
ROOMS: dict[str, set[str]] = {
    "common": set(),
    "kernels": {"common"},
    "layers": {"kernels"},
    "models": {"layers"},
    "quantization": {"layers"},
    "adapters": {"layers"},
    "checkpoints": {"models", "quantization", "adapters"},
    "sampling": {"common"},
    "data": {"common"},
    "worlds": {"data"},
    "scoring": {"checkpoints", "worlds"},
    "features": {"checkpoints", "worlds", "scoring"},
    "pipelines": {"checkpoints", "sampling"},
    "evaluation": {"pipelines", "scoring", "worlds"},
    "training": {"evaluation", "features"},
    "serving": {"pipelines", "scoring"},
    "integrations": {"pipelines", "scoring"},
    "cli": {"training", "serving", "integrations"},
}
# Peers for tests, what breaks a CPU installation, and what runs code on opening a file.
FORBIDDEN_IMPORTS = {"diffusers", "torchvision", "peft", "pickle", "click"}


@cache
def reachable(room: str) -> frozenset[str]:
    return frozenset({room}.union(*(reachable(other) for other in ROOMS[room])))


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} imports relatively; write sanakit.room.module"
            yield node.module or ""


def test_rooms_import_only_along_the_arrows() -> None:
    wrong = []
    for path in sources():
        room = path.relative_to(PACKAGE).parts[0]
        if room.endswith(".py"):
            continue  # the package's own front door
        assert room in ROOMS, f"{path} stands in no room of docs/architecture.md"
        for module in imported_modules(ast.parse(path.read_text())):
            parts = module.split(".")
            if parts[0] == "sanakit" and len(parts) > 1 and parts[1] not in reachable(room):
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_the_table_is_the_one_of_the_architecture_page() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for room, others in ROOMS.items():
        row = next((line for line in text.splitlines() if line.startswith(f"| `{room}`")), None)
        assert row is not None, f"docs/architecture.md has no row for {room}"
        last = row.strip("| ").split("|")[-1]
        named = {word.strip(" `") for word in last.split(",")}
        assert named == (others or {"nothing of ours"}) or room == "cli", (room, named)


def test_forbidden_modules_are_not_imported() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources()
        for module in imported_modules(ast.parse(path.read_text()))
        if module.split(".")[0] in FORBIDDEN_IMPORTS
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_command_line_prints() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        if path.relative_to(PACKAGE).parts[0] != "cli"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not wrong, wrong


def test_room_fronts_stay_empty() -> None:
    for room in ROOMS:
        front = PACKAGE / room / "__init__.py"
        if front.exists():
            assert len(front.read_text().splitlines()) <= 3, f"{front} should hold one line of docstring"


def test_no_file_is_a_drawer() -> None:
    files = [*sources(), *(ROOT / "tests").rglob("*.py")]
    long = [f"{path}: {lines}" for path in files if (lines := len(path.read_text().splitlines())) > MAX_LINES]
    assert not long, long
    drawers = [path for path in sources() if path.stem in {"utils", "util", "helpers", "misc", "tools"}]
    assert not drawers, drawers


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
