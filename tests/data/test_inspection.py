"""Counts against a data set whose numbers are known."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sanakit.common.aspect_ratio import nearest_bin
from sanakit.data.inspection import Spread, aspect_ratio_histogram, inspect_data
from sanakit.data.open import open_data
from sanakit.data.samples import Sample
from sanakit.data.shards.writer import add_member


def test_numbers_of_a_folder(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    sizes = [(32, 32), (64, 32), (32, 64), (60, 32), (20, 20)]
    rows = ["file_name,text,blip_caption,blip_caption_score"]
    for index, (width, height) in enumerate(sizes):
        (tmp_path / f"{index}.png").write_bytes(picture(width, height, index))
        rows.append(f"{index}.png,{'word ' * (index + 1)},{'of blip' if index < 3 else ''},{index + 0.5}")
    (tmp_path / "unlisted.png").write_bytes(picture())
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    found = inspect_data(open_data(tmp_path, min_size=30))
    assert (found.layout, found.holds, found.num_samples) == ("imagefolder", "pictures", 4)
    assert found.width == Spread(smallest=32, middle=46, largest=64)
    assert found.height == Spread(smallest=32, middle=32, largest=64)
    assert found.aspect_ratios == {"0.5": 1, "0.52": 1, "1.0": 1, "2.0": 1}
    assert [(s.source, s.num_captions, s.mean_words, s.num_scores) for s in found.captions] == [
        ("text", 4, 2.5, 0), ("blip_caption", 3, 2.0, 3),
    ]  # fmt: skip
    assert found.captions[1].scores == Spread(smallest=0.5, middle=1.5, largest=2.5)
    assert found.captions_per_sample == {1: 1, 2: 3}
    assert found.num_by_reason() == {"missing_caption": 1, "too_small": 1}


def test_the_histogram_counts_the_bins_that_training_takes() -> None:
    sizes = [(width, height) for width in range(100, 1000, 130) for height in range(100, 1000, 170)]
    samples = [Sample(key=f"{w}x{h}", width=w, height=h, captions=()) for w, h in sizes]
    found = aspect_ratio_histogram(samples)
    assert sum(found.values()) == len(samples)
    bins = [nearest_bin(h, w, 1024, training=True) for w, h in sizes]
    for ratio, count in found.items():
        assert sum(abs(height / width - float(ratio)) < 0.006 for height, width in bins) == count


@pytest.mark.parametrize("layout", ["csv", "jsonl", "json", "parquet", "sidecars", "wids"])
def test_texts_that_are_not_used_are_named(tmp_path: Path, picture: Callable[..., bytes], layout: str) -> None:
    facts = {"caption": "red", "blip": "a red thing", "URL": "https://a.b", "width": "32", "blip_score": "0.5"}
    rows = [{"file_name": f"{name}.png", **facts, "blip": "of b" if name == "b" else ""} for name in "ab"]
    for name in "ab":
        if layout != "wids":
            (tmp_path / f"{name}.png").write_bytes(picture())
        if layout == "sidecars":
            (tmp_path / f"{name}.json").write_text(json.dumps(facts))
    match layout:
        case "csv":
            lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
            (tmp_path / "list.csv").write_text("\n".join(lines))
        case "jsonl":
            (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
        case "json":
            (tmp_path / "captions.json").write_text(json.dumps(rows))
        case "parquet":
            pq.write_table(pa.Table.from_pylist(rows), tmp_path / "list.parquet")
        case "wids":
            with tarfile.open(tmp_path / "0.tar", "w") as archive:
                add_member(archive, "a.png", picture())
                add_member(archive, "a.json", json.dumps(facts).encode())
    for _ in range(2):  # shards are remembered after the first
        found = inspect_data(open_data(tmp_path))
        assert found.unused_columns == ("URL", "blip")
        assert [source.source for source in found.captions] == ["caption"]


def test_nothing_good_is_still_described(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    found = inspect_data(open_data(tmp_path))
    assert (found.num_samples, found.width, found.aspect_ratios, found.captions) == (0, None, {}, ())
    assert found.num_by_reason() == {"missing_caption": 1, "undecodable": 1}


def test_captions_of_300_words_are_cut(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    for name, words in (("a", 299), ("b", 300), ("c", 301)):
        (tmp_path / f"{name}.png").write_bytes(picture())
        (tmp_path / f"{name}.txt").write_text("word " * words)
    (note,) = inspect_data(open_data(tmp_path)).caption_notes
    assert note.startswith("captions of 2 samples, b for one, have 300 words or more, and SANA reads 300 tokens")
