"""Tables that name picture files: CSV, JSON lines, JSON, the Hugging Face imagefolder; and Parquet of both kinds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
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


@pytest.mark.parametrize(
    ("name", "text", "layout"),
    [
        ("list.csv", "Image Name,Caption\na.png,red\n", "csv"),
        ("list.csv", "imageName,blip_caption\na.png,red\n", "csv"),
        ("list.csv", "a.png,red\n", "csv"),
        ("list.csv", "1,a.png,red\n", "csv"),
        ("list.csv", "sep=;\nfile_name;text\na.png;red\n", "csv"),
        ("list.csv", "image_name| comment_number| caption\na.png| 0| red\n", "csv"),
        ("deep/down/list.tsv", "file_name\ttext\na.png\tred\n", "csv"),
        ("list.csv", "sep=\\t\nfile\ttext\na.png\tred\n", "csv"),
        ("list.csv", "sep=\t\nfile\ttext\na.png\tred\n", "csv"),
        ("captions.txt", "image,caption\na.png,red\n", "csv"),
        ("Flickr8k.token.txt", "a.png#0\tred\n", "csv"),
        ("results_20130124.token", "a.png#12\tred\n", "csv"),
        ("captions_val2017.json", json.dumps({"a.png": "red"}), "json"),
        ("annotations/captions_val2017.json", json.dumps({
            "images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "caption": "red"}],
        }), "json"),
        ("chat.json", json.dumps([{"id": 1, "image": "a.png", "conversations": [
            {"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "red"},
        ]}]), "json"),
        ("list.jsonl", json.dumps({"image": {"path": "a.png", "bytes": None}, "text": "red"}), "jsonl"),
    ],
)  # fmt: skip
def test_tables_as_other_programs_write_them(photos: Path, name: str, text: str, layout: str) -> None:
    place = photos / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    source = open_data(photos)
    assert (source.layout, source[0].key) == (layout, "a")
    assert [caption.text for caption in source[0].captions] == ["red"]


def test_texts_are_no_tables_where_they_are_captions(photos: Path) -> None:
    (photos / "captions.txt").write_text("image,caption\na.png#0,red\na.png#1,round\nb.png#0,blue\n")
    assert texts(open_data(photos)) == {"a": ["caption=red", "caption_2=round"], "b": ["caption=blue"]}
    assert texts(open_data(photos / "captions.txt")) == texts(open_data(photos))
    (photos / "c.txt").write_text("green")
    source = open_data(photos)
    assert (source.layout, texts(source)) == ("folder", {"c": ["prompt=green"]})
    assert ("captions", "missing_image") in reasons(source)


def test_a_table_that_has_no_part_is_named_with_what_would_help(photos: Path) -> None:
    for name in "abcd":
        (photos / f"{name}.txt").write_text("a caption")
    (photos / "labels.csv").write_text("id,label\n1,cat\n")
    (photos / "scores.csv").write_text("file_name,score\na.png,3\n")
    (photos / "settings.json").write_text('{"model": "x"}')
    (photos / "half.json").write_text("{")
    (photos / "turns.json").write_text(json.dumps([{"image": "other.png", "conversations": []}]))
    (photos / "film.xyz").touch()
    source = open_data(photos)
    assert (source.layout, len(source), source.problems) == ("folder", 4, ())
    told = dict(sentence.split(": ", 1) for sentence in source.unused_files)
    assert told["labels.csv"] == "none of its columns (id, label) names pictures; call the one that does file_name"
    assert "call the one that does caption" in told["scores.csv"]
    assert "no valid JSON" in told["half.json"]
    assert "nor a table" in told["settings.json, turns.json"]
    assert told["film.xyz"] == "no .xyz file is read"
    (photos / "list.csv").write_text("file_name,text\na.png,red\n")
    told = dict(sentence.split(": ", 1) for sentence in open_data(photos).unused_files)
    assert "tables say what the captions are" in told["a.txt, b.txt, c.txt and 4 more"]


@pytest.mark.parametrize(("suffix", "comma"), [("csv", ","), ("tsv", "\t"), ("csv", ";")])
def test_a_quotation_mark_that_is_never_closed_takes_no_other_rows(photos: Path, suffix: str, comma: str) -> None:
    said = {"a": '"the best day ever', "b": "a dog", "c": 'she said "hello', "d": '"two\nlines"'}
    rows = [f"{name}.png{comma}{text}" for name, text in said.items()]
    (photos / f"list.{suffix}").write_text("\n".join([f"file_name{comma}text", *rows, ""]))
    source = open_data(photos)
    assert source.problems == ()
    assert {source[index].key: source[index].captions[0].text for index in range(4)} == said | {"d": "two\nlines"}
    (photos / f"list.{suffix}").write_text(
        f'file_name{comma}text{comma}more\na.png{comma}"one\nb.png{comma}b{comma}c\n'
    )
    found = open_data(photos).problems[-1]
    assert (found.key, found.reason) == (f"list.{suffix}:2", "bad_record")
    assert "never closed" in found.detail


def test_parquet_with_paths_and_lists(tmp_path: Path, picture: PictureBytes) -> None:
    """As ``datasets`` writes what it does not embed, and pictures in lists of one."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "a.png").write_bytes(picture())
    cells = [
        {"bytes": None, "path": "img/a.png"},
        {"bytes": picture(), "path": "b.png"},
        {"bytes": None, "path": "c.png"},
    ]
    pq.write_table(pa.table({"image": pa.array(cells, kind), "text": ["a", "b", "c"]}), tmp_path / "train.parquet")
    source = open_data(tmp_path)
    assert {source[i].key: source[i].captions[0].text for i in range(len(source))} == {"img/a": "a", "b": "b"}
    assert source.image(0).size == source.image(1).size == (24, 16)
    assert [(p.key, p.reason, p.detail) for p in source.problems] == [
        ("c", "missing_image", "row 3 of train.parquet names c.png, and there is no such file")
    ]
    lists = tmp_path / "lists"
    lists.mkdir()
    column = pa.array([[cells[1]], [cells[1], cells[1]], []], pa.list_(kind))
    pq.write_table(pa.table({"images": column, "text": ["a", "b", "c"]}), lists / "train.parquet")
    source = open_data(lists)
    assert (len(source), source.image(0).size) == (1, (24, 16))
    assert [problem.detail for problem in source.problems] == [
        "row 3 of train.parquet holds no picture",
        "row 2 of train.parquet holds 2 pictures; give each a row of its own",
    ]


