from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from medunlearn.evaluation.claims import measure_contrasts
from medunlearn.evaluation.estimands import MOST_SHARED, shared_weight
from medunlearn.evaluation.measurements import Measurements
from medunlearn.evaluation.yardsticks import line_ups
from medunlearn.study.profile import load_profile
from tests.evaluation import synthetic
from tests.evaluation.synthetic import pick

TRAIN, EVALUATION, TEST = 400, 40, 600
SEEDS = range(8)
SIZES = (0.05, 0.1, 0.2)
DRAWS = {"random-0.1-shared": list(range(40))} | {
    f"random-{size:g}-seed{seed}": list(range(20 * seed, 20 * seed + round(TRAIN * size)))
    for seed in SEEDS
    for size in (0.05, 0.2)
}
TERMS = replace(synthetic.TERMS, sizes=SIZES, margins=synthetic.TERMS.margins | {"slope": 0.015})
MARGINS = replace(TERMS, margins={**TERMS.margins, "probability": 0.02})


@pytest.fixture(scope="module")
def cohort():
    """One image a patient; women have findings less often, and are older."""
    random = np.random.default_rng(9)
    count = TRAIN + EVALUATION + TEST
    sex = np.where(np.arange(count) % 2 == 0, "F", "M")
    return pd.DataFrame(
        {
            "sample": np.arange(count),
            "patient": np.arange(count),
            "partition": np.repeat(
                ["train", "validation_evaluation", "test"], [TRAIN, EVALUATION, TEST]
            ),
            "sex": sex,
            "age": random.normal(np.where(sex == "F", 60, 45), 12),
            "label": (random.random(count) < np.where(sex == "F", 0.3, 0.5)).astype(int),
        }
    )


@pytest.fixture(scope="module")
def difficulty(cohort):
    random = np.random.default_rng(10)
    confidence = random.normal(size=len(cohort))
    return pd.DataFrame(
        {
            "sample": cohort["sample"],
            "confidence_out": confidence,
            "stratum": np.array(["hard", "medium", "easy"])[np.digitize(confidence, [-0.43, 0.43])],
            "little_memorised": (cohort["partition"] == "train") & (cohort["patient"] % 3 == 0),
        }
    )


def measure(cohort, difficulty, lost, *, seeds=SEEDS, methods=("finetune",), fresh=(0.1,)):
    """A study whose unlearned models are right less often than retrained ones.

    Args:
        lost: From (cohort, forget size) to the probability that a right decision turns wrong.
        seeds: Of originals and set A.
        methods: Names.
        fresh: Sizes at which there is a set B.
    """
    random, rows, logits = np.random.default_rng(11), [], []

    def add(right, **names):
        rows.append({"oracle_set": None, "method": None, "composition": None, **names})
        decided = np.where(right, cohort["label"], 1 - cohort["label"])
        logits.append((4 * np.eye(2)[decided] - 2).astype(np.float32))

    for seed in seeds:
        add(np.full(len(cohort), True), role="original", seed=seed)
        for size in SIZES:
            draw = "random-0.1-shared" if size == 0.1 else f"random-{size:g}-seed{seed}"
            names = {"forget_size": size, "draw": draw, "seed": seed, "composition": "random"}
            base = random.random(len(cohort)) < 0.9
            add(base, role="retrained", oracle_set="A", **names)
            for method in methods:
                kept = random.random(len(cohort)) >= lost(cohort, size)
                add(base & kept, role="unlearned", method=method, **names)
            if size in fresh:
                other = random.random(len(cohort)) < 0.9
                add(other, role="retrained", oracle_set="B", **{**names, "seed": 100 + seed})
    return Measurements(
        pd.DataFrame(rows), np.stack(logits), cohort, DRAWS, 0, difficulty=difficulty
    )


TEST_SEXES = {"claim": "C2", "partition": "test", "measure": "balanced_accuracy"}
FORGET_SEXES = {
    "claim": "C2", "partition": "forget", "measure": "accuracy", "adjustment": "label, difficulty",
}  # fmt: skip


@pytest.fixture(scope="module")
def harmless(cohort, difficulty):
    study = measure(cohort, difficulty, lambda table, _: np.zeros(len(table)))
    return measure_contrasts(study, TERMS)


