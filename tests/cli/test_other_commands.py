"""``info``, ``convert``, ``doctor``, ``data``, ``eval``, ``version`` and the bare command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from sanakit.checkpoints.identity.card import read_card
from sanakit.checkpoints.sources.content_hashes import HashCheck
from sanakit.checkpoints.text.starter_text_encoder import starter_text_encoder_place
from sanakit.cli.doctor import judge
from sanakit.cli.info import verdict
from sanakit.cli.terminal.machine import Accelerator, Machine
from sanakit.common.fetching.made_once import seal


def test_info(run: Any, tiny_model: Path) -> None:
    facts = json.loads(run("info", tiny_model, "--json").out)
    assert facts["base_size"] == 128
    assert {part["name"] for part in facts["components"]} == {"transformer", "autoencoder", "text_encoder"}
    assert all(part["num_parameters"] > 0 for part in facts["components"])
    outcome = run("info", tiny_model)
    assert f"{facts['model_hash']}, as its card says; --verify reads every byte\n" in outcome.out
    assert outcome.code == 0
    assert "128x128 px" in outcome.out
    assert "transformer" in outcome.out


def test_info_verifies_the_weights(run: Any, tiny_model: Path, tmp_path: Path) -> None:
    outcome = run("info", tiny_model, "--verify")
    assert (outcome.code, outcome.out.count("as the card says"), outcome.out.count("\n")) == (0, 3, 3)

    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x40")
    shutil.rmtree(copy / "text_encoder")
    outcome = run("info", copy, "--verify")
    verdicts = [line.split()[0] for line in outcome.out.splitlines() if "as the card says" in line]
    assert (outcome.code, verdicts, outcome.err) == (1, ["transformer"], "")
    assert "changed or damaged" in outcome.out.splitlines()[1]
    assert "not in this source" in outcome.out.splitlines()[2]
    outcome = run("info", copy, "--verify", "--json")
    transformer, autoencoder, text_encoder = json.loads(outcome.out)
    assert outcome.code == 1
    assert transformer["found"] == transformer["expected"]
    assert autoencoder["found"] != autoencoder["expected"]
    assert text_encoder["found"] is None

    assert run("info", copy, "--verify", "--variant", "bf16").code == 2
    (copy / "sanakit.json").unlink()
    assert run("info", copy, "--verify").code == 1


def test_a_check_by_the_hub_is_told_as_that() -> None:
    check = HashCheck(name="vae/config.json", found="a" * 40, expected="a" * 40, against="hub")
    assert verdict(check) == "aaaaaaaaaaaa, as the hub says"
    told = verdict(replace(check, found="b" * 40))
    assert (
        told == "bbbbbbbbbbbb and not aaaaaaaaaaaa: changed or damaged in the cache; the next picture fetches it again"
    )
    assert verdict(replace(check, expected="")) == "aaaaaaaaaaaa, and the hub has no hash to compare with"
    assert verdict(replace(check, fault="no file of org/name; remove it")) == "no file of org/name; remove it"


@pytest.mark.parametrize("source", ["missing/folder", "/"])
def test_info_about_nothing(run: Any, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    outcome = run("info", source)
    assert outcome.code in (1, 2)
    assert outcome.err.count("\n") == 1


def test_convert_there_and_back(run: Any, tiny_model: Path) -> None:
    outcome = run("convert", tiny_model, "one.safetensors", "--json")
    assert json.loads(outcome.out)["layout"] == "safetensors"
    assert Path("one.safetensors").is_file()
    outcome = run("convert", tiny_model, "folder")
    assert (outcome.code, outcome.out) == (0, "folder\n")
    assert (
        json.loads(run("info", "folder", "--json").out)["model_hash"]
        == json.loads(run("info", tiny_model, "--json").out)["model_hash"]
    )
    outcome = run("convert", tiny_model, "folder")
    assert outcome.code == 2
    assert "exists already" in outcome.err


def test_convert_fetches_the_revision_of_the_model_alone(
    run: Any, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sanakit.checkpoints.files.hub import HubOptions
    from sanakit.checkpoints.sources import sources

    asked: list[tuple[str, str | None]] = []

    def resolve(source: str, *, hub: HubOptions, **options: Any) -> Path:
        asked.append((source, hub.revision))
        return tiny_model

    monkeypatch.setattr(sources, "resolve_source", resolve)
    words = ("convert", "org/name", "out", "--revision", "v1", "--autoencoder", "org/vae")
    assert run(*words).code == 0
    assert asked == [("org/name", "v1"), ("org/vae", None)]


def test_convert_to_a_name_that_does_not_fit(run: Any, tiny_model: Path) -> None:
    assert run("convert", tiny_model, "a.pth", "--layout", "safetensors").code == 2
    assert run("convert", tiny_model, "a.pth", "--layout", "onnx").code == 2
    assert run("convert", "missing", "a.pth").code in (1, 2)
    assert not Path("a.pth").exists()


def test_doctor(run: Any) -> None:
    outcome = run("doctor", "--json")
    facts = json.loads(outcome.out)
    assert facts["machine"]["num_cores"] >= 1
    assert facts["models"][0]["model"] == "starter"
    assert outcome.code == int(any(finding["severity"] == "problem" for finding in facts["findings"]))
    text = run("doctor").out
    assert "This machine" in text
    assert "SANA-1.5 4.8B" in text


def machine(memory: float, *accelerators: Accelerator) -> Machine:
    return Machine(
        system="Linux", python="3.11", num_cores=2, memory=int(memory), free_memory=int(memory), free_disk=10**12,
        torch="2", torch_problem="", accelerators=accelerators, gigaflops=100.0,
    )  # fmt: skip


def test_doctor_judges_by_memory() -> None:
    assert [a.runs for a in judge(machine(3e9))] == [True] + [False] * (len(judge(machine(3e9))) - 1)
    assert all(a.runs for a in judge(machine(128e9)))
    gpu = Accelerator(kind="cuda", name="card", memory=int(24e9))
    on_gpu = {a.device for a in judge(machine(16e9, gpu)) if a.runs and a.model != "starter"}
    assert on_gpu == {"cuda"}
    assert not judge(machine(1e9))[0].runs


def test_doctor_counts_memory_that_is_free() -> None:
    """Of the published model even 8 bits a weight take more than 3 GB."""
    crowded = [replace(machine(128e9), free_memory=free) for free in (int(1.2e9), int(3e9), None)]
    starters, published = zip(*((judge(each)[0], judge(each)[3]) for each in crowded), strict=True)
    assert [(a.runs, a.fits) for a in starters] == [(False, True), (True, True), (True, True)]
    assert [(a.runs, a.fits) for a in published] == [(False, True), (False, True), (True, True)]
    assert [a.dtype for a in published] == ["float32"] * 3


def test_doctor_without_torch_tells_what_is_left() -> None:
    assert [ability.model for ability in judge(replace(machine(128e9), torch=None))] == ["starter"]


def advice(run: Any) -> str:
    return str(run("doctor").out.partition("What to do")[2])


def test_doctor_is_ready_only_where_a_picture_can_be_made(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "the first picture fetches it" in advice(run)
    assert "Ready" in advice(run)
    folder = starter_text_encoder_place(read_card(Path(str(files("sanakit") / "starter"))).text.num_layers)  # type: ignore[union-attr]
    (folder / "text_encoder").mkdir(parents=True)
    (folder / "text_encoder" / "model.safetensors").write_bytes(b"cut short")
    assert "is damaged (source.json is missing)" in advice(run)
    seal(folder, {})
    (folder / "text_encoder" / "model.safetensors").write_bytes(b"cut")
    told = advice(run)
    assert "is damaged (text_encoder/model.safetensors is not as it was written)" in told
    assert "the next picture fetches it" in told
    assert "Ready" not in told
    assert "damaged in the cache (text_encoder/model.safetensors" in run("info", "starter", "--verify").out
    (folder / "source.json").unlink()
    seal(folder, {})  # whole, and no language model
    assert "the starter draws nothing: " in advice(run)
    monkeypatch.setattr("sanakit.checkpoints.sources.content_hashes.hash_network", lambda _: "ff" * 32)
    assert "it was changed or damaged after the card was written" in advice(run)


def test_data_starter(run: Any) -> None:
    words = ("data", "starter", "scenes", "--num-samples", "3", "--size", "64")
    assert json.loads(run(*words, "--json").out)["num_samples"] == 3
    assert Path("scenes/wids-meta.json").is_file()
    assert run(*words, "--quiet").err == ""
    outcome = run("data", "starter", "scenes", "--num-samples", "4")
    assert outcome.code == 2
    assert "begun with" in outcome.err
    assert run("data", "starter", "other", "--num-samples", "0").code == 2


def test_eval_prompts_draws_once_and_scores(run: Any, tiny_model: Path) -> None:
    words = ["eval", "prompts", "--suite", "geneval", "--prompts", "starter", "--limit", "2", "--num-images", "2"]
    words += ["--model", str(tiny_model), "--steps", "1", "--output", "out"]
    outcome = run(*words, "--json")
    facts = json.loads(outcome.out)
    assert facts == json.loads(Path("out/report.json").read_text())
    assert (facts["settings"]["steps"], facts["settings"]["pictures_per_prompt"]) == (1, 2)
    assert {measured["name"] for measured in facts["measurements"]} > {"overall"}
    assert "4 pictures drawn, 0 were there" in outcome.err
    assert json.loads(Path("out/run.json").read_text())["num_prompts"] == 2
    outcome = run(*words, "--no-score")
    assert (outcome.code, outcome.out) == (0, "")
    assert "0 pictures drawn, 4 were there" in outcome.err
    assert "another run" in run(*words, "--seed", "1").err


def test_version(run: Any) -> None:
    import sanakit

    assert run("version").out.startswith(f"sanakit {sanakit.__version__}\n")
    assert set(json.loads(run("version", "--json").out)) >= {"sanakit", "python", "torch"}


def test_the_bare_command_shows_help_and_is_a_usage_error(run: Any) -> None:
    bare = run()
    assert (bare.code, bare.err) == (2, "sanakit: no command is given; --help lists what is possible\n")
    assert run("--help").code == 0
    assert run("xyz").err == "sanakit: No such command 'xyz'; --help lists what is possible\n"
    assert run("generat").err == "sanakit: No such command 'generat', did you mean 'generate'?\n"


def test_python_dash_m() -> None:
    result = subprocess.run([sys.executable, "-m", "sanakit", "--help"], capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert "generate" in result.stdout
