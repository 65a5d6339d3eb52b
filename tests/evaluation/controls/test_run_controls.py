from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medunlearn.evaluation.claims import measure_contrasts
from medunlearn.evaluation.controls.resampling import rejections
from medunlearn.evaluation.controls.run_controls import AREAS, FIT, run_controls, switched_off
from tests.evaluation.synthetic import TERMS, make_study, with_seeds

SET_B = ("retrained", "B", None)
STATES = {"passed", "failed", "uninformative", "not run"}


NONE = pd.DataFrame()


def control(study, terms=TERMS, audits=NONE, contrasts=None, times=20):
    if contrasts is None:
        contrasts = measure_contrasts(study, terms)
    filled = [table for table in (contrasts, audits) if len(table)]
    asked = pd.concat(filled, ignore_index=True) if filled else NONE
    return run_controls(study, terms, asked, permutations=times, replicates=times)


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
    controls = controls[controls["guards"] != "audits"]
    fine = controls["state"].isin(["passed", "uninformative"])
    assert fine.all(), controls.loc[~fine, ["control", "found"]]
    assert (controls["state"] == "passed").sum() >= 10
    assert switched_off(controls) == {}
    assert (controls["found"] != "").all()


@pytest.mark.parametrize(
    ("worse", "claim", "sound"),
    [
        (lambda c: 2.0 * (c["sex"] == "F"), "C2", ()),
        (lambda c: 1.0 * (c["partition"] == "test"), "C3", ("C1",)),
    ],
)
def test_a_set_b_that_is_worse_fails_where_it_counts(worse, claim, sound):
    controls = control(make_study(test=500, shift={SET_B: lambda c: -worse(c)}), times=2)
    off = switched_off(controls)
    assert row(controls, f"set B passed off as unlearned: {claim}").state == "failed"
    assert claim in off
    for other in sound:
        assert row(controls, f"set B passed off as unlearned: {other}").state == "passed"
        assert other not in off


def test_a_do_nothing_that_forgets_leaves_no_question():
    controls = control(make_study(memory=0.0, test=200), times=2)
    assert row(controls, FIT).state == "failed"
    off = switched_off(controls)
    assert set(off) == {"C1", "C2", "C3", "C4", "audits"}
    assert FIT in off["C4"]


@pytest.mark.parametrize(
    ("gap", "low", "floor_high", "state"),
    [
        (0.05, 0.03, 0.02, "passed"), (0.049, 0.03, 0.02, "failed"), (0.06, 0.01, 0.02, "failed"),
        (0.06, np.nan, 0.02, "not run"), (0.06, 0.03, np.nan, "not run"),
    ],
)  # fmt: skip
def test_fitness_needs_a_gap_and_a_lower_limit_above_the_floor(nobody, gap, low, floor_high, state):
    where = {"claim": "C1", "contrast": "gap", "partition": "forget", "measure": "accuracy",
             "standard_error": 0.01, "df": 7.0, "seeds": 8, "margin": 0.05,
             "refused": ""}  # fmt: skip
    ours = {**where, "method": "original", "estimate": gap, "low": low, "high": 1.0}
    floor = {**where, "method": "floor", "estimate": 0.0, "low": -0.1, "high": floor_high}
    controls = control(nobody, contrasts=pd.DataFrame([ours, floor]))
    assert row(controls, FIT).state == state


def test_fitness_must_be_shown(study, contrasts):
    controls = control(study, contrasts=contrasts[contrasts["method"] != "floor"], times=2)
    assert row(controls, FIT).state == "not run"
    assert "set B" in row(controls, FIT).found
    off = switched_off(controls)
    assert set(off) == {"C1", "C2", "C3", "C4", "audits"}
    assert "set B passed off as unlearned: C3" in off["C3"], "nobody was there to be mistaken"


def of_set_b(p, *, error=0.01, refused="", claim="C1"):
    """Contrasts of set B with these p-values, by t with many degrees of freedom."""
    return pd.DataFrame(
        {
            "claim": claim, "method": "floor", "contrast": "other", "partition": "test",
            "measure": "brier", "estimate": stats.norm.isf(np.array(p) / 2) * error,
            "standard_error": error, "df": 1e6, "margin": 0.05, "refused": refused,
        }
    )  # fmt: skip


