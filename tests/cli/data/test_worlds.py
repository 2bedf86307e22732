"""``sanakit data worlds build`` as a person types it, with one small part."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sanakit.common.errors import DownloadError, RequestError
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.banks.things import Look, Thing, View
from sanakit.worlds.building.assembly import parts, workshop
from sanakit.worlds.building.packages import FURNITURE, PANORAMAS, Package


def small_part(shop: workshop.Workshop) -> parts.Made:
    file = io.BytesIO()
    Image.new("RGBA", (8, 6), (200, 30, 30, 255)).save(file, "WEBP")
    view = View(0.0, 0.0, 0, (8, 6), "box/00.webp")
    look = Look(id="box", style="3d", views=(view,), licence="MIT", author="A. Maker", source="made here")
    box = Thing(name="box", plural="boxes", group="thing", looks=(look,), names={"de": "Kiste"})
    return parts.Made(things=(box,), members={view.member: file.getvalue()})


@pytest.fixture(autouse=True)
def one_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One part whose second package is no longer offered, and a cache of its own."""

    def fetch(package: Package, folder: Path) -> Path:
        if package is PANORAMAS:
            raise DownloadError("@pmndrs/assets 1.7.0 is not offered")
        return folder / package.file

    part = parts.Part(packages=(FURNITURE, PANORAMAS), data=(), make=small_part)
    for name in list(parts.PARTS):
        monkeypatch.delitem(parts.PARTS, name)
    monkeypatch.setitem(parts.PARTS, "models", part)
    monkeypatch.setattr(workshop, "fetch_package", fetch)
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path / "cache"))


def test_a_bank_is_built_into_the_cache_and_summed_up(run: Any, tmp_path: Path) -> None:
    outcome = run("data", "worlds", "build")
    assert outcome.code == 0
    assert "1 things in 1 looks and 1 views, 0 places, 0 people" in outcome.out
    assert "names: de 1" in outcome.out
    assert "skipped @pmndrs/assets 1.7.0" in outcome.out
    assert (tmp_path / "cache" / "worlds" / "full" / "bank.json").exists()


def test_what_is_fetched_is_said_without_a_terminal_too(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (None, "sanakit"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])  # those of pytest
    assert "fetching sweethome3d-furniture 1.8-1 (120 MB)\n" in run("data", "worlds", "build").err
    monkeypatch.setattr(logging.getLogger("sanakit"), "handlers", [])
    assert "fetching" not in run("data", "worlds", "build", "--quiet").err


def test_json_and_a_folder_of_ones_own(run: Any) -> None:
    facts = json.loads(run("data", "worlds", "build", "--output", "bank", "--json").out)
    assert (facts["num_things"], facts["names"]) == (1, {"de": 1})
    assert Path("bank/ATTRIBUTION.md").exists()
    outcome = run("data", "worlds", "build", "--only", "planets", "--output", "bank")
    assert outcome.code != 0
    assert "there is no part 'planets'; the parts are models" in outcome.err


def test_drawings_have_a_place_beside_the_full_bank(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match=r"the drawings bank .*: sanakit data worlds build --only drawings"):
        load_bank("drawings")
    monkeypatch.setitem(parts.PARTS, "drawings", parts.Part(packages=(), data=(), make=small_part, within="emoji"))
    assert run("data", "worlds", "build", "--only", "drawings").code == 0
    assert list(load_bank("drawings").things) == ["box"]
    assert not (tmp_path / "cache" / "worlds" / "full").exists()


def test_less_than_the_whole_bank_never_takes_its_place(run: Any, tmp_path: Path) -> None:
    full = tmp_path / "cache" / "worlds" / "full" / "bank.json"
    run("data", "worlds", "build")
    before = full.read_bytes()
    for less in (("--tiny",), ("--only", "models"), ("--tiny", "--only", "models")):
        outcome = run("data", "worlds", "build", *less)
        assert outcome.code != 0
        assert f"{less[0]} makes less than the user's own bank; say --output FOLDER" in outcome.err
        assert full.read_bytes() == before
