"""Hub ids without a network: a cache laid out by hand, and the client's calls replaced."""

from __future__ import annotations

import errno
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from sanakit.checkpoints.files.hub import HubOptions, parse_address, resolve_source
from sanakit.checkpoints.files.hub_files import choose_files
from sanakit.common.errors import CheckpointError, DownloadError, OutputError

COMMIT = "0123456789012345678901234567890123456789"
LISTED = partial(SimpleNamespace, size=10**9, blob_id=None, lfs=None)
DIFFUSERS = [
    "README.md", "model_index.json", "images/sample.png", "scheduler/scheduler_config.json",
    "transformer/config.json", "transformer/diffusion_pytorch_model.bf16.safetensors",
    "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
    "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
    "transformer/diffusion_pytorch_model.safetensors.index.json",
    "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json", "text_encoder/model.bf16-00001-of-00002.safetensors",
    "text_encoder/model.bf16-00002-of-00002.safetensors", "text_encoder/model.safetensors.index.bf16.json",
    "text_encoder/pytorch_model.bin", "tokenizer/tokenizer.json", "tokenizer/tokenizer.model",
]  # fmt: skip


def make_cache(cache: Path, files: list[str], repo: str = "org/name") -> Path:
    """The hub's layout; gives the snapshot folder."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    for name in files:
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).write_text("{}")
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    return snapshot


class FakeHub:
    """Stands for the hub: lists files of 1 GB each, and puts those asked for into the cache."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path, files: list[str]) -> None:
        self.cache, self.files, self.asked, self.token = cache, files, list[str](), None
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", self.repo_info)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.snapshot_download)

    def repo_info(self, repo: str, *, revision: str | None, files_metadata: bool) -> SimpleNamespace:
        assert files_metadata
        return SimpleNamespace(sha=None, siblings=[LISTED(rfilename=f) for f in self.files])

    def snapshot_download(self, repo: str, *, allow_patterns: list[str], token: str | None, **_: Any) -> str:
        self.asked, self.token = allow_patterns, token
        return str(make_cache(self.cache, allow_patterns, repo))


def refuse(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def repo_info(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", repo_info)


def http_error(kind: type[HfHubHTTPError], status: int) -> HfHubHTTPError:
    return kind("no", response=httpx2.Response(status, request=httpx2.Request("GET", "https://huggingface.co/x")))


def test_local_path_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, AssertionError("the hub was asked"))
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve_source("org/name") == Path("org/name")
    assert resolve_source(tmp_path / "org") == tmp_path / "org"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("org/name", ("org/name", "")),
        ("Efficient-Large-Model/Sana_1600M_1024px", ("Efficient-Large-Model/Sana_1600M_1024px", "")),
        ("hf://org/name", ("org/name", "")),
        ("hf://org/name/checkpoints/model.pth", ("org/name", "checkpoints/model.pth")),
        ("hf://org/name/vae/", ("org/name", "vae")),
    ],
)
def test_addresses(source: str, expected: tuple[str, str]) -> None:
    assert parse_address(source) == expected


@pytest.mark.parametrize(
    "source", ["nothing", "./org/name", "/no/where", "a/b/c", "../x", "~/x", "", "org/", "hf://org"]
)
def test_neither_path_nor_id(source: str) -> None:
    with pytest.raises(CheckpointError, match=r"no file or folder .* not a hub id such as org/name"):
        parse_address(source)


def test_file_on_the_hub_without_its_scheme_is_hinted() -> None:
    with pytest.raises(CheckpointError, match=r"write hf://org/name/checkpoints/a\.pth"):
        parse_address("org/name/checkpoints/a.pth")


def test_only_one_variant_of_each_component_is_chosen() -> None:
    chosen = choose_files(DIFFUSERS)
    assert set(DIFFUSERS) - set(chosen) == {
        "README.md", "images/sample.png", "text_encoder/pytorch_model.bin",
        "transformer/diffusion_pytorch_model.bf16.safetensors",
    }  # fmt: skip
    wanted = choose_files(DIFFUSERS, variant="bf16", folders=("transformer", "vae"))
    assert wanted == [
        "model_index.json", "transformer/config.json", "transformer/diffusion_pytorch_model.bf16.safetensors",
        "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
    ]  # fmt: skip


def test_other_kinds_of_repositories() -> None:
    assert choose_files(["config.json", "model.safetensors", "pytorch_model.bin", "onnx/model.safetensors"]) == [
        "config.json", "model.safetensors",
    ]  # fmt: skip
    assert choose_files(["README.md", "checkpoints/a.pth", "old/b.pth"]) == ["checkpoints/a.pth"]
    with pytest.raises(CheckpointError, match=r"holds 2 files of weights; name one, such as hf://org/name/a\.pth"):
        choose_files(["a.pth", "b.pth"], where="org/name")
    with pytest.raises(CheckpointError, match="org/name is no model repository"):
        choose_files(["README.md"], where="org/name")
    with pytest.raises(CheckpointError, match="as bf16 and fp16; choose one with variant"):
        choose_files(["config.json", "model.fp16.safetensors", "model.bf16.safetensors"])


