"""Published pages say what the published summaries say, and no more is copied than is meant."""

import json
from pathlib import Path

import pandas as pd
import pytest

from medunlearn.study import showcase, summary
from medunlearn.study.questions import QUESTIONS
from medunlearn.study.summary import CLAIMS
from tests.study.test_wording import GAP, judged

ROOT = Path(__file__).parents[2]
SHOWCASE = ROOT / "notebooks" / "showcase"
SUMMARY = {
    "title": "A cohort",
    "profile": "laptop",
    "facts": ["1 January 2030", "100 test patients"],
    "abstract": ["It compares.", "One costs more."],
    "controls": "All passed.",
    "limits": "",
    "answers": dict.fromkeys(CLAIMS, "- Nothing."),
    "counts": {"C1: retain set": "supported 1, not 0, open 0 (of 1)"},
    "matrix": {"SalUn": {"C1: forget set": "+1.0 equivalent"}, "SSD": {"C3: test set": "-2.0 ?"}},
}


def write(folder, **table):
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    columns = {"claim": "C2", "contrast": "F - M", "partition": "test", "measure": "accuracy"}
    rows = pd.DataFrame({**columns, "method": ["salun", "ssd", "salun", "ssd"], **table})
    rows["statistics"] = ["re-estimated"] * 2 + ["raw"] * 2
    rows.to_csv(folder / "sensitivity.csv", index=False)


@pytest.mark.parametrize(
    ("page", "block"),
    [
        ("notebooks/showcase/README.md", lambda: showcase.results_page(SHOWCASE)),
        ("README.md", lambda: showcase.results_block(*(SHOWCASE / name for name in showcase.PAIR))),
    ],
)
def test_published_pages_are_those_of_the_published_summaries(page, block):
    text = (ROOT / page).read_text()
    assert text == showcase.replace_block(text, block())


def test_a_page_has_every_study_once_and_compares_processors(tmp_path):
    write(tmp_path / "b-laptop", estimate=0.01, verdict="equivalent")
    write(tmp_path / "phantom-laptop", estimate=0.01, verdict="equivalent")
    other = ["inconclusive", "equivalent", "different", "not tested"]
    write(tmp_path / "phantom-laptop-other_processor", estimate=-0.02, verdict=other)
    page = showcase.results_page(tmp_path)
    assert page.count("## A cohort, profile laptop") == 2
    assert page.index("phantom-laptop/") < page.index("b-laptop/")
    head = "|  | phantom-laptop | b-laptop |\n| --- | --- | --- |"
    assert f"{head}\n| C1: retain set | supported 1, not 0, open 0 (of 1) |" in page
    assert "| SalUn | +1.0 equivalent | - |" in page
    assert "| SSD | - | -2.0 ? |" in page
    counts = "2 re-estimated, 2 raw, 1 re-estimated, other processor, 1 raw, other processor"
    assert f"Decided of 2 confirmatory verdicts: {counts}." in page
    assert "1 differ between the processors, and 0 of these are decided on both" in page
    assert "| C2, F - M, test, accuracy, SalUn | = +1.0 | = +1.0 | ? -2.0 | ≠ -2.0 |" in page


def test_no_folder_and_no_clock_of_the_machine_is_published(tmp_path):
    jobs, report = tmp_path / "study" / "jobs", tmp_path / "study" / "report"
    jobs.mkdir(parents=True)
    report.mkdir()
    (report / "summary.json").write_text(json.dumps(SUMMARY))
    (report / "index.html").write_text("page")
    injected = {
        "cell_type": "code",
        "metadata": {"tags": ["injected-parameters"], "papermill": {"start_time": "now"}},
        "source": f'runs = "{tmp_path}/runs"\ndata_root = "{tmp_path}"\nprofile = "laptop"',
        "outputs": [],
    }
    given = {**injected, "metadata": {"tags": ["parameters"]}, "source": 'profile = "quick"'}
    for name in showcase.NOTEBOOKS:
        notebook = {"cells": [given, injected], "metadata": {"papermill": {"at": str(tmp_path)}}}
        (jobs / f"{name}.ipynb").write_text(json.dumps(notebook))
    showcase.publish(tmp_path / "study", tmp_path / "shown", notebooks=True)
    for name in showcase.NOTEBOOKS:
        copied = (tmp_path / "shown" / f"{name}.ipynb").read_text()
        assert str(tmp_path) not in copied
        assert "quick" not in copied
        assert "now" not in copied
        assert "laptop" in copied
    showcase.publish(tmp_path / "study", tmp_path / "shown")
    assert [path.name for path in (tmp_path / "shown").iterdir()] == ["summary.json"]


def test_support_of_a_claim_is_counted_apart_from_its_opposite_and_what_is_open():
    rows = judged(("a", -0.08, 0.01, GAP), ("b", 0.08, 0.01, GAP), ("c", 0.0, 1.0, GAP))
    assert summary._count(QUESTIONS["gap"], rows) == "supported 1, not 1, open 1 (of 3)"
