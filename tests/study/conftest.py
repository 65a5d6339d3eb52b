import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
import yaml

from medunlearn.study.builder import Builder
from medunlearn.study.design import middle_cell, original, retrained
from medunlearn.study.kernels import WarmKernels
from medunlearn.study.profile import PROFILES, panel
from medunlearn.study.study import Study, open_study


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


@pytest.fixture
def notebook(tmp_path: Path) -> Callable[..., Path]:
    """Write a notebook of the given cells after a parameters cell with ``x`` and ``mark``."""

    def write(*cells: str, name: str = "input") -> Path:
        version = nbformat.v4
        content = version.new_notebook(
            metadata={
                "kernelspec": {"name": "python3", "display_name": "P", "language": "python"},
                "language_info": {"name": "python"},
            },
            cells=[
                version.new_code_cell('x = 1\nmark = ""', metadata={"tags": ["parameters"]}),
                *(version.new_code_cell(cell) for cell in cells),
            ],
        )
        path = tmp_path / f"{name}.ipynb"
        nbformat.write(content, path)
        return path

    return write


@pytest.fixture(scope="session")
def kernels() -> Iterator[WarmKernels]:
    """Kernels forked from a parent that knows all libraries; its start takes ten seconds."""
    with WarmKernels() as warm:
        yield warm


@pytest.fixture
def light_kernels() -> Iterator[WarmKernels]:
    """Forked kernels of its own for a test that ends them."""
    with WarmKernels(libraries=()) as warm:
        yield warm
