"""Jobs through the front door."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.torch import save_file
from tests.serving.conftest import ThreadLanes

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.opening import open_model
from sanakit.common.errors import OutputError
from sanakit.pipelines.decoding.previews import Projection
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.serving.http.app import JobFiles, make_app
from sanakit.serving.jobs.shelf import Shelf
from sanakit.serving.jobs.store import JobStore
from sanakit.serving.service import Service

LONG = {"prompt": "a cat", "num_inference_steps": 60, "solver": "flow-euler", "seed": 5}


@pytest.fixture
def start(
    tiny_model: Path, tiny_bundle: ModelBundle, tiny_previews: Projection, tmp_path: Path
) -> Iterator[Callable[[], TestClient]]:
    """A server after the other over the same jobs; `stop` of the service ends one."""
    opened: list[tuple[TestClient, Service, ThreadLanes]] = []

    def begin() -> TestClient:
        lanes = ThreadLanes(tiny_bundle, tiny_previews)
        lanes.start()
        service = Service(open_model(tiny_model), lanes)
        client = TestClient(make_app(service, jobs=JobFiles(jobs=tmp_path / "jobs")), raise_server_exceptions=False)
        client.service = service  # type: ignore[attr-defined]
        client.__enter__()
        opened.append((client, service, lanes))
        return client

    yield begin
    for client, service, lanes in opened:
        service.stop(0)
        client.__exit__()
        lanes.close()


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def wait_for(client: TestClient, job: str, *statuses: str) -> dict[str, Any]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        facts = client.get(f"/v1/jobs/{job}").json()
        if facts["status"] in statuses:
            return facts
        time.sleep(0.02)
    raise AssertionError(facts)


def picture_file() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (96, 64), "red").save(file, "png")
    return file.getvalue()


def test_a_job_is_accepted_and_finished_and_its_pictures_are_there(
    start: Callable[[], TestClient], tiny_bundle: ModelBundle
) -> None:
    client = start()
    answer = client.post("/v1/jobs", json={**LONG, "num_inference_steps": 2, "n": 2})
    assert answer.status_code == 202
    job = answer.json()["id"]
    facts = wait_for(client, job, "completed")
    assert facts["progress"] == 100
    alone = TextToImagePipeline(tiny_bundle)("a cat", num_inference_steps=2, solver="flow-euler", seed=5, num_images=2)
    for number, own in enumerate(alone.images):
        content = client.get(facts["data"][number]["url"])
        assert content.headers["content-type"] == "image/png"
        assert Image.open(io.BytesIO(content.content)).tobytes() == own.picture.tobytes()
    result = client.get(f"/v1/jobs/{job}/result").json()
    assert [base64.b64decode(each["b64_json"]) for each in result["data"]][1] == content.content
    assert [each["id"] for each in client.get("/v1/jobs").json()["data"]] == [job]
    assert client.delete(f"/v1/jobs/{job}").json()["deleted"]
    assert client.get(f"/v1/jobs/{job}").json()["error"]["code"] == "job_not_found"


def test_a_job_goes_on_in_the_next_process_to_the_same_picture(
    start: Callable[[], TestClient], tiny_bundle: ModelBundle, tmp_path: Path
) -> None:
    client = start()
    job = client.post("/v1/jobs", json=LONG).json()["id"]
    while client.get(f"/v1/jobs/{job}").json()["progress"] < 20:
        time.sleep(0.01)
    client.service.stop(0)  # type: ignore[attr-defined]
    assert list((tmp_path / "jobs" / "latents").glob(f"{job}-0*"))
    busy = client.post("/v1/jobs", json=LONG)
    assert (busy.status_code, busy.headers["x-should-retry"]) == (503, "true")
    client.__exit__()
    client.__enter__ = client.__exit__ = lambda *_: None  # type: ignore[assignment, method-assign]
    after = start()
    facts = wait_for(after, job, "completed")
    content = after.get(facts["data"][0]["url"]).content
    alone = TextToImagePipeline(tiny_bundle)("a cat", num_inference_steps=60, solver="flow-euler", seed=5)
    assert Image.open(io.BytesIO(content)).tobytes() == alone.images[0].picture.tobytes()
    left = tmp_path / "jobs" / "latents" / f"{job}-0.safetensors"
    assert not left.exists()
    left.touch()  # as of a lane that had not heard of the end
    after.app.state.desk._sweep()  # type: ignore[attr-defined]
    assert not left.exists()
    assert after.delete(f"/v1/jobs/{job}").status_code == 200
    other = left.with_name("job_of_another_queue-0.safetensors")  # which may have the same place for its files
    left.touch()
    other.touch()
    after.app.state.desk._sweep()  # type: ignore[attr-defined]
    assert (left.exists(), other.exists()) == (False, True)


def test_jobs_are_cancelled_waiting_or_running_and_told_over_a_stream(start: Callable[[], TestClient]) -> None:
    client = start()
    jobs = [client.post("/v1/jobs", json={**LONG, "num_inference_steps": 900}).json()["id"] for _ in range(3)]
    wait_for(client, jobs[0], "running")
    last = client.get(f"/v1/jobs/{jobs[2]}").json()
    assert last["status"] == "queued"
    assert last["queue_position"] <= 1
    assert client.delete(f"/v1/jobs/{jobs[2]}").status_code == 409
    assert client.get(f"/v1/jobs/{jobs[2]}/result").json()["error"]["code"] == "job_not_ended"
    threading.Timer(0.3, lambda: client.post(f"/v1/jobs/{jobs[0]}/cancel")).start()
    lines = [line for line in client.get(f"/v1/jobs/{jobs[0]}/events").text.splitlines() if line.startswith("event")]
    assert lines[0] == "event: job.progress"
    assert lines[-1] == "event: job.cancelled"
    for job in reversed(jobs):
        client.post(f"/v1/jobs/{job}/cancel")
    for job in jobs:
        wait_for(client, job, "cancelled")


def test_a_job_of_another_server_is_followed_and_cancelled(
    start: Callable[[], TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sanakit.serving.jobs.desk.HEARTBEAT", 0.1)
    works, asks = start(), start()
    short = {**LONG, "num_inference_steps": 30, "prompt": "short"}
    first = works.post("/v1/jobs", json=short).json()["id"]
    told = asks.get(f"/v1/jobs/{first}/events").text.splitlines()
    assert "event: job.completed" in told
    job = works.post("/v1/jobs", json={**LONG, "num_inference_steps": 1000}).json()["id"]
    wait_for(asks, job, "running")
    here = any(key.startswith(job) for key in works.service.engine.running)  # type: ignore[attr-defined]
    other = asks if here else works
    assert other.post(f"/v1/jobs/{job}/cancel").json()["status"] in ("running", "cancelled")
    wait_for(asks, job, "cancelled")
    for client in (works, asks):
        wait_until(lambda client=client: client.service.engine.idle)  # type: ignore[misc]


def test_previews_of_a_job_come_over_its_events(start: Callable[[], TestClient]) -> None:
    client = start()
    job = client.post("/v1/jobs", json={**LONG, "preview_every": 20}).json()["id"]
    data = [line[6:] for line in client.get(f"/v1/jobs/{job}/events").text.splitlines() if line.startswith("data: ")]
    events = [json.loads(line) for line in data]
    assert events[-1]["job"]["status"] == "completed"
    assert {event["step"] for event in events if "b64_json" in event} <= {20, 40}


def test_a_request_with_a_key_is_done_once(start: Callable[[], TestClient]) -> None:
    client, body, key = start(), {"prompt": "a cat", "num_inference_steps": 1}, {"Idempotency-Key": "k"}
    first, second = (client.post("/v1/images/generations", json=body, headers=key).json() for _ in range(2))
    assert first["data"] == second["data"]
    other = client.post("/v1/images/generations", json={**body, "prompt": "a dog"}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
    for wish, headers in (({"stream": 1}, key), ({"stream": "yes", "response_format": "url"}, {})):
        stream = client.post("/v1/images/generations", json={**body, **wish}, headers=headers)
        assert (stream.status_code, stream.json()["error"]["param"]) == (400, "stream")
    assert len(client.get("/v1/jobs").json()["data"]) == 1


def test_a_finished_job_is_answered_when_its_adapter_is_gone(
    start: Callable[[], TestClient], tiny_bundle: ModelBundle, tmp_path: Path
) -> None:
    client = start()
    client.service.adapters = tmp_path  # type: ignore[attr-defined]
    file, body = tmp_path / "cat.safetensors", {**LONG, "num_inference_steps": 1, "adapters": ["cat"]}
    width = tiny_bundle.transformer.config.hidden_size
    down, up = torch.full((1, width), 0.1), torch.full((width, 1), 0.1)
    name = "transformer.transformer_blocks.0.attn1.to_q"
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, file)
    job = client.post("/v1/jobs", json={**body, "output_format": "webp", "safety_identifier": "me"}).json()["id"]
    wait_for(client, job, "completed")
    before = client.get(f"/v1/jobs/{job}/result").json()
    assert (before["output_format"], before["safety_identifier"], before["quality"]) == ("webp", "me", "auto")
    file.unlink()
    answer = client.get(f"/v1/jobs/{job}/result")
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"] == before["data"]


def test_addresses_instead_of_content_and_edits_as_jobs(start: Callable[[], TestClient]) -> None:
    client = start()
    body = {"prompt": "a cat", "num_inference_steps": 1, "response_format": "url", "output_format": "webp"}
    url = client.post("/v1/images/generations", json=body).json()["data"][0]["url"]
    assert client.get(url).headers["content-type"] == "image/webp"
    fields = {"prompt": "a cat", "num_inference_steps": "2", "strength": "0.5"}
    job = client.post("/v1/jobs", data=fields, files={"image": ("a.png", picture_file())}).json()
    assert job["kind"] == "edit"
    assert wait_for(client, job["id"], "completed")["data"][0]["size"] == "160x96"


def test_what_cannot_be_done_is_refused_before_it_is_accepted(start: Callable[[], TestClient]) -> None:
    client = start()
    assert client.post("/v1/jobs", json={"prompt": "a", "size": "1x1"}).json()["error"]["param"] == "size"
    assert client.get("/v1/jobs?limit=0").json()["error"]["param"] == "limit"
    assert client.get("/v1/jobs?limit=x").status_code == 422
    assert client.get("/v1/jobs?status=lost").status_code == 400
    assert client.get("/v1/jobs").json()["data"] == []
    late = client.post("/v1/jobs", json={**LONG, "num_inference_steps": 900, "deadline": 0.2}).json()["id"]
    assert wait_for(client, late, "failed")["error"]["code"] == "deadline_exceeded"


def test_a_full_disk_costs_time_and_no_job(start: Callable[[], TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    client, put, body = start(), Shelf.put, {"prompt": "a", "num_inference_steps": 1}
    monkeypatch.setattr("sanakit.serving.jobs.desk.AGAIN_AFTER", 0.2)
    tried = list[int]()

    def put_not(self: Shelf, content: bytes, name: str | None = None) -> str:
        tried.append(len(content))
        raise OutputError("the disk is full")

    monkeypatch.setattr(Shelf, "put", put_not)
    job = client.post("/v1/jobs", json=body).json()["id"]
    wait_until(lambda: len(tried) > 1)
    refused = client.post("/v1/jobs", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage_unavailable")
    assert "disk" not in refused.text  # nor where it is
    assert len(set(tried)) == 2  # one picture was made; then it is looked whether there is room
    monkeypatch.setattr(Shelf, "put", put)
    assert wait_for(client, job, "completed")["data"]
    assert wait_for(client, client.post("/v1/jobs", json=body).json()["id"], "completed")


def files_of(jobs: Path) -> list[Path]:
    return [path for path in (jobs / "pictures").rglob("*") if path.is_file()]


def test_files_that_nobody_lived_to_tell_of_go_as_time_goes_by(
    start: Callable[[], TestClient], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The process ends between a file and the word of whose it is, as far as a test can have that: once as a picture
    was made, once as one came."""
    tried = list[str]()
    monkeypatch.setattr("sanakit.serving.jobs.desk.AGAIN_AFTER", 0.1)
    for name in ("keep_picture", "accept"):
        plain = getattr(JobStore, name)

        def ends(self: JobStore, *told: Any, name: str = name, plain: Any = plain) -> Any:
            tried.append(name)
            if tried.count(name) == 1:
                raise OutputError("nobody is there")
            return plain(self, *told)

        monkeypatch.setattr(JobStore, name, ends)
    client, edit = start(), {"prompt": "a", "num_inference_steps": "1", "seed": "1"}
    assert client.post("/v1/jobs", data=edit, files={"image": ("a.png", picture_file())}).status_code == 503
    job = client.post("/v1/jobs", data=edit, files={"image": ("a.png", picture_file())}).json()["id"]
    assert wait_for(client, job, "completed")["data"]
    assert len(files_of(tmp_path / "jobs")) == 4  # two that came, two that were made
    client.app.state.desk._sweep()  # type: ignore[attr-defined]
    assert len(files_of(tmp_path / "jobs")) == 4  # whose process may still live
    monkeypatch.setattr("sanakit.serving.jobs.desk._ADRIFT_AFTER", -1.0)
    after = start()
    wait_until(lambda: len(files_of(tmp_path / "jobs")) == 2)
    assert after.get(wait_for(after, job, "completed")["data"][0]["url"]).status_code == 200
    assert after.delete(f"/v1/jobs/{job}").status_code == 200
    assert files_of(tmp_path / "jobs") == []


