"""A whole study of made-up patients: none of their names is in anything that it writes."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from medunlearn.cohort.phantom import make_phantom
from medunlearn.cohort.pseudonyms import SALT
from medunlearn.cohort.start import write_manifest

ROOT = Path(__file__).parents[2]
NAMES = (b"KLINIK-", b"aufnahme_")


def clinic(folder: Path) -> Path:
    """Images as PNG and a table, with names that no other file holds."""
    rows, pixels = make_phantom(240, size=16)
    (folder / "images").mkdir(parents=True)
    names = [f"aufnahme_{number:04d}.png" for number in range(len(rows))]
    for name, image in zip(names, pixels[:, 0], strict=True):
        Image.fromarray(image).save(folder / "images" / name)
    people = "KLINIK-" + rows["source_patient"].str[1:]
    table = pd.DataFrame({"image": names, "patient": people, "sex": rows["sex"]})
    table["label"] = rows["label"].where(rows["label"] == "no finding", "finding")
    table.to_csv(folder / "list.csv", index=False)
    return folder


def content(path: Path) -> bytes:
    """What can be read out of a file; parquet is packed."""
    readable = path.suffix == ".parquet"
    return pd.read_parquet(path).to_csv().encode() if readable else path.read_bytes()


def naming(runs: Path) -> list[str]:
    """Files that hold, or are called by, a name of the source."""
    return sorted(
        path.name
        for path in runs.rglob("*")
        if path.is_file() and any(n in content(path) or n in path.name.encode() for n in NAMES)
    )


@pytest.mark.slow
def test_no_file_of_a_study_holds_an_id_of_the_source_unless_it_is_turned_off(
    tmp_path: Path, tiny_profile: str
):
    folder, runs = clinic(tmp_path / "data" / "clinic"), tmp_path / "runs"
    manifest = tmp_path / "mine.yaml"
    names = {name: name for name in ("image", "patient", "label", "sex")}
    write_manifest(manifest, folder, folder / "list.csv", reference="no finding", **names)
    manifest.write_text(manifest.read_text() + "pseudonymise: true\n")

    def reproduce() -> str:
        options = {"dataset": manifest, "data": folder.parent, "runs": runs, "device": "cpu"}
        options |= {"profile": tiny_profile, "jobs": 2}
        given = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
        command = [sys.executable, "-m", "medunlearn", "reproduce", *given]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    reproduce()
    written = {path.name for path in runs.rglob("*") if path.is_file()}
    assert {"cohort.parquet", "index.html", "predictions.parquet", SALT} <= written
    assert naming(runs) == []
    manifest.write_text(manifest.read_text().replace("pseudonymise: true", "pseudonymise: false"))
    models = sorted(runs.glob("*/models/*"))
    reproduce()
    assert naming(runs) == ["cohort.parquet"]
    assert sorted(runs.glob("*/models/*")) == models  # no result depends on names
