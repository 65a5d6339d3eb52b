import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medunlearn.cohort import phantom
from medunlearn.cohort.phantom import CLASSES, make_phantom
from medunlearn.cohort.radiograph import (
    Finding,
    air_chord,
    attenuate,
    chord,
    expose,
    project,
    rib_chord,
)
from medunlearn.errors import InputError
from medunlearn.randomness import stream


@pytest.fixture(scope="module")
def cohort():
    return make_phantom(700)


@pytest.fixture(scope="module")
def patients(cohort):
    return cohort[0].drop_duplicates("source_patient")


def grid(side, rays):
    axis = ((np.arange(rays) + 0.5) / rays - 0.5) * side
    return axis[None], axis[:, None]


def measured_chord(inside, x, y, depth=15.0, steps=30_000):
    """The length of a ray where `inside` holds, counted along the ray."""
    z = (np.arange(steps) + 0.5) / steps * 2 * depth - depth
    return inside(x, y, z).mean() * 2 * depth


# The rays


def test_the_central_ray_of_a_ball_is_its_diameter_and_a_ray_outside_is_nothing():
    x, y = np.array([1.0, 4.0, 3.9, 7.0]), np.array([2.0, 2.0, 2.0, 2.0])
    lengths = chord((1.0, 2.0, 3.0, 3.0, 3.0, 0.7), x, y)
    np.testing.assert_allclose(lengths, [6, 0, 2 * np.sqrt(9 - 2.9**2), 0], atol=1e-12)


def test_the_chords_of_a_turned_ellipsoid_add_up_to_its_volume():
    a, b, c = 5.0, 2.0, 3.0
    x, y = grid(16, 800)
    volume = chord((1.0, -0.5, a, b, c, 0.6), x, y).sum() * (16 / 800) ** 2
    assert volume == pytest.approx(4 / 3 * np.pi * a * b * c, rel=1e-4)


def test_a_turned_ellipsoid_points_where_its_turn_says():
    along = np.array([4 * np.cos(0.6)]), np.array([4 * np.sin(0.6)])
    across = np.array([4 * np.cos(0.6)]), np.array([-4 * np.sin(0.6)])
    solid = (0.0, 0.0, 5.0, 1.0, 1.0, 0.6)
    assert chord(solid, *along)[0] == pytest.approx(2 * np.sqrt(1 - 16 / 25))
    assert chord(solid, *across)[0] == 0


@pytest.mark.parametrize(("x", "y"), [(8.5, 3.0), (-9.0, -6.2), (12.9, -1.0)])
def test_a_ray_crosses_as_much_rib_as_is_counted_along_it(x, y):
    def in_rib(x, y, z):
        t = 9.0 - y + 0.5 * z
        shell = (((x / 14) ** 2 + ((y + 4) / 20) ** 2 + (z / 9) ** 2) < 1) & (
            ((x / 13.2) ** 2 + ((y + 4) / 19.2) ** 2 + (z / 8.2) ** 2) >= 1
        )
        return shell & (t > 0) & (t < 29) & (t % 2.9 < 1.2)

    length = rib_chord((0, -4, 14, 20, 9, 0), np.array([x]), np.array([y]))[0]
    assert length > 0
    assert length == pytest.approx(measured_chord(in_rib, x, y), abs=5e-3)


@pytest.mark.parametrize(
    ("lung", "organ", "cut", "air"),
    [(8, 0, 8, 16), (8, 3, 8, 10), (8, 3, 5, 7), (8, 3, 0, 5), (8, 3, -8, 0), (8, 9, 8, 0)],
)
def test_organ_and_fluid_displace_the_air_of_a_ray(lung, organ, cut, air):
    assert air_chord(*np.array([[lung], [organ], [cut]], dtype=float))[0] == air


def test_twice_the_attenuation_squares_the_transmission_of_a_uniform_slab():
    open_field, slab, double = (expose(np.full((64, 64), mu), 1.0) for mu in (0.0, 1.5, 3.0))
    np.testing.assert_allclose(double / open_field, (slab / open_field) ** 2)


def test_a_finding_adds_attenuation_and_severity_0_adds_none():
    patient = phantom.draw_anatomy(stream("test", "anatomy"))
    view = phantom.draw_view(stream("test", "view"))
    scene = project(patient, view, 64)
    normal = attenuate(scene, Finding(0, 0.5, 1, (7, 3)), 0.0)
    for label in (1, 2, 3):
        finding = Finding(label, 0.5, 1, (7, 3))
        np.testing.assert_array_equal(attenuate(scene, finding, 0.0), normal)
        more = attenuate(scene, finding, 0.9) - normal
        assert more.min() > -1e-12
        assert more.max() > 0.2


# The draws


def test_a_smaller_cohort_is_the_beginning_of_a_larger_one(cohort):
    frame, pixels = cohort
    first, first_pixels = make_phantom(20)
    pd.testing.assert_frame_equal(first, frame.iloc[: len(first)])
    assert first_pixels.tobytes() == pixels[: len(first)].tobytes()


