"""What is published of studies, and the pages that are generated from their summaries."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medunlearn.figures.style import label_of
from medunlearn.statistics.verdicts import INCONCLUSIVE, NOT_TESTED
from medunlearn.study.questions import SYMBOLS
from medunlearn.study.report import strip_notebook
from medunlearn.study.summary import CLAIMS

NOTEBOOKS = ("01_cohort", "04_synthesis", "08_cost")
"""Published as executed of studies on the embedded cohort: they show no image of a person."""

FILES = (
    *("summary.json", "verdicts.csv", "sensitivity.csv", "controls.csv", "costs.csv"),
    "figures/privacy_utility.png",
)
PAIR = "phantom-laptop", "ham10000-wide-large"
"""In the project's README: the embedded cohort, and the largest one of real images."""

OTHER = "-other_processor"
"""Ends the folder of the same study on another type of processor."""

BEGIN, END = "<!-- generated from summary.json -->", "<!-- end of what is generated -->"


def publish(study_folder: Path, folder: Path, notebooks: bool = False) -> None:
    """Copy what a finished study has found: tables, figures without an image, the report.

    Args:
        study_folder: Of a study whose report is there.
        folder: ``notebooks/showcase/<dataset>-<profile>``; what is there is replaced.
        notebooks: Whether executed notebooks and report go too: of the embedded cohort alone,
            since notebooks show images.
    """
    report = study_folder / "report"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in (report / name for name in FILES if (report / name).is_file()):
        shutil.copy(path, folder)
    if notebooks:
        shutil.copy(report / "index.html", folder / "report.html")
        for name in NOTEBOOKS:
            content = strip_notebook(study_folder / "jobs" / f"{name}.ipynb")
            (folder / f"{name}.ipynb").write_text(content)


def results_page(showcase: Path) -> str:
    """The results of every published study, as Markdown; the embedded cohort comes first."""
    folders = sorted(
        (path.parent for path in showcase.glob("*/summary.json")),
        key=lambda folder: (not folder.name.startswith("phantom"), folder.name),
    )
    own = [folder for folder in folders if not folder.name.endswith(OTHER)]
    parts = [_overview(own), *map(_section, own)]
    parts += [
        compare_processors(folder.with_name(folder.name.removesuffix(OTHER)), folder)
        for folder in folders
        if folder.name.endswith(OTHER)
    ]
    return "\n\n".join(parts)


def _overview(folders: Sequence[Path]) -> str:
    """How many methods support each claim, study by study."""
    told = {folder.name: json.loads((folder / "summary.json").read_text()) for folder in folders}
    counts = pd.DataFrame({name: each["counts"] for name, each in told.items()})
    asked = "With how many methods, of confirmatory ones where there are any, is a claim supported?"
    return f"## All studies\n\n{asked}\n\n{_table(counts.T.to_dict())}"


def _section(folder: Path) -> str:
    told, here = json.loads((folder / "summary.json").read_text()), folder.name
    lines = [
        f"## {told['title']}, profile {told['profile']}",
        " · ".join(told["facts"]),
        " ".join(told["abstract"]),
        f"**Controls.** {told['controls']}",
        told["limits"],
        f"![Privacy against utility of each method]({here}/privacy_utility.png)",
        _table(told["matrix"]),
        *(f"**{CLAIMS[c]}**\n\n{answer}" for c, answer in told["answers"].items() if answer),
    ]
    files = sorted(p.name for p in folder.iterdir() if p.suffix in {".csv", ".html", ".ipynb"})
    lines.append("Files: " + " · ".join(f"[{name}]({here}/{name})" for name in files))
    return "\n\n".join(filter(None, lines))


