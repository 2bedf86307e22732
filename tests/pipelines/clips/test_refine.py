"""Clips in two stages: made by a tiny SANA-Video model, refined by a tiny LTX-2."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaModel

from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.diffusers_layout import save_network
from sanakit.checkpoints.networks.refiner.latent_upsampler import LATENT_UPSAMPLER
from sanakit.checkpoints.networks.refiner.ltx2_connectors import LTX2_CONNECTORS
from sanakit.checkpoints.networks.refiner.ltx2_video import LTX2_VIDEO
from sanakit.checkpoints.networks.strict_load import read_network
from sanakit.checkpoints.opening import OpenedModel, load_bundle, open_model
from sanakit.checkpoints.refiner import open_refiner
from sanakit.checkpoints.text.decoder_folder import read_decoder
from sanakit.checkpoints.text.decoder_json import decoder_config
from sanakit.checkpoints.text.text_encoder_folder import save_text_encoder, text_encoder_files
from sanakit.cli.app import main
from sanakit.common.errors import CheckpointError, DecodeMemoryError, PictureError, RequestError
from sanakit.models.autoencoders.ltx2 import LTX2Autoencoder, LTX2AutoencoderConfig
from sanakit.models.latent_upsampler import LatentUpsampler, LatentUpsamplerConfig
from sanakit.models.text.language_model import every_state
from sanakit.models.text.ltx2_connectors import LTX2Connectors, LTX2ConnectorsConfig
from sanakit.models.transformers.ltx2_video import LTX2Video, LTX2VideoConfig
from sanakit.models.transformers.video_dit import VideoDiT
from sanakit.pipelines.check import load_for, memory_of_pictures, plan_for_model, tell_lack_of_memory
from sanakit.pipelines.latent_file import load_latent, save_latent
from sanakit.pipelines.replay import replay
from sanakit.pipelines.request import VideoRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.quantization.quantize import quantization_of
from sanakit.sampling.driver import drive
from sanakit.sampling.truncated_flow import TruncatedFlow

AUTOENCODER = LTX2AutoencoderConfig(
    channels=(8, 16, 32, 64), num_blocks=(1, 0, 0, 0, 0), decoder_channels=(16, 32, 64),
    decoder_num_blocks=(0, 0, 0, 1), latent_channels=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def model(clip_bundle: ModelBundle, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of clips with LTX-2's autoencoder."""
    torch.manual_seed(3)
    text = load_bundle(tiny_model).text_encoder
    patch = {"in_channels": 8, "out_channels": 8, "patch_size": (1, 1, 1), "caption_channels": text.hidden_size}
    config = replace(clip_bundle.transformer.config, **patch)
    autoencoder = LTX2Autoencoder(AUTOENCODER)
    autoencoder.mean.normal_()
    card = replace(clip_bundle.card, defaults=replace(clip_bundle.card.defaults, base_size=64))
    folder = tmp_path_factory.mktemp("models") / "clips"
    parts = {"transformer": VideoDiT(config), "autoencoder": autoencoder, "text_encoder": text}
    save_bundle(replace(clip_bundle, card=card, **parts), folder)
    return folder


@pytest.fixture(scope="module")
def refiner(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("models") / "tiny-ltx-2"
    text = load_bundle(tiny_model).text_encoder
    size, states = text.hidden_size, text.model.config.num_layers + 1
    save_network(
        LTX2_VIDEO,
        LTX2Video(LTX2VideoConfig(hidden_size=48, num_layers=1, head_dim=24, in_channels=8, caption_channels=size)),
        folder / "transformer",
    )
    connectors = LTX2ConnectorsConfig(caption_channels=size, num_states=states, head_dim=16, num_registers=16)
    save_network(LTX2_CONNECTORS, LTX2Connectors(connectors), folder / "connectors")
    upsampler = LatentUpsampler(LatentUpsamplerConfig(in_channels=8, hidden_channels=32, num_blocks=1))
    save_network(LATENT_UPSAMPLER, upsampler, folder / "latent_upsampler")
    save_text_encoder(text, folder / "text_encoder", folder / "tokenizer")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "LTX2Pipeline"}))
    return folder


