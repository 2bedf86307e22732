"""Damage in the hub's cache: the hub's own client and a hub on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
from tests.checkpoints.files.hub_server import HubServer, running_hub

import sanakit
from sanakit.checkpoints.files.hub import HubOptions, resolve_source
from sanakit.checkpoints.opening import load_bundle
from sanakit.checkpoints.sources.content_hashes import verify_hashes
from sanakit.common.errors import CheckpointError, DownloadError
from sanakit.pipelines.text_to_image import TextToImagePipeline

REPO, WEIGHTS = "org/name", b"weights of a network" * 1000


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with running_hub(monkeypatch) as server:
        server.repos[REPO] = {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "README.md": b"read"}
        yield server


def fetched(cache: Path) -> Path:
    return resolve_source(REPO, hub=HubOptions(cache_dir=cache))


def test_what_is_fetched_is_of_one_commit_and_found_again_without_a_network(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetched(tmp_path)
    assert folder.name == hub.commit(REPO)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert sorted(hub.asked) == ["config.json", "model.safetensors"]
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody answers
    first = folder.name
    assert fetched(tmp_path) == folder
    assert resolve_source(REPO, hub=HubOptions(cache_dir=tmp_path, local_files_only=True, revision=first)) == folder


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("change", [lambda data: data[:-3], lambda data: b"x" + data[1:], lambda data: b""])
def test_damage_is_fetched_again_once(
    name: str, change: Callable[[bytes], bytes], hub: HubServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = fetched(tmp_path) / name
    good = path.read_bytes()
    path.write_bytes(change(good))
    hub.asked.clear()
    assert (fetched(tmp_path) / name).read_bytes() == good
    assert hub.asked == [name]
    assert f"{path} has " in caplog.text
    assert "it is fetched again" in caplog.text
    fetched(tmp_path)
    assert hub.asked == [name]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("is_link", [True, False])
def test_what_stands_in_the_place_of_a_link_is_replaced(
    is_link: bool, name: str, hub: HubServer, tmp_path: Path
) -> None:
    """By who planted it, or by a client that makes no links; it is noticed without a network, too."""
    path = fetched(tmp_path) / name
    good = path.read_bytes()
    (tmp_path / "planted").write_bytes(b"x" + good[1:])
    path.unlink()
    if is_link:
        path.symlink_to(tmp_path / "planted")
    else:
        shutil.copy(tmp_path / "planted", path)
    with pytest.raises(DownloadError, match=rf"{path} is damaged"):
        resolve_source(REPO, hub=HubOptions(cache_dir=tmp_path, local_files_only=True))
    assert (fetched(tmp_path) / name).read_bytes() == good
    assert (tmp_path / "planted").read_bytes() == b"x" + good[1:]


def test_several_at_once_fetch_what_is_missing_or_damaged(hub: HubServer, tmp_path: Path) -> None:
    for damaged in (False, True):
        if damaged:
            (fetched(tmp_path) / "model.safetensors").write_bytes(b"cut")
        with ThreadPoolExecutor(4) as pool:
            found = [folder.result() for folder in [pool.submit(fetched, tmp_path) for _ in range(4)]]
        assert {(folder / "model.safetensors").read_bytes() for folder in found} == {WEIGHTS}


@pytest.mark.parametrize("listed", [True, False])
def test_damage_without_a_network_says_which_file_and_what_helps(
    listed: bool, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetched(tmp_path)
    path = folder / "model.safetensors"
    path.write_bytes(b"x" + WEIGHTS[1:])
    if not listed:  # by an older client; the blob's name is its hash
        shutil.rmtree(folder.parents[1] / "trees")
    monkeypatch.setattr(huggingface_hub._tree_cache, "_IN_MEMORY_TREE_CACHE", {})
    with pytest.raises(DownloadError) as error:
        resolve_source(REPO, hub=HubOptions(cache_dir=tmp_path, local_files_only=True))
    assert f"{path} is damaged (it has the digest" in str(error.value)
    assert f"`hf cache rm model/org/name --cache-dir {tmp_path}` removes it: local_files_only" in str(error.value)


def test_a_hub_that_gives_damage_twice(hub: HubServer, tmp_path: Path) -> None:
    hub.swapped["model.safetensors"] = b"x" + WEIGHTS[1:]
    with pytest.raises(DownloadError, match=r"gave model\.safetensors of org/name twice and it has the digest"):
        fetched(tmp_path)
    hub.swapped.clear()
    assert (fetched(tmp_path) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_hub_that_lists_files_and_gives_none(hub: HubServer, tmp_path: Path) -> None:
    """The client hides the answer behind an error of its own."""
    path = fetched(tmp_path) / "model.safetensors"
    path.write_bytes(b"cut")
    hub.status = 503
    with pytest.raises(DownloadError, match=rf"{path} is damaged .* the hub answered with status 503; try again later"):
        fetched(tmp_path)


def test_files_that_the_repository_does_not_have(hub: HubServer, tmp_path: Path) -> None:
    folder = fetched(tmp_path)
    (folder / ".DS_Store").write_bytes(b"")
    assert fetched(tmp_path) == folder
    (folder / "adapter_config.json").write_text("{}")
    for options in (HubOptions(cache_dir=tmp_path), HubOptions(cache_dir=tmp_path, local_files_only=True)):
        with pytest.raises(
            CheckpointError, match=r"adapter_config\.json lies in the hub's cache and is no file of org"
        ):
            resolve_source(REPO, hub=options)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="rights are of POSIX, and root has all")
def test_read_only_cache(hub: HubServer, tmp_path: Path) -> None:
    folder = fetched(tmp_path / "cache")
    places = [tmp_path / "cache", *(path for path in (tmp_path / "cache").rglob("*") if path.is_dir())]
    for path in places:
        path.chmod(0o555)
    try:
        assert fetched(tmp_path / "cache") == folder
    finally:
        for path in places:
            path.chmod(0o755)


def test_a_picture_says_which_commit_of_the_hub_made_it(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    hub.repos[REPO] = {name: path.read_bytes() for name, path in files.items()}
    commit = hub.commit(REPO)
    pipeline = sanakit.load(REPO, cache_dir=tmp_path)
    hub.repos[REPO]["README.md"] = b"changed since"
    made = pipeline("w5", num_inference_steps=1).images[0].record.model
    assert made.commits == dict.fromkeys(("transformer", "autoencoder", "text_encoder"), commit)
    assert made.options == f" --model {REPO} --revision {commit}"
    again = sanakit.load(REPO, cache_dir=tmp_path, revision=commit, local_files_only=True)
    assert again("w5", num_inference_steps=1).images[0].record.model == made.model_copy(update={"revision": commit})
    assert sanakit.load(folder)("w5", num_inference_steps=1).images[0].record.model.commits == {}


def test_a_replay_takes_borrowed_parts_of_the_commit_that_made_the_picture(
    hub: HubServer, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder without its text encoder, which comes from the hub and changes there."""
    places = [path for name in ("text_encoder", "tokenizer") for path in (folder / name).iterdir()]
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in places}
    hub.repos[REPO] = {"model_index.json": b"{}", **files}
    alone = tmp_path / "alone"
    shutil.copytree(folder, alone, ignore=shutil.ignore_patterns("text_encoder", "tokenizer"))
    card = json.loads((alone / "sanakit.json").read_text())
    (alone / "sanakit.json").write_text(json.dumps({**card, "text_encoder": REPO}))
    cache, first = HubOptions(cache_dir=tmp_path / "cache"), hub.commit(REPO)
    made = TextToImagePipeline(load_bundle(alone, hub=cache))("w5", num_inference_steps=1).images[0].record.model
    assert made.borrowed_commits(alone) == made.commits == {"text_encoder": first}
    assert made.borrowed_commits("org/other") == {}
    hub.repos[REPO]["README.md"] = b"changed since"
    assert load_bundle(alone, hub=cache).parts.commits == {"text_encoder": hub.commit(REPO)}  # type: ignore[union-attr]
    pinned = replace(cache, commits=made.borrowed_commits(alone))
    assert load_bundle(alone, hub=pinned).parts.commits == {"text_encoder": first}  # type: ignore[union-attr]
    gone = replace(cache, commits={"text_encoder": "0" * 40})
    assert load_bundle(alone, hub=gone).parts.commits == {"text_encoder": hub.commit(REPO)}  # type: ignore[union-attr]
    assert "the present one is taken" in caplog.text


