"""What is asked of a network without knowing its layers."""

from __future__ import annotations

import torch
from torch import nn

from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.network import Network, units_of
from sanakit.models.presets import DC_AE_PRESETS, LINEAR_DIT_PRESETS
from sanakit.models.transformers.linear_dit import LinearDiT


def networks() -> tuple[LinearDiT, DCAutoencoder]:
    with torch.device("meta"):
        return (LinearDiT(LINEAR_DIT_PRESETS["sana-600m-512"]), DCAutoencoder(DC_AE_PRESETS["dc-ae-f32c32-sana-1.1"]))


def test_integer_matrices_leave_the_compute_dtype_as_it_is() -> None:
    for network in networks():
        network.bfloat16()
        for module in network.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                module.weight = nn.Parameter(module.weight.to(torch.int8), requires_grad=False)
        assert network.compute_dtype is torch.bfloat16
        assert network.device.type == "meta"


def test_units_are_the_blocks_in_order() -> None:
    transformer, autoencoder = networks()
    assert units_of(transformer) == tuple(transformer.blocks)
    depths = [stage.num_blocks for stage in (*autoencoder.config.encoder, *autoencoder.config.decoder)]
    assert len(units_of(autoencoder)) == sum(depths)
    assert len(units_of(nn.ModuleList([transformer, autoencoder]))) == len(transformer.blocks) + sum(depths)
    assert units_of(nn.Linear(2, 2)) == ()


def test_what_runs_outside_of_forward_is_named() -> None:
    transformer, autoencoder = networks()
    assert all(callable(getattr(transformer, method)) for method in transformer.outside_forward)
    assert len(transformer.apart) == 2 * len(transformer.blocks)  # keys and values of each, made by prepare
    assert autoencoder.apart == (autoencoder.encoder, autoencoder.decoder)
    assert isinstance(autoencoder, Network)