@pytest.fixture(scope="module")
def sexist(cohort, difficulty):
    """Women lose a fifth of their right decisions."""
    study = measure(cohort, difficulty, lambda t, _: np.where(t["sex"] == "F", 0.2, 0.0))
    return study, measure_contrasts(study, TERMS)


def test_what_women_lose_is_a_negative_contrast_of_women_minus_men(sexist):
    _, contrasts = sexist
    for where in (TEST_SEXES, FORGET_SEXES):
        found = pick(contrasts, method="finetune", **where)
        assert found.estimate == pytest.approx(-0.18, abs=0.05)
        assert found.high < 0


def test_the_contrast_on_the_forget_set_is_the_mean_of_an_analysis_of_covariance_of_each_draw(
    sexist, cohort, difficulty
):
    """Each seed on its own patients, at the largest size; the spread is that between seeds."""
    study, contrasts = sexist
    models, right = study.models, study.logits.argmax(-1) == cohort["label"].to_numpy()
    largest = models[models["forget_size"] == 0.2]
    estimates = []
    for seed in SEEDS:
        here = largest[largest["seed"] == seed]
        (ours,), (base,) = (here.index[here[c] == v] for c, v in WHICH)
        table = cohort.merge(difficulty, on="sample")
        table["gap"] = right[ours].astype(float) - right[base]
        table = table[table["patient"].isin(DRAWS[f"random-0.2-seed{seed}"])]
        fitted = smf.ols("gap ~ C(sex, Treatment('M')) + C(label) + confidence_out", table).fit()
        estimates.append(fitted.params.iloc[1])
    found = pick(contrasts, method="finetune", **FORGET_SEXES)
    assert found.forget_size == 0.2
    assert found.estimate == pytest.approx(np.mean(estimates))
    assert found.standard_error == pytest.approx(stats.sem(estimates))
    assert (found.df, found.seeds, found.share_seed) == (7, 8, 1)


WHICH = (("method", "finetune"), ("oracle_set", "A"))


def test_a_loss_on_findings_alone_is_a_contrast_of_accuracy_and_none_once_classes_weigh_the_same(
    cohort, difficulty
):
    """Men have more findings: in plain accuracy they seem to lose more."""
    study = measure(cohort, difficulty, lambda t, _: np.where(t["label"] == 1, 0.4, 0.0))
    contrasts = measure_contrasts(study, TERMS)
    plain = pick(contrasts, claim="C2", partition="test", measure="accuracy", adjustment="",
                method="finetune")  # fmt: skip
    balanced = pick(contrasts, method="finetune", **TEST_SEXES)
    assert plain.low > 0.02
    assert abs(balanced.estimate) < 0.02


def test_standardised_by_age_what_the_old_lose_is_no_contrast_of_the_sexes(cohort, difficulty):
    study = measure(cohort, difficulty, lambda t, _: np.where(t["age"] > 55, 0.4, 0.0))
    contrasts = measure_contrasts(study, TERMS)
    where = {"claim": "C2", "partition": "test", "measure": "accuracy", "method": "finetune"}
    raw = pick(contrasts, adjustment="", **where).estimate
    standardised = pick(contrasts, adjustment="age", **where).estimate
    assert raw < -0.1
    assert abs(standardised) < 0.6 * abs(raw), "three bands take most of it away"


@pytest.mark.parametrize("women_alone", [False, True])
def test_what_hard_patients_lose_is_a_contrast_and_an_interaction_if_only_women_lose_it(
    cohort, difficulty, women_alone
):
    chosen = (difficulty["stratum"] == "hard").to_numpy()
    chosen = chosen & (cohort["sex"] == "F").to_numpy() if women_alone else chosen
    study = measure(cohort, difficulty, lambda *_: np.where(chosen, 0.3, 0.0))
    of_claim = measure_contrasts(study, TERMS).query("claim == 'C4' and method == 'finetune'")
    crossed = pick(of_claim, contrast="(F hard - F easy) - (M hard - M easy)")
    if women_alone:
        assert crossed.estimate == pytest.approx(-0.27, abs=0.06)
    else:
        hard = pick(of_claim, contrast="hard - easy")
        assert hard.estimate == pytest.approx(-0.27, abs=0.05)
        assert crossed.low < 0 < crossed.high


