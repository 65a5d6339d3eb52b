import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.audits.audit import COLUMNS, Attacks, audit
from medunlearn.evaluation.yardsticks import Comparison
from tests.evaluation.audits.audited import DRAW, FORGET, Made
from tests.evaluation.synthetic import pick

ATTACKS = ("population", "rmia")


@pytest.fixture(scope="module")
def study():
    """salun remembers, scrub makes the forgotten unlikely, finetune is honest."""
    made = Made(seed=0)
    forgotten = made.inside(range(FORGET))
    retained = (made.cohort["partition"] == "train").to_numpy() & ~forgotten
    methods = [("salun", 1.5 * forgotten), ("scrub", -5.0 * forgotten), ("finetune", 0.0),
               ("ssd", 2.5 * retained)]  # fmt: skip
    return made.add_study(seeds=6, methods=methods)


@pytest.fixture(scope="module")
def table(study):
    return audit(study.measured(), 0.1)


def test_there_is_a_row_for_each_method_audit_group_and_yardstick(table):
    assert list(table.columns) == list(COLUMNS)
    keys = ["method", "audit", "partition", "group", "against"]
    assert not table.duplicated(keys).any()
    methods = {"original", "floor", "salun", "scrub", "finetune", "ssd"}
    assert set(table["method"]) == methods
    for group in ("all", "F", "M"):
        rows = table[(table["group"] == group) & (table["audit"] == "rmia")]
        assert len(rows) == 2 * len(methods) - 1
    assert set(table.loc[table["method"] == "floor", "against"]) == {"retrained"}


@pytest.mark.parametrize("audited", [*ATTACKS, "forgetting_quality"])
@pytest.mark.parametrize("against", ["retrained", "floor"])
def test_what_is_remembered_is_detected_and_what_is_not_is_not(table, audited, against):
    where = {"audit": audited, "group": "all", "against": against}
    for method in ("original", "salun"):
        assert pick(table, method=method, **where).low > 0.05
    honest = pick(table, method="finetune", **where)
    assert abs(honest.estimate) < 0.05
    assert honest.low < 0.01
    assert honest.high > -0.01
    yardstick = pick(table, **{**where, "method": "floor", "against": "retrained"})
    if against == "floor":
        difference = honest.level_estimate - yardstick.level_estimate
        assert honest.estimate == pytest.approx(difference)


@pytest.mark.parametrize("audited", [*ATTACKS, "forgetting_quality"])
def test_set_b_lies_at_the_floor(table, audited):
    row = pick(table, method="floor", audit=audited, group="all", against="retrained")
    assert row.low < 0 < row.high
    assert row.patients == FORGET, "test patients do not make a forget set larger"


def test_abnormally_unlikely_members_are_seen_by_the_folded_attack(table):
    where = {"method": "scrub", "group": "all", "against": "retrained"}
    for attack in ATTACKS:
        assert pick(table, audit=attack, **where).high < -0.2
        assert pick(table, audit=f"{attack}_folded", **where).low > 0.1


def test_agreement_is_an_excess_over_retraining_again(table):
    for method, low, high in (("finetune", -0.01, 0.01), ("salun", 0.02, 1), ("scrub", 0.1, 1)):
        where = {"method": method, "group": "all", "against": "retrained"}
        row = pick(table, audit="divergence", partition="forget", **where)
        assert low < row.estimate < high
    decisions = {"audit": "equal_decisions", "partition": "forget", "group": "all"}
    assert pick(table, method="scrub", against="retrained", **decisions).high < -0.3
    # the remembered are told by how sure the model is, not by what it decides
    assert pick(table, method="salun", against="retrained", **decisions).estimate > -0.1
    unchanged = pick(table, audit="divergence", partition="test", method="salun", group="all",
                     against="retrained")  # fmt: skip
    assert unchanged.low < 0 < unchanged.high


def test_doing_nothing_looks_better_than_perfect_if_pairs_of_one_seed_are_used():
    """Models of one seed share their start: a method that changes nothing agrees too well."""
    made = Made(seed=5)
    methods = [("finetune", 0.0)]
    for seed in range(6):
        start = made.start(1.5)
        made.add("retrained", seed, oracle_set="A", start=start, unseen=range(FORGET))
        made.add("unlearned", seed, method=methods[0][0], start=start, unseen=range(FORGET))
    found = audit(made.measured(), 0.1)
    row = pick(found, audit="divergence", partition="test", group="all")
    assert row.low < 0 < row.high


def test_women_and_men_are_audited_apart(study, table):
    women = study.cohort["sex"] == "F"
    forgotten = study.cohort["patient"] < FORGET
    where = {"method": "salun", "audit": "divergence", "partition": "forget",
             "against": "retrained"}  # fmt: skip
    counts = {g: pick(table, group=g, **where).patients for g in ("all", "F", "M")}
    assert counts["F"] == study.cohort.loc[women & forgotten, "patient"].nunique()
    assert counts["F"] + counts["M"] == counts["all"] == FORGET


