"""The published models, as far as it matters for the question whether a machine can run them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sanakit.checkpoints.identity.precision import BFLOAT16_LINE, DTYPES, FLOAT16_LINE, DtypeName, PrecisionPolicy
from sanakit.models.presets import DC_AE_PRESETS, LINEAR_DIT_PRESETS
from sanakit.models.transformers.linear_dit import LinearDiTConfig
from sanakit.pipelines.decoding.memory import ModelSize, autoencoder_parameters, transformer_parameters
from sanakit.pipelines.decoding.tiling import Tiling

STEPS, SPRINT_STEPS = 20, 2
_EIGHT_BIT_WIDTH = 1.05  # bytes of a weight, with scales and with the layers that stay in 16 bits

AUTOENCODER = DC_AE_PRESETS["dc-ae-f32c32-sana-1.1"]
TEXT_ENCODER_PARAMETERS = 2_614_341_888  # Gemma-2 2B without its language head
_TEXT_TOKENS = 300
_DECODING_FLOPS = 8.37e12 / 1024**2  # a pixel, of that autoencoder


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedModel:
    """One that checkpoints exist for: its name to people, its transformer's preset, its precision line."""

    name: str
    preset: str
    precision: PrecisionPolicy
    steps: int = STEPS
    rows: int = 2  # of a step: the prompt and the empty one, for guidance

    @property
    def transformer(self) -> LinearDiTConfig:
        return LINEAR_DIT_PRESETS[self.preset]

    @property
    def side(self) -> int:
        """Of its pictures, in pixels."""
        return self.transformer.sample_size * AUTOENCODER.compression

    def dtypes(self, device: str) -> tuple[DtypeName, ...]:
        """What it runs in there, best first: on a CPU the widest one, and no float16, which is slow there."""
        offered = self.precision.dtypes["transformer"]
        return tuple(sorted(set(offered) - {"float16"}, reverse=True)) if device == "cpu" else offered[:1]

    def memory(self, dtype: DtypeName, *, eight_bits: bool = False, in_turns: bool = False) -> int:
        """Bytes at the peak of making one picture, decoded in tiles of 512 px; with ``eight_bits`` all
        parts are in int8-weight, ``in_turns`` has one of them in memory at a time, as ``--memory`` sees to."""
        counts = {
            "transformer": transformer_parameters(self.transformer),
            "autoencoder": autoencoder_parameters(AUTOENCODER),
            "text_encoder": TEXT_ENCODER_PARAMETERS,
        }
        width = _EIGHT_BIT_WIDTH if eight_bits else DTYPES[dtype].itemsize
        size = ModelSize(
            transformer=self.transformer,
            autoencoder=AUTOENCODER,
            weights={name: round(count * width) for name, count in counts.items()},
            dtype=DTYPES[dtype],
        )
        need = size.picture(self.side, self.side, rows=self.rows, tiling=Tiling(tile=512, stride=448))
        return replace(need, in_turns=in_turns).total

    def flops(self) -> float:
        """Arithmetic of a picture in its usual steps, without the text encoder's."""
        side = self.transformer.sample_size // self.transformer.patch_size
        return self.steps * self.rows * step_flops(self.transformer, side * side) + _DECODING_FLOPS * self.side**2


def step_flops(config: LinearDiTConfig, num_tokens: int) -> float:
    """Arithmetic of the blocks for one row of a step: the products with weights, with the text, with the state."""
    size, inner = config.hidden_size, config.inner_size
    attention = 4 * size**2 + 2 * size * config.head_dim
    cross_attention = 2 * size**2 + 2 * size * _TEXT_TOKENS
    mix_ffn = 3 * size * inner + 9 * 2 * inner
    return 2 * num_tokens * config.num_layers * (attention + cross_attention + mix_ffn)


PUBLISHED = (
    PublishedModel(name="Sana 0.6B", preset="sana-600m-512", precision=FLOAT16_LINE),
    PublishedModel(name="Sana 0.6B", preset="sana-600m-1024", precision=FLOAT16_LINE),
    PublishedModel(name="Sana 1.6B", preset="sana-1600m-512", precision=BFLOAT16_LINE),
    PublishedModel(name="Sana 1.6B", preset="sana-1600m-1024", precision=BFLOAT16_LINE),
    PublishedModel(name="Sana 1.6B", preset="sana-1600m-2k", precision=BFLOAT16_LINE),
    PublishedModel(name="Sana 1.6B", preset="sana-1600m-4k", precision=BFLOAT16_LINE),
    PublishedModel(name="SANA-1.5 1.6B", preset="sana1.5-1600m-1024", precision=BFLOAT16_LINE),
    PublishedModel(name="SANA-1.5 4.8B", preset="sana1.5-4800m-1024", precision=BFLOAT16_LINE),
    *(
        PublishedModel(name=f"SANA-Sprint {size}", preset=preset, precision=BFLOAT16_LINE, steps=SPRINT_STEPS, rows=1)
        for size, preset in (("0.6B", "sana-sprint-600m-1024"), ("1.6B", "sana-sprint-1600m-1024"))
    ),
)
