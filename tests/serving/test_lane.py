"""What a lane makes is what the pipeline makes alone, whoever is in it."""

from __future__ import annotations

import io
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from PIL import Image

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.errors import SanakitError
from sanakit.pipelines.decoding.previews import Projection
from sanakit.pipelines.latent_file import load_latent
from sanakit.pipelines.plan import plan_pictures
from sanakit.pipelines.record import PictureRecord
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.serving import lane as lane_module
from sanakit.serving.lane import Lane
from sanakit.serving.messages import (
    Add,
    Done,
    Failed,
    FileForm,
    FromLane,
    Gone,
    Remove,
    Returned,
    Step,
    Told,
    Work,
)  # fmt: skip
from sanakit.serving.places import Folder, Kept

T = TypeVar("T")


def work(
    bundle: ModelBundle, key: str, form: FileForm | None = None, latent: Path | None = None, **fields: Any
) -> Work:
    request = GenerationRequest(**{"prompt": "a cat", **fields})
    (plan,) = plan_pictures([request], bundle.card, 16)
    return Work(key=key, request=plan.request, form=form or FileForm(), previews=frozenset(range(99)), latent=latent)


def until_the_end(connection: Connection, *keys: str) -> list[FromLane]:
    """What is told until all of these have ended."""
    left, told = set(keys), list[FromLane]()
    while left:
        assert connection.poll(30)
        told.append(connection.recv())
        if isinstance(told[-1], Done | Failed | Returned):
            left.discard(told[-1].key)
    return told


def of_kind(kind: type[T], told: list[FromLane]) -> list[T]:
    return [each for each in told if isinstance(each, kind)]


def test_pictures_in_company_are_those_of_the_pipeline_alone(tiny_bundle: ModelBundle, connection: Connection) -> None:
    fields = {
        "a": {"seed": 1},
        "b": {"seed": 2, "num_inference_steps": 5},
        "c": {"seed": 3, "width": 192, "height": 96},
    }
    for key, own in fields.items():
        connection.send(Add(work(tiny_bundle, key, **own)))
    told = until_the_end(connection, *fields)
    for done in of_kind(Done, told):
        record = PictureRecord.from_json(done.record)
        alone = TextToImagePipeline(tiny_bundle)("a cat", **fields[done.key]).images[0]
        assert record == alone.record
        assert record.threads == torch.get_num_threads()
        picture = Image.open(io.BytesIO(done.content))
        assert picture.tobytes() == alone.picture.tobytes()
        assert {"sanakit", "parameters"} <= set(picture.info)
        assert {"encode", "denoise", "decode", "save"} == set(done.seconds)
    steps = [(each.key, each.index) for each in of_kind(Step, told)]
    assert sorted(steps) == [(key, index) for key, total in (("a", 3), ("b", 5), ("c", 3)) for index in range(total)]
    preview = next(each.preview for each in of_kind(Step, told) if each.key == "c")
    assert preview is not None
    assert Image.open(io.BytesIO(preview)).size == (192, 96)


def test_a_picture_goes_on_from_where_it_was_handed_back(
    tiny_bundle: ModelBundle, connection: Connection, tmp_path: Path
) -> None:
    asked = work(
        tiny_bundle, "a", latent=Kept(Folder(tmp_path), "a.safetensors"), num_inference_steps=40, solver="flow-euler"
    )
    connection.send(Add(asked))
    while not isinstance(told := connection.recv(), Step) or told.index < 5:
        pass
    connection.send(Remove("a", hand_back=True))
    until_the_end(connection, "a")
    index = load_latent(tmp_path / "a.safetensors").index
    assert index is not None
    assert index >= 5
    connection.send(Add(asked))
    told = until_the_end(connection, "a")
    assert min(each.index for each in of_kind(Step, told)) == index
    alone = TextToImagePipeline(tiny_bundle)("a cat", num_inference_steps=40, solver="flow-euler").images[0]
    assert Image.open(io.BytesIO(of_kind(Done, told)[0].content)).tobytes() == alone.picture.tobytes()


def test_forms_of_files_and_a_picture_without_its_record(tiny_bundle: ModelBundle, connection: Connection) -> None:
    sizes = {}
    for quality in (10, 95):
        form = FileForm(format="jpeg", quality=quality, metadata=False)
        connection.send(Add(work(tiny_bundle, "a", form)))
        (done,) = of_kind(Done, until_the_end(connection, "a"))
        picture = Image.open(io.BytesIO(done.content))
        assert picture.format == "JPEG"
        assert not picture.getexif()
        sizes[quality] = len(done.content)
    assert sizes[10] < sizes[95]


def test_what_fails_is_told_in_a_sentence_and_the_lane_goes_on(
    tiny_bundle: ModelBundle, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: object, **fields: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(TextToImagePipeline, "jobs", fail)
    connection.send(Add(work(tiny_bundle, "a", prompt="x" * 200)))
    told = until_the_end(connection, "a")
    assert "tokens" in of_kind(Told, told)[0].sentence
    assert told[-1] == Failed("a", "failed", "an unexpected RuntimeError while the picture was made")
    monkeypatch.undo()
    connection.send(Remove("nobody"))
    connection.send(Add(work(tiny_bundle, "a")))
    assert of_kind(Done, until_the_end(connection, "a"))


def test_a_picture_that_is_let_go_is_the_last_that_is_told_of_it(
    tiny_bundle: ModelBundle, connection: Connection
) -> None:
    connection.send(Add(work(tiny_bundle, "a", num_inference_steps=500, solver="flow-euler")))
    connection.send(Remove("a"))
    told: list[object] = []
    while not told or told[-1] != Gone("a"):
        assert connection.poll(30)
        told.append(connection.recv())
    assert not connection.poll(0.2)


def test_where_memory_runs_out_the_others_leave_and_one_goes_on_or_says_so(
    tiny_bundle: ModelBundle, tiny_previews: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = Pipe()
    lane = Lane(TextToImagePipeline(tiny_bundle), theirs, tiny_previews)
    round_of, failures = lane._denoiser.round, [MemoryError(), MemoryError()]

    def short(first: str | None = None) -> Any:
        if failures:
            raise failures.pop()
        return round_of(first)

    monkeypatch.setattr(lane._denoiser, "round", short)
    for message in (Add(work(tiny_bundle, "a")), Add(work(tiny_bundle, "b"))):
        lane._obey(message)
    lane._step()
    assert [ours.recv() for _ in range(1)] == [Returned("b", lack=True)]
    lane._step()
    assert ours.recv() == Failed(
        "a", "memory", "there is not enough free memory for this picture; ask for a smaller one"
    )
    lane._obey(Add(work(tiny_bundle, "b")))
    while len(lane._denoiser):
        lane._step()
    assert isinstance(until_the_end(ours, "b")[-1], Done)


def test_a_lane_ends_with_its_server(tiny_bundle: ModelBundle, tiny_previews: Projection) -> None:
    ours, theirs = Pipe()
    lane = Lane(TextToImagePipeline(tiny_bundle), theirs, tiny_previews)
    ours.send(Add(work(tiny_bundle, "a")))
    ours.close()
    lane.run()


def test_errors_of_ours_are_told_as_they_are() -> None:
    assert lane_module._failed("a", SanakitError("so it is"), lack=False) == Failed("a", "failed", "so it is")
