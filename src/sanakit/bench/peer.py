"""The same networks in diffusers, on the same memory. The one place of the bench that imports diffusers."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from sanakit.checkpoints.networks.kind import NetworkState
from sanakit.checkpoints.text.decoder_json import transformers_config
from sanakit.models.text.decoder import Decoder
from sanakit.models.text.language_model import LanguageModel


def peer_version() -> str | None:
    """Of diffusers; None where it is not installed."""
    return version("diffusers") if importlib.util.find_spec("diffusers") is not None else None


def peer_network(state: NetworkState[Any, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """diffusers' class of that kind of network over ``tensors`` under our names: its parameters are views of them.

    Raises:
        CheckpointError: the class cannot compute what this config says.
    """
    import diffusers

    build: Callable[..., nn.Module] = getattr(diffusers, state.kind.class_name)
    fields = {name: value for name, value in state.kind.to_json(state.config).items() if not name.startswith("_")}
    with torch.device("meta"):
        network = build(**fields)
    theirs = state.kind.layouts(state.config)["diffusers"].from_ours(tensors)
    network.load_state_dict(theirs, strict=True, assign=True)
    if any(buffer.is_meta for buffer in network.buffers()):  # positions
        _fill_buffers(network, build(**fields | {"num_layers": 1}), next(network.parameters()).dtype)
    return network.eval().requires_grad_(False)


def peer_language_model(model: LanguageModel) -> nn.Module:
    """transformers' class of a decoder, over the same memory, but for a table of tokens that is stored narrower: ours
    widens the rows that it takes, there it would be the dtype of everything."""
    from transformers import AutoConfig, AutoModel

    assert isinstance(model, Decoder)
    fields = transformers_config(model.config)
    tensors = {name: tensor.to(model.compute_dtype) for name, tensor in model.state_dict().items()}
    with torch.device("meta"):
        network = AutoModel.from_config(AutoConfig.for_model(**fields), attn_implementation=model.attention)
    network.load_state_dict(tensors, strict=True, assign=True)
    small = {"num_hidden_layers": 1, "layer_types": fields.get("layer_types", ["full_attention"])[:1], "vocab_size": 8}
    _fill_buffers(network, AutoModel.from_config(AutoConfig.for_model(**fields | small)), torch.float32)
    ready: nn.Module = network.eval().requires_grad_(False)
    return ready


def peer_tokenizer(backend: Any, names: Mapping[str, str]) -> Any:
    """transformers' wrapper of a tokenizer."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def peer_pipeline(*, flow_shift: float = 3.0, **parts: Any) -> Any:
    """diffusers' pipeline of these parts, silent; the others are None."""
    import diffusers

    library: Any = diffusers
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    scheduler = library.DPMSolverMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=flow_shift
    )
    given = {"tokenizer": None, "text_encoder": None, "vae": None, "transformer": None, **parts}
    pipeline = library.SanaPipeline(scheduler=scheduler, **given)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _fill_buffers(network: nn.Module, small: nn.Module, dtype: torch.dtype) -> None:
    """With what no file holds, from the same network of one layer."""
    device = next(network.parameters()).device
    for name, buffer in small.named_buffers():
        owner, _, leaf = name.rpartition(".")
        network.get_submodule(owner).register_buffer(leaf, buffer.to(device, dtype), persistent=False)
    assert not any(buffer.is_meta for buffer in network.buffers())
