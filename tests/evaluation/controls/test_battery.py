from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medunlearn.evaluation.claims import measure_contrasts
from medunlearn.evaluation.controls.battery import FIT, run_controls, switched_off
from medunlearn.evaluation.controls.outcomes import rejections
from tests.evaluation.synthetic import TERMS, make_study, with_seeds

SET_B = ("retrained", "B", None)
STATES = {"passed", "failed", "uninformative", "not run"}


def control(study, terms=TERMS, audits=None, contrasts=None, times=20):
    if contrasts is None:
        contrasts = measure_contrasts(study, terms)
    return run_controls(study, terms, contrasts, audits, permutations=times, replicates=times)


def row(controls, start):
    found = controls[controls["control"].str.startswith(start)]
    assert len(found) == 1, found
    return found.iloc[0]


@pytest.fixture(scope="module")
def study():
    return make_study()


@pytest.fixture(scope="module")
def contrasts(study):
    return measure_contrasts(study, TERMS)


@pytest.fixture(scope="module")
def nobody():
    """A study in which only given contrasts and audits matter: it has no sex and 20 patients."""
    return make_study(seeds=2, floor_seeds=2, train=40, test=20, forget=10, sexes=[None])


def test_a_sound_study_passes_all_controls(study, contrasts):
    controls = control(study, contrasts=contrasts, times=60)
    fine = controls["state"].isin(["passed", "uninformative"])
    assert fine.all(), controls.loc[~fine, ["control", "found"]]
    assert (controls["state"] == "passed").sum() >= 10
    assert switched_off(controls) == {}
    assert (controls["found"] != "").all()


def test_a_set_b_that_is_worse_for_women_fails_and_switches_off_the_claim_on_bias():
    made = make_study(test=500, shift={SET_B: lambda c: -2.0 * (c["sex"] == "F")})
    controls = control(made)
    assert row(controls, "set B passed off as unlearned: C2").state == "failed"
    assert "C2" in switched_off(controls)


def test_a_set_b_that_is_worse_on_the_test_set_fails_where_it_counts():
    made = make_study(test=500, shift={SET_B: lambda c: -1.0 * (c["partition"] == "test")})
    controls = control(made)
    assert row(controls, "set B passed off as unlearned: C3").state == "failed"
    assert row(controls, "set B passed off as unlearned: C1").state == "passed"
    off = switched_off(controls)
    assert "C3" in off
    assert "C1" not in off


def test_a_do_nothing_that_forgets_leaves_no_question():
    controls = control(make_study(memory=0.0, test=200))
    assert row(controls, FIT).state == "failed"
    off = switched_off(controls)
    assert set(off) == {"C1", "C2", "C3", "C4", "audits"}
    assert FIT in off["C4"]


def fitness(nobody, gap, low, floor_high):
    where = {"claim": "C1", "contrast": "gap", "partition": "forget", "measure": "accuracy",
             "standard_error": 0.01, "df": 7.0, "seeds": 8, "patients": 100, "margin": 0.05,
             "refused": "", "high": 1.0}  # fmt: skip
    frame = pd.DataFrame(
        [
            {**where, "method": "original", "estimate": gap, "low": low},
            {**where, "method": "floor", "estimate": 0.0, "low": -0.1, "high": floor_high},
        ]
    )
    return row(control(nobody, contrasts=frame), FIT)


@pytest.mark.parametrize(
    ("gap", "low", "floor_high", "state"),
    [
        (0.06, 0.03, 0.02, "passed"),
        (0.05, 0.03, 0.02, "passed"),
        (0.049, 0.03, 0.02, "failed"),
        (0.06, 0.01, 0.02, "failed"),
        (0.06, np.nan, 0.02, "not run"),
        (0.06, 0.03, np.nan, "not run"),
    ],
)
def test_fitness_needs_a_gap_and_a_lower_limit_above_the_floor(nobody, gap, low, floor_high, state):
    assert fitness(nobody, gap, low, floor_high).state == state


def test_fitness_must_be_shown(study, contrasts):
    controls = control(study, contrasts=contrasts[contrasts["method"] != "floor"], times=2)
    assert row(controls, FIT).state == "not run"
    assert "set B" in row(controls, FIT).found
    off = switched_off(controls)
    assert set(off) == {"C1", "C2", "C3", "C4", "audits"}
    assert "set B passed off as unlearned: C3" in off["C3"], "nobody was there to be mistaken"


