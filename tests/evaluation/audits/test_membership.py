import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from medunlearn.evaluation.audits.membership import (
    area_interval,
    folded,
    match,
    placements,
    rmia,
)

HARD = {"easy": 0.0, "medium": 1.0, "hard": 2.0}


def patients(rows, first=0):
    """Patients as (sex, label, difficulty, how many)."""
    listed = [row[:3] for row in rows for _ in range(row[3])]
    table = pd.DataFrame(listed, columns=["sex", "label", "difficulty"])
    return table.set_axis(range(first, first + len(table)))


def share_of(found, others, **where):
    table = others.loc[found.others]
    chosen = np.all([table[name] == value for name, value in where.items()], axis=0)
    sizes = np.bincount(found.cells) / len(found.cells)
    return (sizes @ found.shares)[chosen].sum()


def test_non_members_are_distributed_as_the_members_are():
    members = patients([("F", 0, "hard", 6), ("M", 0, "easy", 3), ("M", 1, "hard", 1)])
    others = patients(
        [("F", 0, "hard", 5), ("F", 0, "easy", 90), ("M", 0, "easy", 40), ("M", 1, "hard", 2)], 100
    )
    found = match(members, others)
    assert share_of(found, others, sex="F", label=0, difficulty="hard") == pytest.approx(0.6)
    assert share_of(found, others, sex="M", label=0, difficulty="easy") == pytest.approx(0.3)
    assert share_of(found, others, label=1) == pytest.approx(0.1)
    assert share_of(found, others, sex="F", difficulty="easy") == 0
    assert found.note == "matched 100% on sex x label x difficulty"


def test_where_nobody_else_is_of_a_kind_or_there_is_nobody_else_nobody_is_matched():
    members = patients([("F", 0, "hard", 3)])
    for others in (patients([("M", 1, "hard", 9)], 100), patients([("M", 0, "hard", 1)])[:0]):
        found = match(members, others)
        assert found.patients == 0
        assert found.note == "3 members without match dropped"


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


def people(random, count, hard_share, first=0):
    """Patients of whom this share is hard; the others are easy or medium."""
    rest = (1 - hard_share) / 2
    difficulty = random.choice(list(HARD), count, p=[rest, rest, hard_share])
    return pd.DataFrame(
        {"sex": random.choice(["F", "M"], count), "label": 0, "difficulty": difficulty},
        index=range(first, first + count),
    )


def alike(members, others):
    """Everyone in one stratum: the plain area under the ROC curve."""
    tables = [
        pd.DataFrame({"sex": "F", "label": 0, "difficulty": "easy"}, index=range(a, a + n))
        for a, n in ((0, members), (members, others))
    ]
    return match(*tables)


def test_the_area_is_the_share_of_pairs_within_a_stratum_that_the_member_wins():
    random = np.random.default_rng(1)
    members, others = people(random, 40, 0.7), people(random, 200, 0.2, first=100)
    found = match(members, others)
    ours, theirs = (random.integers(0, 6, len(x)) for x in (found.members, found.others))
    won = []
    for patient, score in zip(found.members, ours, strict=True):
        same = (others.loc[found.others] == members.loc[patient]).all(axis=1).to_numpy()
        won.append(((score > theirs[same]) + 0.5 * (score == theirs[same])).mean())
    placed = placements(found, ours.astype(float), theirs.astype(float))
    assert placed.members.tolist() == pytest.approx(won)
    assert placed.area == pytest.approx(np.mean(won))
    assert placed.others.mean() == pytest.approx(0, abs=1e-12)


def test_unweighted_values_are_the_components_of_delong():
    random = np.random.default_rng(2)
    ours, theirs = random.normal(0.5, 1, 25), random.normal(size=40)
    found = placements(alike(25, 40), ours, theirs)
    wins = (ours[:, None] > theirs[None]).astype(float)
    assert found.members == pytest.approx(wins.mean(axis=1))
    # the root is Bessel's correction inside the stratum
    assert found.others == pytest.approx((wins.mean(axis=0) - wins.mean()) * (40 / 39) ** 0.5)


