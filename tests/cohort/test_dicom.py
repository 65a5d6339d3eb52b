import io
import re
import threading
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom import config

from medunlearn.cohort import dicom
from medunlearn.cohort.decode import Decoding, decode_image, quiet
from medunlearn.cohort.dicom import decode_dicom


def decode(dataset, intensity="window") -> np.ndarray:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    file.seek(0)
    return decode_dicom(file, intensity)


RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)


def test_a_window_becomes_0_to_255_and_what_lies_beyond_is_cut(make_dicom):
    pixels = decode(make_dicom(RAMP, WindowCenter=2048, WindowWidth=1024))
    assert pixels.dtype == np.uint8
    flat = pixels.ravel()
    assert (flat[RAMP.ravel() < 1530] == 0).all()
    assert (flat[RAMP.ravel() > 2566] == 255).all()
    # PS3.3 C.11.2.1.2: ((x - (c - 0.5)) / (w - 1) + 0.5) of the range
    expected = np.rint(((2000 - 2047.5) / 1023 + 0.5) * 255)
    assert flat[2000 // 16] == expected


def test_rescale_comes_before_the_window(make_dicom):
    dataset = make_dicom(RAMP, RescaleSlope=2, RescaleIntercept=-1024)
    dataset.WindowCenter, dataset.WindowWidth = 1000, 2000
    at = decode(dataset).ravel()[1008 // 16]  # 1008 * 2 - 1024 = 992
    assert at == np.rint(((992 - 999.5) / 1999 + 0.5) * 255)


def test_a_stated_range_is_of_rescaled_values_and_beats_the_window(make_dicom):
    dataset = make_dicom(RAMP, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=1,
                         WindowWidth=2)  # fmt: skip
    flat = decode(dataset, (-1024.0, 3056.0)).ravel()
    assert flat[0] == 0
    assert flat[-1] == 255
    assert flat[128] == np.rint(2048 / 4080 * 255)


def test_monochrome1_is_inverted(make_dicom):
    plain = make_dicom(RAMP, WindowCenter=2048, WindowWidth=4096)
    inverted = make_dicom(
        RAMP, WindowCenter=2048, WindowWidth=4096, PhotometricInterpretation="MONOCHROME1"
    )
    assert (decode(inverted) == 255 - decode(plain)).all()


def test_a_voi_lut_is_applied(make_dicom):
    dataset = make_dicom(np.arange(256, dtype=np.uint16).reshape(16, 16))
    lut = pydicom.Dataset()
    lut.add_new("LUTDescriptor", "US", [256, 0, 16])
    lut.add_new("LUTData", "OW", (65535 - 257 * np.arange(256)).astype("<u2").tobytes())
    dataset.VOILUTSequence = [lut]
    with quiet(dicom=True):
        assert decode(dataset).ravel().tolist() == list(range(255, -1, -1))


def test_a_files_own_window_wins_and_8_bits_without_one_are_seen_as_they_are(make_dicom):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for intensity in ("window", None):
        assert (decode(make_dicom(grey), intensity) == grey).all()
    windowed = decode(make_dicom(grey, WindowCenter=128, WindowWidth=64), "window")
    assert windowed.min() == 0
    assert (windowed[grey > 160] == 255).all()


def test_deep_pixels_without_a_window_need_a_range(make_dicom):
    with pytest.raises(ValueError, match="have 16 bits or a window; state in the manifest"):
        decode(make_dicom(RAMP), None)
    with pytest.raises(ValueError, match="has no window"):
        decode(make_dicom(RAMP))


def test_settings_of_the_process_are_changed_by_one_thread_and_restored(
    lay_out, write_manifest, build, monkeypatch
):
    lay_out("dicom")
    entered = set()
    for module, name in ((warnings, "catch_warnings"), (config, "disable_value_validation")):
        real = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda real=real: entered.add(threading.current_thread()) or real()
        )
    before = list(warnings.filters), config.settings.reading_validation_mode
    build(write_manifest("dicom"))
    assert entered <= {threading.main_thread()}
    assert (list(warnings.filters), config.settings.reading_validation_mode) == before


def test_a_folder_of_dicom_files_becomes_a_cohort_and_other_tags_are_stored_nowhere(
    lay_out, write_manifest, build, tmp_path
):
    lay_out("dicom")
    cohort = build(write_manifest("dicom"))
    assert cohort.pixels.shape == (20, 1, 16, 16)
    assert cohort.table["sex"].value_counts().to_dict() == {"F": 10, "M": 10}
    assert cohort.table["label"].sum() == 10
    assert cohort.table["source_image"].str.endswith(".dcm").all()
    written = [p for f in ("study", "cache") for p in (tmp_path / f).rglob("*") if p.is_file()]
    assert not [path for path in written if b"Secret" in path.read_bytes()]
    assert "Secret" not in pd.read_parquet(tmp_path / "study/cohort.parquet").to_csv()


@pytest.mark.parametrize(
    ("name", "taken"),
    [("a.dcm", True), ("x/A.DCM", True), ("IM0001", True), ("x/1.2.840.10008", True),
     ("x/IM0001", True), ("DICOMDIR", False), ("x/dicomdir", False), ("notes.txt", False),
     (".hidden", False), ("a.png", False)],
)  # fmt: skip
def test_files_are_taken_for_dicom_by_ending_or_without_one(name: str, taken: bool):
    assert bool(re.search(dicom.NAMES, name)) == taken


BUNDLED = sorted((Path(pydicom.__file__).parent / "data/test_files").rglob("*.dcm"))
READ = {
    "CT_small", "ExplVR_BigEnd", "JPEG2000", "693_J2KI", "J2K_pixelrep_mismatch",
    "SC_rgb_rle", "SC_rgb_jpeg_dcmtk", "SC_ybr_full_422_uncompressed", "examples_palette",
    "MR_small", "MR_small_RLE", "MR_small_bigendian", "MR_small_expb", "MR_small_implicit",
    "MR_small_jp2klossless", "MR_small_padded",
}  # fmt: skip


@pytest.mark.parametrize("path", BUNDLED, ids=lambda p: p.stem)
def test_pydicoms_own_files_are_read_or_refused_with_a_reason(path: Path):
    how = Decoding(size=16, channels=1, intensity=(0.0, 4095.0), kind="dicom")
    with quiet(dicom=True):
        result = decode_image(str(path), how)
    if isinstance(result, str):
        assert result.startswith(f"{path}: ")
        assert "\n" not in result
        assert "; " in result
        assert path.stem not in READ, result
    else:
        assert result.shape == (1, 16, 16)
