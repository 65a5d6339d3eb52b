"""One set of pins: the lock; environment.yml and pyproject.toml agree with it."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement).group().lower().replace("_", "-")


def pins(lines) -> dict[str, str]:
    return {name(line): line.split("==")[1].strip() for line in lines if "==" in line}


LOCK = pins((ROOT / "requirements.lock").read_text().splitlines())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = [r for extra in PROJECT["optional-dependencies"].values() for r in extra]
DIRECT = [name(r) for r in PROJECT["dependencies"] + EXTRAS]


def test_conda_has_the_pins_of_the_lock():
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(d["pip"] for d in content["dependencies"] if isinstance(d, dict))
    conda = pins(pip)
    assert set(conda) == set(DIRECT)
    assert conda == {each: LOCK[each] for each in DIRECT}
    assert "-c requirements.lock" in pip
    python = next(d for d in content["dependencies"] if str(d).startswith("python="))
    assert python.split("=")[1] in {"3.11", "3.12"}


def test_the_lock_holds_public_versions_of_everything_and_nothing_else():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    for line in lines:
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), line
    assert set(DIRECT) <= set(LOCK)


@pytest.mark.skipif(
    "CI" not in __import__("os").environ, reason="any interpreter may run the tests"
)
@pytest.mark.parametrize("package", DIRECT)
def test_the_environment_is_the_locked_one(package):
    assert version(package).split("+")[0] == LOCK[package]


def test_what_torch_needs_on_a_machine_with_a_gpu_is_resolved():
    """The lock is of a machine without one: there pip adds what CUDA needs, unless told not to."""
    installed = [line for line in (ROOT / "Makefile").read_text().splitlines() if "-r req" in line]
    assert len(installed) == 1
    assert "--no-deps" not in installed[0]