MANY = of_set_b([0.5] * 20, claim="C2")
REFUSED = of_set_b([1e-9], refused="too few")


@pytest.mark.parametrize(
    ("contrasts", "state", "found"),
    [
        (of_set_b([0.01]), "failed", "of 1 contrasts 1 different"),
        # one family over all claims
        (pd.concat([of_set_b([0.01]), MANY]), "passed", "of 1 contrasts 0 different"),
        # different but negligible is different
        (of_set_b([1e-4], error=0.002), "failed", "of 1 contrasts 1 different"),
        # equivalence is asked only within reach
        (of_set_b([0.9]), "passed", "1 of them among the 1 whose margin is within reach"),
        (of_set_b([0.9], error=0.03), "uninformative", "among the 0 whose margin is within reach"),
        # what is refused does not count
        (pd.concat([REFUSED, of_set_b([0.9])]), "passed", "of 1 contrasts 0 different"),
        (REFUSED, "not run", "too few"),
    ],
)
def test_set_b_must_not_be_different(nobody, contrasts, state, found):
    got = row(control(nobody, contrasts=contrasts), "set B passed off as unlearned: C1")
    assert got.state == state
    assert found in got.found


def audit_rows(ours=(0.2, 0.1), floor=(0.0, 0.05), audit="rmia", **more):
    """Do nothing as (estimate, low), the floor as (estimate, high)."""
    same = {"claim": "audits", "audit": audit, "against": "retrained", "group": "all",
            "standard_error": 0.02, "df": 7.0, "seeds": 8, "refused": "",
            "margin": 0.05 if audit in AREAS else np.nan, **more}  # fmt: skip
    return pd.DataFrame(
        [
            {**same, "method": "original", "estimate": ours[0], "low": ours[1], "high": 0.4},
            {**same, "method": "floor", "estimate": floor[0], "low": -0.05, "high": floor[1]},
        ]
    )


SEEN, BLIND = audit_rows(), audit_rows(ours=(0.06, 0.02))
POPULATION = audit_rows(ours=(0.0, -0.1), audit="population")
# read for all patients and against retrained models
OTHER = pd.concat([audit_rows(ours=(0.0, -0.1), group="F"), audit_rows(against="floor")])


@pytest.mark.parametrize(
    ("audits", "rmia", "population"),
    [
        (SEEN, "passed", "not run"),
        (BLIND, "failed", "not run"),
        # one attack that sees it is enough
        (pd.concat([SEEN, POPULATION]), "passed", "uninformative"),
        (pd.concat([BLIND, POPULATION]), "failed", "failed"),
        (pd.concat([OTHER, BLIND]), "failed", "not run"),
        (OTHER, "not run", "not run"),
    ],
)
def test_do_nothing_must_be_attacked(nobody, audits, rmia, population):
    controls = control(nobody, audits=audits, contrasts=NONE)
    assert row(controls, "do nothing is attacked: rmia").state == rmia
    assert row(controls, "do nothing is attacked: population").state == population
    assert ("do nothing is attacked" in switched_off(controls)["audits"]) == (rmia == "failed")


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({"floor": (0.2, 0.3)}, "failed"),
        ({"floor": (0.2, 0.3), "refused": "unbalanced"}, "not run"),
        # without a margin no equivalence is asked
        ({"audit": "rmia", "standard_error": 0.01}, "passed"),
        ({"audit": "divergence", "standard_error": 0.01}, "uninformative"),
    ],
)
def test_set_b_is_compared_by_audits_too(nobody, changed, state):
    controls = control(nobody, audits=audit_rows(**changed), contrasts=NONE)
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


def test_no_more_rejections_are_allowed_than_chance_gives():
    share, limit, runs = rejections(np.array([0.01, 0.2, 0.9, np.nan, 0.05]))
    assert (share, runs) == (0.25, 4)
    assert limit == pytest.approx(0.05 + 2 * np.sqrt(0.05 * 0.95 / 4))
    assert np.isnan(rejections(np.array([np.nan]))[0])


def test_contrasts_and_audits_may_be_empty(nobody):
    for audits in (audit_rows().iloc[:0], NONE):
        controls = control(nobody, audits=audits, contrasts=NONE)
        assert set(controls["state"]) == {"not run"}
        assert (controls["guards"] == "audits").sum() == 3
        assert (controls["found"] != "").all()
