import numpy as np
import pandas as pd
import pytest

from medunlearn.cohort.build import Cohort
from medunlearn.cohort.patients import find_listed
from medunlearn.errors import InputError


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
    with pytest.raises(InputError, match="one id a line"):
        find_listed(tmp_path / "none.txt", cohort.table)
    (tmp_path / "odd.txt").write_bytes(np.array([0xFF, 0xFE, 0x41], np.uint8).tobytes())
    with pytest.raises(InputError, match="UTF-8"):
        find_listed(tmp_path / "odd.txt", cohort.table)
