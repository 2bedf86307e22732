"""CAME: an adaptive step from factored statistics, trusted where successive steps agree (arXiv:2307.02047).

As SANA trains with it (NVlabs/Sana, ``CAMEWrapper`` and ``CAME8BitWrapper``). ``step_parameter`` is all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sanakit.training.optimizers.block_quantization import dequantize_rows, num_blocks, quantize_rows
from sanakit.training.optimizers.config import CAME8BitConfig, CAMEConfig
from sanakit.training.optimizers.each_parameter import EachParameter
from sanakit.training.optimizers.shards import Rows, gradient, here

State = dict[str, Tensor]

QUANTIZED_MEAN = ("mean_codes", "mean_smallest", "mean_scale")


class CAME(EachParameter):
    """CAME for every shape of parameter; state and arithmetic are in float32 (or the wider dtype of a parameter).

    A matrix (also a 1 x 1 convolution) keeps the mean of its steps, and a number per row and per column of two
    statistics; any other tensor (biases, norms, depth-wise convolutions) keeps both moments in full.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], config: CAMEConfig | CAME8BitConfig, *, learning_rate: float
    ) -> None:
        settings = {name: getattr(config, name) for name in ("betas", "eps", "clip_threshold", "weight_decay")}
        super().__init__(list(params), {"lr": learning_rate, **settings})

    def step_parameter(self, p: Tensor, group: Mapping[str, Any]) -> None:
        """``p`` and its state one step on. With processes, all is about this one's rows but for what ``total`` sums."""
        if not self.state[p]:
            self.state[p] = self.new_state(p)
        state, total, lr = self.state[p], Rows(p).total, group["lr"]
        (beta1, beta2, beta3), (eps1, eps2) = group["betas"], group["eps"]
        factored, num_rows = is_matrix(p), p.shape[0] if p.ndim else 1
        g = as_matrix(gradient(p)).to(wide(p))  # (rows, columns), or as p is
        squared = g.square() + eps1
        if factored:
            row, column = here(state["row"]), here(state["column"])
            row.lerp_(squared.mean(1), 1 - beta2)
            column.lerp_(total(squared.sum(0)) / num_rows, 1 - beta2)
            u = g * inverse_root(row, column)
        else:
            u = g * here(state["square"]).lerp_(squared, 1 - beta2).rsqrt()
        rms = (total(u.square().sum()) / p.numel()).sqrt()
        u = u / (rms / group["clip_threshold"]).clamp(min=1)

        m = self._first_moment(state).lerp_(u, 1 - beta1)
        if factored:
            distance = (u - m).square() + eps2
            row, column = here(state["distance_row"]), here(state["distance_column"])
            row.lerp_(distance.mean(1), 1 - beta3)
            column.lerp_(total(distance.sum(0)) / num_rows, 1 - beta3)
            step = m * inverse_root(row, column)
        else:
            step = m
        weights = as_matrix(here(p)).to(wide(p))
        here(p).copy_((weights * (1 - lr * group["weight_decay"]) - lr * step).view_as(here(p)))
        self._keep_first_moment(state, m)

    def new_state(self, p: Tensor) -> State:
        """What a parameter begins with: zeros, spread over the processes as ``p`` is."""
        rows, values = Rows(p), as_matrix(here(p))
        zeros = torch.zeros_like(values, dtype=wide(p), memory_format=torch.contiguous_format)
        if not is_matrix(p):
            return {"mean": _like(p, zeros.clone()), "square": _like(p, zeros)}
        state = self._new_first_moment(p, zeros)
        for name in ("row", "distance_row"):
            state[name] = rows.cut(zeros.new_zeros(zeros.shape[0]), p.shape[0])
        for name in ("column", "distance_column"):
            state[name] = rows.copied(zeros.new_zeros(zeros.shape[1]))
        return state

    def _new_first_moment(self, p: Tensor, zeros: Tensor) -> State:
        return {"mean": _like(p, zeros)}

    def _first_moment(self, state: State) -> Tensor:
        """The mean of steps, to be changed in place; ``(rows, columns)`` for a matrix."""
        return as_matrix(here(state["mean"]))

    def _keep_first_moment(self, state: State, m: Tensor) -> None:
        """Nothing to do: ``m`` is the state's own memory."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As every optimiser's, but each tensor keeps its dtype: torch would cast state to the parameter's."""
        super().load_state_dict({**state_dict, "state": {}})
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        parameters = [p for group in self.param_groups for p in group["params"]]
        for number, p in zip(numbers, parameters, strict=True):
            if number in state_dict["state"]:
                saved = state_dict["state"][number]
                self.state[p] = {name: value.detach().clone().to(p.device) for name, value in saved.items()}


class CAME8Bit(CAME):
    """CAME that keeps the mean of steps of large matrices in eight bits, and all other state in float32."""

    def __init__(self, params: Iterable[nn.Parameter], config: CAME8BitConfig, *, learning_rate: float) -> None:
        super().__init__(params, config, learning_rate=learning_rate)
        self.block_size, self.min_8bit_size = config.block_size, config.min_8bit_size

    def _new_first_moment(self, p: Tensor, zeros: Tensor) -> State:
        if p.numel() <= self.min_8bit_size:
            return super()._new_first_moment(p, zeros)
        rows, blocks = Rows(p), num_blocks(zeros.shape[1], self.block_size)
        codes = torch.zeros_like(zeros, dtype=torch.uint8).view_as(here(p))
        smallest, scale = (zeros.new_zeros(zeros.shape[0], blocks) for _ in range(2))
        parts = (rows.cut(part, p.shape[0]) for part in (codes, smallest, scale))
        return dict(zip(QUANTIZED_MEAN, parts, strict=True))

    def _first_moment(self, state: State) -> Tensor:
        if "mean" in state:
            return super()._first_moment(state)
        codes, smallest, scale = (here(state[name]) for name in QUANTIZED_MEAN)
        return dequantize_rows(as_matrix(codes), smallest, scale, self.block_size)

    def _keep_first_moment(self, state: State, m: Tensor) -> None:
        if "mean" in state:
            return
        for name, part in zip(QUANTIZED_MEAN, quantize_rows(m, self.block_size), strict=True):
            kept = here(state[name])
            kept.copy_(part.view_as(kept))


def inverse_root(row: Tensor, column: Tensor) -> Tensor:
    """``1 / sqrt(V)`` of the matrix ``V = row column / mean`` that has these row and column means; ``(rows, columns)``.

    The mean of ``V`` is that of ``row`` and of ``column`` alike; ``column`` is whole on every process.
    """
    return (row / column.mean()).rsqrt()[:, None] * column.rsqrt()


def is_matrix(tensor: Tensor) -> bool:
    """Of two dimensions, or a 1 x 1 convolution."""
    return tensor.ndim == 2 or (tensor.ndim == 4 and tensor.shape[2:] == (1, 1))


def as_matrix(tensor: Tensor) -> Tensor:
    """A 1 x 1 convolution as ``(out, in)``, sharing its memory; everything else as it is."""
    return tensor[:, :, 0, 0] if tensor.ndim == 4 and is_matrix(tensor) else tensor


def wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _like(p: Tensor, values: Tensor) -> Tensor:
    """``values`` in the shape of ``p``, spread as it is."""
    return Rows(p).cut(values.view_as(here(p)), p.shape[0]) if p.ndim else values