@pytest.mark.parametrize("shift", [-1.0, 0.7, 2.0])
def test_the_attacks_have_the_areas_of_two_normal_distributions(shift):
    random = np.random.default_rng(3)
    ours, theirs = random.normal(shift, 1, 20000), random.normal(size=20000)
    found, a = alike(20000, 20000), norm.cdf(shift / 2**0.5)
    assert placements(found, ours, theirs).area == pytest.approx(a, abs=0.01)
    fold = placements(found, *folded(found, ours, theirs)).area
    assert fold == pytest.approx(a**2 + (1 - a) ** 2, abs=0.01)


def test_the_fold_is_at_the_median_of_the_stratum():
    """How hard a stratum is as a whole neither shows nor turns its members over."""
    random = np.random.default_rng(4)
    members, others = people(random, 60, 0.7), people(random, 300, 0.2, first=100)
    found = match(members, others)
    ours, theirs = (random.normal(size=len(x)) + 1 for x in (found.members, found.others))
    hard = [
        table.loc[ids, "difficulty"].map(HARD).to_numpy()
        for table, ids in ((members, found.members), (others, found.others))
    ]
    plain = placements(found, *folded(found, ours, theirs))
    shifted = placements(found, *folded(found, ours - 10 * hard[0], theirs - 10 * hard[1]))
    assert shifted.area == pytest.approx(plain.area)
    middle = np.median(theirs[found.shares[found.cells[0]] > 0])
    assert folded(found, ours, theirs)[0][0] == pytest.approx(abs(ours[0] - middle))


def test_unmatched_a_hard_forget_set_makes_honest_models_look_attacked_and_matching_repairs_it():
    random = np.random.default_rng(5)
    members, others = people(random, 400, 0.8), people(random, 2000, 0.2, first=1000)
    # a retrained model has seen neither: hard patients are unlikely in either group
    score = {
        i: random.normal() - HARD[d] for t in (members, others) for i, d in t.difficulty.items()
    }
    ours = np.array([score[i] for i in members.index])
    theirs = np.array([score[i] for i in others.index])
    blind = placements(alike(400, 2000), ours, theirs).area
    found = match(members, others)
    matched = placements(found, ours, np.array([score[i] for i in found.others])).area
    assert blind < 0.35
    assert matched == pytest.approx(0.5, abs=0.04)


def draw(random, seeds, *, leak=0.0, members=60, others=150, honest=1.0):
    """Placements of leaking and of honest models on one draw of patients of three strata.

    Leaking and honest models of a patient agree in what the patient is like.
    """
    ours, theirs = people(random, members, 0.5), people(random, others, 0.25, first=1000)
    found = match(ours, theirs)
    level = [
        random.normal(0, honest, len(ids)) - table.loc[ids, "difficulty"].map(HARD).to_numpy()
        for table, ids in ((ours, found.members), (theirs, found.others))
    ]
    placed = ([], [])
    for _ in range(seeds):
        for kind, extra in enumerate((leak + random.normal(0, 0.2), random.normal(0, 0.2))):
            noisy = [mean + random.normal(0, 0.7, len(mean)) for mean in level]
            placed[kind].append(placements(found, noisy[0] + extra, noisy[1]))
    return placed


def test_intervals_have_the_variance_of_drawing_patients_and_seeds_anew():
    random = np.random.default_rng(6)
    drawn = [draw(random, 4, leak=0.5) for _ in range(150)]
    found = [area_interval(*placed) for placed in drawn]
    differences = [a.area - b.area for a, b in zip(*drawn[0], strict=True)]
    assert found[0].estimate == pytest.approx(np.mean(differences))
    estimates = np.array([each.estimate for each in found])
    ratio = np.mean([each.standard_error**2 for each in found]) / np.var(estimates)
    assert 0.8 < ratio < 1.4
    truth = estimates.mean()
    assert 0.92 <= np.mean([each.low <= truth <= each.high for each in found]) <= 0.995


