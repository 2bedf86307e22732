"""A finished latent on disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sanakit.common.errors import OutputError, PictureError
from sanakit.pipelines.latent_file import SavedLatent, load_latent, rescue_latent, rescued, save_latent
from sanakit.pipelines.record import ModelReference, PictureRecord
from sanakit.pipelines.request import GenerationRequest

RECORD = PictureRecord(
    request=GenerationRequest(prompt="一只猫", seed=3), device="cpu", versions={"sanakit": "0.1.0"},
    model=ModelReference(name="tiny", source="starter", hash="abc", dtypes={}),
)  # fmt: skip


def test_a_latent_comes_back_with_its_record(tmp_path: Path) -> None:
    latent = torch.randn(1, 4, 3, 5)
    path = save_latent(tmp_path / "deep" / "latent.safetensors", SavedLatent(latent=latent, record=RECORD))
    saved = load_latent(path)
    assert torch.equal(saved.latent, latent)
    assert saved.record == RECORD
    assert os.listdir(path.parent) == ["latent.safetensors"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not be written"):
        save_latent(tmp_path / "file" / "latent", SavedLatent(latent=torch.zeros(1, 4, 2, 2), record=RECORD))


def test_a_rescued_latent_stays_only_when_it_is_needed(tmp_path: Path) -> None:
    finished = SavedLatent(latent=torch.randn(1, 4, 2, 2), record=RECORD)
    with rescued(finished, tmp_path):
        pass
    with rescued(finished, tmp_path) as save:
        assert torch.equal(load_latent(save()).latent, finished.latent)
    assert list(tmp_path.iterdir()) == []

    kept: list[Path] = []

    def fail() -> None:
        with rescued(finished, tmp_path) as save:
            kept.append(save())
            raise MemoryError

    with pytest.raises(MemoryError):
        fail()
    with rescued(finished, tmp_path) as save:  # as when that very file is decoded later, or made again beside it
        assert save() == save() != kept[0]
    assert list(tmp_path.iterdir()) == kept


@pytest.mark.skipif(os.name == "nt", reason="every user has a temporary folder there")
@pytest.mark.parametrize("planted", [None, "open to all", "a link", "a file"])
def test_latents_are_rescued_into_a_folder_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str | None
) -> None:
    """The temporary folder is shared: what another user has put there is neither used nor trusted."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place, stranger = tmp_path / f"sanakit-{os.getuid()}", tmp_path / "stranger"
    stranger.mkdir()
    match planted:
        case "open to all":
            place.mkdir()
            place.chmod(0o777)
        case "a link":
            place.symlink_to(stranger)
        case "a file":
            place.touch()
    kept = rescue_latent(SavedLatent(latent=torch.ones(1, 4, 2, 2), record=RECORD))
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert (kept.parent == place) == (planted in (None, "open to all"))
    again = rescue_latent(SavedLatent(latent=torch.zeros(1, 4, 2, 2), record=RECORD), kept.parent)
    assert load_latent(kept).latent.all()
    assert not load_latent(again).latent.any()
    assert not list(stranger.iterdir())
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    other = rescue_latent(SavedLatent(latent=torch.ones(1, 4, 2, 2), record=RECORD))
    assert other.parent != kept.parent


def test_what_is_no_latent(tmp_path: Path) -> None:
    path = tmp_path / "latent.safetensors"
    with pytest.raises(PictureError, match="does not exist"):
        load_latent(path)
    path.write_bytes(b"\x80\x04 a pickle in disguise")
    with pytest.raises(PictureError, match="could not be read as a latent"):
        load_latent(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(PictureError, match="not a latent that sanakit saved"):
        load_latent(path)
    save_latent(path, SavedLatent(latent=torch.zeros(1, 4, 8, 8), record=RECORD))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PictureError, match="could not be read as a latent"):
        load_latent(path)


def test_a_latent_of_the_first_version_is_read() -> None:
    """Written by 0.1.0, which called its record a recipe."""
    saved = load_latent(Path(__file__).parent / "data" / "latent-0.1.0.safetensors")
    assert saved.latent.shape == (1, 4, 4, 4)
    assert saved.record.request.seed == 7
    assert (saved.index, saved.previous) == (None, None)


@pytest.mark.parametrize("shape", [(1, 4, 3, 5), (1, 4, 2, 3, 5)])
def test_an_unfinished_latent_keeps_what_its_solver_remembers(tmp_path: Path, shape: tuple[int, ...]) -> None:
    latent, previous = torch.randn(2, *shape)
    path = tmp_path / "latent.safetensors"
    saved = load_latent(save_latent(path, SavedLatent(latent=latent, record=RECORD, index=7, previous=previous)))
    assert saved.index == 7
    assert torch.equal(saved.latent, latent)
    assert torch.equal(saved.previous, previous)


def test_a_step_that_is_no_number_is_told(tmp_path: Path) -> None:
    metadata = {"sanakit_recipe": RECORD.to_json(), "sanakit_step": "-1e9"}
    save_file({"latent": torch.zeros(1, 4, 2, 2)}, tmp_path / "latent", metadata=metadata)
    with pytest.raises(PictureError, match="is damaged: it says step '-1e9'"):
        load_latent(tmp_path / "latent")
