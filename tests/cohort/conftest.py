from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from medunlearn.cohort.build import Cohort, build_cohort
from medunlearn.cohort.files import find_places
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.partition import partition_patients, patient_table
from medunlearn.cohort.schema import DataManifest
from medunlearn.cohort.table import read_table
from medunlearn.errors import InputError
from medunlearn.randomness import stream


@pytest.fixture(scope="session")
def cohort_table() -> pd.DataFrame:
    """1,000 patients with 1 to 3 images, classes 60/30/10, women 40 %."""
    random = np.random.default_rng(9000)
    images = random.integers(1, 4, 1000)
    patients = np.repeat(np.arange(1000), images)
    sexes = np.where(random.random(1000) < 0.4, "F", "M")
    table = pd.DataFrame(
        {
            "sample": np.arange(len(patients)),
            "patient": patients,
            "sex": pd.Series(sexes[patients], dtype=object),
            "label": random.choice(3, len(patients), p=[0.6, 0.3, 0.1]),
        }
    )
    shares = {"train": 0.5, "validation": 0.2, "test": 0.3}
    partition = partition_patients(patient_table(table), shares, stream("test partition"))
    return table.assign(partition=table["patient"].map(partition))


def read_rows(manifest: DataManifest, data: Path | None) -> pd.DataFrame:
    """The rows of a dataset without faults."""
    rows, faults = read_table(manifest, find_places(manifest, data))
    if faults:
        raise InputError("rows", faults)
    return rows


WHOLE = {
    "name": "mine", "title": "Mine", "source": "https://example.org", "licence": "none",
    "citation": "none", "how_to_get": "ask the owner", "folders": "mine", "image_size": 16,
    "channels": 1, "horizontal_flip": False,
    "partition": {"train": 0.4, "validation": 0.4, "test": 0.2},
    "pseudonymise": False,  # tests find images again by their names
}  # fmt: skip
TABLE = {
    "kind": "table", "table": "table.csv", "images": "images",
    "columns": {"image": "file", "patient": "who", "sex": "sex", "age": "age"},
    "sex": {"F": "female", "M": "male"},
    "label": {
        "rule": "values", "column": "state", "classes": ["well", "sick"],
        "reference_class": "well", "mapping": {"well": "well", "sick": "sick"},
    },
}  # fmt: skip
DICOM = {
    "kind": "dicom", "images": "scans", "intensity": "window",
    "columns": {"image": "file", "patient": "PatientID", "sex": "PatientSex"},
    "sex": {"F": "F", "M": "M", "missing": "O"},
    "label": {
        "rule": "equals", "column": "ViewPosition", "value": "PA", "classes": ["PA", "other"],
        "reference_class": "PA",
    },
}  # fmt: skip
ARRAYS = {
    "kind": "arrays", "unit": "image", "arrays": "data.npz",
    "label": {
        "rule": "values", "column": "label", "classes": ["well", "sick"],
        "reference_class": "well", "mapping": {"0": "well", "1": "sick"},
    },
}  # fmt: skip
FILES = {
    "kind": "files", "images": ".", "columns": {"image": "file", "patient": "file"},
    "label": {
        "rule": "values", "column": "folder", "classes": ["well", "sick"],
        "reference_class": "well", "mapping": {"well": "well", "sick": "sick"},
    },
}  # fmt: skip
SOURCES = {"table": TABLE, "dicom": DICOM, "arrays": ARRAYS, "files": FILES}


@pytest.fixture
def write_manifest(tmp_path: Path) -> Callable[..., str]:
    """Writes ``mine.yaml`` for a source, with changes, and gives its path."""

    def write(source: str, /, **changes: object) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(WHOLE | SOURCES[source] | changes, sort_keys=False))
        return str(path)

    return write


@pytest.fixture
def lay_out(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a small dataset of a source below the data root and gives its folder."""

    def make(source: str) -> Path:
        folder = tmp_path / "data" / "mine"
        folder.mkdir(parents=True)
        {"table": _table, "dicom": _dicom, "arrays": _arrays, "files": _files}[source](folder)
        return folder

    return make


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Cohort]:
    """Builds the cohort of a manifest; its rows are all those of the data root unless told so."""

    def build(manifest: str, *, size: int = 16, max_patients: int | None = None,
              data: Path = tmp_path / "data", runs: Path = tmp_path) -> Cohort:  # fmt: skip
        return build_cohort(
            load_manifest(manifest), data, folder=runs / "study", cache=runs / "cache",
            image_size=size, max_patients=max_patients,
        )  # fmt: skip

    return build


def _noise(seed: int, shape: tuple[int, ...] = (20, 20)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _table(folder: Path) -> None:
    (folder / "images").mkdir()
    rows = ["file,who,sex,age,state"]
    for patient in range(20):
        Image.fromarray(_noise(patient)).save(folder / "images" / f"{patient}.png")
        sex, state = ("female", "male")[patient % 2], ("well", "sick")[patient // 2 % 2]
        rows.append(f"{patient}.png,P{patient},{sex},{40 + patient},{state}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")


def _files(folder: Path) -> None:
    for index in range(24):
        place = folder / ("well", "sick")[index % 2]
        place.mkdir(exist_ok=True)
        Image.fromarray(_noise(index)).save(place / f"{index}.png")


def _arrays(folder: Path) -> None:
    arrays = {}
    for seed, (split, count) in enumerate({"train": 30, "val": 12, "test": 10}.items()):
        arrays[f"{split}_images"] = _noise(seed, (count, 16, 16))
        arrays[f"{split}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    np.savez_compressed(folder / "data.npz", **arrays)


def _dicom(folder: Path) -> None:
    (folder / "scans").mkdir()
    for patient in range(20):
        view = ("PA", "AP")[patient // 2 % 2]
        pixels = np.random.default_rng(patient).integers(0, 4096, (24, 24), dtype=np.uint16)
        dataset = dicom_of(pixels, PatientID=f"P{patient}", PatientSex="FM"[patient % 2],
                           ViewPosition=view, PatientName="Secret^Name",
                           WindowCenter=2048, WindowWidth=4096)  # fmt: skip
        dataset.save_as(folder / "scans" / f"{patient}.dcm", enforce_file_format=True)


def dicom_of(pixels: np.ndarray, **tags: object):
    """A grey DICOM image with these tags."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    dataset, bits = Dataset(), 8 * pixels.itemsize
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["test"])
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return dataset


@pytest.fixture
def make_dicom() -> Callable[..., object]:
    return dicom_of