def test_a_diverged_model_has_no_area():
    found = alike(3, 4)
    scores = np.full(3, np.nan), np.zeros(4)
    assert np.isnan(placements(found, *scores).area)
    assert np.isnan(folded(found, np.zeros(3), np.full(4, np.nan))[0]).all()


def test_rmia_is_the_weighted_share_of_the_population_that_is_dominated():
    ratio, population = np.array([0.0, 1.0, np.nan, 5.0]), np.array([0.5, 1.0, 3.0])
    weights = np.array([1.0, 1.0, 2.0])
    expected = [0, 0.5, np.nan, 1]
    assert rmia(ratio, population, weights) == pytest.approx(expected, nan_ok=True)
    assert np.isnan(rmia(ratio, population * np.nan, weights)).all()


def rmia_area(random, leak, references=3):
    """Area of an attack that refers to models which find the same patients hard."""
    ratios = {}
    for kind in ("members", "others", "population"):
        hard = random.normal(0, 2, 300)
        target = hard + random.normal(size=300) + leak * (kind == "members")
        others = -np.logaddexp(0, -(hard + random.normal(size=(references, 300))))
        ratios[kind] = -np.logaddexp(0, -target) - np.log(np.exp(others).mean(axis=0))
    scores = [rmia(ratios[k], ratios["population"], np.ones(300)) for k in ("members", "others")]
    return placements(alike(300, 300), *scores).area


def test_references_take_out_how_hard_a_sample_is():
    area = np.mean([rmia_area(np.random.default_rng(seed), leak=1.5) for seed in range(5)])
    blind = norm.cdf(1.5 / (2 * (4 + 1)) ** 0.5)
    assert area > blind + 0.05


def test_members_of_an_easy_kind_do_not_win_for_being_easy():
    """Scores depend on the stratum and on nothing else: every pair within one is a tie."""
    members, others = (
        people(np.random.default_rng(0), 60, 0.1),
        people(np.random.default_rng(1), 300, 0.8, first=100),
    )
    found = match(members, others)
    ours, theirs = (
        -table.loc[ids, "difficulty"].map(HARD).to_numpy()
        for table, ids in ((members, found.members), (others, found.others))
    )
    assert placements(found, ours, theirs).area == 0.5


def test_a_non_member_counts_as_its_stratum_counts_among_the_members():
    """By the definition of DeLong's components, in two strata of nine members and of one."""
    members = patients([("F", 0, "easy", 9), ("M", 0, "easy", 1)])
    others = patients([("F", 0, "easy", 6), ("M", 0, "easy", 6)], 100)
    found = match(members, others)
    ours, theirs = np.random.default_rng(8).normal(size=22)[:10], np.linspace(-1, 1, 12)
    for sex, share in (("F", 0.9), ("M", 0.1)):
        mine = ours[(members.loc[found.members, "sex"] == sex).to_numpy()]
        inside = (others.loc[found.others, "sex"] == sex).to_numpy()
        beaten = np.array([(mine > score).mean() for score in theirs[inside]])
        expected = 12 * share / 6 * (beaten - beaten.mean()) * np.sqrt(6 / 5)
        assert placements(found, ours, theirs).others[inside] == pytest.approx(expected)


def test_patients_alone_vary_as_much_as_both_groups_placements_say():
    """Without seed noise all variance is of patients: drop either group's and it is too small."""
    random = np.random.default_rng(7)
    areas, ours, theirs = [], [], []
    for _ in range(200):
        members, others = people(random, 50, 0.5), people(random, 60, 0.3, first=1000)
        found = match(members, others)
        first, second = (
            random.normal(size=len(ids)) - 2 * table.loc[ids, "difficulty"].map(HARD).to_numpy()
            for table, ids in ((members, found.members), (others, found.others))
        )
        placed = placements(found, first, second)
        areas.append(placed.area)
        ours.append(placed.members.var(ddof=1) / len(first))
        theirs.append(placed.others.var(ddof=1) / len(second))
    total = np.var(areas)
    assert 0.75 < (np.mean(ours) + np.mean(theirs)) / total < 1.3
    assert max(np.mean(ours), np.mean(theirs)) / total < 0.75
