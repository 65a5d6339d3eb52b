"""Publish finished studies, and make the generated parts of the READMEs anew.

    python notebooks/showcase/publish.py [STUDY_FOLDER FOLDER_HERE]...

Of each study its tables are copied, and figures that show no image. Of the embedded cohort executed
notebooks and the report go too. Without arguments the two pages are made from what is published.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import pandas as pd

from medunlearn.study.report import lighten

SHOWCASE = Path(__file__).parent
NOTEBOOKS = ("01_cohort", "04_synthesis", "08_cost")
FILES = (
    *("summary.json", "verdicts.csv", "audits.csv", "sensitivity.csv", "controls.csv", "costs.csv"),
    "figures/privacy_utility.png",
)
EMBEDDED, OTHER = "phantom", "-other_processor"
"""How the folder of a study on the embedded cohort begins; how that of a second processor ends."""

CLAIMS = {
    "C1": "C1 · Retain and forget set",
    "C2": "C2 · Women and men",
    "C3": "C3 · Generalisation",
    "C4": "C4 · Easy and hard patients",
    "audits": "Privacy",
    "C5": "C5 · Cost",
}
PAIR = "phantom-laptop", "ham10000-wide-large"
"""In the project's README: the embedded cohort, and the largest one of real images."""

ASKED = {
    "C1 methods do well on both sets": "*equivalent* to retraining",
    "C2 no bias by sex": "women - men *equivalent* to 0",
    "C3 generalisation suffers, more for larger sets": "gap and slope *different*, below 0",
    "C4 bias against easy or hard samples": "hard - easy *different*",
    "privacy (ours)": "attack *equivalent*",
    "C5 tuning costs extra": "more than one retraining",
}
"""Claims of the paper, and what would support each here; C5 is answered in a sentence."""
SHORT = r"supported (\d+), not (\d+), open (\d+)(.*) \(of \d+(.*)\)", r"\1 / \2 / \3\4\5"
"""The count of a question as the project's README has it."""

BEGIN, END = "<!-- generated from summary.json -->", "<!-- end of what is generated -->"


