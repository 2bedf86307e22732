"""Wheels of the package index, fetched by a client that is made up here; no network."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sanakit.common.errors import DownloadError
from sanakit.common.package_index import Wheel, unpack_wheel

WHEEL = Wheel(name="carrier", version="1.2", sha256="ab" * 32)


def test_the_client_is_given_version_and_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    def install(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        told.extend(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", install)
    unpack_wheel(WHEEL, tmp_path / "new")
    assert (tmp_path / "new" / "requirements.txt").read_text() == f"carrier==1.2 --hash=sha256:{'ab' * 32}\n"
    assert {"--no-deps", "--only-binary", str(tmp_path / "new")} <= set(told)


def test_a_refusal_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: x\nERROR: THESE PACKAGES DO NOT MATCH\n    Got  ff00\n\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DownloadError, match=r"did not give carrier==1\.2: THESE PACKAGES DO NOT MATCH$"):
        unpack_wheel(WHEEL, tmp_path / "new")
