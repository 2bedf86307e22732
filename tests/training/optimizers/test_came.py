"""CAME against its definition in plain loops over Python's floats, and what it keeps."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from sanakit.models.presets import LINEAR_DIT_PRESETS
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.training.optimizers.block_quantization import dequantize_rows
from sanakit.training.optimizers.came import CAME, CAME8Bit
from sanakit.training.optimizers.config import CAME8BitConfig, CAMEConfig

Rows = list[list[float]]


class PlainMatrix:
    """CAME of one matrix, a number at a time, as section 3.2 of arXiv:2307.02047 writes it."""

    def __init__(self, weights: Rows) -> None:
        self.w, self.n, self.c = weights, len(weights), len(weights[0])
        self.m = [[0.0] * self.c for _ in weights]
        self.row, self.column = [0.0] * self.n, [0.0] * self.c
        self.far_row, self.far_column = [0.0] * self.n, [0.0] * self.c

    def step(self, g: Rows, *, lr: float, decay: float, clip: float) -> None:
        (b1, b2, b3), (e1, e2) = (0.9, 0.999, 0.9999), (1e-30, 1e-16)
        cells = [(i, j) for i in range(self.n) for j in range(self.c)]
        second = self.statistics(self.row, self.column, [[x * x + e1 for x in row] for row in g], b2)
        u = [[g[i][j] / math.sqrt(second[i][j]) for j in range(self.c)] for i in range(self.n)]
        rms = math.sqrt(sum(u[i][j] ** 2 for i, j in cells) / len(cells))
        u = [[x / max(1.0, rms / clip) for x in row] for row in u]
        for i, j in cells:
            self.m[i][j] = b1 * self.m[i][j] + (1 - b1) * u[i][j]
        far = [[(u[i][j] - self.m[i][j]) ** 2 + e2 for j in range(self.c)] for i in range(self.n)]
        trust = self.statistics(self.far_row, self.far_column, far, b3)
        for i, j in cells:
            self.w[i][j] -= lr * decay * self.w[i][j] + lr * self.m[i][j] / math.sqrt(trust[i][j])

    def statistics(self, row: list[float], column: list[float], values: Rows, beta: float) -> Rows:
        """Bring the means of rows and columns up to date, and give the matrix of rank one that they make."""
        for i in range(self.n):
            row[i] = beta * row[i] + (1 - beta) * sum(values[i]) / self.c
        for j in range(self.c):
            column[j] = beta * column[j] + (1 - beta) * sum(values[i][j] for i in range(self.n)) / self.n
        mean = sum(row) / self.n
        return [[row[i] * column[j] / mean for j in range(self.c)] for i in range(self.n)]


def plain_tensor(w: list[float], gradients: list[list[float]], *, lr: float, decay: float, clip: float) -> list[float]:
    """Some steps of a tensor that is not a matrix."""
    m, v = [0.0] * len(w), [0.0] * len(w)
    for g in gradients:
        v = [0.999 * a + 0.001 * (x * x + 1e-30) for a, x in zip(v, g, strict=True)]
        u = [x / math.sqrt(a) for a, x in zip(v, g, strict=True)]
        rms = math.sqrt(sum(x * x for x in u) / len(u))
        m = [0.9 * a + 0.1 * x / max(1.0, rms / clip) for a, x in zip(m, u, strict=True)]
        w = [a - lr * decay * a - lr * x for a, x in zip(w, m, strict=True)]
    return w


def parameter(*shape: int, dtype: torch.dtype = torch.float32) -> nn.Parameter:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return nn.Parameter(values.to(dtype))


def noise(p: Tensor, step: int) -> Tensor:
    """A gradient whose entries have very different sizes."""
    g = torch.Generator().manual_seed(100 + step)
    sizes = 10 ** torch.linspace(-4, 2, p.numel(), dtype=torch.float64).view(p.shape)
    return (torch.randn(p.shape, generator=g, dtype=torch.float64) * sizes).to(p.dtype)


def run(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], steps: Iterable[int]) -> None:
    for step in steps:
        for p in parameters:
            p.grad = noise(p, step)
        optimizer.step()


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (2, 9), (3, 7, 1, 1), (1, 4, 1, 1)])
@pytest.mark.parametrize("clip", [1.0, 0.3, 1e3])
def test_matrices_step_as_defined(shape: tuple[int, ...], clip: float) -> None:
    p = parameter(*shape, dtype=torch.float64)
    plain = PlainMatrix(p.detach().flatten(1).tolist())
    optimizer = CAME([p], CAMEConfig(clip_threshold=clip, weight_decay=0.1), learning_rate=0.05)
    for step in range(5):
        plain.step(noise(p, step).flatten(1).tolist(), lr=0.05, decay=0.1, clip=clip)
        run(optimizer, [p], [step])
        expected = torch.tensor(plain.w, dtype=torch.float64).view(p.shape)
        torch.testing.assert_close(p.detach(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(6,), (), (4, 1, 3, 3), (2, 3, 1, 2), (2, 3, 4)])
def test_other_tensors_keep_both_moments_in_full(shape: tuple[int, ...]) -> None:
    p = parameter(*shape, dtype=torch.float64)
    gradients = [noise(p, step).flatten().tolist() for step in range(5)]
    expected = plain_tensor(p.detach().flatten().tolist(), gradients, lr=0.05, decay=0.1, clip=1.0)
    optimizer = CAME([p], CAMEConfig(weight_decay=0.1), learning_rate=0.05)
    run(optimizer, [p], range(5))
    reference = torch.tensor(expected, dtype=torch.float64).view(shape)
    torch.testing.assert_close(p.detach(), reference, rtol=1e-10, atol=1e-10)
    assert {name: value.shape for name, value in optimizer.state[p].items()} == {"mean": p.shape, "square": p.shape}


def test_a_gradient_of_zero_moves_nothing() -> None:
    p = parameter(4, 5)
    before, optimizer = p.detach().clone(), CAME8Bit([p], CAME8BitConfig(min_8bit_size=0), learning_rate=1.0)
    p.grad = torch.zeros_like(p)
    optimizer.step()
    assert torch.equal(p, before)
    run(optimizer, [p], [0])
    assert p.isfinite().all()
    assert not torch.equal(p, before)


def test_bfloat16_weights_have_float32_state_and_round_once() -> None:
    low = parameter(8, 40, dtype=torch.bfloat16)
    high = nn.Parameter(low.detach().float())
    optimizers = [cls([p], CAMEConfig(), learning_rate=1e-2) for cls, p in ((CAME, low), (CAME, high))]
    low.grad = noise(low, 0)
    high.grad = low.grad.float()
    for optimizer in optimizers:
        optimizer.step()
    assert torch.equal(low.detach(), high.detach().bfloat16())
    assert {value.dtype for value in optimizers[0].state[low].values()} == {torch.float32}


def test_eight_bits_stay_within_the_bound_of_their_rounding() -> None:
    """The step of a matrix depends on its mean alone, so that the error of a mean is at most what was rounded away."""
    exact, coarse = parameter(6, 50), parameter(6, 50)
    optimizers = (
        CAME([exact], CAMEConfig(), learning_rate=1e-3),
        CAME8Bit([coarse], CAME8BitConfig(block_size=16, min_8bit_size=299), learning_rate=1e-3),
    )
    bound = torch.zeros(())
    for step in range(12):
        for optimizer, p in zip(optimizers, (exact, coarse), strict=True):
            run(optimizer, [p], [step])
        state = optimizers[1].state[coarse]
        codes, smallest, scale = state["mean_codes"], state["mean_smallest"], state["mean_scale"]
        assert (codes.dtype, tuple(codes.shape), tuple(scale.shape)) == (torch.uint8, (6, 50), (6, 4))
        bound = 0.9 * bound + scale.max() / 2
        error = (dequantize_rows(codes, smallest, scale, 16) - optimizers[0].state[exact]["mean"]).abs().max()
        assert 0 < error <= bound * 1.001
    torch.testing.assert_close(coarse, exact, rtol=0, atol=1e-2)  # 12 steps of 1e-3, each off by under a sixth


def test_small_matrices_and_other_tensors_are_the_same_in_both() -> None:
    shapes = [(128, 128), (5, 3), (7,), (200, 1, 10, 10)]  # the first has 16 384 elements: not more
    both = [[parameter(*shape) for shape in shapes] for _ in range(2)]
    run(CAME(both[0], CAMEConfig(), learning_rate=1e-2), both[0], range(3))
    run(CAME8Bit(both[1], CAME8BitConfig(), learning_rate=1e-2), both[1], range(3))
    for first, second in zip(*both, strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_saved_state_continues_to_the_bit(dtype: torch.dtype) -> None:
    config = CAME8BitConfig(min_8bit_size=20, block_size=4)

    def begin() -> tuple[list[nn.Parameter], CAME8Bit]:
        parameters = [parameter(*shape, dtype=dtype) for shape in ((5, 7), (3, 2), (6, 5, 1, 1), (9,))]
        return parameters, CAME8Bit(parameters, config, learning_rate=1e-2)

    (once, optimizer), (again, resumed) = begin(), begin()
    run(optimizer, once, range(3))
    file = io.BytesIO()
    torch.save({"state": optimizer.state_dict(), "weights": [p.detach() for p in once]}, file)
    run(optimizer, once, range(3, 6))
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed.load_state_dict(saved["state"])
    for p, value in zip(again, saved["weights"], strict=True):
        p.data.copy_(value)
    run(resumed, again, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    for a, b in zip(once, again, strict=True):
        kept = resumed.state[b]
        assert all(
            torch.equal(value, kept[name]) and value.dtype == kept[name].dtype
            for name, value in optimizer.state[a].items()
        )


@pytest.mark.parametrize("config", [CAMEConfig(), CAME8BitConfig(min_8bit_size=0)])
def test_a_matrix_is_learned(config: CAMEConfig | CAME8BitConfig) -> None:
    """Least squares with badly scaled inputs, where plain gradient descent at any rate is slow."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(256, 12, generator=g) * torch.logspace(-1, 1, 12)
    y, p = x @ torch.randn(12, 5, generator=g), nn.Parameter(torch.zeros(12, 5))
    cls = CAME8Bit if isinstance(config, CAME8BitConfig) else CAME
    optimizer = cls([p], config, learning_rate=1e-2)  # type: ignore[arg-type]

    def closure() -> float:
        optimizer.zero_grad()
        loss = (x @ p - y).square().mean()
        loss.backward()
        return float(loss.detach())

    first = optimizer.step(closure)
    last = [optimizer.step(closure) for _ in range(250)][-1]
    assert last < 1e-2 * first


def test_the_state_of_sana_is_an_eighth_of_adamws() -> None:
    """The published 1.6B network on the meta device: shapes alone, no memory."""
    with torch.device("meta"):
        model = LinearDiT(LINEAR_DIT_PRESETS["sana1.5-1600m-1024"])
    parameters = list(model.parameters())
    adamw = 8 * sum(p.numel() for p in parameters)
    sizes = {
        "came": state_bytes(CAME(parameters, CAMEConfig(), learning_rate=1e-4), parameters),
        "came8bit": state_bytes(CAME8Bit(parameters, CAME8BitConfig(), learning_rate=1e-4), parameters),
    }
    assert 0.500 < sizes["came"] / adamw < 0.502
    assert 0.125 < sizes["came8bit"] / adamw < 0.130


def state_bytes(optimizer: CAME, parameters: list[nn.Parameter]) -> int:
    states = [optimizer.new_state(p) for p in parameters]
    return sum(value.numel() * value.element_size() for state in states for value in state.values())
