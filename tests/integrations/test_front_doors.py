"""The demo and the predictor draw what the pipeline draws; Gradio and cog are stood in for by what they are asked."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.integrations.gradio import make_demo
from sanakit.pipelines.picture_file import read_record
from sanakit.pipelines.text_to_image import TextToImagePipeline

PREDICTOR = Path(__file__).parents[2] / "integrations" / "replicate" / "predict.py"


class Gradio(ModuleType):
    """Remembers what is called."""

    class Error(Exception):
        def __init__(self, message: str, print_exception: bool) -> None:
            super().__init__(message)

    def __init__(self) -> None:
        super().__init__("gradio")
        self.drawn_by: Callable[..., Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self

    def __enter__(self) -> Gradio:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def on(self, triggers: Any, function: Callable[..., Any], *_: Any, **__: Any) -> None:
        self.drawn_by = function


def test_demo(tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    gradio, pipeline = Gradio(), TextToImagePipeline(tiny_bundle)
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    make_demo(pipeline)
    assert gradio.drawn_by is not None
    told: list[Any] = []
    paths, files, seed = gradio.drawn_by(told.append, "a cat", "", 64, 2, 2.0, 2, 7, False)
    assert (paths, seed, told[-1]) == (files, 7, (4, 4))
    record = read_record(paths[0])
    expected = pipeline("a cat", width=64, height=64, num_inference_steps=2, guidance_scale=2.0, seed=7).images[0]
    assert record.image == expected.record.image
    with pytest.raises(Gradio.Error, match="width"):
        gradio.drawn_by(told.append, "a cat", "", 63, 2, 2.0, 1, 7, False)


def test_predictor(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cog = ModuleType("cog")
    cog.BasePredictor, cog.Path = object, Path  # type: ignore[attr-defined]
    cog.Input = lambda *, default=None, **_: default  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cog", cog)
    monkeypatch.setenv("SANAKIT_MODEL", str(tiny_model))
    spec = importlib.util.spec_from_file_location("predict", PREDICTOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    predictor = module.Predictor()
    predictor.setup()
    files = predictor.predict(prompt="a cat", seed=7, width=64, height=64, num_inference_steps=2, num_images=2)
    record = read_record(files[0])
    expected = predictor.pipeline("a cat", width=64, height=64, num_inference_steps=2, seed=7).images[0]
    assert record.image == expected.record.image
    assert [read_record(file).request.seed for file in files] == [7, record.request.seed + 1]