def test_the_slope_is_per_doubling_and_negative_where_larger_forget_sets_cost_more(
    cohort, difficulty
):
    loss = {0.05: 0.05, 0.1: 0.10, 0.2: 0.15}
    study = measure(cohort, difficulty, lambda t, size: np.full(len(t), loss[size]))
    contrasts = measure_contrasts(study, TERMS)
    found = pick(contrasts, claim="C3", contrast="slope of U - R", method="finetune")
    assert found.estimate == pytest.approx(-0.045, abs=0.01)
    assert found.high < 0
    assert found.margin == 0.015
    level = pick(contrasts, claim="C3", contrast="U - R", method="finetune")
    assert level.estimate == pytest.approx(-0.09, abs=0.01)


def test_a_clinic_sees_the_change_from_the_original(harmless):
    """Originals here are always right, retrained models in nine of ten: so is the unlearned one."""
    for method, name in (("finetune", "U - O"), ("retrain", "R - O")):
        found = pick(harmless, claim="C3", contrast=name, method=method)
        assert found.estimate == pytest.approx(-0.1, abs=0.02)
    floor = harmless[harmless["method"] == "floor"]
    assert not floor["contrast"].str.contains("U - O").any()
    assert not floor["confirmatory"].any()


def test_only_named_methods_at_the_primary_measures_are_confirmatory(cohort, difficulty):
    study = measure(
        cohort, difficulty, lambda t, _: np.zeros(len(t)), methods=("finetune", "scrub")
    )
    chosen = measure_contrasts(study, TERMS).query("confirmatory").reset_index(drop=True)
    assert set(chosen["method"]) == {"finetune"}
    assert chosen["family"].nunique() == len(chosen), "a family for each estimand"
    alone = measure_contrasts(study, TERMS, confirmatory=True).reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, chosen, check_dtype=False)
    margins = measure_contrasts(study, MARGINS).groupby("measure")["margin"].agg(lambda m: {*m})
    assert margins["probability"] == {0.02}
    assert np.isnan([*margins["brier"], *margins["true_positive_rate"]]).all()
    names = chosen[["claim", "contrast", "partition", "measure", "adjustment"]]
    assert {tuple(name) for name in names.to_numpy()} == {
        ("C2", "F - M", "test", "balanced_accuracy", ""),
        ("C2", "F - M", "test", "probability", "classes"),
        ("C2", "F - M", "forget", "accuracy", "label, difficulty"),
        ("C2", "F - M", "forget", "probability", "label, difficulty"),
        ("C3", "U - R", "test", "accuracy", ""),
        ("C3", "slope of U - R", "test", "accuracy", ""),
        ("C4", "hard - easy", "test", "accuracy", ""),
    }


@pytest.mark.parametrize(
    ("seeds", "terms", "reason"),
    [
        (2, replace(TERMS, seeds=2, floor_seeds=2), "needs 8 paired seeds, this profile has 2"),
        (7, TERMS, "unbalanced: 1 of 8 paired seeds are missing"),
    ],
)
def test_few_seeds_and_missing_runs_are_refused_with_the_reason(
    cohort, difficulty, seeds, terms, reason
):
    study = measure(cohort, difficulty, lambda t, _: np.zeros(len(t)), seeds=range(seeds))
    found = measure_contrasts(study, terms)["refused"]
    assert found[~found.str.contains("by construction")].str.startswith(reason).all()


def test_few_patients_and_forgotten_strata_are_refused_with_the_reason(cohort, difficulty):
    study = measure(cohort, difficulty, lambda t, _: np.zeros(len(t)))
    # 40 women and 40 men are forgotten at the largest size
    found = measure_contrasts(study, replace(TERMS, verdict_patients=41))
    forget = found[(found["claim"] == "C2") & (found["partition"] == "forget")]
    assert (forget["refused"] == "needs 41 patients in each group, one has 40").all()
    assert (found.loc[found["claim"] == "C3", "refused"] == "").all()
    # doing nothing must differ on hard and easy forgotten patients
    found = measure_contrasts(study, replace(TERMS, verdict_patients=10))
    strata = found["contrast"].isin(["gap, hard", "gap, easy"])
    assert found.loc[strata, "refused"].str.contains("by construction").all()
    assert (found.loc[found["contrast"] == "gap, unmemorised", "refused"] == "").all()


