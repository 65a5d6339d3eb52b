import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from medunlearn.study.builder import Builder
from medunlearn.study.cells import middle_cell
from medunlearn.study.design import original, retrained
from medunlearn.study.jupyter_kernels import WarmKernels
from medunlearn.study.profile import PROFILES, panel
from medunlearn.study.store import RECORD
from medunlearn.study.study import Study, open_study


def until(condition: Callable[[], Any], seconds: float = 900) -> Any:
    """Wait for something that happens sooner or later; much later on a busy machine."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
    return found


def times(folder: Path) -> dict[str, int]:
    """When each model below a folder was finished, by its key."""
    records = folder.rglob(f"models/[!.]*/{RECORD}")
    return {path.parent.name: path.stat().st_mtime_ns for path in records}


@pytest.fixture
def tiny_study(tiny_profile: str, drawn: Path, tmp_path: Path) -> Study:
    """Nothing made yet but the cohort."""
    runs = shutil.copytree(drawn, tmp_path / "runs")
    return open_study("phantom", tiny_profile, runs=str(runs), device="cpu")


DEVELOPMENT_SEEDS = (9000, 9001, 9002)
"""Seeds that no reported result uses."""


@pytest.fixture(scope="session")
def laptop_builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """The phantom in the laptop profile, every method at its usual settings; seeds of its own."""
    runs = tmp_path_factory.mktemp("laptop")
    own = runs / "laptop.yaml"  # as a profile of one's own, which nobody has tuned
    profile = yaml.safe_load(PROFILES.read_text())["laptop"]
    profile["methods"] = {method: {} for method in panel()}
    own.write_text(yaml.safe_dump(profile))
    builder = Builder(open_study("phantom", str(own), runs=str(runs), device="cpu"))
    cell = middle_cell(builder.study.profile)
    builder.train([original(seed) for seed in DEVELOPMENT_SEEDS])
    builder.train([retrained(cell, seed) for seed in DEVELOPMENT_SEEDS])
    return builder


def write_notebook(path: Path, parameters: str, *cells: str) -> Path:
    """A notebook of a cell with parameters and of the given ones."""
    version = nbformat.v4
    content = version.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "P", "language": "python"},
            "language_info": {"name": "python"},
        },
        cells=[
            version.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            *(version.new_code_cell(cell) for cell in cells),
        ],
    )
    nbformat.write(content, path)
    return path


@pytest.fixture
def notebook(tmp_path: Path) -> Callable[..., Path]:
    """Write a notebook of the given cells after one with the parameters ``x`` and ``mark``."""

    def write(*cells: str, name: str = "input") -> Path:
        return write_notebook(tmp_path / f"{name}.ipynb", 'x = 1\nmark = ""', *cells)

    return write


@pytest.fixture(scope="session")
def kernels() -> Iterator[WarmKernels]:
    """Kernels forked from a parent that knows all libraries; its start takes ten seconds."""
    with closing(WarmKernels()) as warm:
        yield warm
