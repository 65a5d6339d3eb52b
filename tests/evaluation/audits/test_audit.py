import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.audits.audit import COLUMNS, audit
from tests.evaluation.audits.audited import FORGET, Made
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
    made = Made(seed=1).add_study(seeds=3, references=0)
    found = audit(made.measured(difficulty=pd.DataFrame()), 0.1)
    assert found.loc[found["audit"] == "rmia", "note"].str.contains("difficulty not known").all()


def test_a_smaller_set_b_is_compared_with_as_many_seeds_of_a_method():
    """Leave-pair-out fits what is left: its level depends on how many models there are."""
    made = Made(seed=8).add_study(seeds=7, methods=[("salun", 0.0)], references=0)
    models = made.models
    found = audit(made.keep(~((models["oracle_set"] == "B") & (models["seed"] > 104))), 0.1)
    where = {"method": "salun", "audit": "forgetting_quality", "group": "all"}
    assert pick(found, against="floor", **where).seeds == 5
    assert pick(found, against="retrained", **where).seeds == 7


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


def test_a_method_with_fewer_seeds_is_compared_on_these():
    made = Made(seed=3).add_study(seeds=4, methods=[("salun", 0.0)])
    models = made.models
    found = audit(made.keep(~((models["method"] == "salun") & (models["seed"] > 1))), 0.1)
    rows = found[found["method"] == "salun"]
    assert set(rows["seeds"]) == {2}


@pytest.mark.parametrize("sexes", [("F",), (None,)])
def test_a_cohort_of_one_sex_or_none_is_audited_as_a_whole(sexes):
    found = audit(Made(seed=4, sexes=sexes).add_study(seeds=3).measured(), 0.1)
    assert set(found["group"]) == ({"all", "F"} if sexes[0] else {"all"})
    row = pick(found, method="original", audit="rmia", group="all", against="retrained")
    assert row.low > 0


def test_a_class_that_is_missing_among_test_patients_drops_its_members():
    made = Made(seed=6).add_study(seeds=3)
    cohort = made.cohort
    absent = (cohort["partition"] == "test") & (cohort["label"] == 2)
    found = audit(made.measured(cohort=cohort.assign(label=cohort["label"].mask(absent, 0))), 0.1)
    row = pick(found, method="original", audit="rmia", group="all", against="retrained")
    assert "members without match dropped" in row.note
    assert np.isfinite(row.low)


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
