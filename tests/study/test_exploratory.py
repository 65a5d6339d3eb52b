"""Patients that a list names: a forget set beside the drawn ones, which it leaves as they are."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml

from medunlearn.errors import InputError
from medunlearn.evaluation.results import measure_results
from medunlearn.study.cells import listed_cells, make_cell, methods_at, middle_cell
from medunlearn.study.design import (
    all_models,
    all_timings,
    original,
    plan_jobs,
    retrained,
    unlearned,
)
from medunlearn.study.exploratory import listed_section
from medunlearn.study.reproduce import reproduce
from medunlearn.study.status import check, status
from medunlearn.study.store import Store
from medunlearn.study.study import open_study
from tests.conftest import TINY
from tests.evaluation.synthetic import TERMS, make_study


@pytest.fixture
def names(tiny_study) -> list[str]:
    """Ids of training patients whom nobody has reserved."""
    table = tiny_study.cohort.table
    free = table[(table["partition"] == "train") & ~table["development"]]
    return free["source_patient"].unique().tolist()


@pytest.fixture
def open_with(tiny_study, tmp_path):
    """The tiny study, opened with a list of these patients."""

    def opened(*given: str):
        path, runs = tmp_path / "ids.txt", str(tiny_study.folder.parent)
        path.write_text("\n".join(given))
        profile = tiny_study.profile_name
        return open_study("phantom", profile, runs=runs, device="cpu", forget=str(path))

    return opened


def keys(study):
    store = Store(study)
    return {spec: store.entry(spec).key for spec in all_models(study.profile)}


def test_a_list_adds_its_own_models_and_changes_no_other(tiny_study, open_with, names):
    before, after = keys(tiny_study), keys(study := open_with(*names[:12]))
    added = {spec: after[spec] for spec in after.keys() - before.keys()}
    assert {spec: after[spec] for spec in before} == before
    (cell,) = listed_cells(study.profile)
    assert {spec.cell for spec in added} == {cell}
    assert sorted((spec.kind, spec.seed) for spec in added) == [
        *(("retrained A", seed) for seed in (1000, 1001)),
        *(("retrained B", seed) for seed in (1100, 1101)),
        *((f"unlearned {name}", s) for name in ("finetune", "salun") for s in (1000, 1001)),
    ]
    assert all_timings(study.profile) == all_timings(tiny_study.profile)
    fewer = study.profile.model_copy(update={"confirmatory": ("salun",)})
    assert methods_at(fewer, cell) == ["finetune", "salun"]
    same = keys(open_with(names[3], *reversed(names[:12])))
    assert same == after
    others = keys(open_with(*names[1:13]))
    assert {spec: others[spec] for spec in before} == before
    assert set(added.values()).isdisjoint(others.values()), "as many patients, but others"


def test_jobs_tell_notebooks_a_list_by_its_mark_and_the_store_knows_its_patients(
    tiny_study, open_with, names
):
    """Notebooks open the study without the list."""
    study = open_with(*names[:12])
    (cell,), told = listed_cells(study.profile), Store(tiny_study)
    jobs = [job for job in plan_jobs(study.profile) if job.models[0].cell == cell]
    assert {job.name for job in jobs} == {
        f"02-retrained-A-listed-{cell.draw}-seeds-1000-to-1001",
        f"02-retrained-B-listed-{cell.draw}-seeds-1100-to-1101",
        f"03-finetune-listed-{cell.draw}",
        f"03-salun-listed-{cell.draw}",
    }
    for job in jobs:
        given = json.loads(json.dumps(job.parameters))
        known = make_cell(*(given[name] for name in ("composition", "forget_size", "draw")))
        assert told.forget_set(replace(job.models[0], cell=known)) == study.profile.listed
    path = tiny_study.folder / "draws" / f"{retrained(cell, 1000).draw}.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "patients": content["patients"][1:]}))
    with pytest.raises(InputError, match="other patients than its name says"):
        Store(tiny_study).forget_set(retrained(cell, 1000))
    path.unlink()
    with pytest.raises(InputError, match="no patient is named"):
        Store(tiny_study).forget_set(retrained(cell, 1000))


def test_a_profile_names_a_list_from_its_own_folder_and_no_id_is_kept(tiny_study, names, tmp_path):
    runs = str(tiny_study.folder.parent)
    (tmp_path / "ids.txt").write_text("\n".join(names[:12]))
    own = tmp_path / "tiny.yaml"
    own.write_text(yaml.safe_dump({**TINY, "forget": "ids.txt"}))
    study = open_study("phantom", str(own), runs=runs, device="cpu")
    assert len(study.profile.listed.patients) == 12
    with Store(study).writing(retrained(listed_cells(study.profile)[0], 1000)):
        pass
    with Store(study).writing(original(1000)):
        pass
    assert "of these for the listed patients: 1 of 8 done" in status(study)
    assert not any("listed" in line for line in status(tiny_study))
    written = [p for p in study.folder.rglob("*") if p.is_file() and p.suffix != ".parquet"]
    assert len(written) > 3
    assert not any(name in path.read_text() for path in written for name in names[:12])
    told = "\n".join(check("phantom", "", str(own), runs))
    assert "listed patients: 12 (" in told
    assert "a membership attack: needs 20" in told
    own.write_text(yaml.safe_dump({**TINY, "forget": "nobody.txt"}))
    with pytest.raises(InputError, match=r"forget: .*expected a file"):
        open_study("phantom", str(own), runs=runs, device="cpu")


def test_a_report_of_nothing_but_listed_patients_says_what_is_missing(open_with, names):
    """As after ``make forget`` in a folder where no study was made, or no retrained model is."""
    study = open_with(*names[:12])
    (cell,), middle = listed_cells(study.profile), middle_cell(study.profile)
    listed = retrained(cell, 1000), unlearned("salun", cell, 1000)
    for spec in (original(1000), *listed, unlearned("salun", middle, 1000)):
        with Store(study).writing(spec):
            pass
    lines, earlier = [], study.folder / "report" / "summary.json"
    earlier.parent.mkdir()
    earlier.write_text('{"result": ["of an earlier run"]}')
    (told,) = reproduce(study, only_report=True, write=lines.append).values()
    assert told.startswith("there is no report yet: it needs an unlearned and a retrained model")
    assert not {"of an earlier run", "nothing to compute: every model is there"} & {*lines}


@pytest.mark.parametrize(("patients", "attacked"), [(30, True), (2, False)])
def test_the_report_has_a_section_of_the_listed_patients_without_a_verdict(patients, attacked):
    harmed = {("unlearned", None, "salun"): lambda cohort: -4.0 * (cohort["patient"] < patients)}
    of = {"seeds": 3, "floor_seeds": 2, "forget": patients, "train": 200, "test": 200}
    made = make_study(**of, methods=["salun"], shift=harmed)
    assert listed_section(_found(made)) == ""
    renamed = replace(made, models=made.models.assign(composition="listed"))
    section = listed_section(_found(renamed))
    assert f"A list names {patients} patients, 10.0% of the training patients" in section
    assert ("membership (RMIA)" in section) == attacked
    gaps = re.findall(r"<th>([^<]+)</th>\s*" + r"<td>([^ <]+)[^<]*</td>\s*" * 2, section)
    on_forget = {name: float(gap) for name, _, gap in gaps}
    assert on_forget["SalUn"] < -20
    assert on_forget["do nothing"] > 5 or not attacked


def _found(made):
    return SimpleNamespace(measurements=made, results=measure_results(made), terms=TERMS)
