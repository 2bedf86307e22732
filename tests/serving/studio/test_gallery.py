"""The folder of pictures, whatever is in it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from sanakit.common.errors import PictureError
from sanakit.serving.studio.gallery import Gallery

HOSTILE = {
    "deep": '{"request":' * 5000, "list": '{"request": [1]}', "odd": '{"request": {"prompt": [1, {"a": "b"}]}}',
}  # fmt: skip


def content(colour: int = 0, record: str = "") -> bytes:
    chunks = PngImagePlugin.PngInfo()
    if record:
        chunks.add_text("sanakit", record)
    file = io.BytesIO()
    Image.new("RGB", (4, 6), (colour, 0, 0)).save(file, "png", pnginfo=chunks)
    return file.getvalue()


def test_newest_first_in_parts_and_once(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    for colour in (0, 1, 2, 3, 4, 2):
        gallery.keep(content(colour))
    first, total = gallery.find(limit=2)
    rest, _ = gallery.find(after=first[-1].path.name)
    assert total == 5
    assert [kept.path.read_bytes() for kept in (*first, *rest)] == [content(colour) for colour in (4, 3, 2, 1, 0)]
    assert first[0].size == (4, 6)


def test_damaged_and_hostile_files_are_no_hindrance(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    (tmp_path / "damaged.png").write_bytes(content()[:20])
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "folder.png").mkdir()
    for name, record in HOSTILE.items():
        (tmp_path / f"{name}.png").write_bytes(content(record=record))
    found, _ = gallery.find()
    assert {kept.path.stem for kept in found} == set(HOSTILE)
    assert all(isinstance(kept.facts["prompt"], str) for kept in found)
    (tmp_path / "odd.png").unlink()
    assert gallery.find()[1] == 2
    with pytest.raises(PictureError, match="deleted"):
        gallery.get("odd.png")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "", ".", "a\0b.png", "x" * 5000 + ".png"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.png").write_bytes(content())
    (tmp_path / "inner").mkdir()
    with pytest.raises(PictureError):
        Gallery(tmp_path / "inner").delete(name)
    assert (tmp_path / "secret.png").exists()


def test_a_full_disk_is_told_and_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gallery = Gallery(tmp_path / "there" / "is" / "a file")
    (tmp_path / "there").write_text("")
    gallery.keep(content())
    assert "the gallery lacks a picture" in caplog.text
    assert gallery.find() == ([], 0)
