"""What the pages tell people to type: it exists, it parses, and the Python of the README runs."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from sanakit.cli.app import program

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def command_lines() -> list[tuple[str, str]]:
    """(page, line) of every line in a shell block."""
    return [
        (page.name, line)
        for page in PAGES
        for block in blocks(page, "bash")
        for line in block.splitlines()
        if line.strip() and not line.startswith("#")
    ]


def sanakit_calls() -> list[tuple[str, list[str]]]:
    """(page, words after ``sanakit``) of every call in a line."""
    calls = []
    for page, line in command_lines():
        for part in re.split(r"\s&&\s", line):
            words = shlex.split(part, comments=True)
            if "-m" in words and "sanakit" in words:
                calls.append((page, words[words.index("sanakit") + 1 :]))
            elif words[0].endswith("sanakit"):
                calls.append((page, words[1:]))
    return calls


@pytest.mark.parametrize(
    ("page", "words"), sanakit_calls(), ids=lambda value: " ".join(value) if isinstance(value, list) else value
)
def test_every_call_of_sanakit_parses(page: str, words: list[str]) -> None:
    """The command and its options exist and take such values; nothing is run."""
    command, context = typer.main.get_command(program()), None
    rest = list(words)
    while True:
        context = command.make_context(rest[0] if rest else "sanakit", rest, parent=context)
        if not hasattr(command, "commands"):
            break
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None, f"{page}: no command {name}"
    for value in words:
        if value.endswith(".yaml"):
            assert (ROOT / value).is_file(), f"{page} names {value}"


def test_there_are_calls_to_check() -> None:
    assert len(sanakit_calls()) >= 8


def install_lines() -> list[str]:
    return [line for page, line in command_lines() if page == "README.md" and line.startswith("python3 -m venv")]


def test_the_first_command_installs_and_makes_a_picture() -> None:
    install, *_ = install_lines()
    steps = install.split(" && ")
    assert steps[0] == "python3 -m venv .venv"
    assert steps[1] == ".venv/bin/pip install -c constraints.txt ."
    assert steps[2].startswith(".venv/bin/sanakit generate ")


def test_ci_runs_exactly_the_second_command() -> None:
    assert len(install_lines()) == 2
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in script if line and not line.startswith(("#", "set ", "cd "))]
    assert commands == [install_lines()[1]]
    assert install_lines()[1].endswith(".venv/bin/python -m pytest -n 2 --dist worksteal")


def test_python_of_the_readme_uses_what_exists() -> None:
    """Every attribute in the example is one of the objects that it names; `test_python_of_the_readme_runs` runs it."""
    [code] = blocks(ROOT / "README.md", "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 6
    calls = {
        node.func.attr
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    import sanakit
    from sanakit.pipelines.record import PictureRecord

    assert calls == {"load", "save", "to_json"}
    assert hasattr(sanakit, "load")
    assert hasattr(PictureRecord, "to_json")


def test_python_of_the_readme_runs(tiny_bundle: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a tiny model in place of the starter."""
    import sanakit
    from sanakit.pipelines.text_to_image import TextToImagePipeline

    monkeypatch.setattr(sanakit, "load", lambda source: TextToImagePipeline(tiny_bundle))  # type: ignore[arg-type]
    monkeypatch.chdir(tmp_path)
    [code] = blocks(ROOT / "README.md", "python")
    exec(compile(code, "README.md", "exec"), {})
    assert list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_recipes_are_yaml_and_say_what_they_are_for() -> None:
    for recipe in (ROOT / "recipes").glob("*.yaml"):
        assert yaml.safe_load(recipe.read_text())["intent"].strip(), recipe


def test_torch_is_pinned_and_torchvision_impossible() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert any(re.fullmatch(r"torch==[\d.]+", line) for line in lines)
    assert "torchvision<0" in lines