def publish(study: Path, folder: Path) -> None:
    """Copy what a finished study has found; what the folder held is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in (study / "report" / name for name in FILES):
        if path.is_file():
            shutil.copy(path, folder)
    if folder.name.startswith(EMBEDDED) and not folder.name.endswith(OTHER):
        shutil.copy(study / "report" / "index.html", folder / "report.html")
        for name in NOTEBOOKS:
            text = strip_notebook((study / "jobs" / f"{name}.ipynb").read_text())
            (folder / f"{name}.ipynb").write_text(text)


def strip_notebook(text: str) -> str:
    """An executed notebook without clock times and folders; of two parameter cells that was run."""
    content = json.loads(text)
    content["metadata"].pop("papermill", None)
    content["cells"] = [c for c in content["cells"] if c["metadata"].get("tags") != ["parameters"]]
    for cell in content["cells"]:
        cell["metadata"] = {"tags": cell["metadata"].get("tags", [])}
        if cell["metadata"]["tags"] == ["injected-parameters"]:
            lines = "".join(cell["source"]).splitlines(keepends=True)
            cell["source"] = [line for line in lines if not line.startswith(("runs", "data_root"))]
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if "image/png" in data:
                data["image/png"] = lighten(data["image/png"])
    return json.dumps(content, indent=1) + "\n"


def results_page(showcase: Path) -> str:
    """The results of every published study, as Markdown; the embedded cohort comes first."""
    folders = sorted(path.parent.name for path in showcase.glob("*/summary.json"))
    folders = [name for name in folders if not name.endswith(OTHER)]
    folders.sort(key=lambda name: not name.startswith(EMBEDDED))
    published = {n: json.loads((showcase / n / "summary.json").read_text()) for n in folders}
    counts = pd.DataFrame({name: told["counts"] for name, told in published.items()})
    asked = "With how many methods, of confirmatory ones where there are any, is a claim supported?"
    parts = ["## All studies", asked, table(counts)]
    for name, told in published.items():
        files = sorted(p.name for p in (showcase / name).glob("*.*"))
        links = [f"[{x}]({name}/{x})" for x in files if x.endswith((".csv", ".html", ".ipynb"))]
        parts += [
            f"## {told['title']}, profile {told['profile']}",
            " · ".join(told["facts"]),
            " ".join(told["abstract"]),
            f"**Controls.** {told['controls']}",
            told["limits"],
            f"![Privacy against utility of each method]({name}/privacy_utility.png)",
            table(pd.DataFrame(told["matrix"]).T.reindex([*told["matrix"]])),
            *(f"**{CLAIMS[c]}**\n\n{answer}" for c, answer in told["answers"].items() if answer),
            "Files: " + " · ".join(links),
        ]
    return "\n\n".join(filter(None, parts))


def results_block(folder: Path, real: Path) -> str:
    """Figure, sentences and answers of a published study, for the project's README.

    Args:
        folder: Of the study.
        real: Of one on real images, which is told in a sentence.
    """
    told, other = (json.loads((path / "summary.json").read_text()) for path in (folder, real))
    sentences = "\n".join(f"- {sentence}" for sentence in told["abstract"][:-1])
    privacy, gap, sexes = (
        count(other["matrix"], *asked)
        for asked in (
            ("privacy: membership attack", "easier to recognise"),
            ("C3: test set", "lower"),
            ("C2: women and men, forget set", "women lower"),
        )
    )
    probable = count(
        other["matrix"], "C2: probability of the true class, forget set", "women lower"
    )
    cautions = [line for line in other["result"] if line.startswith("Caution")]
    sentences += (
        f"\n- On real images ({other['title'].split(',')[0]}), of {len(other['matrix'])} methods, "
        f"forgotten patients stay easier to recognise with {privacy}, accuracy falls with {gap}, "
        f"and on the forget set women end lower than men with {sexes}, in probability with "
        f"{probable}. "
        f"{' '.join(filter(None, [other['limits'], *cautions]))}"
    )
    rows = {}
    for claim, support in ASKED.items():
        mine = {k: v for k, v in told["counts"].items() if k[:2] == claim[:2]}
        titles = {key: key.split(": ")[1].replace(" of the true class", "") for key in mine}
        answers = [f"{titles[key]}: {re.sub(*SHORT, found)}" for key, found in mine.items()]
        rows[claim] = {
            "supported if": support,
            "methods: supported / not / open": "; ".join(answers) or told["cost"],
        }
    picture = f"notebooks/showcase/{folder.name}/privacy_utility.png"
    answers = table(pd.DataFrame(rows).T)
    return f"![Privacy against utility of each method]({picture})\n\n{sentences}\n\n{answers}"


def count(matrix: dict[str, dict[str, str]], question: str, way: str) -> str:
    """With how many methods a verdict is *different* in this way, and how many are open."""
    cells = [row.get(question, "") for row in matrix.values()]
    if all(re.fullmatch(r"[-+.0-9 to()]*", cell) for cell in cells):  # numbers without a word
        return "none (not tested)"
    left = sum(cell.endswith(("inconclusive", "not confirmed", "(ceiling)")) for cell in cells)
    found = sum(cell.endswith(f"different: {way}") for cell in cells) or "none"
    return f"{found} ({left} open)" if left else str(found)


def table(rows: pd.DataFrame) -> str:
    """Markdown of a table."""
    lines = [["", *rows], ["---"] * (rows.shape[1] + 1), *rows.fillna("-").itertuples()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def pages(project: Path) -> dict[Path, str]:
    """Both READMEs, with what stands between the two comments made from the summaries."""
    showcase, made = project / "notebooks" / "showcase", {}
    made[showcase / "README.md"] = results_page(showcase)
    made[project / "README.md"] = results_block(*(showcase / name for name in PAIR))
    for path, block in made.items():
        before, rest = path.read_text().split(BEGIN)
        made[path] = f"{before}{BEGIN}\n{block}\n{END}{rest.split(END)[1]}"
    return made


if __name__ == "__main__":
    for study, folder in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        publish(Path(study), SHOWCASE / folder)
    for path, text in pages(SHOWCASE.parents[1]).items():
        path.write_text(text)