def compare_processors(first: Path, second: Path) -> str:
    """Every confirmatory verdict on two types of processor and two kinds of statistics.

    Args:
        first: Folder of a published study, with ``sensitivity.csv``.
        second: Of the same study on another type of processor.
    """
    here, there = (pd.read_csv(folder / "sensitivity.csv") for folder in (first, second))
    there["statistics"] += ", other processor"
    both = pd.concat([here, there], ignore_index=True)
    points = (100 * both["estimate"]).map(" {:+.1f}".format)
    both["shown"] = both["verdict"].map(SYMBOLS) + points
    both["method"] = both["method"].map(label_of)
    both["measure"] = both["measure"].str.replace("_", " ")
    key = ["claim", "contrast", "partition", "measure", "method"]
    wide = {
        what: both.pivot_table(what, key, "statistics", aggfunc="first", sort=False)
        for what in ("verdict", "shown")
    }
    ours = wide["verdict"].filter(like="re-estimated")
    changed = ours[ours.iloc[:, 0] != ours.iloc[:, 1]]
    opposite = int((~changed.isin([INCONCLUSIVE, NOT_TESTED])).all(axis=1).sum())
    counts = (~wide["verdict"].isin([INCONCLUSIVE, NOT_TESTED])).sum().items()
    decided = ", ".join(f"{count} {name}" for name, count in counts)
    names = [", ".join(row) for row in wide["shown"].index]
    meaning = ", ".join(f"`{symbol}` is {verdict}" for verdict, symbol in SYMBOLS.items())
    return (
        f"## The same study on another type of processor\n\nDecided of {len(ours)} confirmatory "
        f"verdicts: {decided}. With re-estimated statistics, {len(changed)} differ "
        f"between the processors, and {opposite} of these are decided on both. {meaning}.\n\n"
        + _table(wide["shown"].set_axis(names).to_dict("index"))
    )


ASKED = {
    "C1 methods do well on both sets": "*equivalent* to retraining",
    "C2 no bias by sex": "women - men *equivalent* to 0",
    "C3 generalisation suffers, more for larger sets": "gap and slope *different*, below 0",
    "C4 bias against easy or hard samples": "hard - easy *different*",
    "privacy (ours)": "attack *equivalent*",
    "C5 tuning costs extra": "more than one retraining",
}
"""Claims of the paper, and what would support each here; C5 is answered in a sentence."""


def results_block(folder: Path, real: Path) -> str:
    """Figure, sentences and answers of a published study, for the project's README.

    Args:
        folder: Of the study.
        real: Of one on real images, which is told in a sentence where it has verdicts.
    """
    told = json.loads((folder / "summary.json").read_text())
    sentences = "\n".join(f"- {sentence}" for sentence in told["abstract"][:-1])
    other = json.loads((real / "summary.json").read_text())
    if other["short"]:
        sentences += f"\n- On real images ({other['title'].split(',')[0]}), {other['short']}."
    rows = {}
    for claim, support in ASKED.items():
        mine = {k: v for k, v in told["counts"].items() if k[:2] == claim[:2] and "prob" not in k}
        answers = [f"{key.split(': ')[1]}: {count}" for key, count in mine.items()]
        answer = "; ".join(answers) or told["cost"]
        rows[claim] = {"supported if": support, "answer (methods)": answer}
    picture = f"notebooks/showcase/{folder.name}/privacy_utility.png"
    return f"![Privacy against utility of each method]({picture})\n\n{sentences}\n\n{_table(rows)}"


def replace_block(page: str, block: str) -> str:
    """A page with its generated part made anew: what stands between the two comments."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{block}\n{END}{rest.split(END)[1]}"


def write_pages(project: Path) -> None:
    """Make the generated parts of the READMEs anew, from the published summaries."""
    showcase = project / "notebooks" / "showcase"
    for path, block in (
        (showcase / "README.md", results_page(showcase)),
        (project / "README.md", results_block(showcase / PAIR[0], showcase / PAIR[1])),
    ):
        path.write_text(replace_block(path.read_text(), block))


def _table(rows: Mapping[Any, Mapping[Any, str]]) -> str:
    """Markdown of a table, given by row, then by column."""
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [
        [name, *(cells.get(column, "-") for column in columns)] for name, cells in rows.items()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
