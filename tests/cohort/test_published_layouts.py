"""Every manifest reads a made-up copy of twenty rows in the layout of the published data."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from medunlearn.cohort.build import decode_rows
from medunlearn.cohort.cache import open_pixels
from medunlearn.cohort.manifest import FOLDER, load_manifest, manifest_names
from medunlearn.cohort.schema import KINDS, ArraysManifest, Manifest
from tests.cohort.conftest import read_rows

ROWS = range(20)


def picture(path: Path, bits: int = 8, colour: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.uint16 if bits == 16 else np.uint8
    shape = (12, 12, 3) if colour else (12, 12)
    Image.fromarray(np.random.default_rng(0).integers(0, 2**bits, shape, dtype=kind)).save(path)


def table(path: Path, header: str, rows: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "\n".join([header, *rows]).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


FINDINGS = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,"
    "Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
    "Support Devices"
)


def findings(number: int) -> str:
    state = ["1.0", "0.0", "-1.0", ""][number % 4]
    return ",".join([state] * 14)


def chexpert(root: Path) -> None:
    rows = []
    for i in ROWS:
        view = "Lateral" if i == 19 else "Frontal"
        name = f"CheXpert-v1.0-small/train/patient{i // 2 + 1:05d}/study1/view{i % 2 + 1}_x.jpg"
        picture(root / "chexpert" / name)
        sex = ["Female", "Male", "Unknown"][i // 2 % 3]
        rows.append(f"{name},{sex},{40 + i},{view},AP,{findings(i)}")
    header = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{FINDINGS}"
    table(root / "chexpert/CheXpert-v1.0-small/train.csv", header, rows)


def mimic_cxr_jpg(root: Path) -> None:
    folder = root / "mimic_cxr_jpg"
    metadata, labels, split, patients = [], [], [], []
    for i in ROWS:
        subject, study, dicom = 10000000 + 1000 * (i // 2), 50000000 + i, f"{i:08x}-aa"
        picture(folder / f"files/p{str(subject)[:2]}/p{subject}/s{study}/{dicom}.jpg")
        metadata.append(f"{dicom},{subject},{study},CHEST,{'LL' if i == 19 else 'PA'}")
        if i != 18:
            labels.append(f"{subject},{study},{findings(i)}")
        split.append(f"{dicom},{study},{subject},{['train', 'validate', 'test'][i // 2 % 3]}")
        if i % 2 and i != 3:
            patients.append(f"{subject},{'FM'[i // 2 % 2]},52,2180")
    name = "mimic-cxr-2.0.0"
    header = "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition"
    table(folder / f"{name}-metadata.csv.gz", header, metadata)
    table(folder / f"{name}-chexpert.csv.gz", f"subject_id,study_id,{FINDINGS}", labels)
    table(folder / f"{name}-split.csv.gz", "dicom_id,study_id,subject_id,split", split)
    table(folder / "patients.csv.gz", "subject_id,gender,anchor_age,anchor_year", patients)


def nih_chestxray14(root: Path) -> None:
    folder, rows = root / "nih_chestxray14", []
    names = [f"{i // 2 + 1:08d}_{i % 2:03d}.png" for i in ROWS]
    for i, name in enumerate(names):
        picture(folder / f"images_{i // 10 + 1:03d}/images" / name)
        found = ["No Finding", "Cardiomegaly|Effusion"][i % 2]
        rows.append(f"{name},{found},0,{i // 2 + 1},{50 + i},{'MF'[i // 2 % 2]},PA,1,2,0.1,0.1")
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
        "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    )
    table(folder / "Data_Entry_2017_v2020.csv", header, rows)
    (folder / "train_val_list.txt").write_text("\n".join(names[:14]))
    (folder / "test_list.txt").write_text("\n".join(names[14:]))


def padchest(root: Path) -> None:
    folder, rows = root / "padchest", []
    for i in ROWS:
        name = f"{i:039d}_ab.png"
        picture(folder / str(i % 3) / name, bits=16)
        picture(folder / "images" / name)
        found = ["['normal']", "\"['cardiomegaly', 'pleural effusion', 'kyphosis']\""][i % 2]
        projection = "L" if i == 19 else "PA"
        rows.append(f"{i},{name},{i % 3},{i // 2 + 1}7,{'FMO'[i // 2 % 3]},{projection},No,{found}")
    header = ",ImageID,ImageDir,PatientID,PatientSex_DICOM,Projection,Pediatric,Labels"
    table(folder / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", header, rows)


@pytest.fixture
def rsna_pneumonia(make_dicom) -> Callable[[Path], None]:
    def lay_out(root: Path) -> None:
        folder, rows = root / "rsna_pneumonia/stage_2_train_images", []
        folder.mkdir(parents=True)
        for i in ROWS:
            name = f"{i:08d}-c6f7-4a66-8d1c-000000000000"
            pixels = np.random.default_rng(i).integers(0, 256, (12, 12), dtype=np.uint8)
            dataset = make_dicom(pixels, PatientID=name, PatientSex="FM"[i % 2], PatientAge="51")
            dataset.save_as(folder / f"{name}.dcm", enforce_file_format=True)
            boxes = ["264.0,152.0,213.0,379.0", "562.0,152.0,256.0,453.0"] if i % 3 else [",,,"]
            rows += [f"{name},{box},{int(i % 3 > 0)}" for box in boxes]
        table(folder.parent / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", rows)

    return lay_out


def ham10000(root: Path) -> None:
    folder, rows = root / "ham10000", []
    for i in ROWS:
        picture(folder / f"HAM10000_images_part_{i % 2 + 1}/ISIC_{i:07d}.jpg", colour=True)
        dx = ["nv", "mel", "bcc", "akiec", "bkl", "df", "vasc"][i // 2 % 7]
        sex = ["male", "female", "unknown"][i // 2 % 3]
        rows.append(f"HAM_{i // 2:07d},ISIC_{i:07d},{dx},histo,{i * 5}.0,{sex},back")
    header = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    table(folder / "HAM10000_metadata", header, rows)


def isic2019(root: Path) -> None:
    folder, truth, metadata = root / "isic2019", [], []
    for i in ROWS:
        picture(folder / f"ISIC_2019_Training_Input/ISIC_{i:07d}.jpg", colour=True)
        truth.append(f"ISIC_{i:07d}," + ",".join("1.0" if k == i % 8 else "0.0" for k in range(9)))
        lesion = "" if i > 15 else f"MSK4_{i // 2}"
        sex = ["male", "female", ""][i // 2 % 3]
        metadata.append(f"ISIC_{i:07d},{'' if i % 5 else 55.0},back,{lesion},{sex}")
    header = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"
    table(folder / "ISIC_2019_Training_GroundTruth.csv", header, truth)
    header = "image,age_approx,anatom_site_general,lesion_id,sex"
    table(folder / "ISIC_2019_Training_Metadata.csv", header, metadata)


def pad_ufes_20(root: Path) -> None:
    folder, rows = root / "pad_ufes_20", []
    for i in ROWS:
        name = f"PAT_{i // 2}_{i}_530.png"
        picture(folder / f"imgs_part_{i % 3 + 1}" / name, colour=True)
        sex = ["FEMALE", "MALE", ""][i // 2 % 3]
        dx = ["ACK", "NEV", "SEK", "BCC", "MEL", "SCC"][i % 6]
        rows.append(f"PAT_{i // 2},{i},False,{30 + i},{sex},{dx},{name},True")
    header = "patient_id,lesion_id,smoke,age,gender,diagnostic,img_id,biopsed"
    table(folder / "metadata.csv", header, rows)


def lgg_mri(root: Path) -> None:
    rows = []
    for i in ROWS:
        picture(root / f"lgg_mri/images/TCGA_CS_{i // 4}_{i}.png")
        rows.append(f"TCGA_CS_{i // 4}_{i}.png,TCGA_CS_{i // 4},{'FM'[i // 4 % 2]},50,{i % 2},0.5")
    header = "slice_file,patient,gender,age_at_initial_pathologic,tumour_pixels,brain_fraction"
    table(root / "lgg_mri/slices.csv", header, rows)


def lgg_mri_published(root: Path) -> None:
    for i in ROWS:
        scan = f"TCGA_CS_{4940 + i // 4}_19960909"
        path = root / f"lgg_mri_published/kaggle_3m/{scan}/{scan}_{i % 4 + 1}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        planes = np.stack([np.full((12, 12), value, np.uint8) for value in (9, 77, 200)], axis=-1)
        Image.fromarray(planes).save(path)
        mask = np.zeros((12, 12), np.uint8)
        mask[3, 4] = 255 * (i % 2)
        Image.fromarray(mask).save(path.with_name(f"{path.stem}_mask.tif"))
    table(root / "lgg_mri_published/kaggle_3m/data.csv", "Patient,gender", ["TCGA_CS_4940,1"])


def medmnist(root: Path, manifest: ArraysManifest) -> None:
    arrays, size = {}, manifest.image_size
    (root / "medmnist").mkdir()
    for split, count in {"train": 20, "val": 4, "test": 5}.items():
        shape = (count, size, size, 3) if manifest.channels == 3 else (count, size, size)
        arrays[f"{split}_images"] = np.zeros(shape, np.uint8)
        columns = 14 if manifest.name.startswith("chest") else 1
        labels = np.zeros((count, columns), np.uint8)
        labels[:] = (np.arange(count) % len(manifest.label.classes))[:, None]
        arrays[f"{split}_labels"] = labels
    np.savez_compressed(root / "medmnist" / manifest.arrays[0], **arrays)


PLAIN = {
    name: layout
    for name, layout in globals().items()
    if name in manifest_names() and callable(layout)
}
EXPECTED = {  # rows, patients, female, second class
    "chexpert": (19, 10, 7, 5), "mimic_cxr_jpg": (18, 9, 10, 5),
    "nih_chestxray14": (20, 10, 10, 10), "padchest": (19, 10, 7, 9),
    "rsna_pneumonia": (20, 20, 10, 13), "ham10000": (20, 10, 6, 10),
    "isic2019": (20, 12, 6, 11), "pad_ufes_20": (20, 10, 8, 9), "lgg_mri": (20, 5, 12, 10),
    "lgg_mri_published": (20, 5, 0, 10),
}  # fmt: skip


def lay_out(name: str, root: Path, request: pytest.FixtureRequest) -> Manifest:
    manifest, base = load_manifest(name), name.split("-")[0]
    if isinstance(manifest, ArraysManifest):
        medmnist(root, manifest)
    elif base == "rsna_pneumonia":
        request.getfixturevalue(base)(root)
    else:
        PLAIN[base](root)
    return manifest


NAMES = [name for name in manifest_names() if name != "phantom"]
FIELDS = {name: yaml.safe_load((FOLDER / f"{name}.yaml").read_text()) for name in NAMES}
ALL = [
    name
    for base in NAMES
    for name in [base, *(f"{base}-{v}" for v in FIELDS[base].get("variants", ()))]
    if not name.endswith(("-128", "-224"))  # as the others, but slower to make up
]


@pytest.mark.parametrize("name", ALL)
def test_every_manifest_and_variant_reads_and_decodes_its_layout(
    name: str, tmp_path: Path, request
):
    manifest = lay_out(name, tmp_path, request)
    rows = read_rows(manifest, tmp_path)
    if name in EXPECTED:
        women, second = int((rows["sex"] == "F").sum()), int((rows["label"] == 1).sum())
        given = (len(rows), rows["source_patient"].nunique(), women, second)
        assert given == EXPECTED[name]
    assert set(rows["label"]) <= set(range(len(manifest.label.classes)))
    assert rows["label"].nunique() > 1
    cache = decode_rows(rows, manifest, 8, tmp_path / "cache")
    assert open_pixels(cache.path).shape == (len(rows), manifest.channels, 8, 8)


def test_the_flair_channel_of_published_slices_is_taken(tmp_path: Path, request):
    manifest = lay_out("lgg_mri_published", tmp_path, request)
    cache = decode_rows(read_rows(manifest, tmp_path), manifest, 8, tmp_path / "cache")
    assert (open_pixels(cache.path) == 77).all()


def test_all_medmnist_sizes_have_a_published_checksum():
    names = [n for n in NAMES if isinstance(load_manifest(n), ArraysManifest)]
    assert len(names) == 12
    sums = set()
    for name in names:
        for variant in ("", "-64", "-128", "-224"):
            manifest = load_manifest(name + variant)
            (file,) = manifest.distribution
            assert manifest.arrays == (file.name,)
            assert file.url.endswith(f"/{file.name}?download=1")
            assert manifest.image_size == int(variant[1:] or 28)
            sums.add(file.md5)
    assert len(sums) == 48


def test_the_template_is_valid_and_names_every_field():
    load_manifest(str(FOLDER / "template.yaml"))
    text = (FOLDER / "template.yaml").read_text()
    fields = {f for kind, model in KINDS.items() if kind != "phantom" for f in model.model_fields}
    assert {field for field in fields if f"{field}:" not in text} == set()