@pytest.fixture
def pipeline(model: Path, refiner: Path) -> TextToImagePipeline:
    return TextToImagePipeline(load_bundle(model)).refine_with(refiner)


def made(pipeline: TextToImagePipeline, prompt: str = "a ball", **fields: Any) -> Any:
    return pipeline(prompt, num_frames=17, seed=3, **fields).images[0]


def test_a_refined_clip_is_twice_as_large_and_begins_as_it_was(pipeline: TextToImagePipeline) -> None:
    steps: list[int] = []
    clip = made(pipeline, on_step=lambda index, latent: steps.append(index))
    assert steps == [0, 1, 2, 3, 4]  # two of the model, three of the refiner
    assert clip.latent.shape == (1, 8, 3, 4, 4)
    assert clip.pictures.shape == (17, 128, 128, 3)
    assert clip.record.request.height == 64
    assert clip.record.refiner.name == "tiny-ltx-2"
    assert "a refiner of clips" in clip.record.needs
    other = made(pipeline, "a cat, running")
    refine = pipeline.refiner
    assert refine is not None
    plain = TextToImagePipeline(pipeline.bundle)
    first = made(plain, output="latent").latent
    assert torch.equal(clip.latent[:, :, :1], refine._larger(first)[:, :, :1])
    assert not torch.equal(clip.latent[:, :, 1:], refine._larger(first)[:, :, 1:])
    assert not torch.equal(clip.latent[:, :, 1:], other.latent[:, :, 1:])
    assert not torch.equal(made(pipeline, fps=30, output="latent").latent, clip.latent)  # positions are seconds


