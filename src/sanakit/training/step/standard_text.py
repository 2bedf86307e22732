"""Text states brought to mean 0 and deviation 1 in every channel while a network is trained, and folded into it after.

Channels of a language model differ tenfold in size, and what tells two captions apart lies in small ones. A network
learns from standard states ``(e - mean) / deviation``; the first layer of its caption projection then takes the
transform in, ``W / deviation`` and ``b - W (mean / deviation)``, and reads the language model's states as they come.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sanakit.features.batches import LatentBatch, TrainingData
from sanakit.models.text.text_condition import TextCondition

NUM_CAPTIONS = 1024
_WEIGHT, _BIAS = "caption_projection.linear_1.weight", "caption_projection.linear_1.bias"


class StandardText(nn.Module):
    """Mean and deviation of text states by channel, ``(C,)`` each; checkpoints keep them beside the network.

    Every real token counts alike, the first of a text too. It is the same in all of them, and far from the others in
    a few channels: left out of the deviation it would lie up to 9 of them away, counted in it lies within 3.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))
        self.is_measured = False

    def measure(self, data: TrainingData[LatentBatch]) -> None:
        """From the captions of the first micro-batches, ``NUM_CAPTIONS`` or a little more: of one data, one result."""
        rows, number, num_captions = [], 0, 0
        while num_captions < NUM_CAPTIONS:
            text = data.batch(number).text
            rows.append(text.embeds[text.mask].double())  # (tokens, C)
            number, num_captions = number + 1, num_captions + len(text.mask)
        states = torch.cat(rows)
        deviation = states.std(dim=0)
        self.mean.copy_(states.mean(dim=0))
        self.deviation.copy_(deviation.clamp_min(1e-4 * float(deviation.max())))  # of a channel that never moves
        self.is_measured = True

    def fold(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights that were trained on standard states, for a network that is given the states as they come."""
        weight, bias = weights[_WEIGHT].double(), weights[_BIAS].double()
        mean, deviation = self.mean.double().to(weight.device), self.deviation.double().to(weight.device)
        folded = weight / deviation
        return self._changed(weights, folded, bias - folded @ mean)

    @torch.no_grad()
    def unfold_(self, network: nn.Module) -> None:
        """The way back, in place: a network of the states as they come goes on with standard ones, and is the same."""
        weights = network.state_dict()
        weight, bias = weights[_WEIGHT].double(), weights[_BIAS].double()
        mean, deviation = self.mean.double().to(weight.device), self.deviation.double().to(weight.device)
        network.load_state_dict(self._changed(weights, weight * deviation, bias + weight @ mean))

    def _changed(self, weights: Mapping[str, Tensor], weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
        return {**weights, _WEIGHT: weight.to(weights[_WEIGHT].dtype), _BIAS: bias.to(weights[_BIAS].dtype)}


def standardised(text: TextCondition, mean: Tensor, deviation: Tensor) -> TextCondition:
    """Standard states ``(B, L, C)`` float32; ``mean`` and ``deviation`` are ``(C,)``."""
    device = text.embeds.device
    return TextCondition((text.embeds.float() - mean.to(device)) / deviation.to(device), text.mask)
