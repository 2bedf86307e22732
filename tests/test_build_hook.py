"""The package's build with a C compiler and without: a wheel either way, named after what is in it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NATIVE = Path("src", "sanakit", "kernels", "native")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the hook looks at, and hatchling's interface, which nothing else of the tests needs."""
    ignored = shutil.ignore_patterns("libsanakit.*", "__pycache__")
    shutil.copytree(ROOT / NATIVE, tmp_path / NATIVE, ignore=ignored)
    interface: Any = ModuleType("hatchling.builders.hooks.plugin.interface")
    interface.BuildHookInterface = {Any: object}
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    return tmp_path


def built(checkout: Path) -> tuple[dict[str, Any], list[str]]:
    """What the hook tells the build, and what it warns of."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    warnings: list[str] = []
    hook = module.NativeLibraryHook()
    hook.root, hook.app = str(checkout), SimpleNamespace(display_warning=warnings.append)
    data: dict[str, Any] = {"artifacts": []}
    hook.initialize("standard", data)
    return data, warnings


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_with_a_compiler(checkout: Path) -> None:
    data, warnings = built(checkout)
    assert warnings == []
    assert data["tag"].startswith("py3-none-")
    assert data["pure_python"] is False
    assert all((checkout / artifact.lstrip("/")).is_file() for artifact in data["artifacts"])
    assert len(data["artifacts"]) == 2


@pytest.mark.parametrize("damage", ["no compiler", "a compiler that fails", "no file"])
def test_without(checkout: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/no/such/compiler" if damage == "no compiler" else "false")
    if damage == "no file":
        (checkout / NATIVE / "build.py").unlink()
    data, warnings = built(checkout)
    assert data == {"artifacts": []}
    assert len(warnings) == 1
    assert warnings[0].startswith("sanakit goes without its native library: ")
    assert not list((checkout / NATIVE).glob("libsanakit.*"))
