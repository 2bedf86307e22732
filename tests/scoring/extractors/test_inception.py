"""Inception-v3: published parameter counts and names, pools against other arithmetic, files of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from sanakit.common.errors import CheckpointError, RequestError
from sanakit.scoring.extractors import inception
from sanakit.scoring.extractors.inception import InceptionE, InceptionV3, load_inception
from sanakit.scoring.extractors.load import load_extractor


def test_parameters_are_those_of_torchvisions_network() -> None:
    """27 161 264 with its auxiliary classifier of 3 326 696 (torchvision's table); FID's has eight classes more."""
    with torch.device("meta"):
        counts = {rows: sum(p.numel() for p in InceptionV3(num_classes=rows).parameters()) for rows in (1000, 1008)}
    assert counts[1000] == 27_161_264 - 3_326_696
    assert counts[1008] == counts[1000] + 8 * 2049


def test_names_are_those_of_the_published_files() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in InceptionV3(num_classes=1008).state_dict().items()}
    for name, shape in {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Conv2d_4a_3x3.bn.running_var": (192,),
        "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1),
        "Mixed_5d.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3),
        "Mixed_6b.branch7x7dbl_5.conv.weight": (192, 128, 1, 7),
        "Mixed_6e.branch7x7_3.conv.weight": (192, 192, 7, 1),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "fc.weight": (1008, 2048),
    }.items():
        assert shapes[name] == shape


def test_the_last_pool_is_what_tells_the_networks_apart() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 8, 5, 5)
    weight = torch.randn(192, 8, 1, 1)
    neighbours = F.unfold(F.pad(x, (1, 1, 1, 1), value=float("nan")), 3).view(1, 8, 9, 5, 5)
    expected = {
        "average": neighbours.nanmean(2),
        "average_with_border": neighbours.nan_to_num().sum(2) / 9,
        "maximum": neighbours.nan_to_num(-1e9).amax(2),
    }
    for pool, pooled in expected.items():
        block = InceptionE(8, pool=pool).eval()  # type: ignore[arg-type]
        block.branch_pool.conv.weight.data.copy_(weight)
        out = block(x)[:, -192:] * (1 + 1e-3) ** 0.5
        torch.testing.assert_close(out, F.relu(F.conv2d(pooled, weight)), rtol=1e-4, atol=1e-5)


SIZES = {  # as in table 1 of the paper
    "Conv2d_1a_3x3": (32, 149, 149), "Conv2d_2a_3x3": (32, 147, 147), "Conv2d_2b_3x3": (64, 147, 147),
    "Conv2d_3b_1x1": (80, 73, 73), "Conv2d_4a_3x3": (192, 71, 71), "Mixed_5b": (256, 35, 35), "Mixed_5d": (288, 35, 35),
    "Mixed_6a": (768, 17, 17), "Mixed_6e": (768, 17, 17), "Mixed_7a": (1280, 8, 8), "Mixed_7c": (2048, 8, 8),
}  # fmt: skip


def test_which_pools_count_the_border() -> None:
    with torch.device("meta"):
        fid, other = InceptionV3(num_classes=1008), InceptionV3(num_classes=1000)
    for network, border in ((fid, False), (other, True)):
        blocks = [getattr(network, f"Mixed_{name}") for name in ("5b", "5c", "5d", "6b", "6c", "6d", "6e")]
        assert {block.count_border for block in blocks} == {border}
    assert (fid.Mixed_7b.pool, fid.Mixed_7c.pool) == ("average", "maximum")
    assert (other.Mixed_7b.pool, other.Mixed_7c.pool) == ("average_with_border",) * 2
    assert (fid.name, other.name) == ("inception-v3-fid", "inception-v3-torchvision")
    assert fid.resize_rule == "bilinear to 299 x 299 without antialiasing (pytorch-fid), aspect ratio not kept"


@pytest.mark.parametrize(
    ("kind", "branches"),
    [
        ("InceptionA", ["1x1", "5x5_1 5x5_2", "3x3dbl_1 3x3dbl_2 3x3dbl_3", "mean _pool"]),
        ("InceptionB", ["3x3", "3x3dbl_1 3x3dbl_2 3x3dbl_3", "max"]),
        ("InceptionC", ["1x1", "7x7_1 7x7_2 7x7_3", "7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5", "mean _pool"]),
        ("InceptionD", ["3x3_1 3x3_2", "7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4", "max"]),
        ("InceptionE", ["1x1", "3x3_1 3x3_2a", "3x3_1 3x3_2b", "3x3dbl_1 3x3dbl_2 3x3dbl_3a",
                        "3x3dbl_1 3x3dbl_2 3x3dbl_3b", "mean _pool"]),
    ],
)  # fmt: skip
@torch.no_grad()
def test_a_block_is_its_branches_in_their_order(kind: str, branches: list[str]) -> None:
    torch.manual_seed(0)
    how = {"A": {"pool_channels": 5, "count_border": False}, "C": {"middle": 6, "count_border": False},
           "E": {"pool": "average"}}.get(kind[-1], {})  # fmt: skip
    block = getattr(inception, kind)(4, **how).eval()
    x, expected = torch.randn(1, 4, 7, 7), []
    for names in branches:
        out = x
        for name in names.split():
            if name == "mean":
                out = F.avg_pool2d(out, 3, 1, 1, count_include_pad=False)
            elif name == "max":
                out = F.max_pool2d(out, 3, stride=2)
            else:
                out = getattr(block, f"branch{name}")(out)
        expected.append(out)
    torch.testing.assert_close(block(x), torch.cat(expected, 1))


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return InceptionV3(num_classes=1008).state_dict()


def test_a_file_is_loaded_whole_and_resized_by_either_rule(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "pt_inception.pth"
    old = {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, path, _use_new_zipfile_serialization=False)  # the form of the published file, and its age
    images = torch.rand(1, 3, 40, 60, generator=torch.Generator().manual_seed(1))
    networks = [load_inception(path), load_extractor(str(path), resize="bicubic")]
    sizes: dict[str, tuple[int, ...]] = {}
    for name, module in networks[0].named_children():
        module.register_forward_hook(lambda _, inputs, out, name=name: sizes.update({name: tuple(out.shape[1:])}))
    features = [network(images) for network in networks]
    assert {name: size for name, size in sizes.items() if name in SIZES} == SIZES
    assert features[0].shape == (1, 2048)
    assert not torch.allclose(*features)
    assert networks[0].name == "inception-v3-fid"
    assert networks[0].weights_hash == networks[1].weights_hash
    assert "clean-fid" in networks[1].resize_rule
    with pytest.raises(RequestError, match="resize=nearest"):
        load_extractor(str(path), resize="nearest")
    with pytest.raises(RequestError, match="leave it out"):
        load_extractor(resize="bicubic")


def test_other_files_are_refused(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("hello")
    torch.save(weights | {"Mixed_5b.branch1x1.conv.weight": torch.zeros(1)}, tmp_path / "wrong.pth")
    for name, match in (("other", "1008 classes"), ("text", "no file of weights"), ("wrong", "does not fit")):
        with pytest.raises(CheckpointError, match=match):
            load_inception(tmp_path / f"{name}.pth")
