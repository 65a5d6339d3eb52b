"""Patients are hidden behind pseudonyms, and found again by the ids of the user's table."""

import stat

import numpy as np
import pandas as pd
import pytest

from medunlearn.cohort.build import Cohort
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.patients import SALT, find_listed, pseudonymise
from medunlearn.errors import InputError

NAMES = ["source_patient", "source_image"]


@pytest.fixture
def made(tmp_path, lay_out, write_manifest, build):
    """Builds a made-up dataset in a folder of results."""
    lay_out("table")

    def made(runs: str = "runs", pseudonymise: bool = True, **changes: object) -> Cohort:
        manifest = write_manifest("table", pseudonymise=pseudonymise, **changes)
        return build(manifest, runs=tmp_path / runs)

    return made


def test_pseudonyms_hide_names_unless_turned_off_and_nothing_else_depends_on_them(made, tmp_path):
    assert load_manifest("ham10000").pseudonymise
    shown, hidden, other = made("shown", pseudonymise=False), made(), made("others")
    assert shown.sha256 == hidden.sha256 == other.sha256
    assert set(shown.table["source_patient"]) == {f"P{n}" for n in range(20)}
    for cohort in (hidden, other):
        pd.testing.assert_frame_equal(
            shown.table.drop(columns=NAMES), cohort.table.drop(columns=NAMES)
        )
        for name in NAMES:
            assert cohort.table[name].str.fullmatch("[0-9a-f]{32}").all()
            assert cohort.table[name].is_unique
    assert not set(hidden.table["source_patient"]) & set(other.table["source_patient"])
    again = made(conflicting_sex=None)  # another fingerprint: built anew
    assert hidden.table["source_patient"].tolist() == again.table["source_patient"].tolist()
    for path in tmp_path.glob("runs/*/*.[!np]*"):  # neither pixels nor the table itself
        assert not [name for name in (b"P17", b"17.png") if name in path.read_bytes()]


def test_images_of_one_patient_share_a_pseudonym():
    table = pd.DataFrame({"source_patient": ["a", "a", "b"], "source_image": ["1", "2", "3"]})
    hidden = pseudonymise(table, b"s" * 32)["source_patient"]
    # HMAC-SHA256 of "a", computed with openssl dgst -hmac
    assert hidden[0] == hidden[1] == "d24f6f5deecfbbcc4dea975b4a70d5e5" != hidden[2]


def test_the_salt_is_its_owners_alone_and_outside_the_study(made, tmp_path):
    made()
    salt = tmp_path / "runs/cache" / SALT
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600
    for path in (tmp_path / "runs/study").iterdir():
        assert salt.read_bytes() not in path.read_bytes()
        assert salt.read_bytes().hex().encode() not in path.read_bytes()


def test_a_lost_salt_gives_other_pseudonyms_and_a_spoilt_one_is_refused(made, tmp_path):
    first, salt = made(), tmp_path / "runs/cache" / SALT
    for spoilt in (b"", b"short"):
        salt.write_bytes(spoilt)
        with pytest.raises(InputError, match="expected 32; restore it"):
            made()
    salt.unlink()
    assert not set(first.table["source_patient"]) & set(made().table["source_patient"])


# Lists of patients


@pytest.fixture(params=[True, False], ids=["pseudonyms", "names"])
def cohort(request, lay_out, write_manifest, build) -> Cohort:
    lay_out("table")
    return build(write_manifest("table", pseudonymise=request.param), max_patients=18)


@pytest.fixture
def names(cohort) -> pd.Series:
    """Of each patient of the cohort the name in the table, found by age."""
    return "P" + (cohort.table.set_index("patient")["age"] - 40).astype(int).astype(str)


@pytest.fixture
def forget(cohort, tmp_path):
    def forget(*lines: str):
        (tmp_path / "ids.txt").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
        return find_listed(tmp_path / "ids.txt", cohort.table, cohort.salt)

    return forget


def patients(cohort, where: str) -> list[int]:
    table = cohort.table
    free = (table["partition"] == "train") & ~table["development"]
    return table.loc[free if where == "free" else table[where], "patient"].tolist()


def test_a_list_in_the_users_ids_becomes_a_forget_set(cohort, names, forget, tmp_path):
    wanted = patients(cohort, "free")[:3]
    listed = [names[patient] for patient in wanted]
    found = forget(listed[2], "", f" {listed[0]} ", listed[1], listed[2])
    assert found.patients == tuple(sorted(wanted))
    assert found.composition == "listed"
    train = cohort.table[cohort.table["partition"] == "train"]["patient"].nunique()
    assert found.forget_size == pytest.approx(3 / train)
    assert found == forget(*listed)
    written = found.write(tmp_path / "sets").read_text()
    assert not any(name in written for name in listed)
    assert forget(*listed[:2]).name != found.name


def test_all_ids_that_cannot_be_forgotten_are_named_with_line_and_reason(cohort, names, forget):
    table = cohort.table
    tuning = names[patients(cohort, "development")[0]]
    tested = names[table.loc[table["partition"] == "test", "patient"].iloc[0]]
    left_out = next(n for n in (f"P{i}" for i in range(20)) if n not in set(names))
    with pytest.raises(InputError) as error:
        forget(names[patients(cohort, "free")[0]], tuning, "p1", "", tested, left_out)
    faults = error.value.faults
    expected = [(2, tuning, "reserved for tuning"), (3, "p1", "no such patient"),
                (5, tested, "partition 'test'"), (6, left_out, "max_patients")]  # fmt: skip
    assert len(faults) == 4
    for fault, (line, name, words) in zip(faults, expected, strict=True):
        assert fault.startswith(f"line {line}: given {name!r}; ")
        assert words in fault
        # a request is never only dropped: the person may be in a network of the user's own
        assert ("unlearn_with_record" in fault) == (name in {tuning, tested})
    assert "no model of this study" in faults[2]
    assert "`split`" in faults[2]


def test_a_list_that_leaves_no_training_set_is_refused(cohort, names, forget, tmp_path):
    free, labels = patients(cohort, "free"), cohort.table.set_index("patient")["label"]
    with pytest.raises(InputError, match="no patient is named"):
        forget("", " ")
    with pytest.raises(InputError, match="the list is a single image"):
        forget(names[free[0]])
    reserved = set(labels[patients(cohort, "development")])
    code = next(code for code in (0, 1) if code not in reserved)
    with pytest.raises(InputError, match=f"takes every image of class code {code}"):
        forget(*(names[patient] for patient in free if labels[patient] == code))
    with pytest.raises(InputError, match="cannot be read"):
        find_listed(tmp_path / "none.txt", cohort.table)
    (tmp_path / "odd.txt").write_bytes(np.array([0xFF, 0xFE, 0x41], np.uint8).tobytes())
    with pytest.raises(InputError, match="UTF-8"):
        find_listed(tmp_path / "odd.txt", cohort.table)
