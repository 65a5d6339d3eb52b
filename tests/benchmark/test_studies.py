import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from medunlearn.benchmark import studies
from medunlearn.benchmark.studies import describe_accounts, measure_whole, read_accounts
from medunlearn.errors import InputError

START = 1_700_000_000


@pytest.fixture
def study(tmp_path):
    """Two workers: 100 s of trainings beside 80 s of unlearning, then synthesis and nothing."""
    (tmp_path / "jobs").mkdir()
    add_job(tmp_path, "02-original-0to1", 0, 100)
    add_job(tmp_path, "03-scrub-random-0.1", 0, 80)
    add_job(tmp_path, "04_synthesis", 100, 120)
    add_model(tmp_path, "a", "original", 1, 45, {"training": 40})
    add_model(tmp_path, "b", "original", 46, 96, {"training": 45})
    add_model(tmp_path, "c", "unlearned", 2, 76, {"unlearning": 50, "preparation": 20})
    return tmp_path


def add_job(folder, name, start, end, status="done"):
    path = folder / "jobs" / f"{name}.json"
    path.write_text(json.dumps({"job": name, "status": status, "seconds": end - start}))
    os.utime(path, (START + end, START + end))


def add_model(folder, key, role, start, end, regions):
    path = folder / "models" / key
    path.mkdir(parents=True)
    finished = time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(START + end))
    record = {
        "ingredients": {"parameters": {"role": role}}, "finished": finished, "seconds": end - start,
    }  # fmt: skip
    (path / "record.json").write_text(json.dumps(record))
    bills = pd.DataFrame({"region": list(regions), "seconds": list(regions.values())})
    bills.to_parquet(path / "costs.parquet")


def test_overhead_is_what_jobs_take_beyond_their_models(study):
    accounts = read_accounts(study)
    assert accounts.jobs == {"02": 100, "03": 80}
    assert accounts.models == {"02": 44 + 50, "03": 74}
    assert accounts.overhead == pytest.approx((180 - 168) / 168)


def test_regions_others_and_idle_time_add_up(study):
    accounts = read_accounts(study)
    assert accounts.regions == {"training": 85, "unlearning": 50, "preparation": 20}
    assert accounts.others == 20
    assert (accounts.span, accounts.workers) == (120, 2)
    assert accounts.idle == pytest.approx(1 - 200 / 240)
    told = {line.side: line.median for line in describe_accounts(study)}
    assert told["prediction, relearning, writing"] == 168 - 155
    assert told["papermill, kernels, store, engine"] == 12
    assert told["overhead of notebook 03"] == pytest.approx(100 * 6 / 74)


def test_models_of_an_earlier_run_of_a_job_do_not_count(study):
    add_model(study, "d", "unlearned", -500, -400, {"unlearning": 90})
    add_model(study, "e", "retrained", 10, 76, {"training": 60})  # made in 02, which ran then
    assert read_accounts(study).count == 4


def test_a_pause_between_two_runs_is_no_idle_time(study):
    add_job(study, "03-ssd-random-0.1", 1000, 1020)
    assert read_accounts(study).span == 140


def test_searches_for_settings_are_no_part_of_a_study(study):
    before = read_accounts(study)
    add_job(study, "06_tuning-salun", 20, 90)
    add_model(study, "d", "trial", 21, 60, {"unlearning": 30})
    assert read_accounts(study) == before


def test_failed_jobs_do_not_count(study):
    add_job(study, "03-ssd-random-0.1", 0, 5000, status="failed")
    assert read_accounts(study).jobs["03"] == 80


def test_a_study_without_models_is_refused(tmp_path):
    (tmp_path / "jobs").mkdir()
    with pytest.raises(InputError, match="run make reproduce first"):
        read_accounts(tmp_path)


def test_the_whole_study_is_made_from_nothing_and_told(study, monkeypatch):
    asked = []

    def reproduce(opened, workers):
        asked.append((opened, workers))
        return SimpleNamespace(faults={})

    monkeypatch.setattr(studies, "reproduce", reproduce)
    monkeypatch.setattr(
        studies,
        "open_study",
        lambda *a, **k: (asked.append((a, k)), SimpleNamespace(folder=study))[1],
    )
    clock = iter([5.0, 305.0])
    monkeypatch.setattr(studies.time, "perf_counter", lambda: next(clock))
    seconds, *rest = measure_whole("cuda", 8)
    (names, settings), (_, workers) = asked
    assert names == ("phantom", "laptop")
    assert settings["device"] == "cuda"
    assert not list(Path(settings["runs"]).glob("*"))  # of its own, empty before and gone after
    assert workers == 8
    assert (seconds.median, seconds.unit) == (300, "s")
    assert rest == describe_accounts(study)


def test_a_whole_study_with_a_failed_job_is_no_figure(study, monkeypatch):
    monkeypatch.setattr(studies, "open_study", lambda *_, **__: SimpleNamespace(folder=study))
    failed = SimpleNamespace(faults={"03-salun": "the kernel died"})
    monkeypatch.setattr(studies, "reproduce", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match=r"03-salun.*the kernel died"):
        measure_whole("cpu", 1)
