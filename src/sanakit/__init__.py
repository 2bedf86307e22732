"""The SANA family of linear diffusion transformers: library, command line and server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from sanakit.common.version import __version__ as __version__

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from sanakit.checkpoints.identity.precision import DtypeRequest
    from sanakit.checkpoints.identity.schemes import SchemeRequest
    from sanakit.pipelines.text_to_image import TextToImagePipeline


class _Files(TypedDict, total=False):
    """The fields of ``HubOptions``, and sources of parts that take the place of a model's own."""

    variant: str | None
    revision: str | None
    cache_dir: Path | None
    local_files_only: bool
    token: str | None
    text_encoder: str | Path | None
    autoencoder: str | Path | None
    torch_dtype: DtypeRequest
    quantize: SchemeRequest
    trust_remote_code: str | None


def load(
    source: str | Path = "starter",
    *,
    device: torch.device | str = "cpu",
    dtype: DtypeRequest = None,
    force: bool = False,
    deterministic: bool = False,
    compile: bool = False,
    **files: Unpack[_Files],
) -> TextToImagePipeline:
    """A pipeline for a model folder, a weights file, a hub id, or the starter that ships with the package.

    Where one picture or clip of the model's own size takes more memory than is free, a warning says so before weights
    are read.

    Args:
        source: a diffusers folder, an upstream ``.pth``, one safetensors of the transformer, a hub id or ``starter``.
        device: where the networks go; ``"auto"`` is CUDA where there is one.
        dtype: None for what the model works in (float32 on the CPU), ``"bfloat16"`` and so on for the transformer,
            which the other parts follow where they can, or a dtype by component. ``torch_dtype`` says the same.
        force: load in a dtype that the model is known not to work in, or weights whose hash is not the card's.
        deterministic: pictures are the same to the bit in any company, also on a GPU; slower.
        compile: on CUDA, compile the denoising step and play it back as one graph: quicker pictures after some seconds
            for each size, with other last bits.
        files: ``quantize``, a scheme of fewer bits (``"int8"``, ``"int8-weight"``, ...) or one by component, in which
            the weights are held; ``variant`` ("fp16" or "bf16" files), ``revision``, ``cache_dir``,
            ``local_files_only`` and ``token``, as everywhere in the ecosystem; ``text_encoder`` and ``autoencoder``,
            sources of these parts, instead of the model's own or the published ones; ``trust_remote_code``, one of
            these sources once more, whose own code may then be run.

    Raises:
        CheckpointError: a file is missing, broken or of another model.
        RequestError: the dtype is refused, the device is not here, or an argument is not known.
        DownloadError: something is not on this machine and could not be fetched.
    """
    from sanakit.common.devices import prepare_threads, resolve_device

    prepare_threads()
    options = _checked(dict(files), dtype)
    dtype = options.pop("torch_dtype") if "torch_dtype" in options else dtype
    from sanakit.checkpoints.files.hub import HubOptions
    from sanakit.checkpoints.opening import open_model  # torch and friends load only now
    from sanakit.models.transformers.compiled_step import check_compiler
    from sanakit.pipelines.check import plan_for_model, tell_lack_of_memory
    from sanakit.pipelines.request import GenerationRequest, VideoRequest
    from sanakit.pipelines.text_to_image import TextToImagePipeline

    others = {name: options.pop(name, None) for name in ("text_encoder", "autoencoder", "quantize")}
    where = resolve_device(device)
    if compile:
        check_compiler(where)
    model = open_model(source, device=where, dtype=dtype, force=force, hub=HubOptions(**options), **others)
    usual = VideoRequest if model.makes_clips else GenerationRequest
    tell_lack_of_memory(model, plan_for_model(model, [usual(prompt="")]))
    return TextToImagePipeline(model.load(), deterministic=deterministic, compile=compile)


def _checked(files: dict[str, Any], dtype: DtypeRequest) -> dict[str, Any]:
    """The same, if there is nothing unknown among them, and no second dtype."""
    from sanakit.common.errors import ArgumentError, RequestError

    known = ("source", "device", "dtype", "force", "deterministic", "compile", *_Files.__annotations__)
    if unknown := next((name for name in files if name not in known), None):
        from difflib import get_close_matches

        close = get_close_matches(unknown, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it takes {', '.join(known)}."
        raise ArgumentError(f"sanakit.load has no argument {unknown}; {hint}")
    if dtype is not None and "torch_dtype" in files:
        raise RequestError(f"dtype= and torch_dtype= both are given; leave out torch_dtype={files['torch_dtype']}")
    return files