def test_a_refined_clip_comes_out_again_and_is_decoded_later(
    pipeline: TextToImagePipeline,
    model: Path,
    refiner: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip = made(pipeline)
    file = clip.save(tmp_path / "ball.gif")
    assert replay(file, pipeline, long=True).identical
    unrefined = TextToImagePipeline(pipeline.bundle)
    with pytest.raises(PictureError, match="name that with --refine"):
        replay(file, unrefined, long=True)
    plain = made(unrefined).save(tmp_path / "plain.gif")
    assert replay(plain, pipeline, long=True).identical  # what was not refined is not
    monkeypatch.setattr("sanakit.pipelines.record.MAX_PIXELS", 64 * 64)  # it is as large as its file, not larger
    (tmp_path / "moved").symlink_to(refiner)
    command = ["replay", str(file), "--model", str(model)]
    assert main([*command, "--refine", str(tmp_path / "moved")]) == 0
    assert capsys.readouterr().out.strip() == "identical"  # and no word of the name
    assert main(["replay", str(plain), "--model", str(model), "--refine", str(refiner)]) == 2
    monkeypatch.setattr(OpenedModel, "load", None)  # before weights are read
    assert main(command) == 1
    bomb = bytearray(file.read_bytes())
    bomb[6:10] = b"\xff\xff\xff\xff"  # width and height
    file.write_bytes(bomb)
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "name that with --refine" in told
    assert "could not be read as a clip" in told
    monkeypatch.undo()
    latent = save_latent(tmp_path / "ball.safetensors", replace_output(pipeline))
    assert main(["decode", str(latent), "--model", str(model), "-o", str(tmp_path / "later.gif")]) == 0
    assert replay(tmp_path / "later.gif", pipeline, long=True).identical


def replace_output(pipeline: TextToImagePipeline) -> Any:
    from sanakit.pipelines.latent_file import SavedLatent

    clip = made(pipeline, output="latent")
    return SavedLatent(latent=clip.latent, record=clip.record)


def test_the_command(
    model: Path, refiner: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ball.gif"
    command = ["generate", "a ball", "--model", str(model), "--refine", str(refiner), "-o", str(out)]
    assert main([*command, "--frames", "9"]) == 0
    assert out.exists()
    assert main(["generate", "a ball", "--model", str(tiny_model), "--refine", str(refiner)]) == 2
    assert "or make one with --frames" in capsys.readouterr().err


def test_a_refiner_in_one_file_is_that_of_the_folder(refiner: Path, model: Path, tmp_path: Path) -> None:
    """Lightricks' layout, with what it lacks in folders beside it."""
    tensors = {}
    for component, found in open_refiner(refiner).parts.networks.items():
        names = found.kind.layouts(found.config)["upstream"].from_ours(read_network(found).tensors)
        if component != "latent_upsampler":
            tensors |= {
                name if name.startswith("text_") else f"model.diffusion_model.{name}": each
                for name, each in names.items()
            }
    config = {
        "attention_head_dim": 24, "caption_channels": 32, "cross_attention_dim": 48, "in_channels": 8, "num_layers": 1,
        "num_attention_heads": 2, "out_channels": 8, "rope_type": "split", "frequencies_precision": "float64",
        "causal_temporal_positioning": True, "use_middle_indices_grid": True, "connector_attention_head_dim": 16,
        "connector_num_attention_heads": 2, "connector_num_layers": 2, "connector_num_learnable_registers": 16,
    }  # fmt: skip
    file = tmp_path / "ltx-2.safetensors"
    save_file(tensors, file, {"config": json.dumps({"transformer": config})})
    with pytest.raises(CheckpointError, match="a part of a refiner"):
        open_refiner(file)
    for name in ("text_encoder", "tokenizer"):
        (tmp_path / name).symlink_to(refiner / name)
    (tmp_path / "latent_upsampler").mkdir()
    weights = "diffusion_pytorch_model.safetensors"
    (tmp_path / "latent_upsampler" / "x2.safetensors").symlink_to(refiner / "latent_upsampler" / weights)
    opened, expected = open_refiner(file), open_refiner(refiner)
    assert opened.scale == 2
    how: Any = {"device": "cpu", "dtypes": dict.fromkeys(("transformer", "text_encoder"), torch.float32)}
    assert opened.load(**how).hash == expected.load(**how).hash


def test_what_does_not_belong_together_is_refused(
    clips: TextToImagePipeline, refiner: Path, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="refines latents of LTX-2's autoencoder"):
        clips.refine_with(refiner)  # whose latents are Wan's
    with pytest.raises(CheckpointError, match="is no refiner of clips"):
        open_refiner(model)
    (tmp_path / "transformer").symlink_to(refiner / "transformer")
    with pytest.raises(CheckpointError, match="a part of a refiner"):
        open_refiner(tmp_path)
    with pytest.raises(CheckpointError, match="has no transformer"):
        load_bundle(refiner)


def test_parts_of_a_refiner_that_do_not_belong_together_are_told_by_their_configs(
    refiner: Path, tmp_path: Path
) -> None:
    for name, config in (
        ("latent_upsampler", {"in_channels": 4}),
        ("connectors", {"text_proj_in_factor": 9}),
        ("text_encoder", {"num_hidden_layers": 9}),
    ):
        folder = tmp_path / name
        shutil.copytree(refiner, folder)
        file = folder / name / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | config))
        with pytest.raises(CheckpointError):
            open_refiner(folder)
    shutil.rmtree(folder / "tokenizer")
    with pytest.raises(CheckpointError):
        open_refiner(folder)


