"""A weight to the tensors that stand for it in a scheme, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.common.errors import ConfigError, RequestError
from sanakit.kernels.fp8_linear.reference import round_to_fp8
from sanakit.kernels.int4_linear import INT4, four_bit_weight, levels_on, pack_nibbles
from sanakit.kernels.int4_linear import NF4 as NF4_LEVELS
from sanakit.kernels.int4_linear.reference import unpack_nibbles
from sanakit.kernels.int8_linear.reference import LARGEST
from sanakit.kernels.nvfp4_linear import nvfp4_weight, round_to_nvfp4
from sanakit.kernels.nvfp4_linear.reference import BLOCK, Blocks
from sanakit.kernels.svdquant_linear import LowRank, svdquant_linear
from sanakit.quantization.calibration import LayerInputs
from sanakit.quantization.schemes import FP8, NF4, NVFP4, BFloat16, Int4Weight, Int8, Int8Weight, Scheme, SVDQuant

_SCALES = (1.0, 0.94, 0.88, 0.82, 0.76)
_STRENGTHS = (0.0, 0.3, 0.5, 0.7, 0.9)
_EXACT_UP_TO = 640  # rows or columns of a matrix


class Kept(NamedTuple):
    """Shape and dtype of a stored tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype


def stored(scheme: Scheme, shape: tuple[int, ...]) -> dict[str, Kept]:
    """What stands for a weight ``(N, ...)``, by the last name of each tensor."""
    match scheme:
        case BFloat16():
            return {"weight": Kept(shape, torch.bfloat16)}
        case Int8Weight() | Int8():
            return {"weight": Kept(shape, torch.int8), "weight_scale": Kept(shape[:1], torch.float32)}
        case FP8():
            return {"weight": Kept(shape, torch.float8_e4m3fn), "weight_scale": Kept(shape[:1], torch.float32)}
        case Int4Weight() | NF4():
            return _stored_in_groups(scheme.group_size, shape)
        case NVFP4():
            rows, blocks = shape[0], math.ceil(shape[1] / BLOCK)
            scale = Kept((rows, blocks), torch.float8_e4m3fn)
            packed = Kept((rows, blocks * BLOCK // 2), torch.uint8)
            return {"weight": packed, "weight_scale": scale, "weight_whole": Kept((), torch.float32)}
        case SVDQuant():
            (rows, channels), rank = shape, min(scheme.rank, *shape)
            branch = {"smooth": (channels,), "low_rank_down": (rank, channels), "low_rank_up": (rows, rank)}
            wide = {name: Kept(each, torch.bfloat16) for name, each in branch.items()}
            return {**_stored_in_groups(scheme.group_size, shape), **wide}
        case _:
            assert_never(scheme)


def encode(weight: Tensor, scheme: Scheme, seen: LayerInputs | None = None) -> dict[str, Tensor]:
    """The tensors of ``stored``; ``seen`` is what the layer was given in calibration, which only some schemes need.

    Raises:
        ConfigError: weights that are not numbers.
        RequestError: a scheme that is calibrated, and nothing was seen.
    """
    if not weight.isfinite().all():
        raise ConfigError("its weights hold values that are not numbers, of which no scheme makes any")
    match scheme:
        case BFloat16():
            return {"weight": weight.to(torch.bfloat16)}
        case Int8Weight() | Int8():
            return _rows_to_int8(weight.float())
        case FP8():
            rounded, scale = round_to_fp8(weight.flatten(1))
            return {"weight": rounded.view(weight.shape), "weight_scale": scale[:, 0]}
        case Int4Weight():
            return _groups_to_int4(weight.float(), scheme.group_size)
        case NF4():
            return _groups_to_nf4(weight.float(), scheme.group_size)
        case NVFP4():
            codes, scale, whole = round_to_nvfp4(weight)
            return {"weight": pack_nibbles(codes.flatten(1)), "weight_scale": scale, "weight_whole": whole}
        case SVDQuant():
            if seen is None:
                raise RequestError("svdquant is calibrated on prompts, which sanakit quantize does; load its folder")
            return _with_low_rank(weight.float(), scheme, seen)
        case _:
            assert_never(scheme)


def decode(tensors: Mapping[str, Tensor], scheme: Scheme, shape: tuple[int, ...]) -> Tensor:
    """The weight that they stand for, float32 or, of bf16, as it is; of svdquant with its branch and its smoothing."""
    match scheme:
        case BFloat16():
            return tensors["weight"]
        case Int8Weight() | Int8() | FP8():
            scale = tensors["weight_scale"].reshape(-1, *(1 for _ in shape[1:]))
            return tensors["weight"].float() * scale
        case Int4Weight() | NF4():
            levels = levels_of(scheme, tensors["weight"].device)
            return four_bit_weight(tensors["weight"], tensors["weight_scale"], levels, shape[1])
        case NVFP4():
            codes = unpack_nibbles(tensors["weight"]).unflatten(1, (-1, BLOCK))
            return nvfp4_weight(Blocks(codes, tensors["weight_scale"], tensors["weight_whole"]), shape[1])
        case SVDQuant():
            levels = levels_on(INT4, tensors["weight"].device)
            rest = four_bit_weight(tensors["weight"], tensors["weight_scale"], levels, shape[1])
            branch = tensors["low_rank_up"].float() @ tensors["low_rank_down"].float()
            return rest / tensors["smooth"].float() + branch
        case _:
            assert_never(scheme)


def levels_of(scheme: Int4Weight | NF4, device: torch.device) -> Tensor:
    """What the codes of a scheme mean, ``(16,)`` float32."""
    return levels_on(INT4 if isinstance(scheme, Int4Weight) else NF4_LEVELS, device)


def num_bytes(scheme: Scheme, shape: tuple[int, ...]) -> int:
    """Of a stored weight."""
    return sum(math.prod(kept.shape) * kept.dtype.itemsize for kept in stored(scheme, shape).values())


def _rows_to_int8(weight: Tensor) -> dict[str, Tensor]:
    """A row of zeros has the scale 0 and comes back as zeros."""
    rows = weight.flatten(1)
    scale = rows.abs().amax(dim=1) / LARGEST  # (N,)
    whole = (rows / scale.clamp_min(torch.finfo(torch.float32).tiny)[:, None]).round().clamp(-LARGEST, LARGEST)
    return {"weight": whole.to(torch.int8).view(weight.shape), "weight_scale": scale}


def _stored_in_groups(group_size: int, shape: tuple[int, ...]) -> dict[str, Kept]:
    """Two codes in a byte; the last group of a row is filled up."""
    rows, channels = shape
    group = group_of(group_size, channels)
    groups = math.ceil(channels / group)
    packed = Kept((rows, groups * group // 2), torch.uint8)
    return {"weight": packed, "weight_scale": Kept((rows, groups), torch.bfloat16)}


def group_of(group_size: int, channels: int) -> int:
    """Of a layer with so many channels: no larger than these, and even."""
    return min(group_size, channels + channels % 2)


def _in_groups(weight: Tensor, group_size: int) -> Tensor:
    """``(N, K)`` to ``(N, groups, group)``, filled up with zeros."""
    group = group_of(group_size, weight.shape[1])
    return F.pad(weight, (0, -weight.shape[1] % group)).unflatten(1, (-1, group))


def _groups_to_int4(weight: Tensor, group_size: int) -> dict[str, Tensor]:
    """The scale of a group is the one of five, from the full range down, that leaves the smallest square error."""
    groups = _in_groups(weight, group_size)
    full = groups.abs().amax(dim=-1, keepdim=True) / 7  # (N, groups, 1)
    best_error, best_scale, best = torch.full_like(full, math.inf), full, groups
    for factor in _SCALES:
        scale = (full * factor).bfloat16().float()
        codes = (groups / scale.clamp_min(torch.finfo(torch.float32).tiny)).round().clamp(-8, 7)
        error = (codes * scale - groups).square().sum(dim=-1, keepdim=True)
        better = error < best_error
        best_error, best_scale = torch.where(better, error, best_error), torch.where(better, scale, best_scale)
        best = torch.where(better, codes, best)
    return _packed(best + 8, best_scale)


def _groups_to_nf4(weight: Tensor, group_size: int) -> dict[str, Tensor]:
    groups = _in_groups(weight, group_size)
    scale = groups.abs().amax(dim=-1, keepdim=True).bfloat16().float()
    levels = levels_on(NF4_LEVELS, weight.device)
    middles = (levels[1:] + levels[:-1]) / 2
    codes = torch.bucketize(groups / scale.clamp_min(torch.finfo(torch.float32).tiny), middles)
    return _packed(codes, scale)


def _packed(codes: Tensor, scale: Tensor) -> dict[str, Tensor]:
    return {"weight": pack_nibbles(codes.flatten(1)), "weight_scale": scale[..., 0].bfloat16()}


def _with_low_rank(weight: Tensor, scheme: SVDQuant, seen: LayerInputs) -> dict[str, Tensor]:
    """The strength of smoothing is the one of five that leaves the smallest error of the layer's own outputs."""
    expected = seen.rows @ weight.mT
    tried = (_smoothed(weight, seen, strength, scheme) for strength in _STRENGTHS)
    return min(tried, key=lambda each: float((_outputs(each, seen.rows) - expected).square().sum()))


def _smoothed(weight: Tensor, seen: LayerInputs, strength: float, scheme: SVDQuant) -> dict[str, Tensor]:
    tiny = torch.finfo(torch.float32).tiny
    channels = weight.abs().amax(dim=0).clamp_min(1e-5)
    smooth = (seen.largest.clamp_min(1e-5) ** strength / channels ** (1 - strength)) if strength else channels * 0 + 1
    smooth = smooth.bfloat16().float().clamp_min(tiny)
    left, sizes, right = _singular(weight * smooth, min(scheme.rank, *weight.shape))
    up, down = (left * sizes.sqrt()).bfloat16(), (right * sizes.sqrt()[:, None] / smooth).bfloat16()
    rest = weight * smooth - up.float() @ (down.float() * smooth)
    return {
        **_groups_to_int4(rest, scheme.group_size),
        "smooth": smooth.bfloat16(), "low_rank_down": down, "low_rank_up": up,
    }  # fmt: skip


def _singular(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest singular directions ``(N, rank)``, ``(rank,)``, ``(rank, K)``; of large matrices by random products,
    the same ones each time."""
    if min(matrix.shape) <= _EXACT_UP_TO:
        left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
        return left[:, :rank], sizes[:rank], right[:rank]
    with torch.random.fork_rng(devices=[matrix.device] if matrix.is_cuda else []):
        torch.manual_seed(0)
        left, sizes, right = torch.svd_lowrank(matrix, q=rank, niter=4)
    return left, sizes, right.mT


def _outputs(tensors: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    branch = LowRank(tensors["smooth"], tensors["low_rank_down"], tensors["low_rank_up"])
    return svdquant_linear(rows, tensors["weight"], tensors["weight_scale"], branch)
