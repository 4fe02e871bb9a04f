"""`controller crds` and `controller version`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from controller import cli
from controller.api.crd import crds
from controller.api.version import version
from controller.manifests import to_yaml

GENERATED = Path(__file__).parents[3] / "deploy" / "crds"


def test_the_definitions_in_deploy_are_generated_from_the_types(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["crds", "--output", str(tmp_path / "new")])

    assert done.value.code == 0
    generated = {path.name: path.read_text() for path in (tmp_path / "new").iterdir()}
    committed = {path.name: path.read_text() for path in GENERATED.iterdir()}
    assert set(committed) == {f"{name}.yaml" for name in crds()}
    assert committed == generated, "run: make generate-code"


def test_definitions_are_printed_as_one_stream(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["crds"])

    assert list(yaml.safe_load_all(capsys.readouterr().out)) == list(crds().values())


def test_the_text_is_the_same_in_another_process() -> None:
    """No order of sets or hashes is in it."""
    texts = {
        subprocess.run(
            [sys.executable, "-m", "controller.cli", "crds"],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(texts) == 1


def test_yaml_has_no_anchors_and_keeps_paragraphs() -> None:
    part = {"description": "One.\n\nTwo: µ."}

    assert to_yaml({"b": part, "a": part}) == (
        "b:\n  description: |-\n    One.\n\n    Two: µ.\n"
        "a:\n  description: |-\n    One.\n\n    Two: µ.\n"
    )


@pytest.mark.parametrize("argument", ["version", "--version"])
def test_version_is_that_of_the_distribution(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same words as those of `runner --version`."""
    with pytest.raises(SystemExit) as done:
        cli.main([argument])

    assert done.value.code == 0
    assert capsys.readouterr().out == f"{version()}\n"


def test_a_wrong_command_line_exits_as_the_runner_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["crds", "--nowhere"])

    assert done.value.code == 64
    assert "--nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--apply", "--output", "x"], ["--kubeconfig", "x"], ["--context", "x"]]
)
def test_options_that_do_not_go_together_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["crds", *arguments])

    assert done.value.code == 64
    assert arguments[0] in capsys.readouterr().err
