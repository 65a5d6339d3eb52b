"""Adding a method takes the three steps of the README: tried with one that is thrown away."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from medunlearn.methods import METHOD_NAMES, get_method
from tests.conftest import TINY

ROOT = Path(__file__).parents[2]

YOURS = '''"""Yours: one epoch on the retain set."""

from torch import nn

from medunlearn.methods._task import Task, method, method_stream, student_of
from medunlearn.training import train_epoch


@method("your method", "retain", "#123456 o", learning_rate=(0.001, 0.1))
def yours(model: nn.Module, task: Task, *, seed: int, learning_rate: float = 0.01) -> nn.Module:
    """Train once more."""
    student = student_of(model)
    optimizer = task.optimizer(student, learning_rate)
    train_epoch(student, task.retain, optimizer, method_stream("yours", seed))
    return student
'''


def test_every_method_is_found_by_its_module_and_has_a_style_of_its_own():
    methods = [get_method(name) for name in METHOD_NAMES]
    assert [method.function.__name__ for method in methods] == list(METHOD_NAMES)
    assert len({(method.colour, method.marker) for method in methods}) == len(methods)
    assert len({method.label for method in methods}) == len(methods)


def test_ranges_are_of_settings_and_hold_their_usual_value():
    for name in METHOD_NAMES:
        method = get_method(name)
        for setting, (low, high) in method.ranges.items():
            assert low <= method.settings[setting] <= high, (name, setting)


@pytest.mark.slow
def test_a_new_method_reaches_tables_and_report_by_its_file_alone(tmp_path):
    project = tmp_path / "project"
    for part in ("medunlearn", "notebooks", "data_manifests"):
        shutil.copytree(ROOT / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "medunlearn" / "methods" / "yours.py").write_text(YOURS)
    profile = {**TINY, "methods": {"yours": {"learning_rate": 0.02}}, "confirmatory": ["yours"]}
    (project / "mine.yaml").write_text(yaml.safe_dump(profile))
    subprocess.run(
        [sys.executable, "-m", "medunlearn", "reproduce", "--profile", "mine.yaml",
         "--runs", "runs", "--device", "cpu", "--jobs", "2"],
        cwd=project, check=True, env={"PYTHONPATH": str(project), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    results = pd.read_csv(project / "runs" / "phantom-mine" / "report" / "results.csv")
    assert set(results["method"]) == {"original", "retrain", "floor", "yours"}
    assert "your method" in (project / "runs/phantom-mine/report/index.html").read_text()
