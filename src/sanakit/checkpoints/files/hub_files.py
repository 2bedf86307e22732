"""Which files of a hub repository are needed: one set of weights per component, and the small files beside them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sanakit.checkpoints.files.weight_names import choose_variant, is_weight_file, read_weight_name, weights_among
from sanakit.common.errors import CheckpointError

FOLDERS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
_SMALL = (".json", ".txt", ".model", ".jinja")
_NOTICES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt")
_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
_OTHERS = (
    ".gguf",
    ".h5",
    ".msgpack",
    ".onnx",
    ".ot",
    ".pb",
    ".pkl",
    ".tflite",
    ".zip",
)  # of weights that nobody reads here


def choose_files(
    paths: Sequence[str],
    *,
    variant: str | None = None,
    folders: Collection[str] = FOLDERS,
    with_code: bool = False,
    where: str = "it",
) -> list[str]:
    """The files to fetch out of all ``paths`` of a repository.

    Args:
        paths: with forward slashes, relative to the repository or to a folder in it.
        variant: wanted weight files, as in ``model.bf16.safetensors``; the transformer must have them, the other
            components give others if they have none.
        folders: of a diffusers repository to fetch.
        with_code: Python files of the components too, for a source that is trusted.
        where: the repository's name, for the sentence of an error.

    Raises:
        CheckpointError: nothing there can be read, or a choice must be made first.
    """
    small = (*_SMALL, ".py") if with_code else _SMALL
    if "model_index.json" in paths:
        root = [path for path in paths if "/" not in path and (path.endswith(".json") or path in _NOTICES)]
        parts = [_component_files(paths, f"{name}/", variant, where, small) for name in folders]
        return root + [path for part in parts for path in part]
    if "config.json" in paths:
        return _component_files(paths, "", variant, where, small)
    return [only_weight_file(paths, where, place="repository", address=f"hf://{where}")]


def _component_files(
    paths: Sequence[str], prefix: str, variant: str | None, where: str, suffixes: tuple[str, ...]
) -> list[str]:
    """Files directly under ``prefix``: everything small, and the weights of one variant."""
    names = [path[len(prefix) :] for path in paths if path.startswith(prefix) and "/" not in path[len(prefix) :]]
    weights = {name: found for name in names if (found := read_weight_name(name))}
    small = [name for name in names if name not in weights and (name.endswith(suffixes) or name in _NOTICES)]
    safe = {name: found for name, found in weights.items() if found.suffix == ".safetensors"}
    known = weights_among(names, _STEMS) or safe
    others = [name for name in names if name.lower().endswith(_OTHERS)]
    if "config.json" in names and others and not known:
        raise CheckpointError(
            f"{where} holds {prefix}{others[0]} and no .safetensors or .bin of the same weights, which sanakit reads"
        )
    available = {found.variant for found in known.values()}
    if prefix == "transformer/" and available and variant not in {None, *available}:
        # said before gigabytes of the wrong files are fetched
        raise CheckpointError(f"{where} has no {variant} files of its transformer; leave the variant out")
    chosen = choose_variant(available, variant, holder=f"{where} holds {prefix or 'its weights'}".rstrip())
    return [prefix + name for name in [*small, *(name for name, found in known.items() if found.variant == chosen)]]


def only_weight_file(paths: Sequence[str], where: str, *, place: str, address: str) -> str:
    """The one file of weights as in upstream's own repositories (``checkpoints/NAME.pth``).

    Args:
        paths: of all files, as for ``choose_files``.
        where, place: what holds them, and what that is, for the sentence of an error.
        address: of ``where``, as a user would give it.

    Raises:
        CheckpointError: there is none, or there are several.
    """
    weights = [path for path in paths if is_weight_file(path) and "/" not in path.removeprefix("checkpoints/")]
    states = [path for path in weights if path.lower().endswith((".bin", ".ckpt"))]  # often of an optimiser
    found = [path for path in weights if path not in states] or states
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointError(f"{where} holds {len(found)} files of weights; name one, such as {address}/{found[0]}")
    raise CheckpointError(
        f"{where} is no model {place}: it has no model_index.json, no config.json and no file of weights such as a "
        f".safetensors or .pth"
    )