def test_a_part_that_is_named_otherwise_is_not_fetched(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    hub.repos[REPO] = {name: path.read_bytes() for name, path in files.items()}
    options = HubOptions(cache_dir=tmp_path)
    load_bundle(REPO, hub=options, text_encoder=folder)
    assert {name.split("/")[0] for name in hub.asked if "/" in name} == {"transformer", "vae", "scheduler"}
    hub.asked.clear()
    load_bundle(REPO, hub=HubOptions(cache_dir=tmp_path / "other"), autoencoder=folder)
    fetched = {name.split("/")[0] for name in hub.asked if "/" in name}
    assert fetched == {"transformer", "text_encoder", "tokenizer", "scheduler"}


def test_a_model_of_the_hub_without_a_card_is_verified_by_the_hub(
    hub: HubServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the disk tells nothing of a change, every byte is read, and then the next use fetches again."""
    monkeypatch.setattr("sanakit.common.fetching.made_once._LARGE", 0)
    monkeypatch.setattr("sanakit.common.fetching.made_once.file_stamp", str)
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    hub.repos[REPO] = {name: path.read_bytes() for name, path in files.items() if name != "sanakit.json"}
    options = HubOptions(cache_dir=tmp_path)
    checks = {check.name: check for check in verify_hashes(REPO, hub=options)}
    weights = "transformer/diffusion_pytorch_model.safetensors"
    assert checks.keys() == hub.repos[REPO].keys()
    assert all(check.found == check.expected and check.against == "hub" for check in checks.values())
    assert checks[weights].found == hashlib.sha256(hub.repos[REPO][weights]).hexdigest()
    path = resolve_source(REPO, hub=options) / weights
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    offline = HubOptions(cache_dir=tmp_path, local_files_only=True)
    assert [check.name for check in verify_hashes(REPO, hub=offline) if check.differs] == [weights]
    with pytest.raises(DownloadError, match="is damaged"):
        resolve_source(REPO, hub=offline)
