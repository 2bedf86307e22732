"""The family of errors, on one screen.

Every message is one sentence: what is wrong, what was given, what would be right. The command line prints the
sentence and exits with 2 for what the user typed (``RequestError``, ``ConfigError``), with 1 for everything else.
"""

import importlib
import importlib.util
from typing import Any


def own_code(error: Exception) -> str:
    """What to say where transformers refused to run code that came with a model; "" for its other errors."""
    if type(error).__name__ == "UnpicklingError":
        return "its .bin files hold more than tensors, which may run code; save the model again, as safetensors"
    if "trust_remote_code" not in str(error):
        return ""
    return (
        "it wants to run code of its own; if you know who wrote that, name the model once more, "
        "with --trust-remote-code or as trust_remote_code"
    )


def first_line(error: BaseException) -> str:
    """How an error of another library begins, which may go on for a page; its kind where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


def first_sentence(error: Exception) -> str:
    """The same where a line holds advice for other programs after its first sentence."""
    return first_line(error).split(". ")[0][:160]


class SanakitError(Exception):
    """Base of all errors that sanakit raises on purpose."""


class ConfigError(SanakitError, ValueError):
    """A configuration value that cannot work."""


class ShapeError(SanakitError, ValueError):
    """Tensors whose shapes do not belong together."""


class RequestError(SanakitError, ValueError):
    """Something a user asked for that cannot be done."""


class ArgumentError(RequestError, TypeError):
    """An argument that a function does not take."""


class CheckpointError(SanakitError, ValueError):
    """A file or folder of weights that cannot be read or does not fit."""


class DownloadError(SanakitError):
    """Something that is not on this machine and could not be fetched."""


class OutputError(SanakitError):
    """A file that could not be written: full disk, missing rights."""


class DecodeMemoryError(SanakitError):
    """The latent could not be decoded in the memory that is free."""


class MissingExtraError(SanakitError, ImportError):
    """An optional package is needed; the message names the extra to install."""


class PictureError(SanakitError):
    """A picture or latent file that cannot be read, or that holds no record."""


def need_transformers(what: str) -> None:
    """Raises ``MissingExtraError`` where transformers, which runs ``what``, is not installed."""
    try:
        is_there = importlib.util.find_spec("transformers") is not None
    except ValueError:  # it is imported, and says nothing of where from
        is_there = True
    if not is_there:
        raise MissingExtraError(f"{what} needs transformers; install it with: pip install 'sanakit[transformers]'")


def optional(module: str, sentence: str) -> Any:
    """A module of an optional package; raises ``MissingExtraError`` with this sentence where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(sentence) from error
