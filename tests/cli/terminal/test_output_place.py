from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from sanakit.cli.terminal.output_place import check_folder, check_metadata
from sanakit.common.errors import OutputError, RequestError
from sanakit.pipelines.picture_place import choose_place, slug


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Two red apples!", "two-red-apples"),
        ("一只猫", "一只猫"),
        ("🍎🍏", "picture"),
        ("../../etc/passwd", "etc-passwd"),
        ("", "picture"),
        ("a\nb\0c", "a-b-c"),
        ("\udcff", "picture"),
    ],
)
def test_slugs_are_readable_and_stay_in_their_folder(prompt: str, expected: str) -> None:
    assert slug(prompt) == expected


@pytest.mark.parametrize("prompt", ["word " * 5000, "猫" * 5000])
def test_long_slugs_fit_a_file_name(prompt: str) -> None:
    assert 60 < len(slug(prompt).encode()) <= 80


def test_a_folder_never_loses_a_picture(tmp_path: Path) -> None:
    """Also where several runs choose a name at one moment."""
    place = choose_place(str(tmp_path / "new" / "folder"), "png", num_images=4)

    def write(red: int) -> Path:
        return place.write("a-cat-seed7", Image.new("RGB", (8, 8), (red, 0, 0)), None)

    with ThreadPoolExecutor(6) as threads:
        paths = list(threads.map(write, range(24)))
    assert [Image.open(path).getpixel((0, 0)) for path in paths] == [(red, 0, 0) for red in range(24)]
    names = {"a-cat-seed7.png", *(f"a-cat-seed7-{number}.png" for number in range(2, 25))}
    assert {path.name for path in paths} == {path.name for path in place.folder.iterdir()} == names


@pytest.mark.parametrize(
    ("output", "image_format", "expected"),
    [
        ("a.png", None, "png"), ("a.PNG", None, "png"), ("a.jpg", "jpeg", "jpeg"), ("a.jpeg", None, "jpeg"),
        ("a.webp", None, "webp"),
    ],
)  # fmt: skip
def test_the_suffix_of_a_file_decides(output: str, image_format: str | None, expected: str) -> None:
    place = choose_place(output, image_format, num_images=1)
    assert (place.file, place.image_format) == (Path(output), expected)


@pytest.mark.parametrize(
    ("output", "image_format", "num_images", "message"),
    [
        ("a.gif", None, 1, "no picture"),
        ("a.png", "webp", 1, "contradict"),
        ("a.png", None, 2, r"one file for 2 pictures; give a folder, such as a/"),
        ("", None, 1, "names no place"),
        (None, "tiff", 1, "png, jpeg or webp"),
        ("a" * 300 + ".png", None, 1, "shorter"),
    ],
)
def test_contradictions(output: str | None, image_format: str | None, num_images: int, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        choose_place(output, image_format, num_images=num_images)


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_folder(choose_place(str(tmp_path / "new" / "folder"), None, num_images=1).folder, 1000)
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="does not exist"):
        check_folder(choose_place(str(tmp_path / "no" / "a.png"), None, num_images=1).folder, 1)
    with pytest.raises(OutputError, match="is a file"):
        check_folder(choose_place(str(tmp_path / "file" / "deeper"), None, num_images=1).folder, 1)
    with pytest.raises(OutputError, match="make room"):
        check_folder(choose_place(str(tmp_path), None, num_images=1).folder, 10**18)


def test_no_rights() -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        check_folder(choose_place("/proc/", None, num_images=1).folder, 1)


def test_a_prompt_that_no_exif_holds_is_refused_before_the_work() -> None:
    for image_format, prompt, fits in (
        ("png", "x" * 10**6, True),
        ("jpeg", "x" * 50_000, True),
        ("webp", "🍎" * 6000, False),
    ):
        place = choose_place(None, image_format, num_images=1)
        if fits:
            check_metadata(place, ["", prompt])
        else:
            with pytest.raises(RequestError, match="write a PNG"):
                check_metadata(place, ["", prompt])
