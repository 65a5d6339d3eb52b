import numpy as np
import pandas as pd
import pytest

from medunlearn.statistics import checks
from medunlearn.statistics.checks import check_point_estimates


def frame(seeds=4, patients=40, *, seed_sd=0.05, patient_sd=0.3, difference=0.1):
    """A complete layout: women, the first half, are higher by ``difference``."""
    random = np.random.default_rng(0)
    woman = np.arange(patients) < patients // 2
    values = (
        difference * woman
        + random.normal(0, patient_sd, patients)
        + random.normal(0, seed_sd, (seeds, 1))
        + random.normal(0, 0.1, (seeds, patients))
    )
    seed, patient = np.indices(values.shape)
    return pd.DataFrame(
        {
            "value": values.ravel(),
            "group": np.where(woman[patient.ravel()], "F", "M"),
            "seed": seed.ravel(),
            "patient": patient.ravel(),
        }
    )


@pytest.fixture(scope="module")
def complete():
    return frame()


@pytest.mark.parametrize("most", [0, 10_000])
def test_three_estimators_agree_where_every_seed_has_every_patient(complete, monkeypatch, most):
    monkeypatch.setattr(checks, "CROSSED_ROWS", most)
    found = check_point_estimates(complete)
    means = complete.groupby("group")["value"].mean()
    assert found["estimator"].tolist() == ["mean", "GEE", "mixed model"]
    assert found["estimate"].to_numpy() == pytest.approx(means["F"] - means["M"], abs=1e-6)
    assert found["difference"].to_numpy() == pytest.approx(0, abs=1e-6)
    kind = "variance components" if most else "fixed effects"
    assert kind in found["note"].iloc[2]


def test_no_standard_error_and_no_p_value_leaves(complete):
    found = check_point_estimates(complete)
    assert found.columns.tolist() == ["estimator", "estimate", "difference", "note"]


def test_the_contrast_is_the_first_group_minus_the_second(complete):
    one, other = (check_point_estimates(complete, pair) for pair in (("F", "M"), ("M", "F")))
    assert one["estimate"].to_numpy() == pytest.approx(-other["estimate"].to_numpy(), abs=1e-6)


@pytest.mark.parametrize("most", [0, 10_000])
def test_where_rows_are_missing_each_weighs_them_its_own_way(monkeypatch, most):
    """A seed far off has few women: pooled rows would take its shift for one of the sexes."""
    monkeypatch.setattr(checks, "CROSSED_ROWS", most)
    whole = frame(seed_sd=3.0)
    rows = whole[(whole["seed"] > 0) | (whole["patient"] >= 15)]
    pooled = rows.groupby("group")["value"].mean()
    found = check_point_estimates(rows).set_index("estimator")
    # mean of the seeds' contrasts
    contrasts = [seed.groupby("group")["value"].mean() for _, seed in rows.groupby("seed")]
    assert found.loc["mean", "estimate"] == pytest.approx(
        np.mean([each["F"] - each["M"] for each in contrasts])
    )
    everyone = whole.groupby("group")["value"].mean()
    error = (found["estimate"] - (everyone["F"] - everyone["M"])).abs()
    assert (
        error["mixed model"] < 0.1 < abs(pooled["F"] - pooled["M"] - everyone["F"] + everyone["M"])
    )
    assert found.loc["mixed model", "difference"] == pytest.approx(
        found.loc["mixed model", "estimate"] - found.loc["mean", "estimate"]
    )
    assert found.loc["GEE", "difference"] != pytest.approx(0, abs=1e-4)


def test_gee_weighs_patients_and_not_rows():
    """Patients unlike each other, seeds alike: a patient seen by one seed counts as much."""
    whole = frame(patients=120, patient_sd=3.0, seed_sd=0.0)
    rows = whole[(whole["seed"] == 0) | (whole["patient"] % 3 > 0)]
    patients = rows.groupby(["group", "patient"])["value"].mean().groupby("group").mean()
    found = check_point_estimates(rows).set_index("estimator")["estimate"]
    assert found["GEE"] == pytest.approx(patients["F"] - patients["M"], abs=0.05)
    pooled = rows.groupby("group")["value"].mean()
    assert abs(pooled["F"] - pooled["M"] - found["GEE"]) > 0.3


def test_what_cannot_be_fitted_is_missing_with_the_reason(complete):
    found = check_point_estimates(complete.assign(value=1.0))
    assert found["estimate"].isna().tolist() == [False, True, True]
    assert found["note"].tolist()[1:] == ["not fitted: all values are equal"] * 2
    values = complete["value"].mask(complete.index == 3)
    found = check_point_estimates(complete.assign(value=values))
    assert "missing" in found["note"].iloc[2]
    assert found["estimate"].isna().all()
    no_men = complete[(complete["seed"] > 0) | (complete["group"] == "F")]
    assert check_point_estimates(no_men)["estimate"].isna().tolist() == [True, False, False]


def test_what_does_not_converge_is_missing_with_the_reason(complete, monkeypatch):
    class Stuck:
        converged, params = False, pd.Series({"first": 1.0})

        def __init__(self, *args, **settings):
            pass

        def fit(self):
            return self

    class Singular(Stuck):
        def fit(self):
            raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(checks, "_gee", Stuck)
    monkeypatch.setattr(checks, "_mixed_crossed", Singular)
    found = check_point_estimates(complete)
    assert found["estimate"].isna().tolist() == [False, True, True]
    assert found["note"].tolist()[1:] == ["did not converge", "not fitted: Singular matrix"]


def test_other_groups_are_left_out_and_absent_ones_named(complete):
    more = pd.concat([complete, complete.assign(group="?", value=9.0, patient=99 + complete.index)])
    assert check_point_estimates(more).equals(check_point_estimates(complete))
    with pytest.raises(ValueError, match="no rows of group easy; there are F, M"):
        check_point_estimates(complete, ("F", "easy"))


def test_a_patient_twice_in_a_seed_is_refused(complete):
    with pytest.raises(ValueError, match="seed 0 has patient 2 twice"):
        check_point_estimates(pd.concat([complete, complete.iloc[[2]]]))
