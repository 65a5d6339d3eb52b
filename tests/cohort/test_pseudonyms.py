import json
import shutil
import stat

import pandas as pd
import pytest

from medunlearn.cohort.build import build_cohort
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.patients import SALT, pseudonymise
from medunlearn.errors import InputError


@pytest.fixture
def build(tmp_path, lay_out, write_manifest):
    """Builds a made-up dataset, with its default unless told otherwise, and gives its table."""
    lay_out("table")

    def make(runs: str = "runs", **changes: object) -> tuple[pd.DataFrame, str]:
        manifest = load_manifest(write_manifest("table", **({"pseudonymise": True} | changes)))
        cohort = build_cohort(
            manifest, tmp_path / "data", folder=tmp_path / runs / "mine-quick",
            cache=tmp_path / runs / "cache", image_size=16, max_patients=None,
        )  # fmt: skip
        return cohort.table, cohort.sha256

    return make


def test_real_data_are_pseudonymised_unless_the_manifest_says_no(build):
    assert load_manifest("ham10000").pseudonymise
    shown, _ = build(pseudonymise=False)
    hidden, _ = build()
    assert set(shown["source_patient"]) == {f"P{n}" for n in range(20)}
    assert set(shown["source_image"]) == {f"{n}.png" for n in range(20)}
    assert hidden["source_patient"].str.fullmatch("[0-9a-f]{32}").all()
    assert hidden["source_image"].str.fullmatch("[0-9a-f]{32}").all()
    assert hidden["source_image"].is_unique


def test_nothing_but_the_names_depends_on_pseudonyms_or_their_salt(build):
    shown, before = build(pseudonymise=False)
    hidden, after = build()
    other, elsewhere = build("others")
    assert before == after == elsewhere
    names = ["source_patient", "source_image"]
    pd.testing.assert_frame_equal(shown.drop(columns=names), hidden.drop(columns=names))
    pd.testing.assert_frame_equal(shown.drop(columns=names), other.drop(columns=names))


def test_a_patient_keeps_the_pseudonym_in_every_study_of_a_cache_and_has_another_elsewhere(build):
    first, _ = build()
    again, _ = build(conflicting_sex="drop")  # another fingerprint: built anew
    other, _ = build("others")
    assert first["source_patient"].tolist() == again["source_patient"].tolist()
    assert not set(first["source_patient"]) & set(other["source_patient"])


def test_images_of_one_patient_share_a_pseudonym():
    table = pd.DataFrame({"source_patient": ["a", "a", "b"], "source_image": ["1", "2", "3"]})
    hidden = pseudonymise(table, b"s" * 32)
    assert hidden["source_patient"].nunique() == 2
    assert hidden["source_patient"][0] == hidden["source_patient"][1]
    # HMAC-SHA256 of "a", computed with openssl dgst -hmac
    assert pseudonymise(table, b"s" * 32)["source_patient"][0] == "d24f6f5deecfbbcc4dea975b4a70d5e5"


def test_the_salt_is_its_owners_alone_and_outside_the_study(build, tmp_path):
    build()
    salt = tmp_path / "runs" / "cache" / SALT
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600
    assert len(salt.read_bytes()) == 32
    for path in (tmp_path / "runs" / "mine-quick").rglob("*"):
        assert path.is_dir() or salt.read_bytes() not in path.read_bytes()
        assert path.is_dir() or salt.read_bytes().hex().encode() not in path.read_bytes()


def test_a_lost_salt_gives_other_pseudonyms_and_a_spoilt_one_is_refused(build, tmp_path):
    first, before = build()
    salt = tmp_path / "runs" / "cache" / SALT
    salt.write_bytes(b"short")
    with pytest.raises(InputError, match=r"holds 5 bytes, expected 32; restore it"):
        build()
    salt.unlink()
    second, after = build()
    assert before == after
    assert not set(first["source_patient"]) & set(second["source_patient"])


def test_no_id_of_the_source_is_in_what_a_build_writes(build, tmp_path):
    for turned_off in (False, True):
        build(pseudonymise=not turned_off)
        written = b"".join(
            pd.read_parquet(path).to_csv().encode() if path.suffix == ".parquet" else b""
            for path in (tmp_path / "runs").rglob("*")
        )
        assert (b"P17" in written) == (b"17.png" in written) == turned_off
        record = json.loads((tmp_path / "runs/mine-quick/cohort.json").read_text())
        assert "P17" not in json.dumps(record)
        shutil.rmtree(tmp_path / "runs" / "mine-quick")
