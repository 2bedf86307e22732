"""The house: the arrows between rooms, no circles, what may not come in, and sizes."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "sanakit"

# The table of docs/architecture.md: what a room may import, besides itself and what those may import.
ROOMS: dict[str, set[str]] = {
    "common": set(),
    "kernels": {"common"},
    "layers": {"kernels"},
    "models": {"layers"},
    "quantization": {"layers"},
    "adapters": {"layers"},
    "checkpoints": {"models", "quantization", "adapters", "sampling"},
    "sampling": {"common"},
    "data": {"common"},
    "worlds": {"data"},
    "scoring": {"checkpoints", "worlds"},
    "features": {"checkpoints", "worlds", "scoring"},
    "pipelines": {"checkpoints", "sampling", "data", "scoring"},
    "evaluation": {"pipelines", "scoring", "worlds"},
    "training": {"evaluation", "features"},
    "serving": {"pipelines", "scoring"},
    "integrations": {"pipelines", "scoring"},
    "bench": {"training"},
    "cli": {"bench", "serving", "integrations"},
}
# Peers for tests, what breaks a CPU installation, and what runs code on opening a file.
FORBIDDEN_IMPORTS = {"diffusers", "torchvision", "peft", "pickle", "click"}
ALLOWED_IMPORTS = {
    ("bench/peer.py", "diffusers"),  # what it is measured against, where it is installed
    ("training/recipes/rl/diffusers_model.py", "diffusers"),  # whose networks are policies there, behind an extra
}

MAX_FILE_LINES = 600
MAX_FILES_OF_A_FOLDER = 16  # __init__.py not counted
MAX_FUNCTION_LINES = 80  # from def to the last line, docstring and all
MAX_MEDIAN_FUNCTION_LINES = 8
MAX_PARAMETERS = 7  # self not counted; the options of a command are its parameters, so cli/ is free

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def reachable(room: str) -> frozenset[str]:
    return frozenset({room}.union(*(reachable(other) for other in ROOMS[room])))


@cache
def nodes() -> dict[str, list[ast.AST]]:
    """All the syntax of every file, by the file's path within the package."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {file.relative_to(PACKAGE).as_posix(): list(ast.walk(ast.parse(file.read_text()))) for file in files}


def imported_modules(file: str) -> Iterator[str]:
    """What a file imports anywhere: at its top, inside a function, for type checking."""
    for node in nodes()[file]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively; write sanakit.room.module"
            package = node.module or ""
            inner = [f"{package}.{alias.name}" for alias in node.names]
            yield from (name if module_name(name) in modules() else package for name in inner)


@cache
def modules() -> frozenset[str]:
    return frozenset(map(name_of, nodes()))


def name_of(file: str) -> str:
    """``common.seeds`` for ``common/seeds.py``, and ``sanakit`` for the front door."""
    return file.removesuffix(".py").removesuffix("__init__").strip("/").replace("/", ".") or "sanakit"


def module_name(module: str) -> str:
    """The same for ``sanakit.common.seeds``; names of other packages are not of the house."""
    return module.removeprefix("sanakit.") if module.split(".")[0] == "sanakit" else f"another.{module}"


