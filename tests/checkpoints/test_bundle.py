"""A whole model: saved, loaded, described, hashed and converted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
import torch

import sanakit
from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.editing.convert import convert, layout_of_target
from sanakit.checkpoints.editing.describe import describe
from sanakit.checkpoints.files.reader import read_tensors
from sanakit.checkpoints.files.writer import write_safetensors
from sanakit.checkpoints.identity.card import SMALL_TEXT_ENCODER, read_card
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.checkpoints.opening import load_bundle
from sanakit.checkpoints.sources.content_hashes import hash_network, verify_hashes
from sanakit.checkpoints.sources.sources import find_parts
from sanakit.common.errors import CheckpointError, RequestError
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.pipelines.text_to_image import TextToImagePipeline

SPRINT = LinearDiTConfig(
    hidden_size=64, num_layers=1, cross_head_dim=16, in_channels=4, out_channels=4, caption_channels=32, qk_norm=True,
    guidance_embeds=True, timestep_scale=0.001, sample_size=32,
)  # fmt: skip
SPRINT_FILES = ("model_index.json", "scheduler/scheduler_config.json")


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    expected = second.state_dict()
    return all(torch.equal(tensor, expected[name]) for name, tensor in first.state_dict().items())


def test_a_saved_model_comes_back_with_its_card(bundle: ModelBundle, folder: Path) -> None:
    loaded = load_bundle(folder)
    assert same(loaded.transformer, bundle.transformer)
    assert same(loaded.autoencoder, bundle.autoencoder)
    assert same(loaded.text_encoder.model, bundle.text_encoder.model)
    assert loaded.transformer.config == bundle.transformer.config
    assert loaded.autoencoder.config == bundle.autoencoder.config
    assert loaded.text_encoder.config == bundle.card.text
    assert replace(loaded.card, source="", hashes=bundle.card.hashes) == bundle.card
    assert len(loaded.model_hash) == 64 == len(bundle.model_hash)
    assert loaded.model_hash == loaded.card.model_hash == bundle.model_hash


def test_a_model_without_card_gets_what_is_known_and_the_same_hash(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "Sana_x_BF16")
    (copy / "sanakit.json").unlink()
    loaded = load_bundle(copy)
    card = loaded.card
    assert (card.family, card.defaults.base_size, card.text.instruction) == ("sana-1.5", 64, "sana")
    assert not loaded.card.model_hash
    assert loaded.bytes_to_hash() == sum(file.stat().st_size for file in copy.rglob("*.safetensors"))
    assert loaded.model_hash == load_bundle(folder).card.model_hash
    assert loaded.bytes_to_hash() == load_bundle(folder).bytes_to_hash() == 0


def test_a_text_encoder_of_torch_save_is_read_described_hashed_and_written_as_safetensors(
    folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = copy / "text_encoder" / "model.safetensors"
    torch.save(read_tensors([weights]), copy / "text_encoder" / "pytorch_model.bin")
    weights.unlink()
    assert load_bundle(copy).model_hash == load_bundle(folder).model_hash
    assert not any(check.differs for check in verify_hashes(copy))
    assert describe(copy).components[-1].files == (copy / "text_encoder" / "pytorch_model.bin",)
    convert(copy, tmp_path / "safe", "diffusers")
    assert [path.name for path in (tmp_path / "safe").rglob("*.bin")] == []
    assert load_bundle(tmp_path / "safe").model_hash == load_bundle(folder).model_hash


def test_a_text_encoder_in_one_variant_alone_is_read_described_and_hashed(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "sanakit.json").unlink()  # no hash is known
    (copy / "text_encoder" / "model.safetensors").rename(copy / "text_encoder" / "model.bf16.safetensors")
    assert load_bundle(copy).model_hash == load_bundle(folder).model_hash
    assert describe(copy).components[-1].files == (copy / "text_encoder" / "model.bf16.safetensors",)


def test_the_front_door_takes_the_usual_words_and_no_others(folder: Path) -> None:
    pipeline = sanakit.load(folder, dtype="bfloat16", local_files_only=True, text_encoder=folder)
    assert pipeline.bundle.precisions == dict.fromkeys(("transformer", "autoencoder", "text_encoder"), "bfloat16")
    assert pipeline.bundle.precision == "bfloat16"
    with pytest.raises(TypeError, match=r"no argument revison; did you mean revision\?"):
        sanakit.load(folder, revison="main")  # type: ignore[call-arg]


def test_the_dtype_policy_of_the_card_is_enforced(folder: Path) -> None:
    assert load_bundle(folder, dtype="bfloat16").transformer.final.weight.dtype == torch.bfloat16
    with pytest.raises(RequestError, match="float16"):
        load_bundle(folder, dtype="float16")


def test_hashes_tell_a_changed_weight_and_not_another_layout(folder: Path, tmp_path: Path) -> None:
    assert [(check.found == check.expected, check.differs) for check in verify_hashes(folder)] == [(True, False)] * 3
    convert(folder, tmp_path / "t.pth", "upstream")
    shutil.copy(folder / "transformer" / "config.json", tmp_path / "config.json")
    written = find_parts(tmp_path / "t.pth").networks["transformer"]
    assert hash_network(written) == read_card(folder).hashes["transformer"]  # type: ignore[union-attr]
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in read_tensors([weights]).items()}
    tensors["decoder.conv_out.conv.bias"][0] += 1e-6
    write_safetensors(weights, tensors, {})
    assert [check.name for check in verify_hashes(copy) if check.differs] == ["autoencoder"]
    (copy / "sanakit.json").unlink()
    with pytest.raises(CheckpointError, match=r"no sanakit\.json with hashes"):
        next(verify_hashes(copy))


def test_description_reads_headers_only(folder: Path, bundle: ModelBundle) -> None:
    found = describe(folder)
    assert [part.name for part in found.components] == ["transformer", "autoencoder", "text_encoder"]
    networks = (bundle.transformer, bundle.autoencoder, bundle.text_encoder.model)
    for part, model in zip(found.components, networks, strict=True):
        assert part.num_parameters == sum(parameter.numel() for parameter in model.parameters())
        assert part.dtypes == ("float32",)
    assert found.missing == ()
    assert found.card is not None


@pytest.mark.parametrize(("layout", "name"), [("upstream", "t.pth"), ("safetensors", "t.safetensors")])
def test_a_transformer_goes_to_one_file_and_back(folder: Path, tmp_path: Path, layout: str, name: str) -> None:
    notes = convert(folder, tmp_path / name, layout)  # type: ignore[arg-type]
    assert any("only the transformer" in note for note in notes)
    assert any("card and config are not written" in note for note in notes) == (layout == "upstream")
    if layout == "upstream":  # its own config does not fit in; beside the file it is found
        shutil.copy(folder / "transformer" / "config.json", tmp_path / "config.json")
    described = describe(tmp_path / name)
    assert described.missing == ("autoencoder", "text_encoder")
    back = convert(tmp_path / name, tmp_path / "back", "diffusers", autoencoder=folder, text_encoder=folder)
    assert back == []
    for file in ("transformer", "vae"):
        relative = f"{file}/diffusion_pytorch_model.safetensors"
        first, second = read_tensors([folder / relative]), read_tensors([tmp_path / "back" / relative])
        assert first.keys() == second.keys()
        assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())
    assert read_card(tmp_path / "back").hashes == read_card(folder).hashes  # type: ignore[union-attr]
    assert all(check.found == check.expected for check in verify_hashes(tmp_path / "back"))


def test_an_upstream_null_caption_is_kept_or_its_loss_is_told(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "transformer" / "config.json", tmp_path / "config.json")
    convert(folder, tmp_path / "a.pth", "upstream")
    state = read_tensors([tmp_path / "a.pth"]) | {"y_embedder.y_embedding": torch.ones(3, 32)}
    torch.save({"state_dict": state}, tmp_path / "b.pth")
    convert(tmp_path / "b.pth", tmp_path / "c.pth", "upstream")
    assert torch.equal(read_tensors([tmp_path / "c.pth"])["y_embedder.y_embedding"], torch.ones(3, 32))
    notes = convert(tmp_path / "b.pth", tmp_path / "d", "diffusers")
    assert any("y_embedder.y_embedding is left out" in note for note in notes)
    assert any("no text encoder" in note for note in notes)
    assert describe(tmp_path / "d").missing == ("autoencoder", "text_encoder")


def test_an_autoencoder_alone_is_converted(folder: Path, tmp_path: Path) -> None:
    convert(folder / "vae", tmp_path / "vae", "diffusers")
    convert(folder / "vae", tmp_path / "vae.safetensors", "safetensors")
    [before] = describe(folder / "vae").components
    for written in ("vae", "vae.safetensors"):
        [after] = describe(tmp_path / written).components
        assert (after.name, after.config, after.num_bytes) == (before.name, before.config, before.num_bytes)
    with pytest.raises(CheckpointError, match="holds an autoencoder alone"):
        load_bundle(tmp_path / "vae")


def test_a_target_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    for target, layout, sentence in (
        ("x.bin", "upstream", "a .pth file"), ("x.pth", "diffusers", "is a folder"), ("x", "onnx", "is not offered"),
        ("x.CKPT", "diffusers", "a file ends in .pth or .saf"), ("x.PTH", "safetensors", "a .safetensors file"),
    ):  # fmt: skip
        with pytest.raises(RequestError, match=sentence):
            convert("nowhere/at-all", tmp_path / target, layout)  # type: ignore[arg-type]
    (tmp_path / "there" / "something").mkdir(parents=True)
    with pytest.raises(RequestError, match="exists already"):
        convert("nowhere/at-all", tmp_path / "there", "diffusers")


def test_capital_letters_in_a_suffix_mean_the_same(folder: Path, tmp_path: Path) -> None:
    for name, layout in (("MODEL.PTH", "upstream"), ("MODEL.SafeTensors", "safetensors"), ("sana-1.5", "diffusers")):
        assert layout_of_target(tmp_path / name) == layout
    for name in ("MODEL.PTH", "MODEL.SAFETENSORS"):
        convert(folder, tmp_path / name, layout_of_target(tmp_path / name))
        assert (tmp_path / name).is_file()
    (tmp_path / "only").mkdir()
    shutil.copy(tmp_path / "MODEL.SAFETENSORS", tmp_path / "only" / "MODEL.SAFETENSORS")
    assert describe(tmp_path / "only").components[0].name == "transformer"
    convert(folder, tmp_path / "w.pth", "upstream")
    for name in ("w.bin", "w.ckpt"):  # a file by itself, and the only one of a folder
        place = tmp_path / name.replace(".", "-")
        place.mkdir()
        shutil.copy(tmp_path / "w.pth", place / name)
        shutil.copy(folder / "transformer" / "config.json", place / "config.json")
        assert describe(place / name).components[0].name == "transformer"


def test_the_same_model_is_written_with_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("1", "2"):
        for suffix in ("", ".pth", ".safetensors"):
            convert(folder, tmp_path / f"{name}{suffix}", layout_of_target(tmp_path / f"{name}{suffix}"))
    first, second = (sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in ("1", "2"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert (tmp_path / "1.pth").read_bytes() == (tmp_path / "2.pth").read_bytes()
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


def test_a_failed_conversion_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "tokenizer" / "tokenizer.json").write_text("")
    shutil.rmtree(copy / "vae")
    with pytest.raises(CheckpointError):
        convert(copy, tmp_path / "out", "diffusers", autoencoder=tmp_path / "copy")
    assert not (tmp_path / "out").exists()
    with pytest.raises(RequestError, match="exists already"):
        save_bundle(load_bundle(folder), copy)


@pytest.mark.parametrize(
    ("class_name", "sentence"),
    [
        ("StableDiffusionPipeline", "is a StableDiffusionPipeline; sanakit runs SanaPipeline and SanaSprintPipeline"),
        ("WanPipeline", "is a WanPipeline; sanakit runs"),
    ],
)
def test_folders_of_other_models(tmp_path: Path, class_name: str, sentence: str) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": class_name}))
    with pytest.raises(CheckpointError, match=sentence):
        find_parts(tmp_path)


def test_folders_of_nothing(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(CheckpointError, match="is no model folder"):
        find_parts(tmp_path)
    copy = shutil.copytree(folder, tmp_path / "kl")
    config = json.loads((copy / "vae" / "config.json").read_text()) | {"_class_name": "AutoencoderKL"}
    (copy / "vae" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="holds a AutoencoderKL; sanakit needs a AutoencoderDC"):
        find_parts(copy)
    (copy / "sanakit.json").write_text('{"name": 3}')
    (copy / "vae" / "config.json").write_text(json.dumps(config | {"_class_name": "AutoencoderDC"}))
    with pytest.raises(CheckpointError, match=r"sanakit\.json"):
        find_parts(copy)


def test_the_starter_borrows_its_text_encoder_and_is_converted_whole(
    bundle: ModelBundle, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = replace(bundle, card=replace(bundle.card, family="starter", text_encoder=SMALL_TEXT_ENCODER))
    save_bundle(starter, tmp_path / "starter", include_text_encoder=False)
    assert json.loads((tmp_path / "starter" / "model_index.json").read_text())["text_encoder"] == [None, None]
    monkeypatch.setattr("sanakit.checkpoints.sources.complete.starter_text_encoder_folder", lambda _: folder)
    assert load_bundle(tmp_path / "starter").model_hash == bundle.model_hash
    other = shutil.copytree(folder, tmp_path / "other")  # as when the package index could not give the right one
    weights = other / "text_encoder" / "model.safetensors"
    write_safetensors(weights, {name: tensor + 1 for name, tensor in read_tensors([weights]).items()}, {})
    monkeypatch.setattr("sanakit.checkpoints.sources.complete.starter_text_encoder_folder", lambda _: other)
    assert load_bundle(tmp_path / "starter").model_hash != bundle.model_hash
    monkeypatch.setattr("sanakit.checkpoints.sources.complete.starter_text_encoder_folder", lambda _: folder)
    notes = convert(tmp_path / "starter", tmp_path / "whole", "diffusers")
    assert notes == []
    assert json.loads((tmp_path / "whole" / "model_index.json").read_text())["text_encoder"][1] == "LlamaModel"
    monkeypatch.undo()
    assert same(load_bundle(tmp_path / "whole").transformer, bundle.transformer)


def test_a_named_part_changes_the_hash_of_the_model(folder: Path, tmp_path: Path) -> None:
    weights = shutil.copytree(folder, tmp_path / "other") / "text_encoder" / "model.safetensors"
    tensors = read_tensors([weights])
    write_safetensors(weights, {name: 2 * tensor for name, tensor in tensors.items()}, {})
    expected = load_bundle(folder).model_hash
    assert load_bundle(folder, text_encoder=tmp_path / "other").model_hash != expected
    assert load_bundle(folder, autoencoder=tmp_path / "other").model_hash == expected  # it is the same one


def test_sprint_makes_the_same_picture_from_every_layout(folder: Path, tmp_path: Path) -> None:
    """A folder with our card, one as others write it, upstream's file, one safetensors."""
    torch.manual_seed(5)
    bundle = load_bundle(folder)
    card = replace(bundle.card, family="sana-sprint", distilled=True, defaults=bundle.card.defaults.of_few_steps())
    save_bundle(replace(bundle, transformer=LinearDiT(SPRINT), card=card), tmp_path / "sprint")
    others = shutil.copytree(tmp_path / "sprint", tmp_path / "others")
    (others / "sanakit.json").unlink()
    found = describe(others).card
    assert found is not None
    assert (found.family, found.distilled) == ("sana-sprint", True)
    assert found.defaults == replace(card.defaults, base_size=256, guidance_scale=4.5)
    index, scheduler = (json.loads((others / name).read_text()) for name in SPRINT_FILES)
    assert index["_class_name"] == "SanaSprintPipeline"
    assert {name: scheduler[name] for name in ("_class_name", "prediction_type", "sigma_data")} == {
        "_class_name": "SCMScheduler", "prediction_type": "trigflow", "sigma_data": 0.5,
    }  # fmt: skip
    (tmp_path / "upstream").mkdir()
    convert(others, tmp_path / "upstream" / "sprint.pth", "upstream")
    shutil.copy(others / "transformer" / "config.json", tmp_path / "upstream")
    convert(others, tmp_path / "sprint.safetensors", "safetensors")
    parts = {"autoencoder": others, "text_encoder": others}
    models = [load_bundle(tmp_path / "sprint"), load_bundle(others)]
    models += [load_bundle(tmp_path / name, **parts) for name in ("upstream/sprint.pth", "sprint.safetensors")]
    wish = {"height": 64, "width": 64, "use_resolution_binning": False, "use_instruction": False, "output": "latent"}
    latents = [TextToImagePipeline(model)("w5", **wish, guidance_scale=4.0).images[0].latent for model in models[:1]]
    for model in models[1:]:
        model = replace(model, card=replace(model.card, defaults=card.defaults, text=card.text))
        latents.append(TextToImagePipeline(model)("w5", **wish, guidance_scale=4.0).images[0].latent)
    assert all(torch.equal(latent, latents[0]) for latent in latents)
    assert not torch.equal(TextToImagePipeline(models[0])("w5", **wish).images[0].latent, latents[0])


