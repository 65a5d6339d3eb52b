"""Published pages say what the published summaries say, and no more is copied than is meant."""

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from medunlearn.figures import label_of
from medunlearn.statistics.error_rates import OURS, false_verdicts
from medunlearn.study.questions import SYMBOLS
from tests.study.test_report import picture

ROOT = Path(__file__).parents[2]
SHOWCASE = ROOT / "notebooks" / "showcase"
script = SimpleNamespace(**runpy.run_path(str(SHOWCASE / "publish.py")))
SUMMARY = {
    "title": "A cohort",
    "profile": "laptop",
    "facts": ["1 January 2030", "100 test patients"],
    "abstract": ["It compares.", "One costs more."],
    "controls": "All passed.",
    "limits": "",
    "answers": dict.fromkeys(script.CLAIMS, "- Nothing."),
    "counts": {"C1: retain set": "supported 1, not 0, open 0 (of 1)"},
    "matrix": {"SalUn": {"C1: forget set": "+1.0 equivalent"}, "SSD": {"C3: test set": "-2.0 ?"}},
}


def test_published_pages_are_those_of_the_published_summaries():
    made = script.pages(ROOT)
    assert {path.parent.name for path in made} == {ROOT.name, "showcase"}
    assert made == {path: path.read_text() for path in made}


def test_the_table_of_error_rates_is_that_of_the_published_file():
    rates = pd.read_csv(SHOWCASE / "error_rates" / "error_rates.csv")
    false = false_verdicts(rates)
    page = (SHOWCASE / "README.md").read_text().split("## Error rates of the verdicts")[1]
    shown = dict(re.findall(r"^\| ([a-z ]+?)(?: \(this study\))? \| (\..*) \|$", page, re.M))
    for analysis, own in false.groupby("analysis"):
        worst = own.groupby("false")["rate"].max()
        least = rates.loc[rates["analysis"] == analysis, "coverage"].min()
        found = [float(cell) for cell in shown[analysis].split(" | ")]
        assert found == pytest.approx([worst["different"], worst["equivalent"], least], abs=6e-4)
    ours = false[false["analysis"] == OURS]
    assert f"{(~ours['kept']).sum()} of {len(ours)} rates" in page
    assert f"{ours['chance'].sum():.1f} would by chance" in page


def test_the_table_of_two_processors_is_that_of_both_files():
    tables, open_ = [], ["inconclusive", "not tested"]
    for folder in ("phantom-laptop", "phantom-laptop-other_processor"):
        both = pd.read_csv(SHOWCASE / folder / "sensitivity.csv")
        both["measure"] = both["measure"].str.replace("_", " ")
        both["method"] = both["method"].map(label_of)
        both["shown"] = both["verdict"].map(SYMBOLS) + (100 * both["estimate"]).map(
            " {:+.1f}".format
        )
        both.index = both[["claim", "contrast", "partition", "measure", "method"]].agg(
            ", ".join, axis=1
        )
        tables += [both[both["statistics"] == kind] for kind in ("re-estimated", "raw")]
    page = (SHOWCASE / "README.md").read_text().split("## The same study on another type")[1]
    shown = pd.concat([table["shown"] for table in tables], axis=1).agg(" | ".join, axis=1)
    assert dict(re.findall(r"^\| (C\d, .*?) \| (.*) \|$", page, re.M)) == shown.to_dict()
    decided = [str((~table["verdict"].isin(open_)).sum()) for table in tables]
    assert re.findall(r" (\d+) (?:re-est|raw)", page) == decided
    ours, theirs = tables[0]["verdict"], tables[2]["verdict"]
    changed = ours != theirs
    opposite = changed & ~ours.isin(open_) & ~theirs.isin(open_)
    assert f", {changed.sum()} differ between the processors, and {opposite.sum()} of these" in page


def write(folder):
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(SUMMARY))


def test_a_page_has_every_study_once_and_the_embedded_cohort_first(tmp_path):
    for name in ("b-laptop", "phantom-laptop", "phantom-laptop-other_processor"):
        write(tmp_path / name)
    page = script.results_page(tmp_path)
    assert page.count("## A cohort, profile laptop") == 2
    assert page.index("phantom-laptop/") < page.index("b-laptop/")
    head = "|  | phantom-laptop | b-laptop |\n| --- | --- | --- |"
    assert f"{head}\n| C1: retain set | supported 1, not 0, open 0 (of 1) |" in page
    assert "| SalUn | +1.0 equivalent | - |" in page
    assert "| SSD | - | -2.0 ? |" in page
    told = {"A": {"C3": "+1.0 (-1.0 to +3.0)"}, "B": {"C3": "-9.0 different: lower"}}
    assert [script.count({k: told[k]}, "C3", "lower") for k in told] == ["none (not tested)", "1"]


@pytest.mark.parametrize("name", ["phantom-laptop", "people-laptop"])
def test_no_folder_and_no_clock_of_the_machine_is_published_and_no_image_of_people(tmp_path, name):
    study, shown = tmp_path / "study", tmp_path / name
    (study / "jobs").mkdir(parents=True)
    write(study / "report")
    (study / "report" / "index.html").write_text("page")
    injected = {
        "cell_type": "code",
        "metadata": {"tags": ["injected-parameters"], "papermill": {"start_time": "now"}},
        "source": f'runs = "{tmp_path}/runs"\ndata_root = "{tmp_path}"\nprofile = "laptop"',
        "outputs": [{"data": {"image/png": picture()}}],
    }
    given = {**injected, "metadata": {"tags": ["parameters"]}, "source": 'profile = "quick"'}
    notebook = {"cells": [given, injected], "metadata": {"papermill": {"at": str(tmp_path)}}}
    for job in script.NOTEBOOKS:
        (study / "jobs" / f"{job}.ipynb").write_text(json.dumps(notebook))
    script.publish(study, shown)
    copied = {path.name: path.read_text() for path in shown.iterdir()}
    shows = {"report.html", *(f"{job}.ipynb" for job in script.NOTEBOOKS)}
    assert copied.keys() == {"summary.json"} | (shows if name.startswith("phantom") else set())
    for text in (copied[x] for x in copied if x.endswith(".ipynb")):
        assert "laptop" in text
        assert not any(hidden in text for hidden in (str(tmp_path), "quick", "now"))
