"""The README tells the truth about what can be checked: commands, files, methods."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from medunlearn.__main__ import methods_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, check=False, capture_output=True, text=True
    )


def test_the_table_of_methods_is_that_of_the_registry():
    assert "\n".join(methods_table()) in README, "run: python -m medunlearn methods"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_linked_file_is_there(path):
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z-]+)", README))))
def test_every_command_is_a_target(target):
    assert make("-n", "VENV=", target).returncode == 0


def test_every_dataset_of_a_manifest_is_named():
    table = README.split("## On real images")[1].split("## Methods")[0]
    first = "".join(re.findall(r"^\| ([^|]*) \| ", table, re.M))
    manifests = {path.stem for path in (ROOT / "data_manifests").glob("*.yaml")}
    assert manifests - {"template"} <= set(re.findall(r"`(\w+)`", first))


def test_help_is_the_default_and_names_every_target():
    told = make().stdout
    for target in (
        "reproduce",
        "test",
        "test-slow",
        "check",
        "status",
        "tune",
        "report",
        "clean",
        "lab",
    ):
        assert f"  {target} " in told


def test_an_unknown_variable_is_refused_with_the_choices():
    done = make("reproduce", "PROFLE=quick")
    assert done.returncode != 0
    assert "PROFLE" in done.stderr
    known = "DATASET DATA PROFILE RUNS DEVICE JOBS CLUSTER PYTHON VENV FOLDER TABLE OUTPUT PARTS"
    assert known in done.stderr


def test_showcase_notebooks_are_executed_whole_and_show_no_path():
    for name in ("01_cohort", "04_synthesis"):
        path = ROOT / "notebooks" / "showcase" / f"{name}.ipynb"
        cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
        assert all(cell["execution_count"] for cell in cells)
        assert not any(o["output_type"] == "error" for cell in cells for o in cell["outputs"])
        assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users)/", path.read_text())
