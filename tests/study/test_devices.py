"""Which device is chosen where drivers and builds of torch are as users have them."""

from types import SimpleNamespace

import pytest
import torch

from medunlearn.errors import InputError
from medunlearn.study import devices
from medunlearn.study.study import choose_device


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with so many GPUs, a driver of a release of CUDA, and a torch built for another."""

    def make(count, driver, built):
        (tmp_path / "version.py").write_text(f"debug = False\ncuda: Optional[str] = {built!r}\n")
        spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
        monkeypatch.setattr(devices, "find_spec", lambda _: spec)
        monkeypatch.setattr(devices, "cuda_count", lambda: count)
        monkeypatch.setattr(devices, "_cuda_of_driver", lambda: driver)

    return make


@pytest.mark.parametrize(
    ("count", "driver", "built", "fault"),
    [
        (0, 13, "13.0", "the driver sees no CUDA device"),
        (1, 13, None, "built without CUDA"),
        (1, 12, "13.0", "the driver knows CUDA 12, torch was built for 13: update the driver"),
    ],
)
def test_without_a_gpu_that_torch_can_use_the_processor_is_chosen(
    machine, count, driver, built, fault
):
    machine(count, driver, built)
    assert choose_device() == choose_device("cpu") == "cpu"
    with pytest.raises(InputError, match=f"'cuda': .*{fault}.*choose cpu"):
        choose_device("cuda")


@pytest.mark.parametrize(("driver", "built"), [(13, "13.0"), (13, "12.8"), (12, "12.9")])
def test_a_driver_runs_its_own_release_and_older_ones(machine, driver, built):
    machine(1, driver, built)
    assert choose_device() == choose_device("cuda") == "cuda"
    assert choose_device("cpu") == "cpu"


def test_the_release_that_torch_was_built_for_is_read_as_torch_tells_it():
    told = torch.version.cuda
    assert devices._cuda_of_torch() == (None if told is None else int(told.split(".")[0]))