def test_a_refiner_is_in_the_plan_of_memory(
    model: Path, refiner: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = VideoRequest(prompt="a ball", num_frames=17)
    plain = open_model(model)
    opened = replace(plain, refiner=open_refiner(refiner))
    plans = plan_for_model(opened, [request])
    alone, both = (memory_of_pictures(each, plans[0]) for each in (plain, opened))
    bundle = opened.load()
    loaded = TextToImagePipeline(bundle).refine_with(opened.refiner)
    sizes = {name: sum(each.nbytes for each in net.parameters()) for name, net in loaded.bundle.beside.items()}
    assert both.weights == {**alone.weights, **sizes}
    assert both.refining.keys() == sizes.keys()
    assert both.decoding > 3 * alone.decoding  # four times the pixels
    monkeypatch.setattr(OpenedModel, "load", None)  # weights of the model are not read before this is told
    tell_lack_of_memory(opened, plans, free_memory=lambda device: both.total - 1)
    assert "for refining" in caplog.text
    with pytest.raises(RequestError, match="is not enough for tiny-clips"):
        load_for([request], opened, memory=1000)


def test_a_refiner_of_other_latents_is_refused_before_weights_are_read(
    clip_bundle: ModelBundle, tiny_model: Path, refiner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_bundle(replace(clip_bundle, text_encoder=load_bundle(tiny_model).text_encoder), tmp_path / "wan")
    monkeypatch.setattr(OpenedModel, "load", None)
    opened = replace(open_model(tmp_path / "wan"), refiner=open_refiner(refiner))
    with pytest.raises(RequestError, match="this model's are others"):
        load_for([VideoRequest(prompt="a ball", num_frames=5)], opened)


@pytest.mark.parametrize("quantize", [None, "transformer=int8-weight,text_encoder=nf4"])
def test_networks_of_both_stages_take_turns(model: Path, refiner: Path, quantize: str | None) -> None:
    opened = replace(open_model(model, quantize=quantize), refiner=open_refiner(refiner))
    request = VideoRequest(prompt="a ball", num_frames=9)
    expected = load_for([request] * 2, opened)([request] * 2)
    pipeline = load_for([request] * 2, replace(opened, in_turns=True))
    here: list[list[str]] = []

    def look(event: object) -> None:
        networks = {**pipeline.bundle.networks, **pipeline.bundle.beside}
        here.append([name for name, each in networks.items() if not next(each.parameters()).is_meta])
        if len(here) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline([request] * 2, on_event=look)
    found = pipeline([request] * 2, on_event=look)
    assert [each.record for each in found.images] == [each.record for each in expected.images]
    clip = [["transformer"]] * 2 + [["refiner"]] * 3 + [["autoencoder"]]
    assert here == [*clip[:3], *clip, *clip]
    assert quantization_of(pipeline.refiner.bundle.transformer).name == ("int8-weight" if quantize else "")


def test_a_clip_that_memory_was_too_short_to_refine_is_kept(
    pipeline: TextToImagePipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: Any) -> None:
        raise MemoryError

    assert pipeline.refiner is not None
    monkeypatch.setattr(pipeline.refiner.bundle.transformer, "forward", fails)
    pipeline.rescue_folder = tmp_path
    with pytest.raises(DecodeMemoryError, match=r"could not refine the clip .* sanakit decode"):
        made(pipeline)
    (kept,) = tmp_path.iterdir()
    found = pipeline.decode(load_latent(kept))
    assert found.record == made(TextToImagePipeline(pipeline.bundle)).record


def test_the_truncated_flow_ends_where_it_leads() -> None:
    """The velocity of the straight way from a latent under noise to the better one is the same all the way."""
    low, high, noise = (torch.randn(1, 4, 3, 2, 2, dtype=torch.float64) for _ in range(3))
    flow = TruncatedFlow()
    velocity = (flow.schedule().first_latent(noise, low) - high) / flow.sigmas[0]
    torch.testing.assert_close(drive(flow.start(low, noise), lambda wish: velocity), high)


def test_states_of_every_layer_are_those_of_transformers(tiny_language_model: LlamaModel, tmp_path: Path) -> None:
    tiny_language_model.save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    config = decoder_config(fields)
    assert config is not None
    ours = read_decoder(config, tmp_path, text_encoder_files(tmp_path), num_layers=None)
    ids = torch.tensor([[5, 7, 9, 11]])
    expected = torch.stack(tiny_language_model(ids, output_hidden_states=True).hidden_states, dim=-1)
    torch.testing.assert_close(every_state(ours, ids), expected)
    torch.testing.assert_close(every_state(tiny_language_model, ids), expected)