def test_other_shares_of_findings_leave_the_normal_images_as_they_were(cohort, monkeypatch):
    monkeypatch.setattr(phantom, "CLASS_SHARES", (0.7, 0.1, 0.1, 0.1))
    after, pixels_after = make_phantom(60)
    before, pixels = (every[: len(after)] for every in cohort)
    unchanged = ["source_image", "source_patient", "sex", "age", "view", "noisy_label"]
    pd.testing.assert_frame_equal(before[unchanged], after[unchanged])
    normal = (before["true_label"] == CLASSES[0]) & (after["true_label"] == CLASSES[0])
    assert 20 < normal.sum() < len(before)
    np.testing.assert_array_equal(pixels[normal], pixels_after[normal])
    turned_normal = (before["true_label"] != CLASSES[0]) & (after["true_label"] == CLASSES[0])
    assert (pixels[turned_normal] != pixels_after[turned_normal]).any(axis=(1, 2, 3)).all()


def test_the_images_of_a_patient_differ_and_share_what_is_the_patients(cohort):
    frame, pixels = cohort
    shared = frame.groupby("source_patient")[["sex", "age", "true_label"]].nunique()
    assert (shared == 1).all(axis=None)
    assert len(np.unique(pixels.reshape(len(pixels), -1), axis=0)) == len(pixels)


def test_size_changes_the_pixels_and_nothing_that_was_drawn():
    (small, pixels), (large, _) = make_phantom(5, size=32), make_phantom(5)
    drawn = small.columns.drop("conspicuity")
    pd.testing.assert_frame_equal(small[drawn], large[drawn])
    assert pixels.shape == (len(small), 1, 32, 32)


def test_too_few_patients_and_too_small_images_are_both_named():
    with pytest.raises(InputError, match=r"(?s)2 faults.*patients = 0.*size = 8"):
        make_phantom(0, size=8)


# The cohort; a share may leave its expectation once in 10,000 draws of a cohort


def plausible(count, total, share):
    return binomtest(int(count), int(total), share).pvalue > 1e-4


def test_rows_and_pixels_are_aligned_and_every_label_is_a_class(cohort):
    frame, pixels = cohort
    assert pixels.shape == (len(frame), 1, 64, 64)
    assert pixels.dtype == np.uint8
    assert frame["source_image"].is_unique
    assert set(frame["label"]) == set(frame["true_label"]) == set(CLASSES)
    assert frame["severity"].dtype == frame["conspicuity"].dtype == np.float32


def test_sex_class_and_view_have_the_stated_shares(cohort, patients):
    assert plausible((patients["sex"] == "M").sum(), len(patients), 0.565)
    assert plausible((cohort[0]["view"] == "AP").sum(), len(cohort[0]), 0.4)
    for name, share in zip(CLASSES, (0.4, 0.2, 0.2, 0.2), strict=True):
        assert plausible((patients["true_label"] == name).sum(), len(patients), share)


def test_patients_are_adults_of_the_stated_mean_age_with_1_to_4_images(cohort, patients):
    assert patients["age"].between(18, 90).all()
    assert patients["age"].mean() == pytest.approx(47, abs=4 * 17 / np.sqrt(len(patients)))
    assert set(cohort[0]["source_patient"].value_counts()) == {1, 2, 3, 4}


def test_sex_and_number_of_a_patient_say_nothing_of_the_finding(patients):
    normal = patients["true_label"] == CLASSES[0]
    for other in (patients["sex"] == "M", np.arange(len(patients)), patients["age"]):
        assert spearmanr(normal, other).pvalue > 1e-4


def test_at_most_a_tenth_of_the_labels_are_noisy_and_exactly_those_are_wrong(cohort):
    frame, _ = cohort
    assert 0.02 < frame["noisy_label"].mean() <= 0.10
    np.testing.assert_array_equal(frame["noisy_label"], frame["label"] != frame["true_label"])


def test_severity_and_conspicuity_are_0_where_there_is_no_finding_and_only_there(cohort):
    frame, _ = cohort
    normal = frame["true_label"] == CLASSES[0]
    np.testing.assert_array_equal(frame["severity"] == 0, normal)
    np.testing.assert_array_equal(frame["conspicuity"] == 0, normal)
    assert frame["severity"].between(0, 1).all()


@pytest.mark.parametrize("name", CLASSES[1:])
def test_a_more_severe_finding_is_more_conspicuous(cohort, name):
    of_class = cohort[0][cohort[0]["true_label"] == name]
    assert spearmanr(of_class["severity"], of_class["conspicuity"]).statistic > 0.7


# What a linear model sees: all or nothing would make the study pointless. The bounds are those
# asked of the cohort at 1,500 patients, widened by 0.02 for the sampling error of 700.


def linear_auroc(cohort, positive):
    frame, pixels = cohort
    small = pixels.reshape(len(pixels), 32, 2, 32, 2).mean(axis=(2, 4)).reshape(len(pixels), -1)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=300))
    scores = cross_val_predict(
        model, small, positive, groups=frame["source_patient"], cv=GroupKFold(5),
        method="decision_function",
    )  # fmt: skip
    return roc_auc_score(positive, scores)


def test_a_linear_model_tells_the_sexes_apart_about_as_well_as_on_radiographs(cohort):
    assert 0.83 < linear_auroc(cohort, cohort[0]["sex"] == "F") < 0.97


@pytest.mark.parametrize("name", CLASSES)
def test_a_linear_model_finds_neither_all_nor_nothing(cohort, name):
    assert 0.63 < linear_auroc(cohort, cohort[0]["true_label"] == name) < 0.97