def test_a_name_that_several_pictures_have_is_told(photos: Path, picture: PictureBytes) -> None:
    (photos / "one").mkdir()
    (photos / "two").mkdir()
    for place in ("one", "two"):
        (photos / place / "e.png").write_bytes(picture())
    (photos / "list.csv").write_text("file_name,text\ne.png,which?\none/e.png,this\nother/a.png,none\n")
    source = open_data(photos)
    assert texts(source) == {"one/e": ["text=this"]}
    told = [problem.detail for problem in source.problems if problem.reason == "missing_image"]
    assert told == [
        "list.csv:2 names e.png, and several files are called so; say their folders",
        "list.csv:4 names other/a.png, and there is no such file",
    ]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("file_name;caption, if any, in English\na.png;red, round\n",
         {"a": ["caption, if any, in English=red, round"]}),
        ("a.png;one, two, three\nb.png;four, five\n", {"a": ["text=one, two, three"], "b": ["text=four, five"]}),
        ("file,text,text\na.png,one,two\n", {"a": ["text=one", "text_2=two"]}),
        ("file,text\na.png,one,\nb.png,two, ,\n", {"a": ["text=one"], "b": ["text=two"]}),
        ('file,text\na,"never closed\nb,two\nc,three\n', {"a": ['text="never closed'], "b": ["text=two"],
                                                            "c": ["text=three"]}),
    ],
    ids=["commas in the header", "no header", "a name twice", "commas at the end", "names without suffix"],
)  # fmt: skip
def test_csv_as_programs_write_it(photos: Path, table: str, expected: dict[str, list[str]]) -> None:
    (photos / "list.csv").write_text(table)
    assert texts(open_data(photos)) == expected


def test_coco_loses_no_caption_silently(photos: Path) -> None:
    images = [{"id": "1", "file_name": "a.png"}, {"id": [2], "file_name": "b.png"}]
    annotations = [{"image_id": image, "caption": f"of {image}"} for image in (1, 77, 77, [2])]
    (photos / "list.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    source = open_data(photos)
    assert texts(source) == {"a": ["caption=of 1"], "b": ["caption=of [2]"]}
    details = {problem.key: problem.detail for problem in source.problems}
    assert details["list.json:77"] == "2 captions are of image_id 77, which is no id among its images"


def test_a_name_that_no_file_can_have_is_told_in_short(photos: Path) -> None:
    (photos / "list.csv").write_text(f"image,text\n{'x' * 5000},hi\na.png,ok\n")
    source = open_data(photos)
    assert texts(source) == {"a": ["text=ok"]}
    (long,) = [problem for problem in source.problems if problem.reason == "missing_image"]
    assert len(long.detail) < 400


@pytest.mark.parametrize("name", ["metadata.csv", "list.jsonl", "list.tsv", "list.parquet"])
def test_a_table_that_is_not_there_or_damaged_hides_no_pictures(photos: Path, name: str) -> None:
    (photos / "a.txt").write_text("red")
    (photos / name).symlink_to("nothing")
    source = open_data(photos)
    assert texts(source) == {"a": ["prompt=red"]}
    assert any(name in told and "cannot be read" in told for told in source.unused_files)