def test_rooms_import_only_along_the_arrows() -> None:
    wrong = []
    for file in nodes():
        room = file.split("/")[0]
        if room.endswith(".py"):
            continue  # the package's own front door
        assert room in ROOMS, f"{file} stands in no room of docs/architecture.md"
        for module in imported_modules(file):
            parts = module.split(".")
            if parts[0] == "sanakit" and len(parts) > 1 and parts[1] not in reachable(room):
                wrong.append(f"{file} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_the_table_is_the_one_of_the_architecture_page() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for room, others in ROOMS.items():
        row = next((line for line in text.splitlines() if line.startswith(f"| `{room}`")), None)
        assert row is not None, f"docs/architecture.md has no row for {room}"
        last = row.strip("| ").split("|")[-1]
        named = {word.strip(" `") for word in last.split(",")}
        assert named == (others or {"nothing of ours"}) or room == "cli", (room, named)


def test_every_path_of_the_architecture_page_exists() -> None:
    docs, missing = ROOT / "docs", []
    for line in (docs / "architecture.md").read_text().splitlines():
        row = re.match(r"\| `(\w+)` \|", line)  # of a room, whose wings are named from there
        places = [docs, ROOT, PACKAGE, *([PACKAGE / row[1]] if row else [])]
        for name in re.findall(r"(?<![\w/.-])[\w./-]*(?:\w\.(?:py|md)|\w/)(?![\w/])", line):
            if not any((place / name).exists() for place in places):
                missing.append(name)
    assert not missing, missing


def test_what_is_printed_goes_through_one_place() -> None:
    """Which lets no control character of a file reach a terminal."""
    printing = [
        f"{file}:{node.lineno}"
        for file, syntax in nodes().items()
        for node in syntax
        if isinstance(node, ast.Call) and file != "cli/terminal/console.py"
        if (isinstance(node.func, ast.Name) and node.func.id == "print")
        or (isinstance(node.func, ast.Attribute) and node.func.attr == "print")
    ]
    assert not printing, printing


def test_benchmarks_import_what_there_is() -> None:
    missing = []
    for file in (ROOT / "benchmarks").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sanakit."):
                there = names_of(module_name(node.module or ""))
                missing += [f"{file.name}: {node.module}.{a.name}" for a in node.names if a.name not in there]
    assert not missing, missing


def names_of(module: str) -> set[str]:
    """What a module defines or imports, and the modules in it."""
    place = PACKAGE / module.replace(".", "/")
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    names = {path.stem for path in place.glob("*")}
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        else:
            names.add(getattr(node, "name", ""))
    return names


def test_forbidden_modules_are_not_imported() -> None:
    wrong = [
        f"{file} imports {module}"
        for file in nodes()
        for module in imported_modules(file)
        if module.split(".")[0] in FORBIDDEN_IMPORTS and (file, module.split(".")[0]) not in ALLOWED_IMPORTS
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_command_line_prints() -> None:
    wrong = [
        f"{file}:{node.lineno}"
        for file in nodes()
        if not file.startswith("cli/")
        for node in nodes()[file]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not wrong, wrong


def test_room_fronts_stay_empty() -> None:
    for room in ROOMS:
        front = PACKAGE / room / "__init__.py"
        if front.exists():
            assert len(front.read_text().splitlines()) <= 3, f"{front} should hold one line of docstring"


def test_no_circle_of_files() -> None:
    assert not circles(file_imports())


def test_no_circle_of_wings() -> None:
    assert not circles(wing_imports())


@cache
def file_imports() -> dict[str, set[str]]:
    """Which modules a module imports."""
    return {
        name_of(file): {module_name(module) for module in imported_modules(file)} & modules() - {name_of(file)}
        for file in nodes()
    }


def wing_imports() -> dict[str, set[str]]:
    """The same among the wings of each room: its folders, and its own files as wings of one file."""
    graph: dict[str, set[str]] = {}
    for name, others in file_imports().items():
        in_room = {wing(other) for other in others if other.split(".")[0] == name.split(".")[0]}
        graph.setdefault(wing(name), set()).update(in_room - {wing(name)})
    return graph


def wing(name: str) -> str:
    return "/".join(name.split(".")[:2])


def circles(graph: Mapping[str, Iterable[str]]) -> set[frozenset[str]]:
    """The largest sets of nodes that all lead to each other."""
    reached = {node: ends_of_paths(graph, node) for node in graph}
    found = {frozenset(other for other in reached[node] if node in reached.get(other, ())) for node in graph}
    return found - {frozenset()}


def ends_of_paths(graph: Mapping[str, Iterable[str]], start: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += graph.get(node, ())
    return reached


def test_circles_are_found() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": ["e"], "e": ["d"], "f": ["a"]}
    assert circles(graph) == {frozenset("abc"), frozenset("de")}
    assert circles({"a": ["b"], "b": []}) == set()


def functions() -> Iterator[tuple[str, Function]]:
    """``room/file.py:name`` and the syntax of every function."""
    for file in nodes():
        yield from ((f"{file}:{node.name}", node) for node in nodes()[file] if isinstance(node, Function))


def test_functions_are_short() -> None:
    lengths = [(function.end_lineno - function.lineno + 1, name) for name, function in functions()]
    assert statistics.median(lines for lines, _ in lengths) <= MAX_MEDIAN_FUNCTION_LINES
    assert not {name for lines, name in lengths if lines > MAX_FUNCTION_LINES}


def test_no_function_takes_a_crowd() -> None:
    """But for kernels, which take addresses and strides one by one."""
    plain = [(name, each) for name, each in functions() if "triton.jit" not in map(ast.unparse, each.decorator_list)]
    crowded = {name for name, function in plain if num_parameters(function) > MAX_PARAMETERS}
    assert not {name for name in crowded if not name.startswith("cli/")}


def num_parameters(function: Function) -> int:
    a = function.args
    names = [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if arg is not None]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_no_file_is_a_drawer() -> None:
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    long = [f"{path}: {lines}" for path in files if (lines := len(path.read_text().splitlines())) > MAX_FILE_LINES]
    assert not long, long
    drawers = [path for path in files if path.stem in {"utils", "util", "helpers", "misc", "tools"}]
    assert not drawers, drawers


def test_no_folder_is_a_heap() -> None:
    folders = [file.rpartition("/")[0] for file in nodes() if not file.endswith("__init__.py")]
    heaps = {folder for folder in folders if folders.count(folder) > MAX_FILES_OF_A_FOLDER}
    assert not heaps, f"more than {MAX_FILES_OF_A_FOLDER} files lie flat in {heaps}; which of them belong together?"
