"""``sanakit generate``, ``replay`` and ``decode`` with a tiny model, as a user would type them."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, PngImagePlugin

import sanakit
from sanakit.checkpoints.files.reader import read_tensors
from sanakit.checkpoints.files.writer import write_safetensors
from sanakit.common.errors import OutputError
from sanakit.pipelines.picture_file import read_record
from sanakit.pipelines.text_to_image import TextToImagePipeline


@pytest.fixture
def generate(run: Any, tiny_model: Path) -> Any:
    def call(*words: object) -> Any:
        return run("generate", *words, "--model", tiny_model, "--device", "cpu")

    return call


def test_a_picture_in_a_file(generate: Any) -> None:
    outcome = generate("two red apples", "--output", "apples.png", "--steps", "2", "--seed", "5")
    assert (outcome.code, outcome.out) == (0, "apples.png\n")
    assert Image.open("apples.png").size == (128, 128)
    request = read_record("apples.png").request
    assert (request.prompt, request.seed, request.num_inference_steps) == ("two red apples", 5, 2)


def test_python_saves_what_the_shell_writes(generate: Any, tiny_model: Path, tmp_path: Path) -> None:
    pipeline = sanakit.load(tiny_model)
    for name in ("a.png", "a.jpg", "a.webp"):
        assert generate("a cat", "--output", name, "--steps", "1", "--seed", "4").code == 0
        written = Path(name).read_bytes()
        made = pipeline("a cat", num_inference_steps=1, seed=4).images[0]
        assert made.save(tmp_path / name).read_bytes() == written


def test_parts_of_others_and_a_seed_that_nobody_chose(generate: Any, tiny_model: Path) -> None:
    parts = ("--text-encoder", tiny_model, "--autoencoder", tiny_model / "vae")
    assert generate("a cat", "--steps", "1", "--seed", "random", "--output", "a.png", *parts).code == 0
    seed = read_record("a.png").request.seed
    assert generate("a cat", "--steps", "1", "--seed", seed, "--output", "b.png").code == 0
    assert Image.open("a.png").tobytes() == Image.open("b.png").tobytes()
    outcome = generate("a cat", "--seed", "soon")
    assert (outcome.code, "--seed 'soon' is not usable; it must be a whole number" in outcome.err) == (2, True)
    assert "holds no autoencoder" in generate("a cat", "--autoencoder", tiny_model / "transformer").err


def test_a_picture_from_a_picture_is_made_again_where_that_is(
    generate: Any, run: Any, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    Image.linear_gradient("L").resize((160, 96)).save(tmp_path / "source.png")
    Image.new("RGB", (32, 32)).save(tmp_path / "seen.webp")
    outcome = generate("a cat", "--image", "source.png", "--strength", "0.5", "--steps", "2", "--output", "out/a.png")
    assert outcome.code == 0
    assert Image.open("out/a.png").size == (160, 96)
    assert read_record("out/a.png").request.image.name == "source.png"
    outcome = run("replay", "out/a.png", "--model", tiny_model)
    assert (outcome.code, "made from source.png (160x96 px" in outcome.err, "--image" in outcome.err) == (1, True, True)
    assert run("replay", "out/a.png", "--model", tiny_model, "--image", "source.png").out == "identical\n"
    for words, sentence in (
        (("--image", "nowhere.png"), "nowhere.png does not exist"),
        (("--image", "source.png", "--output", "source.png"), "would replace the picture that it begins with"),
        (("--image", "seen.webp", "--preview", "seen.webp"), "--preview seen.webp would replace the picture"),
        (("--preview", "seen.png"), "previews are a file of WebP"),
        (("--strength", "0.5"), "strength says how a picture is changed"),
        (("--image", "source.png", "--start-angle", "1"), "start_angle has no meaning beside the solver flow-dpm"),
        (("--solver", "scm", "--angles", "1.5,x"), "--angles 1.5,x is not usable"),
    ):
        outcome = generate("a cat", *words)
        assert (outcome.code > 0, outcome.err.count("\n"), sentence in outcome.err) == (True, 1, True)


def test_json_and_several_prompts_in_a_folder(generate: Any, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("# remark\na dog\n", encoding="utf-8")
    outcome = generate(
        "a cat 🐱", "--prompt-file", "more.txt", "--num-images", "2", "--seed", "9", "--steps", "1", "--output", "out/",
        "--format", "webp", "--json", "--size", "160x96", "--negative-prompt", "blurry", "--guidance-scale", "2",
        "--solver", "flow-euler",
    )  # fmt: skip
    assert outcome.code == 0
    pictures = json.loads(outcome.out)["pictures"]
    names = ["a-cat-seed9.webp", "a-cat-seed10.webp", "a-dog-seed9.webp", "a-dog-seed10.webp"]
    assert [Path(picture["file"]).name for picture in pictures] == names
    assert [picture["recipe"]["request"]["seed"] for picture in pictures] == [9, 10, 9, 10]
    picture = Image.open(tmp_path / "out" / names[0])
    assert (picture.format, picture.size) == ("WEBP", (160, 96))
    assert read_record(tmp_path / "out" / names[3]).request.solver == "flow-euler"


def test_a_deterministic_picture_says_so_and_is_made_again_as_one(generate: Any, run: Any, tiny_model: Path) -> None:
    assert generate("a cat", "--deterministic", "--steps", "2", "--output", "a.png").code == 0
    assert read_record("a.png").rows_per_call == 4
    assert run("replay", "a.png", "--model", tiny_model).out == "identical\n"


def test_a_folder_is_never_overwritten_and_a_file_is(generate: Any, tmp_path: Path) -> None:
    for _ in range(2):
        assert generate("a cat", "--steps", "1", "-o", "pictures", "-q").code == 0
        assert generate("a cat", "--steps", "1", "-o", "one.jpg", "-q").code == 0
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["a-cat-seed0-2.png", "a-cat-seed0.png"]
    assert Image.open("one.jpg").format == "JPEG"


def test_quiet_is_quiet_and_metadata_can_be_left_out(generate: Any) -> None:
    outcome = generate("a cat", "--steps", "1", "-o", "a.png", "--quiet", "--no-metadata", "--no-instruction")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert not Image.open("a.png").info.keys() & {"parameters", "sanakit"}


def test_strange_prompts_make_pictures(generate: Any) -> None:
    outcome = generate("", "🍎🍏", "两个红苹果", "apple " * 2000, "--steps", "1", "-o", "out")
    assert outcome.code == 0
    assert len(list(Path("out").iterdir())) == 4
    assert "the prompt is empty" in outcome.err
    assert "was cut off" in outcome.err
    assert "guidance" not in outcome.err


def test_a_guidance_interval_without_guidance_is_told(generate: Any) -> None:
    options = ("--guidance-interval", "0.2", "0.8", "--guidance-scale", "1", "--steps", "1", "-o", "a.png")
    outcome = generate("a cat", *options)
    assert outcome.code == 0
    assert "guidance is off at guidance scale 1, so the guidance interval changes nothing" in outcome.err


@pytest.mark.parametrize("press_at", [1, 3])
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_ctrl_c_leaves_whole_pictures_only(
    generate: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, press_at: int, as_json: tuple[str, ...]
) -> None:
    """Two pictures of two steps; the key is pressed in the evaluation of step 1 or 3."""
    calls = iter(range(1, 100))
    from sanakit.models.transformers.linear_dit import LinearDiT

    forward = LinearDiT.forward

    def watched(self: LinearDiT, *args: Any, **kwargs: Any) -> Any:
        if next(calls) == press_at:
            raise KeyboardInterrupt
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(LinearDiT, "forward", watched)
    outcome = generate("a cat", "--num-images", "2", "--steps", "2", "-o", "out", *as_json)
    assert outcome.code == 130
    if as_json and press_at > 1:
        told = json.loads(outcome.out)
        assert [picture["file"] for picture in told["pictures"]] == ["out/a-cat-seed0.png"]
        assert told["error"].startswith("interrupted at step")
    else:
        assert outcome.out == ("" if press_at == 1 else "out/a-cat-seed0.png\n")
    assert outcome.err.count("\n") == 1
    written = [path.name for path in tmp_path.rglob("*") if path.is_file() and "cache" not in path.parts]
    assert written == ([] if press_at == 1 else ["a-cat-seed0.png"])
    assert ("nothing was written" in outcome.err) == (press_at == 1)


@pytest.mark.parametrize("stream", ["/dev/full", None])
def test_a_stdout_that_takes_nothing_is_told_and_costs_no_picture(
    generate: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stream: str | None
) -> None:
    with nullcontext() if stream is None else Path(stream).open("w", encoding="utf-8") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        outcome = generate("a cat", "a dog", "--steps", "1", "-o", "out/")
    monkeypatch.undo()
    assert outcome.code == 1
    reason = "it is closed" if stream is None else "No space left on device"
    assert f"sanakit: what was to be printed could not be, stdout: {reason}; " in outcome.err
    assert sorted(path.name for path in Path(tmp_path, "out").iterdir()) == ["a-cat-seed0.png", "a-dog-seed0.png"]


BAD: list[tuple[tuple[str, ...], int, str]] = [
    (("--size", "100"), 2, "WIDTHxHEIGHT"),
    (("--size", "0x0"), 2, "--size (height) 0"),
    (("--size", "100x100"), 2, "multiples of 32"),
    (("--size", "1000000x1000000"), 2, "from 32 to"),
    (("--size", "16384x16384"), 2, "does not suit this model"),
    (("--steps", "0"), 2, "--steps 0"),
    (("--steps", "-3"), 2, "--steps -3"),
    (("--steps", "many"), 2, "'--steps'"),
    (("--guidance-scale", "nan"), 2, "--guidance-scale nan"),
    (("--guidance-scale", "inf"), 2, "--guidance-scale inf"),
    (("--pag-scale", "-1"), 2, "--pag-scale -1"),
    (("--seed", "-1"), 2, "--seed -1"),
    (("--seed", "1" * 30), 2, "--seed 1111"),
    (("--num-images", "0"), 2, "--num-images 0"),
    (("--solver", "ddim"), 2, "'--solver'"),
    (("--format", "gif"), 2, "makes pictures, not clips"),
    (("--output", "a.gif"), 2, "makes pictures, not clips"),
    (("--output", "missing/a.png"), 2, "does not exist"),
    (("--output", "/proc/"), 1, "cannot be written"),
    (("--output", "a.png", "--num-images", "2"), 2, "one file for 2 pictures"),
    (("--prompt-file", "missing.txt"), 2, "No such file"),
    (("--dtype", "int8"), 2, "float32, bfloat16 or float16"),
    (("--dtype", "float16"), 2, "not offered on the CPU"),
    (("--nonsense",), 2, "No such option"),
]


@pytest.mark.parametrize(
    ("words", "code", "message"), BAD, ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else ""
)
def test_bad_input_gets_one_sentence(
    generate: Any, words: tuple[str, ...], code: int, message: str, tmp_path: Path
) -> None:
    outcome = generate("a cat", *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert message in outcome.err
    assert outcome.err.startswith("sanakit: ")
    assert outcome.err.count("\n") == 1
    assert not [path for path in tmp_path.iterdir() if path.name != "cache"]


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "gpu"])
def test_devices_that_are_not_here(run: Any, tiny_model: Path, device: str) -> None:
    outcome = run("generate", "a cat", "--model", tiny_model, "--device", device)
    assert outcome.code == 2
    assert "is not here" in outcome.err


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no file or folder"), (b"", "is empty"), (b"\x80\x02}q\x00.", "bare pickle")]
)
def test_models_that_are_none(run: Any, tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    outcome = run("generate", "a cat", "--model", path)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_replay_is_identical_and_says_when_not(run: Any, generate: Any, tiny_model: Path) -> None:
    generate("a cat", "--steps", "2", "-o", "a.png", "-q")
    outcome = run("replay", "a.png", "--model", tiny_model)
    assert (outcome.code, outcome.out) == (0, "identical\n")

    picture = Image.open("a.png")
    record = json.loads(picture.info["sanakit"])
    record["request"]["seed"] += 1
    from PIL import PngImagePlugin

    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("sanakit", json.dumps(record))
    picture.save("b.png", pnginfo=chunks)
    outcome = run("replay", "b.png", "--json", "--output", "again.png", "--model", tiny_model)
    facts = json.loads(outcome.out)
    assert (outcome.code, facts["identical"], facts["file"]) == (1, False, "again.png")
    assert facts["differences"]
    assert read_record("again.png").request.seed == record["request"]["seed"]


def test_a_picture_tells_nobody_where_its_model_lay(generate: Any, tiny_model: Path) -> None:
    outcome = generate("a cat", "--steps", "1", "-o", "a.png", "--json")
    for content in (outcome.out.encode(), Path("a.png").read_bytes()):
        assert str(tiny_model.parent).encode() not in content
    model = read_record("a.png").model
    assert (model.kind, model.source, model.name) == ("folder", "tiny", "tiny")


def test_a_record_makes_replay_load_nothing_and_do_nothing_unusual(
    run: Any, generate: Any, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a hub id, nor a path, nor a folder called starter; a thousand steps or pictures are refused before."""
    generate("a cat", "--steps", "1", "-o", "a.png", "-q")
    Path("starter").mkdir()
    monkeypatch.setattr("sanakit.checkpoints.opening.load_bundle", lambda source, **_: pytest.fail(f"loads {source}"))

    def record_with(**changes: Any) -> Path:
        record = json.loads(read_record("a.png").to_json())
        for name, value in changes.items():
            record[name] = {**record[name], **value} if isinstance(value, dict) else value
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text("sanakit", json.dumps(record))
        Image.open("a.png").save("b.png", pnginfo=chunks)
        return Path("b.png")

    early: dict[str, Any] = {"kind": None}
    for model in (
        {"source": "some/model", "kind": "hub"},
        early | {"source": "some/model"},
        early | {"source": str(tiny_model)},
    ):
        outcome = run("replay", record_with(model=model))
        assert (outcome.code, outcome.err.count("\n")) == (1, 1)
        assert "name the model with --model" in outcome.err
        assert model["source"] in outcome.err
    for changes, told in (
        ({"request": {"num_inference_steps": 1000, "num_images": 1000}}, "of 1000 pictures"),
        ({"request": {"num_inference_steps": 1000}}, "asks for 1000 steps"),
        ({"request": {"width": 16384, "height": 16384}}, "asks for 16384x16384 pixels"),
        ({"rows_per_call": 10**9}, "calls of 1000000000 rows"),
    ):
        outcome = run("replay", record_with(**changes), "--model", tiny_model)
        assert (outcome.code, outcome.err.count("\n"), told in outcome.err) == (1, 1, True), outcome.err