@pytest.mark.parametrize("family", ["sana", "starter"])
def test_a_part_that_nothing_can_stand_in_for_is_missed_and_not_fetched(
    folder: Path, tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sanakit.checkpoints.sources.sources.resolve_source", lambda *_, **__: pytest.fail("it was fetched")
    )
    copy = shutil.copytree(folder, tmp_path / "copy")
    card = json.loads((copy / "sanakit.json").read_text())
    (copy / "sanakit.json").write_text(json.dumps(card | {"family": family}))
    (copy / "vae").rename(tmp_path / "vae")
    with pytest.raises(CheckpointError, match=r"copy has no autoencoder \(vae\), .* of 4 channels; name"):
        load_bundle(copy)
    assert load_bundle(copy, autoencoder=tmp_path / "vae").autoencoder.config.latent_channels == 4
    shutil.rmtree(copy / "transformer")
    with pytest.raises(CheckpointError, match="copy has neither of the folders transformer and vae"):
        load_bundle(copy)
    (tmp_path / "vae").rename(copy / "vae")
    with pytest.raises(CheckpointError, match="copy has no transformer; a transformer is needed"):
        load_bundle(copy)


@pytest.mark.parametrize(("part", "name"), [("transformer", "transformer"), ("vae", "autoencoder")])
def test_small_weights_are_compared_with_their_card_as_they_are_loaded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, name: str
) -> None:
    weights = shutil.copytree(folder, tmp_path / "copy") / part / "diffusion_pytorch_model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=rf"the {name} in .*copy/{part}.* was changed or damaged"):
        load_bundle(tmp_path / "copy")
    assert load_bundle(tmp_path / "copy", force=True)
    monkeypatch.setattr(
        "sanakit.checkpoints.sources.content_hashes.MAX_BYTES", 1
    )  # of a large model the card is believed
    assert load_bundle(tmp_path / "copy")


