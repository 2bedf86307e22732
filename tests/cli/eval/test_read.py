"""``sanakit eval read``"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanakit.cli.app import main
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene


class Seeing:
    name, weights_hash = "toy", "abc"

    def read(self, picture: np.ndarray) -> ReadScene:
        apple = ReadObject(name="apple", colour="red", box=(0.1, 0.2, 0.6, 0.9), score=0.97)
        something = ReadObject(name=None, colour=None, box=(0.0, 0.0, 0.1, 0.1), score=0.5)
        return ReadScene(objects=(apple, something), ground="blue")


def test_what_is_seen_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sanakit.scoring.reading.load.load_reader", lambda *_, **__: Seeing())
    file = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(file)
    assert main(["eval", "read", str(file)]) == 0
    assert capsys.readouterr().out == (
        f"{file}: red apple (97%) at 0.10 0.20 0.60 0.90; "
        "something unknown (50%) at 0.00 0.00 0.10 0.10; ground: blue\n"
    )
    assert main(["eval", "read", "--json", str(file)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["pictures"][0]["objects"][0]["name"] == "apple"
    (tmp_path / "b.png").write_text("no picture")
    for path, words in ((tmp_path / "no.png", "not a file"), (tmp_path / "b.png", "not a picture")):
        assert main(["eval", "read", str(path)]) != 0
        assert words in capsys.readouterr().err