def test_a_file_that_cannot_be_removed_is_tried_again_and_keeps_nobody_waiting(
    start: Callable[[], TestClient], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client, remove, body = start(), Shelf.remove, {"prompt": "a", "num_inference_steps": 1}

    def remove_not(self: Shelf, names: list[str]) -> None:
        raise OutputError("it may not be written")

    monkeypatch.setattr(Shelf, "remove", remove_not)
    job = client.post("/v1/jobs", json=body).json()["id"]
    wait_for(client, job, "completed")
    assert client.delete(f"/v1/jobs/{job}").json()["deleted"]
    assert wait_for(client, client.post("/v1/jobs", json=body).json()["id"], "completed")
    assert len(files_of(tmp_path / "jobs")) == 2
    monkeypatch.setattr(Shelf, "remove", remove)
    client.app.state.desk._sweep()  # type: ignore[attr-defined]
    assert len(files_of(tmp_path / "jobs")) == 1


def test_files_that_came_with_a_job_are_kept_all_or_none(
    start: Callable[[], TestClient], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client, put, kept = start(), Shelf.put, list[str]()

    def put_one(self: Shelf, content: bytes, name: str | None = None) -> str:
        if kept:
            raise OutputError("the disk is full")
        kept.append(put(self, content, name))
        return kept[0]

    monkeypatch.setattr(Shelf, "put", put_one)
    files = [("image[]", ("a.png", picture_file())), ("image[]", ("b.png", picture_file()))]
    assert client.post("/v1/jobs", data={"prompt": "a"}, files=files).status_code == 503
    assert len(kept) == 1
    assert files_of(tmp_path / "jobs") == []


def test_a_job_whose_end_could_not_be_written_down_is_ended_later(
    start: Callable[[], TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, end, away = start(), JobStore.end, [2]
    monkeypatch.setattr("sanakit.serving.jobs.desk.HEARTBEAT", 0.2)

    def end_or_not(self: JobStore, *facts: Any) -> bool:
        if away[0]:
            away[0] -= 1
            raise OutputError("the database is away")
        return end(self, *facts)

    monkeypatch.setattr(JobStore, "end", end_or_not)
    monkeypatch.setattr("sanakit.serving.jobs.desk.AGAIN_AFTER", 0.2)
    job = client.post("/v1/jobs", json={"prompt": "a", "num_inference_steps": 1}).json()["id"]
    assert len(wait_for(client, job, "completed")["data"]) == 1
    assert away == [0]
