from __future__ import annotations

import hashlib
import importlib
import io
import itertools
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imagehash
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from sanakit.common.errors import ConfigError, MissingExtraError, OutputError, RequestError, SanakitError
from sanakit.data.curation import on_ray
from sanakit.data.curation.config import (
    CurationConfig,
    ExistingCaptions,
    FilterConfig,
    NearDuplicates,
    PluginCaptions,
    RayConfig,
    ScorerConfig,
)
from sanakit.data.curation.curate import run_here, run_on_ray
from sanakit.data.curation.drivers import Work
from sanakit.data.curation.lineage import trace
from sanakit.data.open import open_data


def recipe(plugin: str, **arguments: Any) -> CurationConfig:
    captioner = PluginCaptions(
        source="stand-in", target=f"{plugin}:Captioner", arguments={"prefix": "a ", **arguments}, batch_size=4
    )
    return CurationConfig(
        filters=FilterConfig(smallest_side=16), captioners=(ExistingCaptions(), captioner), shard_size=8,
        ray=RayConfig(num_cpus=2, object_store_megabytes=80),
    )  # fmt: skip


def files_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()}


def lineage_of(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "lineage.parquet").to_pylist()
    return rows


@pytest.fixture(scope="module")
def curated(photos: Path, plugin: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("here") / "curated"
    run_here(str(photos), str(out), recipe(plugin), num_threads=3)
    return out


def expected_rules(photos: Path) -> dict[str, str | None]:
    """From the pixels, by definition: every picture against every kept one before it."""
    rules: dict[str, str | None] = {}
    kept: list[imagehash.ImageHash] = []
    for path in sorted(path for path in photos.iterdir() if path.suffix != ".txt"):
        try:
            image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        except OSError:
            rules[path.stem] = "undecodable"
            continue
        found = imagehash.phash(image)
        if min(image.size) < 16:
            rules[path.stem] = "smallest_side"
        elif not 0.2 <= image.width / image.height <= 5:
            rules[path.stem] = "aspect_ratio"
        elif any(found - other <= 4 for other in kept):
            rules[path.stem] = "near_duplicate"
        else:
            kept.append(found)
            rules[path.stem] = None
    return rules


def test_every_sample_is_judged_by_the_rules(photos: Path, curated: Path) -> None:
    rows = lineage_of(curated)
    assert {row["key"]: row["dropped_by"] for row in rows} == expected_rules(photos)
    assert [row["key"] for row in rows] == sorted(row["key"] for row in rows)
    by_key = {row["key"]: row for row in rows}
    duplicates = {row["key"]: row["duplicate_of"] for row in rows if row["dropped_by"] == "near_duplicate"}
    assert duplicates == {
        "same-00": "good-00", "same-05": "good-05", "near-03": "good-03", "near-04": "good-04", "z-last": "a-first",
    }  # fmt: skip
    assert by_key["wide"]["dropped_value"] == pytest.approx(200 / 17)
    assert by_key["tiny"]["dropped_value"] == 12
    assert (by_key["turned"]["width"], by_key["turned"]["height"]) == (40, 48)
    for row in rows:
        if row["sha256"] is not None:
            content = (photos / row["source_file"]).read_bytes()
            assert row["sha256"] == hashlib.sha256(content).hexdigest()
        if row["perceptual_hash"] is not None:
            image = ImageOps.exif_transpose(Image.open(photos / row["source_file"])).convert("RGB")
            assert row["perceptual_hash"] == str(imagehash.phash(image))
    assert {row["recipe_hash"] for row in rows} == {json.loads((curated / "summary.json").read_text())["recipe_hash"]}


def test_the_summary_counts_the_lineage(curated: Path) -> None:
    rows, summary = lineage_of(curated), json.loads((curated / "summary.json").read_text())
    assert summary["num_samples"] == len(rows) == 30
    assert summary["num_kept"] == sum(row["dropped_by"] is None for row in rows) == 20
    assert summary["dropped"] == {"aspect_ratio": 2, "near_duplicate": 5, "smallest_side": 1, "undecodable": 2}
    assert summary["captions"] == {"prompt": 15, "stand-in": 20}
    assert summary["num_shards"] == 3
    assert not (curated / ".curation").exists()


def test_the_shards_are_a_data_set_of_the_kept_samples_with_all_their_captions(photos: Path, curated: Path) -> None:
    source, kept = open_data(curated), [row for row in lineage_of(curated) if row["dropped_by"] is None]
    assert not source.problems
    assert [source[index].key for index in range(len(source))] == [row["key"] for row in kept]
    for index, row in enumerate(kept):
        captions = {item.source: item.text for item in source[index].captions}
        assert captions == {item["source"]: item["text"] for item in row["captions"]}
        with tarfile.open(curated / row["shard"]) as archive:
            names = archive.getnames()
        assert any(Path(name).stem == row["shard_key"] and not name.endswith(".json") for name in names)
    turned = next(index for index, row in enumerate(kept) if row["key"] == "turned")
    expected = ImageOps.exif_transpose(Image.open(photos / "turned.jpg")).convert("RGB")
    assert np.array_equal(np.asarray(source.image(turned)), np.asarray(expected))
    assert (
        source.read_bytes(kept.index(next(r for r in kept if r["key"] == "good-01")))
        == (photos / "good-01.png").read_bytes()
    )


@pytest.mark.slow  # about 30 s of processor time, nearly all for the start of Ray's own processes
def test_ray_gives_the_same_shards_and_lineage(photos: Path, plugin: str, curated: Path, tmp_path: Path) -> None:
    """Through the start and stop that ``--ray`` makes."""
    ray = pytest.importorskip("ray")
    out = tmp_path / "curated"
    run_on_ray(photos, out, recipe(plugin))
    assert not ray.is_initialized()
    assert files_of(out) == files_of(curated)
    assert lineage_of(out) == lineage_of(curated)


def test_a_killed_run_is_continued_to_the_same_bytes(
    photos: Path, plugin: str, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in's captions depend on which pictures share a batch, so equal bytes need equal batches."""
    import curation_test_plugin  # type: ignore[import-not-found]

    out, calls = tmp_path / "curated", itertools.count()
    answer = curation_test_plugin.Captioner.__call__

    def interrupted(self: Any, images: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return answer(self, images)

    monkeypatch.setattr(curation_test_plugin.Captioner, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_here(photos, out, recipe(plugin))
    assert not list(out.glob("*.tar"))
    assert not (out / "wids-meta.json").exists()
    done: list[tuple[int, int, str]] = []
    run_here(photos, out, recipe(plugin), on_progress=lambda *state: done.append(state))
    assert (30 - 1, 30 - 1, "look") in done  # broken-text is no sample
    assert (8, 20, "caption-stand-in") in done  # two batches were kept
    assert next(calls) == 3 + 3  # none was captioned twice: three calls before, three after
    assert files_of(out) == files_of(curated)
    assert run_here(photos, out, recipe(plugin)).num_kept == 20
    assert next(calls) == 7


def test_shards_that_are_there_are_kept_and_a_damaged_part_is_made_again(
    photos: Path, plugin: str, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sanakit.data.shards import writer

    out, write, names = tmp_path / "curated", writer.write_shard, list[str]()

    def no_space() -> Any:
        raise OSError(28, "No space left on device")
        yield

    def full(folder: Path, name: str, samples: Any, **options: Any) -> int:
        names.append(name)
        return write(folder, name, no_space() if name == "00001" else samples, **options)

    monkeypatch.setattr(writer, "write_shard", full)
    with pytest.raises(OutputError, match="No space left"):
        run_here(photos, out, recipe(plugin))
    assert [path.name for path in out.glob("*.tar")] == ["00000.tar"]
    monkeypatch.setattr(writer, "write_shard", lambda *a, **o: names.append(a[1]) or write(*a, **o))
    part = out / ".curation" / "caption-stand-in" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    run_here(photos, out, recipe(plugin))
    assert names == ["00000", "00001", "00001", "00002"]
    assert files_of(out) == files_of(curated)


def test_scores_are_written_and_low_ones_dropped(photos: Path, plugin: str, tmp_path: Path) -> None:
    import curation_test_plugin

    config = replace(recipe(plugin), scorer=ScorerConfig(model="redness", min_score=120.0))
    summary = run_here(photos, tmp_path / "out", config, load_scorer=curation_test_plugin.load_redness)
    rows = [row for row in lineage_of(tmp_path / "out") if row["captions"]]
    assert len(rows) == 20
    for row in rows:
        image = ImageOps.exif_transpose(Image.open(photos / row["source_file"])).convert("RGB")
        red = image.resize((1, 1)).getpixel((0, 0))[0]
        assert [item["score"] for item in row["captions"]] == [red + len(i["text"]) / 1000 for i in row["captions"]]
        assert {item["scored_by"] for item in row["captions"]} == {"redness"}
        best = max(item["score"] for item in row["captions"])
        assert (row["dropped_by"], row["dropped_value"]) == ((None, None) if best >= 120 else ("score", best))
    assert 0 < summary.dropped["score"] < 20
    source = open_data(tmp_path / "out")
    assert all(item.score is not None for index in range(len(source)) for item in source[index].captions)
    with pytest.raises(ConfigError, match="scorer redness"):
        run_here(photos, tmp_path / "other", config)


def test_a_picture_without_any_caption_is_dropped_by_name(photos: Path, plugin: str, tmp_path: Path) -> None:
    captioners = (ExistingCaptions(), PluginCaptions(source="mute", target=f"{plugin}:Silent"))
    summary = run_here(photos, tmp_path / "out", replace(recipe(plugin), captioners=captioners))
    assert summary.dropped["no_caption"] == 5
    dropped = {row["key"] for row in lineage_of(tmp_path / "out") if row["dropped_by"] == "no_caption"}
    assert dropped == {"a-first", "good-15", "good-16", "good-17", "turned"}


def test_a_distance_or_none_decides_what_is_the_same(photos: Path, plugin: str, tmp_path: Path) -> None:
    config = replace(recipe(plugin), captioners=(PluginCaptions(source="x", target=f"{plugin}:Captioner"),))
    for filters, count in ((NearDuplicates(distance=0), 4), (None, 0)):
        out = tmp_path / f"out-{count}"
        summary = run_here(photos, out, replace(config, filters=replace(config.filters, duplicates=filters)))
        assert summary.dropped.get("near_duplicate", 0) == count


def test_a_sample_can_be_traced(curated: Path, photos: Path) -> None:
    (row,) = trace(curated, "z-last")
    assert row["duplicate_of"] == "a-first"
    assert trace(curated, "z-last.jpg") == [row]
    digest = hashlib.sha256((photos / "good-05.png").read_bytes()).hexdigest()
    assert [row["key"] for row in trace(curated, digest)] == ["good-05", "same-05"]
    with pytest.raises(RequestError, match="no sample with the key"):
        trace(curated, "nobody")
    with pytest.raises(RequestError, match=r"holds no lineage\.parquet"):
        trace(photos, "good-00")


def test_the_wrong_place_or_recipe_is_refused(photos: Path, plugin: str, curated: Path, tmp_path: Path) -> None:
    config = recipe(plugin)
    with pytest.raises(RequestError, match="lies in the data set"):
        run_here(photos, photos / "out", config)
    with pytest.raises(ConfigError, match="begun with"):
        run_here(photos, curated, replace(config, shard_size=9))
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        run_here(photos, tmp_path, config)
    with pytest.raises(RequestError, match="is not there"):
        run_here(tmp_path / "nowhere", tmp_path / "out", config)
    plugins = {"nothing:Here": "cannot be imported", f"{plugin}:TooFew": "1 answers"}
    for target, message in plugins.items():
        wrong = replace(config, captioners=(PluginCaptions(source="x", target=target),))
        with pytest.raises(ConfigError, match=message):
            run_here(photos, tmp_path / target.replace(":", "-"), wrong)
    taken = replace(config, captioners=(ExistingCaptions(), PluginCaptions(source="prompt", target=f"{plugin}:Silent")))
    with pytest.raises(ConfigError, match="has captions of 'prompt' already"):
        run_here(photos, tmp_path / "taken", taken)


def test_curated_shards_can_be_curated_again(curated: Path, plugin: str, tmp_path: Path) -> None:
    summary = run_here(curated, tmp_path / "again", replace(recipe(plugin), captioners=(ExistingCaptions(),)))
    assert (summary.num_samples, summary.num_kept) == (20, 20)
    assert summary.captions == {"prompt": 15, "stand-in": 20}
    assert {row["source_file"] for row in lineage_of(tmp_path / "again")} >= {"00000.tar/good-00.png"}


def test_a_missing_package_is_told_with_its_extra(
    photos: Path, plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name, run, extra in (("ray", run_on_ray, "ray"), ("imagehash", run_here, "data")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingExtraError, match=rf"pip install 'sanakit\[{extra}\]'"):
            run(photos, tmp_path / name, recipe(plugin))


def test_a_worker_that_dies_again_and_again_ends_the_curation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would begin it again for ever."""
    told: dict[str, Any] = {}

    class Dataset:
        context = SimpleNamespace(execution_options=SimpleNamespace(), enable_progress_bars=True)

        def map_batches(self, apply: Any, **options: Any) -> Any:
            told.update(options)
            return self

        def iter_batches(self, **options: Any) -> Any:
            raise ConnectionError("the actor died")

    data = SimpleNamespace(from_arrow=lambda blocks: Dataset(), ActorPoolStrategy=lambda size: size)
    exceptions = SimpleNamespace(RayError=ConnectionError)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(data=data, exceptions=exceptions, put=lambda what: what))
    for kind, limits in (("model", {"max_restarts": 3, "max_task_retries": 3}), ("pictures", {"max_retries": 3})):
        told.clear()
        work = Work(kind=kind, make_step=lambda: lambda rows: rows)
        with pytest.raises(SanakitError, match=f"a worker of Ray died 4 times over the same {kind}"):
            list(on_ray.RayData(RayConfig()).map(work, [[{"key": "a"}]]))
        assert limits.items() <= told.items()


def test_what_passes_through_ray_comes_back_unchanged_or_as_our_error() -> None:
    """The workers' side of the Ray driver, without Ray."""
    import pyarrow as pa

    def step(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if rows[0]["text"] == "bad":
            raise RequestError("no such thing")
        return [row | {"twice": row["number"] * 2} for row in rows]

    def through(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        table = on_ray._call(step, pa.table({"batch": [json.dumps(rows)]}))
        return (on_ray._answer(text) for text in table.column("batch").to_pylist())

    rows = [{"text": "Grüße, \U0001f34e \n", "number": 0.1}, {"text": "", "number": 1e-300}]
    assert list(through(rows)) == [[row | {"twice": row["number"] * 2} for row in rows]]
    with pytest.raises(RequestError, match="no such thing"):
        list(through([{"text": "bad", "number": 0}]))


def test_a_picture_that_changes_meanwhile_stops_the_run(plugin: str, tmp_path: Path) -> None:
    from sanakit.common.errors import PictureError

    (tmp_path / "in").mkdir()
    buffer = io.BytesIO()
    Image.effect_noise((32, 32), 90).convert("RGB").save(buffer, format="PNG")
    (tmp_path / "in" / "one.png").write_bytes(buffer.getvalue())
    config = recipe(plugin)

    def change(done: int, total: int, name: str) -> None:
        if name.startswith("caption"):
            Image.new("RGB", (32, 32), "red").save(tmp_path / "in" / "one.png")

    with pytest.raises(PictureError, match="changed while it was curated"):
        run_here(tmp_path / "in", tmp_path / "out", config, on_progress=change)
    assert not list((tmp_path / "out").glob("*.tar*"))


def test_a_file_name_that_is_not_utf8_is_written_with_escapes(plugin: str, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)
    buffer = io.BytesIO()
    Image.effect_noise((32, 32), 90).convert("RGB").save(buffer, format="PNG")
    try:
        Path(os.fsdecode(folder + b"/\xff.png")).write_bytes(buffer.getvalue())
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    out = tmp_path / "out\udcff"
    run_here(tmp_path / "in", out, recipe(plugin))
    (row,) = trace(out, "\udcff.png")
    assert (row["key"], row["source_file"], row["shard"]) == ("\\udcff", "\\udcff.png", "00000.tar")


def failing(plugin: str, **arguments: Any) -> CurationConfig:
    """Of 20 pictures that are left, the turned one (40 x 48) gets no caption."""
    config = recipe(plugin)
    captioner = PluginCaptions(source="picky", target=f"{plugin}:Picky", arguments=arguments, batch_size=4)
    return replace(config, captioners=(captioner,))


@pytest.mark.parametrize("on_ray", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_captioner_that_fails_on_one_picture_costs_that_picture(
    photos: Path, plugin: str, tmp_path: Path, on_ray: bool, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    summary = (run_on_ray if on_ray else run_here)(photos, out, failing(plugin))
    assert summary.dropped["captioner_failed"] == summary.num_caption_faults == 1
    assert summary.num_kept == 19
    (row,) = trace(out, "turned")
    reason = "the captioner picky failed on it: RuntimeError: CUDA out of memory"
    assert (row["dropped_by"], row["dropped_detail"], row["caption_fault"]) == ("captioner_failed", reason, reason)
    assert f"turned: {reason}" in caplog.text
    both = replace(failing(plugin), captioners=(ExistingCaptions(), *failing(plugin).captioners))
    if not on_ray:  # what has another caption stays
        run_here(photos, tmp_path / "both", both)
        assert trace(tmp_path / "both", "good-01")[0]["caption_fault"] is None


def test_a_captioner_that_fails_on_everything_is_given_up_and_asked_again(
    photos: Path, plugin: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"first 20 pictures; of a-first, .* RuntimeError: CUDA out of memory"):
        run_here(photos, tmp_path / "out", failing(plugin, least=10**6))
    assert run_here(photos, tmp_path / "again", failing(plugin)).num_kept == 19


def test_captions_longer_than_the_scorer_reads_are_counted(photos: Path, plugin: str, tmp_path: Path) -> None:
    def load_short(name_or_path: str, /, *, device: str) -> Any:
        scorer = importlib.import_module(plugin).RednessScorer()
        scorer.cuts = lambda text: text.endswith("7")
        return scorer

    config = replace(recipe(plugin), captioners=(ExistingCaptions(),), scorer=ScorerConfig(model="redness"))
    summary = run_here(photos, tmp_path / "out", config, load_scorer=load_short)
    assert summary.num_scored_in_part == 1
    assert "longer than is scored" in summary.table()
    parts = {item["text"]: item["scored_in_part"] for row in lineage_of(tmp_path / "out") for item in row["captions"]}
    assert (parts["picture number 7"], parts["picture number 6"]) == (True, False)


def test_captions_and_scores_are_kept_by_content(photos: Path, plugin: str, tmp_path: Path) -> None:
    """Another folder, names and recipe ask for nothing twice; another text, setting or picture is asked for."""
    module = importlib.import_module(plugin)
    asked: list[int] = []

    class Counting(module.RednessScorer):  # type: ignore[misc, name-defined]
        weights_hash = "ab"

        def score(self, images: Any, texts: Any) -> list[float]:
            asked.append(len(texts))
            return list(super().score(images, texts))

    def curate(name: str, source: Path, **arguments: Any) -> list[dict[str, Any]]:
        module.ASKED.clear()
        asked.clear()
        captioner = PluginCaptions(source=name, target=f"{plugin}:Picky", arguments={"least": 1, **arguments})
        config = CurationConfig(captioners=(ExistingCaptions(), captioner), scorer=ScorerConfig(model="redness"))
        run_here(source, tmp_path / name, config, load_scorer=lambda model, device: Counting())
        return lineage_of(tmp_path / name)

    first = curate("one", photos)
    assert sum(module.ASKED) == sum(row["shard"] is not None for row in first)
    renamed = tmp_path / "renamed"
    shutil.copytree(photos, renamed)
    (renamed / "good-01.png").rename(renamed / "good-01b.png")
    (renamed / "good-01.txt").rename(renamed / "good-01b.txt")
    (renamed / "good-02.txt").write_text("other words")
    second = curate("two", renamed)
    assert (sum(module.ASKED), sum(asked)) == (0, 1)
    scores = [{item["text"]: item["score"] for row in rows for item in row["captions"]} for rows in (first, second)]
    assert all(scores[1][text] == score for text, score in scores[0].items() if text != "picture number 2")
    curate("three", photos, least=2)
    assert sum(module.ASKED) > 0