def test_what_is_written_names_the_weights_as_they_are(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk tells nothing of a change, as in a read-only image, of a model of any size."""
    monkeypatch.setattr("sanakit.checkpoints.sources.content_hashes.MAX_BYTES", 0)
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "sanakit.json").unlink()
    path = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    facts, content = path.stat(), bytearray(path.read_bytes())
    before = load_bundle(copy).model_hash
    content[-2] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr("sanakit.common.user_cache.content_facts", lambda _: tuple(facts))
    changed = load_bundle(copy)
    assert changed.bytes_to_hash() > 0
    assert changed.model_hash != before
    convert(copy, tmp_path / "converted", "diffusers")
    assert not any(check.differs for check in verify_hashes(tmp_path / "converted"))
    assert load_bundle(tmp_path / "converted").model_hash == changed.model_hash


def test_an_empty_folder_is_free_and_a_folder_is_no_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    convert(folder, tmp_path / "empty", "diffusers")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "empty").rglob("*.*")} == {0o644}
    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(RequestError, match="is a folder, and the safetensors layout is a file"):
        convert(folder, tmp_path / "a.safetensors", "safetensors")
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="is a file, and the diffusers layout is a folder"):
        convert(folder, tmp_path / "file", "diffusers", force=True)


def test_a_folder_is_found_in_either_form_of_unicode_and_must_be_utf8(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "cafe\u0301")  # as archives from macOS write it
    assert find_parts(tmp_path / "caf\u00e9").transformer is not None
    try:
        shutil.copytree(folder, tmp_path / "caf\udce9")
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    with pytest.raises(
        CheckpointError, match="a name that is not UTF-8, and safetensors opens no such file; rename it"
    ):
        find_parts(tmp_path / "caf\udce9")


def test_the_card_has_the_hash_of_the_text_encoder_that_is_read(folder: Path, tmp_path: Path) -> None:
    loaded = load_bundle(folder, dtype="bfloat16")  # which the files are not
    stored = hash_tensors(read_tensors([folder / "text_encoder" / "model.safetensors"]))
    assert hash_tensors(loaded.text_encoder.state_dict()) != stored
    borrowing = save_bundle(loaded, tmp_path / "borrowing", include_text_encoder=False)
    assert borrowing.hashes["text_encoder"] == stored
    whole = save_bundle(loaded, tmp_path / "whole")
    assert whole.hashes["text_encoder"] != stored
    assert not any(check.differs for check in verify_hashes(tmp_path / "whole"))


def test_the_starters_card_has_the_hash_of_its_language_model_as_it_is_stored() -> None:
    card = read_card(Path(str(resources.files("sanakit") / "starter")))
    assert card is not None
    stored = {None: "7a60a1e1afc2", 12: "3dfa5e26e4dd"}  # in bfloat16, by the number of layers that are kept
    assert card.hashes["text_encoder"].startswith(stored[card.text.num_layers])