@pytest.mark.parametrize("known", [0.79, float("nan")])
def test_unreliable_difficulty_carries_no_verdict(cohort, difficulty, known):
    study = measure(cohort, difficulty, lambda t, _: np.zeros(len(t)))
    contrasts = measure_contrasts(study, replace(TERMS, reliability=known))
    hard = contrasts[(contrasts["claim"] == "C4") & (contrasts["partition"] == "test")]
    assert hard["refused"].str.contains("reliab").all()
    assert (contrasts.loc[contrasts["claim"] == "C3", "refused"] == "").all()


def test_without_sex_or_difficulty_there_are_the_other_claims(cohort):
    study = measure(cohort.assign(sex=None), pd.DataFrame(), lambda t, _: np.zeros(len(t)))
    assert set(measure_contrasts(study, TERMS)["claim"]) == {"C1", "C3"}
    study = measure(cohort, pd.DataFrame(), lambda t, _: np.zeros(len(t)))
    contrasts = measure_contrasts(study, TERMS)
    # adjusted for what is known
    assert set(contrasts.query("partition == 'forget'")["adjustment"]) == {"", "label"}


def test_a_slope_over_fewer_sizes_than_the_design_has_is_refused(cohort, difficulty):
    study = measure(cohort, difficulty, lambda t, _: np.zeros(len(t)))
    lost = (study.models["method"] == "finetune") & (study.models["forget_size"] == 0.05)
    kept = np.flatnonzero(~lost)
    fewer = replace(
        study, models=study.models.iloc[kept].reset_index(drop=True), logits=study.logits[kept]
    )  # fmt: skip
    found = pick(
        measure_contrasts(fewer, TERMS), claim="C3", contrast="slope of U - R", method="finetune"
    )
    assert found.refused == "unbalanced: forget size 0.05 is missing"
    # two sizes, of which one has the same draw in every seed: its luck would be the slope
    two = measure_contrasts(fewer, replace(TERMS, sizes=(0.1, 0.2)))
    found = pick(two, claim="C3", contrast="slope of U - R", method="finetune")
    assert "the one draw of the middle size weighs in it" in found.refused
    for profile in map(load_profile, ("laptop", "large", "full")):
        assert shared_weight(profile.forget_sizes, profile.middle_size) <= MOST_SHARED


def test_classes_too_rare_to_be_balanced_are_not_called_balanced(cohort, difficulty):
    """One finding among 600 test patients: all classes are pooled, and one is left."""
    rare = cohort.assign(label=(cohort["patient"] == TRAIN + EVALUATION).astype(int))
    study = measure(rare, difficulty, lambda t, _: np.zeros(len(t)))
    contrasts = measure_contrasts(study, TERMS)
    found = pick(contrasts, method="finetune", **TEST_SEXES)
    assert np.isnan(found.estimate)
    assert "nothing to balance" in found.refused
    plain = pick(contrasts, claim="C2", partition="test", measure="accuracy", adjustment="",
                method="finetune")  # fmt: skip
    assert np.isfinite(plain.estimate)


def test_set_b_may_have_fewer_seeds_and_stands_beside_models_of_its_own_draw(cohort, difficulty):
    study = measure(cohort, difficulty, lambda t, _: np.zeros(len(t)), fresh=(0.05, 0.1, 0.2))
    kept = study.models[(study.models["oracle_set"] != "B") | (study.models["seed"] > 102)]
    fewer = replace(
        study, models=kept.reset_index(drop=True), logits=study.logits[kept.index]
    )  # fmt: skip
    floors = [one for one in line_ups(fewer.models) if one.method == "floor"]
    assert [len(one.runs) for one in floors] == [5, 5, 5]
    for one in floors:
        assert [run.draw for run in one.runs] == [run.draw for run in one.base]
    contrasts = measure_contrasts(fewer, replace(TERMS, floor_seeds=5, verdict_seeds=5))
    slope = pick(contrasts, contrast="slope of U - R", method="floor")
    assert (slope.seeds, slope.refused) == (5, "")
    assert slope.low < 0 < slope.high
