"""Tables that name picture files: CSV, JSON lines, JSON, the Hugging Face imagefolder; and Parquet of both kinds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sanakit.common.errors import RequestError
from sanakit.data.open import open_data
from sanakit.data.samples import Caption
from sanakit.data.sources.data_source import DataSource

PictureBytes = Callable[..., bytes]


@pytest.fixture
def photos(tmp_path: Path, picture: PictureBytes) -> Path:
    """A folder with four pictures."""
    for index, name in enumerate("abcd"):
        (tmp_path / f"{name}.png").write_bytes(picture(24, 16 + index, index))
    return tmp_path


def texts(source: DataSource) -> dict[str, list[str]]:
    samples = [source[index] for index in range(len(source))]
    return {sample.key: [f"{c.source}={c.text}" for c in sample.captions] for sample in samples}


def reasons(source: DataSource) -> list[tuple[str, str]]:
    return [(problem.key, problem.reason) for problem in source.problems]


@pytest.mark.parametrize(
    ("header", "name"), [("file_name,text", "a.png"), ("image,caption", "./b.png"), ("Path,Prompt", "c"),
                         ("img_path,description", "d.png")],
)  # fmt: skip
def test_columns_have_many_names(photos: Path, header: str, name: str) -> None:
    (photos / "list.csv").write_text(f'{header}\n{name},"red, and blue"\n')
    source = open_data(photos)
    assert source.layout == "csv"
    assert [caption.text for caption in source[0].captions] == ["red, and blue"]
    assert source[0].captions[0].source == header.split(",")[1]
    assert [reason for _, reason in reasons(source)] == ["missing_caption"] * 3


def test_csv_with_everything_that_goes_wrong(photos: Path) -> None:
    (photos / "captions.csv").write_bytes(
        b"\xef\xbb\xbffile_name;caption;blip_caption;blip_caption_score;negative_prompt;text_length\r\n"
        b'a.png;"one;\r\ntwo";of blip;0.5;no;3\r\n'
        b"a.png;another;;;;\r\n"
        b"b.png;;;;;\r\n"
        b"c.png;caf\xe9;;;;\r\n"
        b"gone.png;x;;;;\r\n"
        b";nothing;;;;\r\n"
        b"d.png;x;y;1;z;4;too;many\r\n"
    )
    source = open_data(photos)
    assert source[0].captions == (
        Caption(source="blip_caption", text="of blip", score=0.5), Caption(source="caption", text="one;\r\ntwo"),
        Caption(source="caption_2", text="another"),
    )  # fmt: skip
    assert len(source) == 1
    assert set(reasons(source)) == {
        ("b", "empty_caption"), ("c", "bad_record"), ("gone", "missing_image"),
        ("captions.csv:8", "bad_record"), ("captions.csv:9", "bad_record"), ("d", "missing_caption"),
    }  # fmt: skip


def test_rows_of_one_picture_are_several_captions_and_a_copy_counts_once(photos: Path) -> None:
    rows = [{"image": "a.png", "caption": text} for text in ("one", "two", "one")]
    (photos / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = open_data(photos)
    assert texts(source) == {"a": ["caption=one", "caption_2=two"]}
    assert ("a", "duplicate_key") in reasons(source)


def test_json_lines(photos: Path) -> None:
    (photos / "metadata.txt").write_text("not this")
    lines = [
        '{"file_name": "a.png", "text": "red", "score": 3}',
        "",
        '{"file_name": "b.png", "text": ',
        '["c.png"]',
        '{"file_name": "c.png", "captions": ["one", "two"]}',
        '{"text": "of nothing"}',
        '{"file_name": "d.png", "text": "\\ud83d"}',
    ]
    (photos / "list.jsonl").write_text("\r\n".join(lines))
    source = open_data(photos)
    assert source.layout == "jsonl"
    assert texts(source) == {"a": ["text=red"], "c": ["captions=one", "captions_2=two"]}
    assert source[0].captions[0].score == 3.0
    assert reasons(source) == [
        ("b", "missing_caption"), ("d", "bad_record"), ("list.jsonl:3", "bad_record"), ("list.jsonl:4", "bad_record"),
        ("list.jsonl:6", "bad_record"),
    ]  # fmt: skip


JSON_TABLES = {
    "records": [{"file_name": "a.png", "caption": "x"}, {"file_name": "b.png", "caption": "y"}, 5],
    "by name": {"a.png": "x", "b": {"caption": "y"}, "c.png": 5},
    "coco": {"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
             "annotations": [{"image_id": 2, "caption": "y"}, {"image_id": 1, "caption": "x"}, None]},
}  # fmt: skip


@pytest.mark.parametrize("kind", JSON_TABLES)
def test_json_tables(photos: Path, kind: str) -> None:
    (photos / "captions.json").write_text(json.dumps(JSON_TABLES[kind]))
    source = open_data(photos)
    assert source.layout == "json"
    assert texts(source) == {"a": ["caption=x"], "b": ["caption=y"]}
    assert all(reason in ("missing_caption", "bad_record") for _, reason in reasons(source))


def test_a_broken_json_table_loses_no_picture_silently(photos: Path) -> None:
    (photos / "metadata.json").write_text('{"a.png": ')
    source = open_data(photos)
    assert len(source) == 0
    assert ("metadata.json", "bad_record") in reasons(source)
    assert [reason for _, reason in reasons(source)].count("missing_caption") == 4


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_imagefolder_with_splits(tmp_path: Path, picture: PictureBytes, kind: str) -> None:
    for split in ("train", "validation"):
        folder = tmp_path / split
        folder.mkdir()
        (folder / "1.png").write_bytes(picture())
        rows = [{"file_name": "1.png", "text": f"of {split}"}]
        write_table(folder / f"metadata.{kind}", rows)
    source = open_data(tmp_path)
    assert source.layout == "imagefolder"
    assert texts(source) == {"train/1": ["text=of train"], "validation/1": ["text=of validation"]}
    assert source.problems == ()


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    match path.suffix:
        case ".csv":
            path.write_text("\n".join(",".join(row) for row in [list(rows[0]), *(r.values() for r in rows)]))
        case ".jsonl":
            path.write_text("\n".join(json.dumps(row) for row in rows))
        case _:
            pa = pytest.importorskip("pyarrow")
            from pyarrow import parquet

            parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)


def test_a_table_itself_can_be_given(photos: Path) -> None:
    for name in ("one", "two"):
        (photos / f"{name}.csv").write_text(f"image,text\n{'a' if name == 'one' else 'b'}.png,{name}\n")
    assert texts(open_data(photos / "two.csv")) == {"b": ["text=two"]}
    assert texts(open_data(photos)) == {"a": ["text=one"], "b": ["text=two"]}
    (photos / "two.csv").write_text("x,y\n1,2\n")
    with pytest.raises(RequestError, match="no column names a picture"):
        open_data(photos / "two.csv")


def test_parquet_that_names_files(photos: Path) -> None:
    write_table(photos / "data.parquet", [{"image_path": "a.png", "caption": "x", "vila_caption": "z"}])
    source = open_data(photos)
    assert (source.layout, texts(source)) == ("parquet", {"a": ["caption=x", "vila_caption=z"]})


def test_parquet_with_pictures_inside(tmp_path: Path, picture: PictureBytes) -> None:
    contents = [picture(10 + index, 20, index) for index in range(5)]
    for split in ("train", "test"):
        rows: list[dict[str, Any]] = [
            {"image": {"bytes": content, "path": f"{index}.png"}, "text": f"{split} {index}", "text_score": index * 1.0}
            for index, content in enumerate(contents)
        ]
        rows.append({"image": {"bytes": b"broken", "path": None}, "text": "x", "text_score": None})
        rows.append({"image": None, "text": "x", "text_score": None})
        (tmp_path / "data").mkdir(exist_ok=True)
        write_table(tmp_path / "data" / f"{split}-00000-of-00001.parquet", rows)
    (tmp_path / "data" / "validation.parquet").write_bytes(b"PAR1 broken")
    source = open_data(tmp_path)
    assert (source.layout, len(source)) == ("parquet", 10)
    found = {source[i].captions[0].text: i for i in range(len(source))}
    for split in ("train", "test"):
        for index, content in enumerate(contents):
            place = found[f"{split} {index}"]
            assert source.read_bytes(place) == content
            assert (source[place].width, source[place].height) == source.image(place).size == (10 + index, 20)
            assert source[place].captions[0].score == float(index)
    counts = [reason for _, reason in reasons(source)]
    assert {name: counts.count(name) for name in set(counts)} == {
        "undecodable": 2, "missing_image": 2, "duplicate_key": 5, "bad_record": 1,
    }  # fmt: skip


def test_parquet_with_plain_bytes(tmp_path: Path, picture: PictureBytes) -> None:
    write_table(tmp_path / "x.parquet", [{"jpg": picture(8, 9), "caption": "a", "embedding": b"123"}])
    source = open_data(tmp_path)
    assert (source[0].key, source[0].width, source[0].height) == ("x-000001", 8, 9)
