"""DC-AE-V against a plain definition in float64 under upstream's names, and what chunks see of one another."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.checkpoints.networks.dc_ae_v import DC_AE_V, UPSTREAM_DC_AE_V
from sanakit.checkpoints.networks.kinds import kinds_of_names
from sanakit.common.errors import ConfigError, ShapeError
from sanakit.models.autoencoders.dc_ae_v import DCAEV, DCAEVConfig
from sanakit.models.presets import DC_AE_V_PRESETS

TINY = DCAEVConfig(channels=(8, 8, 16, 16), num_blocks=(0, 1, 2, 1), latent_channels=4, chunk=2)
State = dict[str, Tensor]


def network(config: DCAEVConfig = TINY) -> DCAEV:
    model = DCAEV(config).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for tensor in model.state_dict().values():
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        tensor.copy_(noise / tensor[0].numel() ** 0.5 if tensor.ndim > 1 else 1 + 0.2 * noise)
    return model


def clip(frames: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 3, frames, 16, 24, generator=generator, dtype=torch.float64).clamp(-1, 1)


def convolved(x: list[Tensor], state: State, name: str) -> list[Tensor]:
    """Of a clip in chunks: each behind the last frame of the one before, before nothing."""
    bias, found, before = state.get(f"{name}.bias"), [], torch.zeros_like(x[0][:, :, :1])
    for chunk in x:
        whole = torch.cat([before, chunk, torch.zeros_like(before)], dim=2)
        found.append(F.conv3d(whole, state[f"{name}.weight"], bias, padding=(0, 1, 1)))
        before = chunk[:, :, -1:]
    return found


def normed(x: Tensor, state: State, name: str) -> Tensor:
    x = (x / (x.square().mean(1, keepdim=True) + 1e-5).sqrt()).movedim(1, -1)
    return (x * state[f"{name}.weight"] + state[f"{name}.bias"]).movedim(-1, 1)


def block(x: list[Tensor], state: State, name: str) -> list[Tensor]:
    y = convolved([F.silu(each) for each in convolved(x, state, f"{name}.conv1.conv")], state, f"{name}.conv2.conv")
    return [one + normed(other, state, f"{name}.conv2.norm") for one, other in zip(x, y, strict=True)]


def unshuffled(x: Tensor, t: int, s: int) -> Tensor:
    b, c, frames, height, width = x.shape
    x = x.reshape(b, c, frames // t, t, height // s, s, width // s, s).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return x.reshape(b, c * t * s * s, frames // t, height // s, width // s)


def encoded(x: list[Tensor], state: State) -> Tensor:
    x = [unshuffled(each, 1, 2) for each in convolved(x, state, "encoder.project_in.conv.conv")]
    for stage, depth, t, s in ((1, 1, 1, 2), (2, 2, 4, 1), (3, 1, 0, 0)):
        name = f"encoder.stages.{stage}.op_list"
        for index in range(depth):
            x = block(x, state, f"{name}.{index}.main")
        if t:
            y = [unshuffled(each, t, s) for each in convolved(x, state, f"{name}.{depth}.main.conv.conv")]
            cells = [unshuffled(each, t, s) for each in x]
            means = [cell.unflatten(1, (own.shape[1], -1)).mean(2) for own, cell in zip(y, cells, strict=True)]
            x = [own + mean for own, mean in zip(y, means, strict=True)]
    return torch.cat(convolved(x, state, "encoder.project_out.conv"), dim=2)


def shuffled(x: Tensor, t: int, s: int) -> Tensor:
    b, c, frames, height, width = x.shape
    x = x.reshape(b, c // (t * s * s), t, s, s, frames, height, width).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, c // (t * s * s), frames * t, height * s, width * s)


def decoded(x: list[Tensor], state: State) -> Tensor:
    x = convolved(x, state, "decoder.project_in.conv")
    for stage, depth, t, s in ((3, 1, 0, 0), (2, 2, 4, 1), (1, 1, 1, 2)):
        name = f"decoder.stages.{stage}.op_list"
        if t:
            y = convolved(x, state, f"{name}.0.main.conv.conv")
            same = [each.repeat_interleave(own.shape[1] // each.shape[1], 1) for own, each in zip(y, x, strict=True)]
            x = [shuffled(own + other, t, s) for own, other in zip(y, same, strict=True)]
        for index in range(depth):
            x = block(x, state, f"{name}.{index + bool(t)}.main")
    x = [F.silu(normed(each, state, "decoder.project_out.op_list.0")) for each in x]
    x = convolved(x, state, "decoder.project_out.op_list.2.conv.conv")
    return torch.cat([shuffled(each, 1, 2) for each in x], dim=2)[:, :, 3:].clamp(-1, 1)


def test_both_halves_are_those_of_their_definition() -> None:
    model, pixels = network(), clip(13)
    state = UPSTREAM_DC_AE_V.from_ours(model.state_dict())
    assert kinds_of_names(state) == [DC_AE_V]
    filled = torch.cat([*[pixels[:, :, :1]] * 3, pixels], dim=2)  # 16 frames: two chunks of two of the latent
    expected = encoded([*filled.split(8, dim=2)], state)
    torch.testing.assert_close(model.encode(pixels), expected)
    assert expected.shape == (1, 4, 4, 4, 6)
    latent = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) / 4
    torch.testing.assert_close(model.decode(latent), decoded([*latent.split(2, dim=2)], state))


def test_a_chunk_sees_the_one_before_and_none_behind() -> None:
    model = network()
    latent = torch.randn(1, 4, 5, 2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    pixels = model.decode(latent)
    assert pixels.shape == (1, 3, 17, 8, 12)  # 1 + 4 n, the last chunk of one frame of the latent alone
    other = latent.clone()
    other[:, :, 2:4] += 1
    changed = model.decode(other)
    assert torch.equal(changed[:, :, :5], pixels[:, :, :5])  # of two of the latent
    assert (changed[:, :, 13:] != pixels[:, :, 13:]).any()
    streamed = [chunk.shape[2] for chunk in model.decode_stream(latent)]
    assert streamed == [5, 8, 4]
    own, later = clip(17), clip(17)
    later[:, :, 5:] *= 0.5
    assert torch.equal(model.encode(own)[:, :, :2], model.encode(later)[:, :, :2])
    assert (model.encode(own)[:, :, 2:] != model.encode(later)[:, :, 2:]).any()


def test_a_picture_is_a_clip_of_one_frame() -> None:
    model = network()
    latent = model.encode(clip(1))
    assert latent.shape == (1, 4, 1, 4, 6)
    assert model.decode(latent).shape == (1, 3, 1, 16, 24)
    with pytest.raises(ShapeError, match="1 frame more than a multiple of 4"):
        model.encode(clip(4))


def test_files() -> None:
    for config in (TINY, replace(TINY, num_blocks=(1, 1, 2, 1), channels=(4, 8, 16, 16)), *DC_AE_V_PRESETS.values()):
        shapes = DC_AE_V.shapes(config)
        theirs = UPSTREAM_DC_AE_V.from_ours({name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
        assert set(UPSTREAM_DC_AE_V.to_ours(theirs)) == set(shapes)
        assert DC_AE_V.from_json(DC_AE_V.to_json(config)) == config
    for name, config in DC_AE_V_PRESETS.items():
        assert (config.compression, config.temporal_compression) == (64 if "f64" in name else 32, 4)
        assert DC_AE_V.infer(DC_AE_V.shapes(config), "") == config
    parameters = DC_AE_V.empty(DCAEVConfig()).parameters()
    assert sum(parameter.numel() for parameter in parameters) == 2_138_635_436  # of the layout; none was published
    with pytest.raises(ConfigError, match="every stage but the first needs a block"):
        replace(TINY, num_blocks=(0, 1, 0, 1))
