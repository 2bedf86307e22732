"""What objectives may ask of the step: attention that can be differentiated forward."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.training.recipes.transformer.initialization import initialize_
from sanakit.training.step.parallel import plain_attention


def test_a_transformer_is_differentiated_forward(toy: ModuleType) -> None:
    """Against a central difference in float64."""
    model = LinearDiT(toy.TOY_DIT)
    initialize_(model, torch.Generator().manual_seed(0))
    model.double().requires_grad_(False)
    draws = torch.randn(2, 2, 2, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    condition = model.prepare(TextCondition(torch.eye(4).double()[:2, None], torch.ones(2, 1, dtype=torch.bool)))
    time = torch.tensor([200.0, 700.0], dtype=torch.float64)

    def velocity(latent: Tensor) -> Tensor:
        return model(latent, time, condition)

    with plain_attention():
        _, tangent = torch.func.jvp(velocity, (draws[0],), (draws[1],))
    small = 1e-5
    difference = (velocity(draws[0] + small * draws[1]) - velocity(draws[0] - small * draws[1])) / (2 * small)
    torch.testing.assert_close(tangent, difference, rtol=1e-6, atol=1e-8)


def test_fused_attention_has_no_forward_rule() -> None:
    q = torch.randn(1, 2, 4, 8)

    def attend(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, q, q)

    with pytest.raises(NotImplementedError, match="forward"):
        torch.func.jvp(attend, (q,), (q,))
    with plain_attention():
        torch.func.jvp(attend, (q,), (q,))
