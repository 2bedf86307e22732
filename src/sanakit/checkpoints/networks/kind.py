"""A kind of network, as reading and writing weights must know it; ``kinds`` is the table of those that there are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sanakit.checkpoints.networks.key_maps import KeyMap
from sanakit.common.errors import CheckpointError
from sanakit.quantization.quantize import Quantization, lay_out_, quantization_of

QUANTIZATION = "quantization_config"
"""Of a ``config.json``."""

Json = dict[str, Any]
Shapes = Mapping[str, tuple[int, ...]]
C = TypeVar("C")
M = TypeVar("M", bound=nn.Module)

FLOATING = frozenset({
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
})  # fmt: skip


class NoInitialValues(TorchFunctionMode):
    """Within it, in this thread, ``torch.nn.init`` leaves tensors as they are: on the meta device they have no values,
    and drawing them all the same is most of the time that building a network takes."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkKind(Generic[C, M]):
    """One network: its place in a model, its config in diffusers' words, its names in every layout.

    Args:
        component: what it is to a model, such as ``transformer``.
        folder: of the component in a diffusers folder, such as ``vae``.
        class_name: diffusers' class, as in ``config.json``.
        own_class: what ``config.json`` calls those of its networks that diffusers' class would take for others.
        noun: in sentences, such as ``SANA transformer``.
        build: the network of a config.
        to_json, from_json: ``config.json``; ``CheckpointError`` for what either side cannot compute.
        read_shapes: what `infer` gives; None where the shapes must be those of a ``published`` config.
        layout_of: the layout that a file's names are in; None when it is no such network.
        layouts: those that can be written of a network: ``diffusers`` and ``upstream``.
        block_name: matches at the start of our names what is one block, for ``num_blocks`` of a config to be compared.
        diagnose: from the names of a file, those that are missing and those that are unknown, what may be the
            reason; "" when they do not tell.
        dtypes: what its tensors may be stored in; counters are integers always.
        of_diffusers: whether diffusers has such a network, to be named in a model folder's index.
    """

    component: str
    folder: str
    class_name: str
    noun: str
    build: Callable[[C], M]
    to_json: Callable[[C], Json]
    from_json: Callable[[Mapping[str, Any]], C]
    layout_of: Callable[[Collection[str]], KeyMap | None]
    layouts: Callable[[C], Mapping[str, KeyMap]]
    block_name: str = r"blocks\.\d+\."
    num_blocks: Callable[[C], int] = attrgetter("num_layers")
    diagnose: Callable[[Sequence[str], Sequence[str], Sequence[str]], str] = lambda found, missing, strangers: ""
    dtypes: frozenset[str] = FLOATING
    of_diffusers: bool = True
    own_class: str | None = None
    read_shapes: Callable[[Shapes, str], C] | None = None
    published: Iterable[C] = ()

    def is_called(self, class_name: object) -> bool:
        """Whether a ``config.json`` names this kind so."""
        return class_name is not None and class_name in (self.class_name, self.own_class)

    def is_of_diffusers(self, config: C) -> bool:
        """Whether diffusers computes the network of this config."""
        return self.of_diffusers and self.to_json(config)["_class_name"] == self.class_name

    def empty(self, config: C, quantization: Quantization | None = None) -> M:
        """The network without memory, with layers in fewer bits where ``quantization`` names some.

        Raises:
            ConfigError: it names a layer that there is not.
        """
        with torch.device("meta"), NoInitialValues():
            model = self.build(config)
            lay_out_(model, quantization or Quantization())
        return model

    def shapes(self, config: C) -> dict[str, tuple[int, ...]]:
        """The shapes of the plain network's tensors, without making them."""
        return {name: tuple(tensor.shape) for name, tensor in self.empty(config).state_dict().items()}

    def infer(self, shapes: Shapes, names: str = "") -> C:
        """The config that tensors tell.

        Args:
            shapes: under our names, and of those that are dropped under theirs.
            names: what files are called.

        Raises:
            CheckpointError: they do not tell.
        """
        if self.read_shapes is not None:
            return self.read_shapes(shapes, names)
        for config in self.published:
            layouts = self.layouts(config).values()
            ours = {name: shape for name, shape in shapes.items() if not any(each.drops(name) for each in layouts)}
            if ours == self.shapes(config):
                return config
        raise CheckpointError(
            f"its {len(shapes)} tensors are not those of a published {self.noun}; keep the config.json of its folder "
            f"beside the weights"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkState(Generic[C, M]):
    """A network's tensors under our names, and the config that they belong to."""

    kind: NetworkKind[C, M]
    config: C
    tensors: Mapping[str, Tensor]
    quantization: Quantization = field(default_factory=Quantization)

    @classmethod
    def of(cls, kind: NetworkKind[C, M], model: M) -> NetworkState[C, M]:
        """A network in memory, as it is."""
        config, quantization = cast(C, model.config), quantization_of(model)
        return cls(kind=kind, config=config, tensors=model.state_dict(), quantization=quantization)

    @property
    def layout(self) -> KeyMap:
        """diffusers' names, of a quantized network those without a split of fused projections."""
        layout = self.kind.layouts(self.config)["diffusers"]
        return layout.whole if self.quantization else layout

    def to_json(self) -> Json:
        """``config.json``."""
        content = self.kind.to_json(self.config)
        return {**content, QUANTIZATION: self.quantization.to_json()} if self.quantization else content

    def build(self, empty: M | None = None) -> M:
        """The network with these tensors, every one of them, as they are; in the place of one ``empty`` of them, where
        somebody made that already."""
        model = self.kind.empty(self.config, self.quantization) if empty is None else empty
        model.load_state_dict(dict(self.tensors), strict=True, assign=True)
        return model
