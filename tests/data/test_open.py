"""What is no data set is one sentence that says what would be one."""

from __future__ import annotations

import errno
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sanakit.common.errors import RequestError
from sanakit.data.open import open_data


@pytest.fixture
def wrong(tmp_path: Path, picture: Callable[..., bytes]) -> Path:
    """A folder full of things that people give by mistake."""
    (tmp_path / "one.png").write_bytes(picture())
    (tmp_path / "one.txt").write_text("a caption")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "readme.txt").write_text("x")
    tarfile.open(tmp_path / "x.tar", "w").close()
    (tmp_path / "packed").mkdir()
    for place in (tmp_path, tmp_path / "packed"):
        with zipfile.ZipFile(place / "x.zip", "w") as archive:
            archive.writestr("a.png", picture())
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".a.png").write_bytes(picture())
    return tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "is not there"), ("one.png", "a single picture"), ("one.txt", "is a file; give a folder"),
        ("empty", "is empty"), ("texts", "no pictures (1 other"), ("x.tar", "a single tar; give the folder"),
        ("x.zip", "an archive; unpack it"), ("packed", "holds x.zip"), ("hidden", "is empty"),
    ],
)  # fmt: skip
def test_wrong_things_are_one_sentence(wrong: Path, name: str, words: str) -> None:
    with pytest.raises(RequestError) as error:
        open_data(wrong / name)
    message = str(error.value)
    assert words in message
    assert str(wrong / name) in message
    for layout in ("a.txt", "metadata.csv", "Parquet", "*.tar", "*.npy"):
        assert layout in message
    assert "\n" not in message


def test_a_subfolder_without_permission_is_told(
    tmp_path: Path, picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("open", "lost+found"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(picture())
        (tmp_path / folder / "a.txt").write_text("a")
    scandir = os.scandir

    def guarded(path: Any) -> Any:
        if str(path).endswith("lost+found"):  # the permission bits mean nothing to root
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    source = open_data(tmp_path)
    assert [source[index].key for index in range(len(source))] == ["open/a"]
    assert [(problem.key, problem.reason) for problem in source.problems] == [("lost+found", "bad_record")]


def test_the_same_folder_gives_the_same_order(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    for name in ("z", "a", "m/b", "B", "ä"):
        (tmp_path / "m").mkdir(exist_ok=True)
        (tmp_path / f"{name}.png").write_bytes(picture())
        (tmp_path / f"{name}.txt").write_text(name)
    source = open_data(tmp_path)
    assert [source[index].key for index in range(len(source))] == ["B", "a", "m/b", "z", "ä"]
