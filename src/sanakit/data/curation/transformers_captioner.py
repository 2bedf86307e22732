"""Captions by a vision-language model of the transformers library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanakit.common.config import CONFIGS_WITH_CODE, code_of_others
from sanakit.common.errors import ConfigError, first_line, need_transformers, own_code
from sanakit.common.paths import as_path
from sanakit.data.curation.config import TransformersCaptions

if TYPE_CHECKING:
    from PIL import Image


class TransformersCaptioner:
    """Greedy answers of an ``AutoModelForImageTextToText`` (LLaVA, Idefics3, BLIP, ...) to one prompt for each picture.

    A model with a chat template gets the prompt as a user's turn after the picture; one without gets it as the
    beginning of its caption, which BLIP repeats. The picture processors used are those that need Pillow only; a model
    that also has a video processor (Qwen2-VL, SmolVLM) needs torchvision, which is the user's to install.

    Raises:
        ConfigError: the folder or id cannot be opened as such a model, or its processor misses a package.
    """

    def __init__(self, config: TransformersCaptions) -> None:
        need_transformers(f"the captioner {config.model}")
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self._config, source = config, str(as_path(config.model))
        try:
            how: dict[str, Any] = {"trust_remote_code": _trusted(config), "revision": config.revision or "main"}
            self._processor: Any = AutoProcessor.from_pretrained(source, **how)
            dtype = getattr(torch, config.dtype)
            model: Any = AutoModelForImageTextToText.from_pretrained(source, dtype=dtype, use_safetensors=True, **how)
        except (ImportError, OSError, ValueError) as error:
            raise _not_opened(config, error) from error
        self._model = model.to(config.device).eval().requires_grad_(False)
        self._text = self._prompt_text()
        tokenizer = getattr(self._processor, "tokenizer", None)
        if tokenizer is not None and not self._model.config.is_encoder_decoder:
            tokenizer.padding_side = "left"  # so that every answer begins right after its prompt

    def __call__(self, images: Sequence[Image.Image], /) -> list[str]:
        """One caption for each RGB picture."""
        import torch

        texts = {"text": [self._text] * len(images), "padding": True} if self._text else {}
        pictures = [[image] for image in images] if self._nests_pictures() else list(images)
        inputs = self._processor(images=pictures, return_tensors="pt", **texts)
        inputs = inputs.to(self._config.device, self._model.dtype)  # only floating values change their dtype
        with torch.inference_mode():
            answers = self._model.generate(**inputs, max_new_tokens=self._config.max_new_tokens, do_sample=False)
        answers = _without_prompt(answers, inputs.get("input_ids"))
        return [text.strip() for text in self._processor.batch_decode(answers, skip_special_tokens=True)]

    def _prompt_text(self) -> str:
        if not getattr(self._processor, "chat_template", None):
            return self._config.prompt
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": self._config.prompt}]}
        return self._processor.apply_chat_template([turn], add_generation_prompt=True)

    def _nests_pictures(self) -> bool:
        """Models that take several pictures in one prompt want a list for each prompt."""
        return self._model.config.model_type in ("idefics2", "idefics3", "smolvlm", "mllama")


def check_model(config: TransformersCaptions) -> None:
    """Read the model's config alone.

    Raises:
        ConfigError: there is none, or it is of another kind of model.
    """
    need_transformers(f"the captioner {config.model}")
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    how: dict[str, Any] = {"revision": config.revision or "main"}
    try:
        found = AutoConfig.from_pretrained(str(as_path(config.model)), trust_remote_code=_trusted(config), **how)
    except (ImportError, OSError, ValueError) as error:
        raise _not_opened(config, error) from error
    if not config.trust_remote_code and type(found) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise _not_opened(config, ValueError(f"it is a {found.model_type} model, which does not describe pictures"))


def _trusted(config: TransformersCaptions) -> bool:
    """Whether code that comes with the model may be run; raises ValueError where it asks for code of others too."""
    from transformers.utils.hub import cached_file

    source = str(as_path(config.model))
    for name in CONFIGS_WITH_CODE if config.trust_remote_code else ():
        path = cached_file(source, name, revision=config.revision, _raise_exceptions_for_missing_entries=False)
        if path is not None and (other := code_of_others(Path(path), config.model)):
            raise ValueError(f"its {name} asks for code of another repository, {other}, which is not run")
    return config.trust_remote_code


def _not_opened(config: TransformersCaptions, error: Exception) -> ConfigError:
    reason = own_code(error) or first_line(error)
    return ConfigError(
        f"the captioner {config.source} cannot open {config.model} as a vision-language model ({reason.rstrip('.')})"
    )


def _without_prompt(answers: Any, prompt: Any) -> Any:
    """``(B, L)`` token ids without the prompt, where the answer repeats it; BLIP's captions go on from it instead."""
    if prompt is None or answers.shape[1] < prompt.shape[1]:
        return answers
    length = prompt.shape[1]
    return answers[:, length:] if bool((answers[:, :length] == prompt).all()) else answers
