"""What ``deploy/`` says is true of the program."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from sanakit.cli.app import program
from sanakit.serving.service import Service

DEPLOY = Path(__file__).parents[2] / "deploy"
SUFFIXES = re.compile(r"_(bucket|sum|count)$")


def check_command(words: list[str]) -> None:
    """All options of a command line are options of the command."""
    group = typer.main.get_command(program(words[:1]))
    known = {name for parameter in group.commands[words[0]].params for name in parameter.opts}  # type: ignore[attr-defined]
    assert {word for word in words if word.startswith("--")} <= known


def test_unit() -> None:
    text = (DEPLOY / "sanakit.service").read_text()
    (line,) = re.findall(r"^ExecStart=\S+ (.+)$", text, flags=re.M)
    check_command(shlex.split(line))
    assert set(re.findall(r"\$\{(\w+)\}", text)) <= set(re.findall(r"(SANAKIT_\w+)=", text))
    within = int(re.findall(r"--stop-within (\d+)", text)[0])
    assert int(re.findall(r"TimeoutStopSec=(\d+)", text)[0]) > within + 10  # or it is killed before it has ended


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_unit_as_systemd_reads_it() -> None:
    told = subprocess.run(
        ["systemd-analyze", "verify", DEPLOY / "sanakit.service"], capture_output=True, text=True, check=False
    ).stderr
    of_unit = [line for line in told.splitlines() if "sanakit.service" in line and "not executable" not in line]
    assert not of_unit


def test_image() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    for given in re.findall(r"^COPY (?!--from)(.+) \S+$", text, flags=re.M):
        for name in given.split():
            assert (DEPLOY.parent / name).exists(), name
            assert f"!{name}" in (DEPLOY / "Dockerfile.dockerignore").read_text()
    (command,) = re.findall(r"^CMD (\[\"serve\".+\])$", text, flags=re.M)
    check_command(json.loads(command))
    assert re.search(r"^USER (?!root)", text, flags=re.M)


def test_compose() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    check_command(compose["services"]["sanakit-gpu"]["command"])
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            place = volume.split(":")[0]
            assert place in compose["volumes"] if not place.startswith(".") else (DEPLOY / place).is_file()
        assert set(service.get("secrets", ())) <= set(compose["secrets"])
    scrape = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["scrape_configs"][0]
    (target,) = scrape["static_configs"][0]["targets"]
    assert target.split(":")[0] in compose["services"]["sanakit"]["networks"]["default"]["aliases"]


def test_numbers_that_are_watched_exist(service: Service) -> None:
    there = set(re.findall(r"^# TYPE (\w+)", service.metrics.text().decode(), flags=re.M)) | {"sanakit_jobs_queued"}
    dashboard = json.loads((DEPLOY / "grafana" / "sanakit.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    alerts = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())
    asked += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    names = {SUFFIXES.sub("", name) for text in asked for name in re.findall(r"\bsanakit_\w+", text)}
    assert names <= there, names - there