@pytest.mark.parametrize("command", ["replay", "decode"])
def test_files_without_a_record(run: Any, command: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    (tmp_path / "text.txt").write_text("hello")
    for name in ("plain.png", "text.txt", "missing.png"):
        outcome = run(command, name)
        assert outcome.code == 1
        assert name in outcome.err
        assert outcome.err.count("\n") == 1


def test_decode_finishes_a_picture_and_keeps_the_latent(
    run: Any, generate: Any, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sanakit.pipelines.latent_file import save_latent

    generate("a cat", "--steps", "2", "-o", "a.png", "-q")
    kept: list[Any] = []
    decode = TextToImagePipeline.decode
    monkeypatch.setattr(
        TextToImagePipeline, "decode", lambda self, finished, **k: kept.append(finished) or decode(self, finished, **k)
    )
    generate("a cat", "--steps", "2", "-o", "b.png", "-q")
    latent = save_latent(tmp_path / "latent.safetensors", kept[0])
    outcome = run("decode", latent, "--output", "c.png")
    assert (outcome.code, "name the model with --model" in outcome.err) == (1, True)
    outcome = run("decode", latent, "--output", "c.png", "--model", tiny_model)
    assert (outcome.code, outcome.out) == (0, "c.png\n")
    assert Image.open("c.png").tobytes() == Image.open("a.png").tobytes()
    assert latent.exists()


def test_a_disk_that_fills_at_the_last_moment_loses_no_picture(
    run: Any, generate: Any, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sanakit.pipelines.picture_file as picture_file

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    generate("a cat", "--steps", "2", "-o", "whole.png", "-q")

    def full(*_: object, **__: object) -> None:
        raise OutputError("lost.png could not be written (No space left on device)")

    with monkeypatch.context() as patch:
        patch.setattr(picture_file, "write_image", full)
        outcome = generate("a cat", "--steps", "2", "-o", "lost.png", "-q")
    assert outcome.code == 1
    command = outcome.err.strip().rpartition("sanakit ")[2]
    assert command.startswith("decode "), outcome.err
    assert run(*command.split(), "--model", tiny_model, "--output", "found.png", "-q").code == 0
    assert Image.open("found.png").tobytes() == Image.open("whole.png").tobytes()


@pytest.fixture
def with_variant(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with its transformer a second time, rounded to bfloat16."""
    folder = shutil.copytree(tiny_model, tmp_path / "with-variant")
    plain = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    rounded = {name: tensor.to(torch.bfloat16) for name, tensor in read_tensors([plain]).items()}
    write_safetensors(plain.with_name("diffusion_pytorch_model.bf16.safetensors"), rounded, {})
    return folder


def test_a_variant_is_recorded_and_replayed(run: Any, with_variant: Path) -> None:
    words = ("generate", "a cat", "--model", with_variant, "--steps", "2", "--device", "cpu", "-q")
    assert run(*words, "-o", "plain.png").code == 0
    assert run(*words, "-o", "a.png", "--variant", "bf16", "--revision", "v1").code == 0
    plain, model = read_record("plain.png").model, read_record("a.png").model
    assert (plain.variant, plain.revision) == (None, None)
    assert (model.variant, model.revision) == ("bf16", "v1")
    assert model.hash != plain.hash
    assert Image.open("a.png").tobytes() != Image.open("plain.png").tobytes()
    assert run("replay", "plain.png", "--model", with_variant).out == "identical\n"
    assert run("replay", "a.png", "--model", with_variant, "--variant", "bf16").out == "identical\n"
    assert "--model .../with-variant --variant bf16" in run("replay", "a.png").err
    for words_of_other in (
        ("a.png", "--model", with_variant),
        ("plain.png", "--model", with_variant, "--variant", "bf16"),
    ):
        outcome = run("replay", *words_of_other)
        assert outcome.code in (1, 3)
        assert "the model was tiny" in outcome.out
    outcome = run(*words, "-o", "b.png", "--variant", "fp16")
    assert outcome.code == 1
    assert "fp16" in outcome.err


def test_decode_takes_the_model_that_made_the_latent(run: Any, with_variant: Path, tmp_path: Path) -> None:
    """Its record would not be true of another."""
    from sanakit.pipelines.latent_file import SavedLatent, save_latent

    run("generate", "a cat", "--model", with_variant, "--variant", "bf16", "--steps", "1", "-o", "a.png", "-q")
    saved = SavedLatent(latent=torch.zeros(1, 4, 8, 8), record=read_record("a.png"))
    latent = save_latent(tmp_path / "latent.safetensors", saved)
    assert run("decode", latent, "-o", "c.png", "--model", with_variant, "--variant", "bf16").code == 0
    outcome = run("decode", latent, "-o", "d.png", "--model", with_variant)
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert "decode it with the model that made it" in outcome.err