def of_set_b(p, *, error=0.01, margin=0.05, refused="", claim="C1"):
    """Contrasts of set B with these p-values, by t with many degrees of freedom."""
    return pd.DataFrame(
        {
            "claim": claim, "method": "floor", "contrast": "other", "partition": "test",
            "measure": "brier", "estimate": stats.norm.isf(np.array(p) / 2) * error,
            "standard_error": error, "df": 1e6, "margin": margin, "refused": refused,
        }
    )  # fmt: skip


def test_set_b_is_judged_as_one_family_over_all_claims(nobody):
    alone = of_set_b([0.01])
    first = control(nobody, contrasts=alone)
    assert row(first, "set B passed off as unlearned: C1").state == "failed"
    many = pd.concat([alone, of_set_b([0.5] * 20, claim="C2")])
    second = control(nobody, contrasts=many)
    assert row(second, "set B passed off as unlearned: C1").state != "failed"


def test_set_b_different_but_negligible_is_different(nobody):
    controls = control(nobody, contrasts=of_set_b([1e-4], error=0.002))
    assert row(controls, "set B passed off as unlearned: C1").state == "failed"


def test_equivalence_is_asked_only_within_reach(nobody):
    near = row(control(nobody, contrasts=of_set_b([0.9])), "set B passed off as unlearned: C1")
    assert (near.state, near.runs) == ("passed", 1)
    far = row(
        control(nobody, contrasts=of_set_b([0.9], error=0.03)), "set B passed off as unlearned: C1"
    )
    assert far.state == "uninformative"
    assert "0 of them among the 0 whose margin is within reach" in far.found


def test_refused_contrasts_do_not_count(nobody):
    refused = pd.concat([of_set_b([1e-9], refused="too few"), of_set_b([0.9])])
    found = row(control(nobody, contrasts=refused), "set B passed off as unlearned: C1")
    assert (found.state, found.runs) == ("passed", 1)
    found = row(
        control(nobody, contrasts=of_set_b([1e-9], refused="too few")),
        "set B passed off as unlearned: C1",
    )
    assert (found.state, found.found) == ("not run", "too few")


def audit_rows(ours=(0.2, 0.1), floor=(0.0, 0.05), audit="rmia", **more):
    """Do nothing as (estimate, low), the floor as (estimate, high)."""
    same = {"audit": audit, "against": "retrained", "standard_error": 0.02, "df": 7.0, "seeds": 8,
            "patients": 100, "note": "", **more}  # fmt: skip
    return pd.DataFrame(
        [
            {**same, "method": "original", "estimate": ours[0], "low": ours[1], "high": 0.4},
            {**same, "method": "floor", "estimate": floor[0], "low": -0.05, "high": floor[1]},
        ]
    )


def test_do_nothing_must_be_attacked(nobody):
    seen = control(nobody, audits=audit_rows())
    assert row(seen, "do nothing is attacked: rmia").state == "passed"
    assert row(seen, "do nothing is attacked: population").state == "not run"
    blind = control(nobody, audits=audit_rows(ours=(0.06, 0.02)))
    assert row(blind, "do nothing is attacked: rmia").state == "failed"
    assert "audits" in switched_off(blind)


def test_one_attack_that_sees_it_is_enough(nobody):
    both = pd.concat([audit_rows(), audit_rows(ours=(0.0, -0.1), audit="population")])
    controls = control(nobody, audits=both)
    assert row(controls, "do nothing is attacked: population").state == "uninformative"
    assert "do nothing is attacked" not in switched_off(controls)["audits"]


def test_attacks_are_read_for_all_patients_and_against_retrained_models(nobody):
    other = [audit_rows(ours=(0.0, -0.1), group="F"), audit_rows(ours=(0.0, -0.1), against="floor")]
    mixed = pd.concat([*other, audit_rows(group="all")]).fillna({"group": "all"})
    controls = control(nobody, audits=mixed)
    assert row(controls, "do nothing is attacked: rmia").state == "passed"


