"""The READMEs tell the truth about what can be checked: commands, files, methods, datasets."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from medunlearn.methods import get_method
from medunlearn.study.profile import panel

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [ROOT / "README.md", *ROOT.glob("[!.]*/**/README.md")]
}
LINKS = [
    (page, link) for page, text in PAGES.items() for link in re.findall(r"\]\(([^)#:]+)\)", text)
]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_readme_is_read_in_a_minute():
    assert len(PAGES["README.md"].encode()) <= 8_000
    assert PAGES["README.md"].count("\n") <= 150


def test_the_table_of_methods_is_that_of_the_registry():
    heads = ["module", "method", "paper", "reads", "idea", "defaults"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name in panel():
        method = get_method(name)
        idea = (sys.modules[method.function.__module__].__doc__ or "").splitlines()[0]
        reads = ", ".join(sorted(method.reads))
        settings = ", ".join(
            f"{key} {'by rule' if value is None else value}"
            for key, value in method.settings.items()
        )
        cells = [f"`{name}`", method.label, method.paper, reads, idea.split(": ", 1)[-1], settings]
        lines.append(f"| {' | '.join(cells)} |")
    assert "\n".join(lines) in PAGES["medunlearn/methods/README.md"], "\n".join(lines)


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_every_linked_file_is_there(page, link):
    assert ((ROOT / page).parent / link).is_file()


COMMANDS = {target for text in PAGES.values() for target in re.findall(r"`?make ([a-z-]+)", text)}


@pytest.mark.parametrize("target", sorted(COMMANDS))
def test_every_command_is_a_target(target):
    assert make("-n", "VENV=", target).returncode == 0


def test_every_dataset_of_a_manifest_is_named():
    first = "".join(re.findall(r"^\| ([^|]*) \| ", PAGES["data_manifests/README.md"], re.M))
    manifests = {path.stem for path in (ROOT / "data_manifests").glob("*.yaml")}
    assert manifests - {"template"} <= set(re.findall(r"`(\w+)`", first))


def test_every_notebook_is_named():
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    for page in ("README.md", "notebooks/README.md"):
        assert set(re.findall(r"^\| `(\d\d_\w+)`", PAGES[page], re.M)) == notebooks


def test_help_is_the_default_and_names_every_target():
    told = make().stdout
    assert told.splitlines()[0].startswith("  make reproduce PROFILE=quick ")
    for target in COMMANDS | {"test-slow", "clean"}:
        assert f"  {target} " in told


def test_an_unknown_variable_is_refused_with_the_choices():
    done = make("reproduce", "PROFLE=quick")
    assert done.returncode != 0
    assert "unknown variable PROFLE; did you mean PROFILE?" in done.stderr
    known = "DATASET DATA PROFILE RUNS DEVICE JOBS FORGET METHOD VERIFY CLUSTER PYTHON VENV"
    assert known in done.stderr


def test_showcase_notebooks_are_executed_whole():
    for path in (ROOT / "notebooks" / "showcase").glob("*/*.ipynb"):
        cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
        assert all(cell["execution_count"] for cell in cells)
        assert not any(o["output_type"] == "error" for cell in cells for o in cell["outputs"])


def test_the_showcase_is_small_and_shows_no_path():
    files = [path for path in (ROOT / "notebooks" / "showcase").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4_000_000
    texts = [path.read_text() for path in files if path.suffix != ".png"]
    assert not any(re.search(r"(?<![\w.])/(home|root|tmp|work|Users)/", text) for text in texts)
    images = {path.parent.name for path in files if path.suffix in {".ipynb", ".html"}}
    assert all(name.startswith("phantom") for name in images), "they may show images of people"