def test_without_difficulty_patients_are_matched_by_what_is_known():
    made = Made(seed=1).add_study(seeds=3)
    found = audit(made.measured(difficulty=pd.DataFrame()), 0.1)
    assert found.loc[found["audit"] == "rmia", "note"].str.contains("difficulty not known").all()


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_few_seeds_give_humbler_rows(seeds):
    found = audit(Made(seed=2).add_study(seeds=seeds).measured(), 0.1)
    area = pick(found, method="original", audit="population", group="all", against="retrained")
    assert np.isfinite(area.estimate)
    assert np.isfinite(area.low) == (seeds > 1)
    quality = pick(found, method="original", audit="forgetting_quality", group="all",
                   against="retrained")  # fmt: skip
    assert np.isnan(quality.low)
    assert f"{seeds} seeds, an interval needs 5" in quality.note
    if seeds == 1:
        assert "one seed: no interval" in area.note


@pytest.mark.parametrize("sexes", [("F",), (None,)])
def test_a_cohort_of_one_sex_or_none_is_audited_as_a_whole(sexes):
    found = audit(Made(seed=4, sexes=sexes).add_study(seeds=3).measured(), 0.1)
    assert set(found["group"]) == ({"all", "F"} if sexes[0] else {"all"})
    row = pick(found, method="original", audit="rmia", group="all", against="retrained")
    assert row.low > 0


def test_a_diverged_model_silences_its_method_only():
    made = Made(seed=7).add_study(seeds=5, methods=[("salun", 0.0), ("ssd", 0.0)])
    row = made.models.index[made.models["method"] == "salun"][0]
    made.logits[row][:] = np.nan
    found = audit(made.measured(), 0.1)
    lost = found[found["method"] == "salun"]
    assert lost["estimate"].isna().all()
    assert lost["note"].str.contains("1 of the models compared have blown up").all()
    whole = found[found["method"] == "ssd"]
    assert whole["estimate"].notna().all()


def test_only_a_forget_set_that_all_seeds_share_is_audited(study):
    models = study.models
    for other in ((0.2, "random"), (0.1, "female")):
        found = audit(study.measured(), *other)
        assert found.empty
        assert list(found.columns) == list(COLUMNS)
    own = (models["oracle_set"] == "A") & (models["seed"] == 1)
    changed = models.assign(draw=models["draw"].mask(own, "random-0.1-seed1"))
    with pytest.raises(ValueError, match="each seed forgets other patients"):
        audit(study.measured(models=changed), 0.1)


def attack(made):
    table = made.models[made.models["oracle_set"] == "A"]
    rows = dict(zip(table["seed"], table.index, strict=True))
    return Attacks(made.measured(), DRAW, rows)


def test_the_models_own_seed_is_never_referred_to():
    """Another retrained model of seed 0 changes what is said of seeds 1 and 2 only."""
    before, changed = (Made(seed=1).add_study(seeds=3) for _ in range(2))
    own = int(changed.models.index[changed.models["oracle_set"] == "A"][0])
    changed.logits[own] = changed.logits[own] + np.array([3, 0, 0], dtype=np.float32)
    one, other = attack(before), attack(changed)
    for side in ("forget", "test"):
        pd.testing.assert_series_equal(
            one.scores("rmia", 0, 0)[side], other.scores("rmia", 0, 0)[side]
        )
        assert (
            one.scores("rmia", 0, 1)[side] - other.scores("rmia", 0, 1)[side]
        ).abs().max() > 0.01


def test_scores_that_differ_by_rounding_error_are_ties():
    """Sums in another order, as on another processor, may not order patients."""
    one, other = (attack(Made(seed=1).add_study(seeds=3)) for _ in range(2))
    known = other.measurements.confidence
    other.measurements.confidence = lambda row: known(row) * (1 + 4e-16)
    for kind in ("population", "rmia"):
        for side in ("forget", "test"):
            ranks = [np.argsort(x.scores(kind, 0, 0)[side], kind="stable") for x in (one, other)]
            assert np.array_equal(*ranks)


def test_what_an_attack_lacks_is_said():
    alone = attack(Made(seed=3).add_study(seeds=1))
    one = Comparison("original", "retrained", (0,), (0,), (1,), (1,))
    notes = {audit: note for audit, *_, note in alone.findings(one)}
    assert "no retrained model of another seed" in notes["rmia"]
    assert "matched" in notes["population"]


def test_references_are_averaged_as_probabilities():
    found = attack(Made(seed=1).add_study(seeds=3))
    others = [row for seed, row in found.retrained.items() if seed != 0]
    probabilities = [1 / (1 + np.exp(-found.measurements.confidence(row))) for row in others]
    assert found._means(0) == pytest.approx(np.log(np.mean(probabilities, axis=0)))


def test_a_score_is_the_mean_over_a_patients_images():
    found = attack(Made(seed=1).add_study(seeds=2))
    subset = found.measurements.subset(DRAW, "test", "all")
    confidence = found.measurements.confidence(0)[subset.samples]
    for patient in subset.patient_ids[:5]:
        expected = confidence[subset.patients == patient].mean()
        assert found.scores("population", 0, 0)["test"][patient] == pytest.approx(expected)
