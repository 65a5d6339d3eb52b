import json
import re
from pathlib import Path

import pandas as pd
import pytest

from medunlearn.benchmark import run
from medunlearn.benchmark.measure import Line
from medunlearn.benchmark.report import make_table, write_part
from medunlearn.benchmark.run import GPU, PARTS, USUAL, bench, choose_parts
from medunlearn.errors import InputError

STAMP = {"device": "Some (R) CPU @ 3", "cores": 2}
LINES = [
    Line("epoch", "ours", 7, 0.5, 0.625, "s", 1600.0),
    Line("epoch", "theirs", 7, 1.0, 1.25, "s", 800.0, 2.0, 1.5, 2.5),
]


def rows(text):
    return [r.split(" | ") for r in re.findall(r"^\| (.*) \|$", text, re.M) if "images/s" not in r]


def test_the_table_holds_what_the_json_holds(tmp_path):
    path, table = write_part(tmp_path, "loops", STAMP, LINES)
    assert path.name == "some-r-cpu-3.json"
    held = json.loads(path.read_text())["loops"]
    assert held["stamp"] == STAMP
    assert [Line(**line) for line in held["lines"]] == LINES
    assert rows(table.read_text()) == [
        ["epoch", "ours", "7", "0.5 s", "0.625 s", "1,600", ""],
        ["epoch", "theirs", "7", "1 s", "1.25 s", "800", "2.00 (1.50 to 2.50)"],
    ]
    assert "device Some (R) CPU @ 3, cores 2" in table.read_text()


def test_a_part_measured_again_is_replaced_and_the_others_stay(tmp_path):
    write_part(tmp_path, "loops", STAMP, LINES)
    write_part(tmp_path, "peak", STAMP, LINES[:1])
    path, table = write_part(tmp_path, "loops", STAMP, LINES[1:])
    held = json.loads(path.read_text())
    assert {part: len(each["lines"]) for part, each in held.items()} == {"loops": 1, "peak": 1}
    assert table.read_text() == "\n".join(make_table(held)) + "\n"
    assert len(list(tmp_path.iterdir())) == 2


def test_parts_are_measured_in_order_and_printed_as_written(tmp_path, monkeypatch):
    called, told = [], []
    monkeypatch.setattr(run, "stamp", lambda _: STAMP)
    parts = {
        name: lambda device, jobs, _, name=name: called.append((name, device, jobs)) or LINES
        for name in ("loops", "peak")
    }
    path = bench(
        "peak loops", device="cpu", jobs=3, study=tmp_path / "s", write=told.append, parts=parts
    )
    assert called == [("peak", "cpu", 3), ("loops", "cpu", 3)]
    assert path == tmp_path / "bench" / "some-r-cpu-3.json"
    assert set(path.with_suffix(".md").read_text().splitlines()) <= set(told)


def test_growth_is_measured_only_when_asked_for_and_a_study_only_if_there(tmp_path):
    assert choose_parts("", tmp_path) == [name for name in USUAL if name != "study"]
    (tmp_path / "jobs").mkdir()
    left_out = {"growth", "whole"}
    assert choose_parts("", tmp_path) == [*USUAL] == [n for n in PARTS if n not in left_out]
    assert choose_parts("growth,peak", tmp_path) == ["growth", "peak"]


def test_a_study_is_booked_to_what_it_was_computed_on(tmp_path, monkeypatch):
    """Measured on a GPU, a study of the processor is still one of the processor."""
    monkeypatch.setattr(run, "stamp", lambda _: {"device": "the GPU"})
    model = tmp_path / "s" / "models" / "key"
    model.mkdir(parents=True)
    (tmp_path / "s" / "jobs").mkdir()
    pd.DataFrame({"device": ["Old CPU"]}).to_parquet(model / "costs.parquet")
    parts = dict.fromkeys(("study", "peak"), lambda *_: LINES)
    bench("study peak", device="cpu", jobs=1, study=tmp_path / "s", parts=parts)
    names = {p.stem: set(json.loads(p.read_text())) for p in tmp_path.glob("bench/*.json")}
    assert names == {"old-cpu": {"study"}, "the-gpu": {"peak"}}


def test_every_figure_of_a_gpu_is_one_command():
    parts = choose_parts(GPU, Path("nowhere"))
    assert set(parts) == set(PARTS) - {"study", "growth"}  # a study made earlier; the host's memory


def test_all_faults_of_the_parts_are_told_at_once(tmp_path):
    with pytest.raises(InputError, match=r"(?s)'speed' is not known; choose from loops.*reproduce"):
        choose_parts("speed study", tmp_path)
