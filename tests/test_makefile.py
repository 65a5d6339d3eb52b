"""What the Makefile does beside passing its variables on."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_lab_opens_copies_which_keep_what_is_saved_in_them(tmp_path):
    """A notebook that is read and saved differs from its source: git would not be clean."""
    command = ["make", "VENV=", "PYTHON=echo", f"RUNS={tmp_path}", "lab"]
    sources = {path.name: path.read_bytes() for path in ROOT.glob("notebooks/*.ipynb")}
    for _ in range(2):
        told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        assert f"jupyter lab --notebook-dir={tmp_path}/notebooks" in told
        assert f"copies in {tmp_path}/notebooks" in told
        (tmp_path / "notebooks" / "01_cohort.ipynb").write_text("saved by a reader")
    copies = {path.name: path.read_bytes() for path in (tmp_path / "notebooks").iterdir()}
    assert copies == {**sources, "01_cohort.ipynb": b"saved by a reader"}
    assert (ROOT / "notebooks" / "01_cohort.ipynb").read_bytes() == sources["01_cohort.ipynb"]
