from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest

from medunlearn.study.kernels import WarmKernels


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
