"""The command: searches through the notebook, settings into a file, the study on them."""

import shutil

import pytest
import yaml

from medunlearn.study.study import open_study
from tests.conftest import TINY
from tests.study.conftest import times
from tests.study.test_reproduce import run

BROKEN = {"random_labels": {"epochs": 1, "learning_rate": -1.0}}


@pytest.mark.slow
def test_settings_are_searched_frozen_and_used_and_a_search_that_fails_freezes_nothing(
    drawn, tmp_path
):
    """One method's search fails; without that method the same command goes on from there."""
    runs, own = shutil.copytree(drawn, tmp_path / "runs"), tmp_path / "tiny.yaml"
    two = {**TINY, "methods": {"finetune": {"epochs": 1}}, "confirmatory": []}
    own.write_text(yaml.safe_dump({**two, "methods": {**BROKEN, **two["methods"]}}))
    done = run(str(own), runs, command="tune", check=False)
    assert done.returncode == 1
    assert "Invalid learning rate" in done.stdout
    assert "no settings were frozen" in done.stdout
    assert not (runs / "tuned").exists()
    before = times(runs)
    assert before
    own.write_text(yaml.safe_dump(TINY))
    path = runs / "tuned" / "phantom-tiny.yaml"
    assert f"settings: {path}" in run(str(own), runs, command="tune").stdout
    assert before.items() <= times(runs).items(), "a trial was made again"
    study = open_study("phantom", str(own), runs=str(runs), device="cpu")
    assert set(study.tuned.methods) == set(study.profile.methods) == {"finetune", "salun"}
    assert (study.folder / "jobs" / "06_tuning-salun.ipynb").is_file()
    assert (study.folder / "tuning" / "salun.png").is_file()
