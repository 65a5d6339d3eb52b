"""Which device is chosen where drivers and builds of torch are as users have them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from medunlearn import __main__ as command
from medunlearn.errors import InputError
from medunlearn.study import devices
from medunlearn.study.builder import Builder
from medunlearn.study.devices import check_device
from medunlearn.study.reproduce import Outcome
from medunlearn.study.status import status
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
        check_device("cuda")
    check_device("cpu")
    check_device("")


@pytest.mark.parametrize(("driver", "built"), [(13, "13.0"), (13, "12.8"), (12, "12.9")])
def test_a_driver_runs_its_own_release_and_older_ones(machine, driver, built):
    machine(1, driver, built)
    assert choose_device() == choose_device("cuda") == "cuda"
    assert choose_device("cpu") == "cpu"


def test_a_study_of_a_gpu_is_looked_at_without_one_and_nothing_is_computed(machine, tiny_study):
    machine(0, 0, None)
    assert choose_device("cuda") == "cuda"
    study = replace(tiny_study, device="cuda")
    assert status(study)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="'cuda': torch sees no CUDA device"):
            Builder(study)


def test_another_device_is_refused():
    with pytest.raises(InputError, match="'tpu' is not known"):
        choose_device("tpu")


@pytest.mark.parametrize(
    ("options", "count", "told"),
    [
        ([], 1, True),
        ([], 0, False),
        (["--cluster", "local"], 1, True),
        (["--cluster", "tcp://host:1"], 1, False),
        (["--device", "cpu"], 1, False),
    ],
)
def test_a_gpu_that_is_there_and_cannot_be_used_is_told(
    machine, monkeypatch, capsys, tmp_path, options, count, told
):
    machine(count, 12, "13.0")
    study = SimpleNamespace(title="a study", device="cpu", folder=tmp_path)
    monkeypatch.delenv("DEVICE", raising=False)
    monkeypatch.setattr(command, "cuda_count", devices.cuda_count)
    monkeypatch.setattr(command, "open_study", lambda *_, **__: study)
    monkeypatch.setattr(command, "reproduce", lambda *_, **__: Outcome(Path(__file__), {}, 1))
    assert command.main(["reproduce", "--runs", str(tmp_path), *options]) == 0
    said = "a GPU is there and is not used, for the driver knows CUDA 12, torch was built for 13"
    assert (said in capsys.readouterr().out) == told


@pytest.mark.parametrize(
    ("arguments", "here"),
    [
        (["reproduce"], True),
        (["reproduce", "--cluster", "local"], True),
        (["tune"], True),
        (["reproduce", "--cluster", "tcp://host:1"], False),
        (["reproduce", "--cluster", "slurm", "--jobs", "2"], False),
        (["retime"], True),
        (["report"], False),
        (["status"], False),
    ],
)
def test_only_what_computes_here_needs_the_device_here(
    machine, monkeypatch, capsys, tmp_path, arguments, here
):
    """A login node has no GPU."""

    def opened(*_, **given):
        assert given["device"] == "cuda"
        raise InputError("here", ["it was opened"])

    machine(0, 0, None)
    (tmp_path / "phantom-laptop").mkdir()
    monkeypatch.setattr(command, "check_cluster", lambda *_: None)
    monkeypatch.setattr(command, "open_study", opened)
    assert command.main([*arguments, "--device", "cuda", "--runs", str(tmp_path)]) == 2
    said = "'cuda': the driver sees no CUDA device" if here else "it was opened"
    assert said in capsys.readouterr().err


def test_the_release_that_torch_was_built_for_is_read_as_torch_tells_it():
    told = torch.version.cuda
    assert devices._cuda_of_torch() == (None if told is None else int(told.split(".")[0]))
