import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.audits.membership import match


def patients(rows, first=0):
    """Patients as (sex, label, difficulty, how many)."""
    listed = [row[:3] for row in rows for _ in range(row[3])]
    table = pd.DataFrame(listed, columns=["sex", "label", "difficulty"])
    return table.set_axis(range(first, first + len(table)))


def share_of(found, others, **where):
    table = others.loc[found.others]
    chosen = np.all([table[name] == value for name, value in where.items()], axis=0)
    return (found.sizes @ found.shares)[chosen].sum()


def test_non_members_are_distributed_as_the_members_are():
    members = patients([("F", 0, "hard", 6), ("M", 0, "easy", 3), ("M", 1, "hard", 1)])
    others = patients(
        [("F", 0, "hard", 5), ("F", 0, "easy", 90), ("M", 0, "easy", 40), ("M", 1, "hard", 2)], 100
    )
    found = match(members, others)
    assert found.sizes.sum() == pytest.approx(1)
    assert share_of(found, others, sex="F", label=0, difficulty="hard") == pytest.approx(0.6)
    assert share_of(found, others, sex="M", label=0, difficulty="easy") == pytest.approx(0.3)
    assert share_of(found, others, label=1) == pytest.approx(0.1)
    assert share_of(found, others, sex="F", difficulty="easy") == 0
    assert found.note == "matched 100% on sex x label x difficulty"


def test_strata_without_non_members_are_coarsened_difficulty_first():
    members = patients([("F", 0, "hard", 2), ("F", 1, "hard", 1), ("M", 2, "easy", 1)])
    others = patients(
        [("F", 0, "easy", 4), ("M", 0, "hard", 4), ("F", 1, "hard", 3), ("F", 2, "easy", 2),
         ("F", 0, "hard", 1)], 100,  # one like patient is not enough
    )  # fmt: skip
    found = match(members, others)
    assert found.note == "matched 25% on sex x label x difficulty, 50% on sex x label, 25% on label"
    # women of label 0 stand for women, however easy, not for men
    assert share_of(found, others, sex="F", label=0) == pytest.approx(0.5)
    assert share_of(found, others, sex="M") == 0
    assert share_of(found, others, sex="F", label=2) == pytest.approx(0.25)


def test_members_without_any_like_patient_are_dropped_and_counted():
    members = patients([("F", 0, "hard", 3), ("F", 7, "hard", 2)])
    found = match(members, patients([("F", 0, "hard", 3)], 100))
    assert list(found.members) == [0, 1, 2]
    assert found.note == (
        "matched 60% on sex x label x difficulty; 2 members without match dropped"
    )
    nobody = match(members[members["label"] == 7], patients([("F", 0, "hard", 3)], 100))
    assert len(nobody.members) == len(nobody.others) == 0


def test_cells_belong_to_their_members_in_any_order():
    members = patients([("M", 0, "easy", 2), ("F", 0, "hard", 2)]).sample(frac=1, random_state=1)
    others = patients([("M", 0, "easy", 3), ("F", 0, "hard", 3)], 100).sample(
        frac=1, random_state=2
    )
    found = match(members, others)
    for member, cell in zip(found.members, found.cells, strict=True):
        inside = found.others[found.shares[cell] > 0]
        assert set(others.loc[inside, "sex"]) == {members.loc[member, "sex"]}


def test_what_is_unknown_of_all_is_not_matched_by():
    members = patients([("F", 0, None, 1)])
    others = patients([("F", 0, None, 2), ("M", 0, None, 1)], 100)
    matched = match(members, others)
    assert list(matched.others) == [100, 101]
    assert matched.note == "matched 100% on sex x label; difficulty not known"
