"""A whole study of made-up patients: none of their names is in anything that it writes."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

from medunlearn.cohort.patients import SALT
from medunlearn.cohort.phantom import make_phantom
from medunlearn.study.design import all_models, all_timings
from medunlearn.study.store import Store
from medunlearn.study.study import open_study
from tests.conftest import TINY

ROOT = Path(__file__).parents[2]
NAMES = (b"KLINIK-", b"aufnahme_")
ONE = {"methods": {"finetune": {"epochs": 1}}, "confirmatory": ["finetune"]}
SMALLER = {**TINY, **ONE, "forget_sizes": [0.1]}

MANIFEST = {
    "name": "clinic", "kind": "table", "unit": "patient", "title": "Images of a clinic",
    "source": "https://example.org", "licence": "none", "citation": "none", "how_to_get": "ask",
    "folders": ["clinic"], "table": ["list.csv"], "images": ["images"], "image_suffix": "",
    "columns": {"image": "image", "patient": "patient", "sex": "sex"},
    "sex": {"F": ["F"], "M": ["M"], "missing": []},
    "label": {
        "rule": "threshold", "column": "ill", "above": 0, "classes": ["no", "yes"],
        "reference_class": "no",
    },
    "image_size": 16, "channels": 1, "horizontal_flip": False,
    "partition": {"train": 0.5, "validation": 0.2, "test": 0.3}, "pseudonymise": True,
}  # fmt: skip


def write_clinic(folder: Path) -> None:
    """Images as PNG and a table, with names that no other file holds."""
    rows, pixels = make_phantom(240, size=16)
    (folder / "images").mkdir(parents=True)
    names = [f"aufnahme_{number:04d}.png" for number in range(len(rows))]
    for name, image in zip(names, pixels[:, 0], strict=True):
        Image.fromarray(image).save(folder / "images" / name)
    people = "KLINIK-" + rows["source_patient"].str[1:]
    table = pd.DataFrame({"image": names, "patient": people, "sex": rows["sex"]})
    table["ill"] = (rows["label"] != "no finding").astype(int)
    table.to_csv(folder / "list.csv", index=False)


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
def test_no_file_of_a_study_holds_an_id_of_the_source_unless_it_is_turned_off(tmp_path: Path):
    """Of a study with patients that a list names, who have a section of the report."""
    data, runs, manifest = tmp_path / "data", tmp_path / "runs", tmp_path / "clinic.yaml"
    write_clinic(data / "clinic")
    profile = tmp_path / "tiny.yaml"
    profile.write_text(yaml.safe_dump(SMALLER))
    manifest.write_text(yaml.safe_dump({**MANIFEST, "pseudonymise": False}))
    seen = {"profile": str(profile), "runs": str(tmp_path / "seen"), "device": "cpu"}
    table = open_study(str(manifest), data_root=str(data), **seen).cohort.table
    free = table[(table["partition"] == "train") & ~table["development"]]
    (tmp_path / "ids.txt").write_text("\n".join(free["source_patient"].unique()[:12]))
    profile.write_text(yaml.safe_dump({**SMALLER, "forget": "ids.txt"}))
    manifest.write_text(yaml.safe_dump(MANIFEST))

    options = {"profile": str(profile), "runs": str(runs), "device": "cpu"}
    given = {**options, "dataset": str(manifest), "data": str(data), "jobs": "2"}
    arguments = [part for name, value in given.items() for part in (f"--{name}", value)]
    command = [sys.executable, "-m", "medunlearn", "reproduce", *arguments]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    written = {path.name for path in runs.rglob("*") if path.is_file()}
    assert {"cohort.parquet", "index.html", "predictions.parquet", SALT} <= written
    assert naming(runs) == []
    report = (runs / "clinic-tiny" / "report" / "index.html").read_text()
    assert "A list names 12 patients" in report
    manifest.write_text(yaml.safe_dump({**MANIFEST, "pseudonymise": False}))
    study = open_study(str(manifest), data_root=str(data), **options)
    assert naming(runs) == ["cohort.parquet"]
    # no result depends on names
    assert Store(study).missing([*all_models(study.profile), *all_timings(study.profile)]) == []