def test_weights_of_torch_save_are_chosen_where_there_are_no_others() -> None:
    old = ["config.json", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json", "optimizer.bin", "tf.h5"]
    assert choose_files(old) == old[:3]
    both = ["config.json", "model.safetensors", "pytorch_model.bin", "pytorch_model.bin.index.json"]
    assert choose_files(both) == ["config.json", "model.safetensors"]
    old = ["model_index.json", "vae/config.json", "vae/diffusion_pytorch_model.bin"]
    assert choose_files(old, folders=("vae",)) == [
        "model_index.json", "vae/config.json", "vae/diffusion_pytorch_model.bin",
    ]  # fmt: skip
    for name in ("tf_model.h5", "flax_model.msgpack", "model-Q4_K_M.gguf", "model.onnx"):
        with pytest.raises(CheckpointError, match=rf"org/name holds {name} and no \.safetensors or \.bin of the same"):
            choose_files(["config.json", name], where="org/name")
    assert choose_files(["config.json", "tokenizer.json"]) == ["config.json", "tokenizer.json"]


def test_size_is_said_before_downloading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="sanakit")
    hub = FakeHub(monkeypatch, tmp_path, DIFFUSERS)
    folder = resolve_source(
        "org/name", folders=("transformer",), hub=HubOptions(variant="bf16", cache_dir=tmp_path, token="secret")
    )
    assert (folder / "transformer" / "config.json").is_file()
    assert hub.asked == ["model_index.json", *choose_files(DIFFUSERS, variant="bf16", folders=("transformer",))[1:]]
    assert hub.token == "secret"
    assert caplog.messages == [f"downloading org/name: 3 files, 3.0 GB, to {tmp_path}"]


def test_file_and_folder_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub(monkeypatch, tmp_path / "a", ["checkpoints/a.pth", "checkpoints/b.pth"])
    path = resolve_source("hf://org/name/checkpoints/b.pth", hub=HubOptions(cache_dir=tmp_path / "a"))
    assert path.is_file()
    assert hub.asked == ["checkpoints/b.pth"]
    with pytest.raises(CheckpointError, match=r"org/name has no file checkpoints/c\.pth"):
        resolve_source("hf://org/name/checkpoints/c.pth", hub=HubOptions(cache_dir=tmp_path / "a"))
    hub = FakeHub(monkeypatch, tmp_path / "b", DIFFUSERS)
    assert resolve_source("hf://org/name/vae", hub=HubOptions(cache_dir=tmp_path / "b")).name == "vae"
    assert hub.asked == ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"]


def test_offline_uses_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, AssertionError("the hub was asked"))
    snapshot = make_cache(tmp_path, ["model_index.json", "vae/config.json"])
    assert resolve_source("org/name", hub=HubOptions(cache_dir=tmp_path, local_files_only=True)) == snapshot
    assert (
        resolve_source("hf://org/name/vae", hub=HubOptions(cache_dir=tmp_path, local_files_only=True))
        == snapshot / "vae"
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert resolve_source("org/name", hub=HubOptions(cache_dir=tmp_path)) == snapshot


def test_offline_without_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cache(tmp_path, ["model_index.json"])
    with pytest.raises(DownloadError, match=r"org/other is not on this machine \(looked in .*local_files_only"):
        resolve_source("org/other", hub=HubOptions(cache_dir=tmp_path, local_files_only=True))
    with pytest.raises(DownloadError, match=r"checkpoints/a\.pth of org/name is not on this machine"):
        resolve_source("hf://org/name/checkpoints/a.pth", hub=HubOptions(cache_dir=tmp_path, local_files_only=True))
    with pytest.raises(DownloadError, match="org/name at revision v2 is not on this machine"):
        resolve_source("org/name", hub=HubOptions(cache_dir=tmp_path, revision="v2", local_files_only=True))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set; download it once without that"):
        resolve_source("org/other", hub=HubOptions(cache_dir=tmp_path))


def test_interrupted_download_names_the_missing_file(tmp_path: Path) -> None:
    from huggingface_hub._tree_cache import TreeCacheEntry, write_tree_cache

    make_cache(tmp_path, ["config.json"])
    entry = TreeCacheEntry(size=1, blob_id="x", lfs_sha256=None, lfs_size=None, xet_hash=None)
    listing = {"config.json": entry, "model.safetensors": entry, "README.md": entry}
    write_tree_cache(str(tmp_path / "models--org--name"), COMMIT, listing)
    with pytest.raises(DownloadError, match=r"a part of org/name \(model\.safetensors\) is not on this machine"):
        resolve_source("org/name", hub=HubOptions(cache_dir=tmp_path, local_files_only=True))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (http_error(GatedRepoError, 403), "accept their terms at https://huggingface.co/org/name first.*hf auth login"),
        (http_error(RepositoryNotFoundError, 401), "no such repository on the hub, or it is private.*hf auth login"),
        (http_error(RevisionNotFoundError, 404), "has no revision None"),
        (http_error(HfHubHTTPError, 503), "answered with status 503; try again later"),
        (httpx2.ConnectError("no route"), r"could not be reached \(ConnectError\); connect once, or name"),
    ],
)
def test_refusals_are_one_sentence_and_spare_what_is_cached(
    error: Exception, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, error)
    with pytest.raises(DownloadError, match=f"org/name is not on this machine.*{sentence}"):
        resolve_source("org/name", hub=HubOptions(cache_dir=tmp_path))
    snapshot = make_cache(tmp_path, ["config.json"])
    assert resolve_source("org/name", hub=HubOptions(cache_dir=tmp_path)) == snapshot


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OutputError, match=r"org/name could not be stored in .*No space left"):
        resolve_source("org/name", hub=HubOptions(cache_dir=tmp_path))
