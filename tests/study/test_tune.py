"""The command: searches through the notebook, settings into a file, the study on them."""

import shutil
from pathlib import Path

import pytest
import yaml

from medunlearn.study.folders import RECORD
from medunlearn.study.study import open_study
from tests.study.test_reproduce import run


@pytest.fixture
def own(tiny_profile, tmp_path) -> Path:
    """A profile of one's own."""
    return Path(shutil.copy(tiny_profile, tmp_path / "tiny.yaml"))


@pytest.mark.slow
def test_settings_are_searched_frozen_and_used(own, drawn, tmp_path):
    runs = shutil.copytree(drawn, tmp_path / "runs")
    told = run(str(own), runs, command="tune").stdout
    path = runs / "tuned" / "phantom-tiny.yaml"
    assert f"settings: {path}" in told
    study = open_study("phantom", str(own), runs=str(runs), device="cpu")
    assert set(study.tuned.methods) == set(study.profile.methods)
    assert (study.folder / "jobs" / "06_tuning-salun.ipynb").is_file()
    assert (study.folder / "tuning" / "salun.png").is_file()
    models = {p.parent.name: p.stat().st_mtime_ns for p in runs.glob(f"*/models/*/{RECORD}")}
    frozen = path.read_bytes()
    run(str(own), runs, command="tune")
    assert path.read_bytes() == frozen  # the same trials, none of them made again
    again = {p.parent.name: p.stat().st_mtime_ns for p in runs.glob(f"*/models/*/{RECORD}")}
    assert again == models


@pytest.mark.slow
def test_a_search_that_fails_freezes_nothing_and_the_command_says_so(own, drawn, tmp_path):
    fields = yaml.safe_load(own.read_text())
    broken = {"random_labels": {"epochs": 1, "learning_rate": -1.0}}
    own.write_text(yaml.safe_dump({**fields, "methods": {**broken, "finetune": {"epochs": 1}},
                                   "confirmatory": []}))  # fmt: skip
    runs = shutil.copytree(drawn, tmp_path / "runs")
    done = run(str(own), runs, command="tune", check=False)
    assert done.returncode == 1
    assert "Invalid learning rate" in done.stdout
    assert "no settings were frozen" in done.stdout
    assert not (runs / "tuned").exists()