def test_set_b_is_held_to_retrained_models_by_audits_too(nobody):
    eight = with_seeds(8)
    bad = audit_rows(floor=(0.2, 0.3))
    controls = control(nobody, eight, audits=bad, contrasts=pd.DataFrame())
    assert row(controls, "set B passed off as unlearned: audits").state == "failed"
    itself = control(nobody, eight, audits=bad.assign(against="floor"), contrasts=pd.DataFrame())
    assert row(itself, "set B passed off as unlearned: audits").state == "not run"
    few = control(nobody, eight, audits=bad.assign(seeds=4), contrasts=pd.DataFrame())
    assert row(few, "set B passed off as unlearned: audits").state == "not run"


def test_audits_without_a_margin_are_asked_for_no_equivalence(nobody):
    for audit, state in (("rmia", "passed"), ("divergence", "uninformative")):
        frame = audit_rows(audit=audit, standard_error=0.01)
        controls = control(nobody, audits=frame, contrasts=pd.DataFrame())
        assert row(controls, "set B passed off as unlearned: audits").state == state


SMALL = {"test": 120, "train": 200, "forget": 60}


def blow_up(role, oracle_set):
    made = make_study(**SMALL)
    logits, models = made.logits.copy(), made.models
    chosen = (models["role"] == role) & models["oracle_set"].eq(oracle_set)
    logits[models.index[chosen | (models["role"].eq(role) & (oracle_set == ""))][0]] = np.nan
    return replace(made, logits=logits)


def only(role):
    made = make_study(**SMALL)
    return replace(made, models=made.models[made.models["role"] == role])


HUMBLE = {
    "no sex": lambda: make_study(sexes=[None], **SMALL),
    "one sex": lambda: make_study(sexes=["F"], **SMALL),
    "no difficulty": lambda: make_study(difficulty=False, **SMALL),
    "two seeds": lambda: make_study(seeds=2, floor_seeds=2, **SMALL),
    "one seed": lambda: make_study(seeds=1, floor_seeds=1, **SMALL),
    "no set B": lambda: make_study(floor_seeds=0, **SMALL),
    "fewer of set B": lambda: make_study(floor_seeds=3, **SMALL),
    "20 patients": lambda: make_study(train=40, test=20, forget=10),
    "an exploded set B": lambda: blow_up("retrained", "B"),
    "an exploded set A": lambda: blow_up("retrained", "A"),
    "an exploded original": lambda: blow_up("original", ""),
    "no original": lambda: only("retrained"),
    "no retrained model": lambda: only("original"),
}


@pytest.mark.parametrize("name", HUMBLE)
def test_humble_studies_have_a_state_and_a_reason(name):
    made = HUMBLE[name]()
    seeds = int((made.models["role"] == "original").sum())
    terms = with_seeds(seeds or 8)
    contrasts = measure_contrasts(made, terms)
    controls = control(made, terms, contrasts=contrasts, times=3)
    assert set(controls["state"]) <= STATES
    assert (controls["found"] != "").all()
    assert (controls["guards"] != "").all()
    by_sex = controls[controls["control"].str.contains("planted|permuted")]
    assert len(by_sex) == 7
    if name in {"no sex", "one sex", "one seed", "20 patients", "no retrained model"}:
        assert set(by_sex["state"]) == {"not run"}, by_sex[["control", "found"]]
    if name == "two seeds":
        assert row(controls, "planted bias").found.startswith("needs 8 paired seeds")
        assert set(by_sex["state"]) != {"not run"}


def test_audits_may_be_empty(nobody):
    for audits in (audit_rows().iloc[:0], pd.DataFrame()):
        controls = control(nobody, audits=audits, contrasts=pd.DataFrame())
        attacked = controls[controls["guards"] == "audits"]
        assert len(attacked) == 3
        assert set(attacked["state"]) == {"not run"}
        assert (attacked["found"] != "").all()


def test_no_more_rejections_are_allowed_than_chance_gives():
    share, limit, runs = rejections(np.array([0.01, 0.2, 0.9, np.nan, 0.05]))
    assert (share, runs) == (0.25, 4)
    assert limit == pytest.approx(0.05 + 2 * np.sqrt(0.05 * 0.95 / 4))
    assert np.isnan(rejections(np.array([np.nan]))[0])
