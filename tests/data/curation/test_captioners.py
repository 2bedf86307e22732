"""What a recipe may name, and whose code it may run."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sanakit.common.errors import ConfigError
from sanakit.common.user_cache import user_cache_folder
from sanakit.data.curation.captioners import CaptionerFault, ask_each, check_captioner, load_captioner
from sanakit.data.curation.config import CurationConfig, PluginCaptions, TransformersCaptions, plain_settings, trusting
from sanakit.data.curation.kept_answers import _model_files, keep_answers, recall_answers


@pytest.mark.parametrize(
    "target", ["os:system", "subprocess:Popen", "builtins:eval", "os.path:join", "shutil:rmtree", "posix:system"]
)
def test_pythons_own_functions_are_no_captioners(target: str) -> None:
    with pytest.raises(ConfigError, match="of Python's own library"):
        check_captioner(PluginCaptions(source="x", target=target))


@pytest.mark.parametrize(
    "target", ["torch:load", "torch.hub:load", "torch:Generator", "PIL.Image:open", "numpy:float32"]
)
def test_functions_and_classes_for_something_else_are_none(target: str) -> None:
    with pytest.raises(ConfigError, match="is not meant to be one: a class has a __call__"):
        load_captioner(PluginCaptions(source="x", target=target))


PLUGIN = """
class Plain:
    def __call__(self, images):
        return ["a picture" for image in images]

class Heir(Plain):
    pass

def make() -> "Captioner":
    return Plain()

def other():
    return Plain()
"""


def test_classes_with_a_call_and_functions_that_say_so_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "captioners_that_are_meant.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("Plain", "Heir", "make"):
        captioner = load_captioner(PluginCaptions(source="x", target=f"captioners_that_are_meant:{name}"))
        assert captioner([]) == []
    with pytest.raises(ConfigError, match="is not meant to be one"):
        load_captioner(PluginCaptions(source="x", target="captioners_that_are_meant:other"))


def test_code_that_comes_with_a_model_is_run_for_nobody_who_did_not_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *words: pytest.fail("a keypress would run it"))
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    flag = tmp_path / "owned"
    (tmp_path / "evil.py").write_text(f"open({str(flag)!r}, 'w')")
    captions = TransformersCaptions(source="x", model=str(tmp_path))
    with pytest.raises(ConfigError, match=r"wants to run code of its own; .* --trust-remote-code"):
        check_captioner(captions)
    config["auto_map"] = {"AutoConfig": "org/evil--evil.Evil"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"its config\.json asks for code of another repository, org/evil"):
        check_captioner(replace(captions, trust_remote_code=True))
    assert not flag.exists()


def test_a_recipe_cannot_ask_for_that_itself() -> None:
    captions = TransformersCaptions(source="x", model="org/judge")
    config = CurationConfig(captioners=(captions, replace(captions, source="y", model="org/other")))
    assert trusting(config, None) is config
    trusted = trusting(config, "org/judge")
    assert [each.trust_remote_code for each in trusted.captioners] == [True, False]  # type: ignore[union-attr]
    assert plain_settings(trusted) == plain_settings(config)
    asking = replace(config, captioners=(replace(captions, trust_remote_code=True),))
    with pytest.raises(ConfigError, match="the recipe asks to run code of org/judge; say --trust"):
        trusting(asking, None)
    with pytest.raises(ConfigError, match="is the model of no captioner"):
        trusting(config, "org/stranger")


def test_an_answer_that_is_no_text_costs_its_picture_alone() -> None:
    images = [Image.new("RGB", (8, 8))] * 4

    def captioner(images: object) -> list[str]:
        return [" red ", None, "\ud83d", ""]  # type: ignore[list-item]

    found = ask_each(captioner, images, "mine")
    assert [isinstance(text, CaptionerFault) for text in found] == [False, True, True, False]
    assert found == [
        "red", "the captioner mine gave None for it, and no text",
        "the captioner mine gave '\\ud83d' for it, and no text", "",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"gave 4 answers .* for 3 pictures; it must give one text for each"):
        ask_each(captioner, images[:3], "mine")


def test_kept_answers_that_are_damaged_cost_time_only() -> None:
    keep_answers({f"{number:064}": "x" * 500 for number in range(200)})
    assert recall_answers([f"{3:064}"]) == {f"{3:064}": "x" * 500}
    (path,) = (user_cache_folder() / "captions").iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))  # its first page, with the schema, is whole
    assert recall_answers([f"{3:064}"]) == {}
    keep_answers({"a" * 64: "y"})
    path.unlink()


def test_of_two_answers_the_older_counts() -> None:
    keep_answers({"b" * 64: "first"})
    keep_answers({"b" * 64: "second", "c" * 64: "third"})
    assert recall_answers(["b" * 64, "c" * 64]) == {"b" * 64: "first", "c" * 64: "third"}


def test_a_model_of_the_same_length_and_date_is_another_one(tmp_path: Path) -> None:
    """As rsync -t and reproducible builds leave it; what the other one said is not its answer."""
    (tmp_path / "store").mkdir()
    (tmp_path / "model").mkdir()
    weights, link = tmp_path / "store" / "weights", tmp_path / "model" / "model.safetensors"
    link.symlink_to(weights)

    def put(content: bytes) -> str | None:
        (tmp_path / "new").write_bytes(content)
        os.utime(tmp_path / "new", (1e9, 1e9))
        (tmp_path / "new").replace(weights)
        return _model_files(TransformersCaptions(source="x", model=str(tmp_path / "model")))

    first = put(b"0" * 9)
    assert first == _model_files(TransformersCaptions(source="x", model=str(tmp_path / "model")))
    assert put(b"1" * 9) != first
