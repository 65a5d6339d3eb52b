import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis  # noqa: F401 - at the end its plugin would; after an interrupt 3.11 cannot parse it
import pytest
import yaml

from medunlearn.study.study import open_study

# a shell that runs the tests in the background, and xdist in its workers, ignore SIGINT, and what
# is ignored is inherited: tests that interrupt a notebook would wait for ever
signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def filled_disk(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes: a full disk, without filling one."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


TINY = {
    "network": "resnet_tiny", "image_size": 16, "max_patients": 240,
    "training": {
        "epochs": 3, "batch_size": 16, "learning_rate": 0.05, "momentum": 0.9,
        "weight_decay": 5e-4, "max_shift": 0,
    },
    "forget_sizes": [0.1, 0.2], "middle_size": 0.1, "compositions": ["random"],
    "seeds": 2, "floor_seeds": 2, "references": 4,
    "relearning": {"steps": 4, "every": 2, "learning_rate": 0.02},
    "methods": {"finetune": {"epochs": 1}, "salun": {"epochs": 1}},
    "confirmatory": ["finetune", "salun"],
    "cost": {"warmups": 0, "repeats": 1},
    "tuning": {"trials": 3, "seeds": 2},
    "statistics": {
        "level": 0.95, "verdict_seeds": 8, "verdict_patients": 20,
        "margins": {
            "retain": 0.05, "forget": 0.05, "test": 0.03, "probability": 0.02, "slope": 0.015,
            "attack": 0.05,
        },
        "justification": "A test.",
    },
}  # fmt: skip
"""The smallest study that has every part: 240 patients, 2 seeds, 2 sizes, 2 methods."""


@pytest.fixture(scope="session")
def tiny_profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("profile") / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return str(path)


@pytest.fixture(scope="session")
def drawn(tiny_profile: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cohort of the tiny study, drawn once for all tests."""
    runs = tmp_path_factory.mktemp("drawn") / "runs"
    open_study("phantom", tiny_profile, runs=str(runs), device="cpu")
    return runs


def flip_a_bit(path: Path) -> None:
    """As a disk does that rots."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    """As a copy does that broke off."""
    path.write_bytes(path.read_bytes()[:-20])
